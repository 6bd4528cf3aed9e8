//! The responder as real clients see it: dig and kdig over UDP and TCP.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod dns_support;
mod sample;

use std::net::SocketAddr;
use std::process::Command;

use dns_support::{cluster, loopback, moved, view};
use stayput::surface::dns::{Responder, Zone};

/// Whether a program is there. Where everything is required, its absence fails the test.
fn is_there(program: &str, package: &str) -> bool {
    let there = Command::new(program).arg("-h").output().is_ok();
    let required = ["CI", "STAYPUT_REQUIRE_ALL"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    assert!(
        there || !required,
        "{program} is missing: install {package}"
    );
    if !there {
        eprintln!("SKIPPED: {program} is missing: install {package}");
    }
    there
}

fn dig(server: SocketAddr, arguments: &str) -> String {
    run(
        "dig",
        server,
        &["+tries=3", "+time=2", "+norrcomments"],
        arguments,
    )
}

fn run(program: &str, server: SocketAddr, fixed: &[&str], arguments: &str) -> String {
    let output = Command::new(program)
        .arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string()])
        .args(fixed)
        .args(arguments.split_whitespace())
        // No ~/.digrc.
        .env("HOME", "/nonexistent")
        .output()
        .expect("the program runs");
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

/// Output with runs of white space as one space.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn dig_sees_what_the_zone_holds() {
    if !is_there("dig", "bind9-dnsutils") {
        return;
    }
    let server = loopback();
    let responder = Responder::start(&[server], Zone::new(&cluster())).unwrap();
    assert!(
        responder
            .state()
            .iter()
            .all(|listener| listener.error.is_none())
    );
    let soa = "k8s.internal. 5 IN SOA api.k8s.internal. hostmaster.k8s.internal. 1764000000 3600 600 86400 5";
    #[rustfmt::skip]
    let table: &[(&str, &[&str])] = &[
        ("master-1.k8s.internal A", &["status: NOERROR", "flags: qr aa rd;", "ANSWER: 1,", "master-1.k8s.internal. 5 IN A 10.77.0.11", "udp: 1232"]),
        ("master-1.k8s.internal AAAA", &["status: NOERROR", "ANSWER: 0,", soa]),
        ("master-2.k8s.internal AAAA", &["master-2.k8s.internal. 5 IN AAAA fd77::12"]),
        ("nope.k8s.internal", &["status: NXDOMAIN", "flags: qr aa rd;", soa]),
        ("rack.k8s.internal", &["status: NOERROR", "ANSWER: 0,", soa]),
        ("old-name.k8s.internal", &["ANSWER: 2,", "old-name.k8s.internal. 5 IN CNAME master-2.k8s.internal.", "master-2.k8s.internal. 5 IN A 10.77.0.12"]),
        ("-x 10.77.0.11", &["11.0.77.10.in-addr.arpa. 5 IN PTR master-1.k8s.internal."]),
        ("-x fd77::12", &["IN PTR master-2.k8s.internal."]),
        ("-x 10.77.0.99", &["status: REFUSED", "flags: qr rd;"]),
        ("k8s.internal SOA", &["ANSWER: 1,", soa]),
        ("k8s.internal NS", &["k8s.internal. 5 IN NS api.k8s.internal.", "api.k8s.internal. 5 IN A 127.0.0.1"]),
        ("_etcd-server-ssl._tcp.k8s.internal SRV", &["ANSWER: 4,", "IN SRV 0 0 2380 master-1.k8s.internal.", "master-1.k8s.internal. 5 IN A 10.77.0.11"]),
        // dig asks for ANY over TCP by itself.
        ("+notcp master-2.k8s.internal ANY", &["ANSWER: 1,", "master-2.k8s.internal. 5 IN A 10.77.0.12"]),
        ("MaStEr-1.k8s.INTERNAL A", &["MaStEr-1.k8s.INTERNAL. 5 IN A 10.77.0.11"]),
        ("+tcp master-1.k8s.internal", &["master-1.k8s.internal. 5 IN A 10.77.0.11", "(TCP)"]),
        ("+notcp +noedns master-1.k8s.internal", &["master-1.k8s.internal. 5 IN A 10.77.0.11", "ADDITIONAL: 0", "(UDP)"]),
        ("+dnssec master-1.k8s.internal", &["flags: do; udp: 1232", "master-1.k8s.internal. 5 IN A 10.77.0.11"]),
        ("+edns=1 +noednsnegotiation master-1.k8s.internal", &["status: BADVERS", "EDNS: version: 0"]),
        // dig itself learns the version we know and asks again.
        ("+edns=1 +ednsnegotiation master-1.k8s.internal", &["status: NOERROR", "10.77.0.11"]),
        ("+ednsopt=100:cafe master-1.k8s.internal", &["status: NOERROR", "10.77.0.11"]),
        ("+ednsflags=0x0040 master-1.k8s.internal", &["status: NOERROR", "10.77.0.11"]),
        ("+opcode=status master-1.k8s.internal", &["status: NOTIMP", "opcode: STATUS"]),
        ("+opcode=update +noheader-only k8s.internal SOA", &["status: NOTIMP"]),
        ("+header-only", &["status: FORMERR"]),
        ("version.bind CH TXT", &["status: REFUSED"]),
        ("k8s.internal AXFR", &["Transfer failed"]),
        ("+tcp k8s.internal IXFR=1", &["Transfer failed"]),
        ("example.com A", &["status: REFUSED", "flags: qr rd;"]),
    ];
    for (asked, wants) in table {
        let seen = squeezed(&dig(server, asked));
        for want in *wants {
            assert!(seen.contains(want), "dig {asked}: no '{want}' in: {seen}");
        }
        assert!(!seen.contains("WARNING: Message"), "dig {asked}: {seen}");
    }
    responder.shutdown();
}

#[test]
fn dig_is_sent_to_tcp_and_finds_all_there() {
    if !is_there("dig", "bind9-dnsutils") {
        return;
    }
    let server = loopback();
    let responder = Responder::start(&[server], dns_support::crowd()).unwrap();
    for (asked, size) in [
        ("+bufsize=4096", 1232),
        ("+bufsize=700", 700),
        ("+noedns", 512),
    ] {
        let cut = dig(server, &format!("{asked} +ignore crowd.k8s.internal"));
        assert!(cut.contains("flags: qr aa tc rd;"), "{cut}");
        assert_eq!(
            cut.contains("OPT PSEUDOSECTION"),
            asked != "+noedns",
            "{cut}"
        );
        let received: usize = cut
            .lines()
            .find_map(|line| line.strip_prefix(";; MSG SIZE  rcvd: "))
            .and_then(|size| size.trim().parse().ok())
            .expect("a size");
        assert!(received <= size, "{received} > {size}");
        let whole = dig(server, &format!("{asked} crowd.k8s.internal"));
        assert!(
            whole.contains("ANSWER: 250,") && whole.contains("(TCP)"),
            "{whole}"
        );
    }
    assert_eq!(responder.counters().truncated, 6);
    responder.shutdown();
}

#[test]
fn kdig_agrees() {
    if !is_there("kdig", "knot-dnsutils") {
        return;
    }
    let server = loopback();
    let responder = Responder::start(&[server], Zone::new(&cluster())).unwrap();
    // Two questions on one TCP connection; padding; a cookie; a client subnet.
    for (asked, wants) in [
        (
            "+tcp +keepopen master-1.k8s.internal A master-2.k8s.internal AAAA",
            &["10.77.0.11", "fd77::12"][..],
        ),
        (
            "+padding=128 master-1.k8s.internal",
            &["10.77.0.11", "NOERROR"],
        ),
        (
            "+cookie=0102030405060708 master-1.k8s.internal",
            &["10.77.0.11", "NOERROR"],
        ),
        (
            "+subnet=10.0.0.0/8 master-1.k8s.internal",
            &["10.77.0.11", "NOERROR"],
        ),
        ("+edns=1 master-1.k8s.internal", &["BADVERS"]),
        ("+notcp k8s.internal ANY", &["SOA"]),
    ] {
        let seen = run("kdig", server, &["+retry=2"], asked);
        for want in wants {
            assert!(seen.contains(want), "kdig {asked}: no '{want}' in: {seen}");
        }
        assert!(
            !seen.to_lowercase().contains("warning"),
            "kdig {asked}: {seen}"
        );
    }
    responder.shutdown();
}

#[test]
fn answers_change_at_once() {
    if !is_there("dig", "bind9-dnsutils") {
        return;
    }
    let server = loopback();
    let before = cluster();
    let responder = Responder::start(&[server], Zone::new(&before)).unwrap();
    let seen = || dig(server, "+short master-1.k8s.internal");
    assert_eq!(seen().trim(), "10.77.0.11");
    let after = moved(&before, "master-1", &["10.88.0.1", "10.88.0.2"]);
    responder.publish(Zone::new(&after));
    assert_eq!(squeezed(&seen()), "10.88.0.1 10.88.0.2");
    let old = dig(server, "-x 10.77.0.11");
    assert!(old.contains("status: REFUSED"), "{old}");
    let soa = dig(server, "+short k8s.internal SOA");
    assert!(soa.contains("1764000001"), "{soa}");
    // The last master with that name goes.
    responder.publish(Zone::new(&view(&[("other", &["10.0.0.1"])], &[])));
    assert!(dig(server, "master-1.k8s.internal").contains("status: NXDOMAIN"));
    responder.shutdown();
}
