//! Kubeconfigs for a laptop, read and used by the real kubectl.

use std::fmt::Write;
use std::net::SocketAddr;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stayput::name::Name;
use stayput::pki::external::{Master, Wanted, render};
use stayput::pki::kubeconfig::Client;

use crate::live::accepts;
use crate::made::{Pair, authority, leaf, year};
use crate::support::{Process, Said, here, run};

/// An admin.conf as kubeadm writes it.
fn admin(authority: &str, pair: &Pair) -> String {
    let [authority, certificate, key] =
        [authority, &pair.certificate, &pair.key].map(|text| STANDARD.encode(text));
    format!(
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {authority}\n    \
         server: https://api.k8s.internal:8443\n  name: kubernetes\ncontexts:\n- context:\n    \
         cluster: kubernetes\n    user: kubernetes-admin\n  name: kubernetes-admin@kubernetes\n\
         current-context: kubernetes-admin@kubernetes\nkind: Config\npreferences: {{}}\nusers:\n\
         - name: kubernetes-admin\n  user:\n    client-certificate-data: {certificate}\n    \
         client-key-data: {key}\n"
    )
}

fn good() -> (Pair, Pair, String) {
    let ca = authority("kubernetes", year());
    let pair = leaf(&ca, "kubernetes-admin", &[], &[]);
    let admin = admin(&ca.certificate, &pair);
    (ca, pair, admin)
}

fn wanted(masters: &[(&str, Option<&str>)]) -> Wanted {
    let master = |(name, address): &(&str, Option<&str>)| Master {
        name: Name::parse(name).unwrap(),
        address: address.map(|address| address.parse().unwrap()),
    };
    Wanted {
        domain: Name::parse("k8s.internal").unwrap(),
        port: 6443,
        masters: masters.iter().map(master).collect(),
        by_name: false,
    }
}

fn three() -> Wanted {
    wanted(&[
        ("master-1.k8s.internal", Some("192.0.2.11")),
        ("master-2.k8s.internal", Some("2001:db8::12")),
        ("master-3.k8s.internal", None),
    ])
}

fn kubectl(text: &str, arguments: &[&str]) -> Said {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("/usr/bin/kubectl");
    command
        .env("HOME", dir.path())
        .arg("--kubeconfig")
        .arg(&file);
    run(command.args(arguments))
}

#[test]
fn kubectl_sees_a_context_for_each_master() {
    if !here(false, &["kubectl"]) {
        return;
    }
    let (ca, pair, admin) = good();
    let text = render(&admin, &three()).unwrap();
    let seen = kubectl(&text, &["config", "view", "-o", "json", "--raw"]).good();
    let seen: Value = serde_json::from_str(&seen).unwrap();
    let [ca, certificate, key] =
        [&ca.certificate, &pair.certificate, &pair.key].map(|text| STANDARD.encode(text));
    let cluster = |name: &str, server: &str| json!({"name": name, "cluster": {"server": server, "tls-server-name": name, "certificate-authority-data": ca}});
    let user = "kubernetes-admin@k8s.internal";
    let context = |n: u8| json!({"name": format!("master-{n}@k8s.internal"), "context": {"cluster": format!("master-{n}.k8s.internal"), "user": user}});
    assert_eq!(
        seen["clusters"],
        json!([
            cluster("master-1.k8s.internal", "https://192.0.2.11:6443"),
            cluster("master-2.k8s.internal", "https://[2001:db8::12]:6443"),
            cluster(
                "master-3.k8s.internal",
                "https://master-3.k8s.internal:6443"
            ),
        ])
    );
    assert_eq!(
        seen["contexts"],
        json!([context(1), context(2), context(3)])
    );
    assert_eq!(seen["current-context"], "master-1@k8s.internal");
    assert_eq!(
        seen["users"],
        json!([{"name": user, "user": {"client-certificate-data": certificate, "client-key-data": key}}])
    );
}

#[test]
fn by_name() {
    let (_, _, admin) = good();
    let mut wanted = three();
    wanted.by_name = true;
    let text = render(&admin, &wanted).unwrap();
    for n in 1..=3 {
        let server = format!("server: \"https://master-{n}.k8s.internal:6443\"\n");
        assert!(text.contains(&server), "{}", text.len());
    }
    assert!(text.contains("current-context: \"master-1@k8s.internal\"\n"));
}

#[test]
fn kubectl_reaches_a_server_whose_address_is_in_no_certificate() {
    if !here(false, &["kubectl", "openssl"]) {
        return;
    }
    let (ca, _, admin) = good();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    ca.write(dir.path(), "ca");
    leaf(&ca, "kube-apiserver", &["master-1.k8s.internal"], &[]).write(dir.path(), "server");
    let mut command = Command::new("openssl");
    command.args(["s_server", "-accept", "127.0.0.1:0", "-www"]);
    command.args(["-Verify", "1", "-verify_return_error"]);
    for (flag, file) in [
        ("-CAfile", "ca.crt"),
        ("-cert", "server.crt"),
        ("-key", "server.key"),
    ] {
        command.arg(flag).arg(path(file));
    }
    let mut server = Process::start(&mut command, &path("log"));
    let address: SocketAddr = accepts(&mut server);
    let ask = |name: &str| {
        let mut wanted = wanted(&[(name, Some("127.0.0.1"))]);
        wanted.port = address.port();
        let text = render(&admin, &wanted).unwrap();
        kubectl(&text, &["get", "--raw", "/", "--request-timeout=20s"])
    };
    let page = ask("master-1.k8s.internal").good();
    assert!(page.contains("s_server"), "{page}");
    let refused = ask("master-2.k8s.internal");
    assert_ne!(refused.code, 0);
    assert!(refused.err.contains("master-2.k8s.internal"), "{refused:?}");
}

#[test]
fn names_that_yaml_would_take_for_something_else() {
    if !here(false, &["kubectl"]) {
        return;
    }
    let ca = authority("kubernetes", year());
    let user = "{a: \"b\"} # \\ \u{e9}: !x";
    let admin = admin(&ca.certificate, &leaf(&ca, user, &[], &[]));
    let mut wanted = wanted(&[("1e3", Some("192.0.2.11"))]);
    wanted.domain = Name::parse("on").unwrap();
    let text = render(&admin, &wanted).unwrap();
    let seen = kubectl(&text, &["config", "view", "-o", "json"]).good();
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["clusters"][0]["name"], "1e3");
    assert_eq!(seen["users"][0]["name"], format!("{user}@on"));
    assert_eq!(seen["current-context"], "1e3@on");
}

#[test]
fn only_the_current_context_counts_and_base64_may_be_folded() {
    let (_, _, admin) = good();
    let plain = render(&admin, &three()).unwrap();
    let mut folded = String::new();
    for line in admin.lines() {
        match line.split_once("-data: ") {
            Some((key, value)) => {
                writeln!(folded, "{key}-data: |").unwrap();
                for part in value.as_bytes().chunks(64) {
                    let part = std::str::from_utf8(part).unwrap();
                    writeln!(folded, "      {part}").unwrap();
                }
            }
            None => writeln!(folded, "{line}").unwrap(),
        }
    }
    assert_eq!(*render(&folded, &three()).unwrap(), *plain);
    let other = "users:\n- name: somebody\n  user: {token: secret}\n";
    let admin = admin.replace("users:\n", other);
    assert_eq!(*render(&admin, &three()).unwrap(), *plain);
}

#[test]
fn what_cannot_be_carried_elsewhere() {
    let (ca, pair, admin_conf) = good();
    let other = leaf(&ca, "kubernetes-admin", &[], &[]);
    let mixed = Pair {
        certificate: pair.certificate,
        key: other.key,
    };
    let table = [
        (String::new(), "it is no mapping"),
        ("a: 1".into(), "it has no current-context"),
        ("a: [".into(), "is no YAML"),
        (
            admin_conf.replace("current-context: kubernetes", "current-context: other"),
            "is not among its contexts",
        ),
        (
            admin_conf.replace("    user: kubernetes-admin", "    user: other"),
            "'other' is not among its users",
        ),
        (
            admin_conf.replace("  name: kubernetes\n", "  name: other\n"),
            "'kubernetes' is not among its clusters",
        ),
        (
            admin_conf.replace("client-key-data:", "client-key:"),
            "has no client-key-data within it",
        ),
        (
            admin_conf.replace("client-certificate-data:", "token:"),
            "has no client-certificate-data within it",
        ),
        (
            admin_conf.replace("certificate-authority-data:", "certificate-authority:"),
            "has no certificate-authority-data",
        ),
        (
            admin_conf.replace("client-key-data: ", "client-key-data: $"),
            "its client-key-data is not base64",
        ),
        (
            admin(&ca.certificate, &mixed),
            "its client-key-data is not the key of its client-certificate-data",
        ),
        (
            admin("hello", &other_pair(&ca)),
            "its certificate-authority-data holds no certificate",
        ),
    ];
    for (text, want) in table {
        let message = render(&text, &three()).unwrap_err().to_string();
        assert!(message.contains(want), "{want}: {message}");
    }
    let message = render(&admin_conf, &wanted(&[])).unwrap_err().to_string();
    assert!(message.contains("no master"), "{message}");
}

/// Whatever is wrong with it, nothing of a key is told.
#[test]
fn a_key_is_never_quoted() {
    let (_, _, admin) = good();
    let key = admin.split("client-key-data: ").nth(1).unwrap().trim();
    for broken in [
        admin.replace(key, &format!("!!int {key}")),
        admin.replace(key, &format!("\"{key}\\q\"")),
        admin.replace(key, &format!("*{key}")),
        admin.replace("    client-key-data", "  client-key-data"),
        admin.replace("client-key-data: ", "client-key-data: x: "),
    ] {
        let error = render(&broken, &three()).unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(!said.contains(&key[..12]), "{said}");
    }
}

#[test]
fn of_a_field_that_is_given_twice_the_last_counts() {
    if !here(false, &["kubectl"]) {
        return;
    }
    let (_, _, admin) = good();
    let twice = admin.replace(
        "    client-key-data",
        "    client-key-data: AAAA\n    client-key-data",
    );
    let ours = render(&twice, &three()).unwrap();
    assert_eq!(*ours, *render(&admin, &three()).unwrap());
    let data = |text: &str| {
        let seen = kubectl(text, &["config", "view", "-o", "json", "--raw"]).good();
        let seen: Value = serde_json::from_str(&seen).unwrap();
        seen["users"][0]["user"]["client-key-data"].clone()
    };
    assert_eq!(data(&ours), data(&twice));
    let last = stayput::pki::kubeconfig::parse(twice.as_bytes()).unwrap();
    assert!(matches!(last.client, Client::Embedded { .. }));
}

fn other_pair(ca: &Pair) -> Pair {
    leaf(ca, "kubernetes-admin", &[], &[])
}
