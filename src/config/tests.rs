//! What an operator sees: files, and what is said about them.

mod certificates;
mod identities;
mod mistakes;
mod peers;
mod random;

use std::fmt::Write;
use std::path::Path;

use super::Cluster;
use super::cluster::{AfterRenew, Certificates, HostsMode};
use crate::address::Loopback;
use crate::name::Name;
use crate::pki::key::KeyType;

fn parse(text: &str) -> Result<Cluster, super::Problems> {
    Cluster::parse(text, Path::new("F"), Loopback::Refused)
}

/// The problems of a cluster file on a node, one line each, without the file's name.
fn problems(text: &str) -> Vec<String> {
    let lines = |problems: super::Problems| {
        let text = problems.to_string();
        let lines = text.lines().map(|line| line.trim_start_matches("F:"));
        lines.map(|line| line.trim_start().to_owned()).collect()
    };
    parse(text).map_or_else(lines, |_| Vec::new())
}

/// A good file of four lines with more lines behind them: line 5 is the first of `more`.
fn with(more: &str) -> String {
    format!(
        "domain: prod.k8s.internal\nendpoint: {{name: api}}\nmasters:\n  - {{name: m1, address: 10.0.0.1}}\n{more}"
    )
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

#[test]
fn the_smallest_file_has_all_defaults() {
    let cluster = parse(&with("")).unwrap();
    assert_eq!(cluster.domain, name("prod.k8s.internal"));
    assert_eq!(cluster.endpoint.name, name("api.prod.k8s.internal"));
    assert_eq!(cluster.endpoint.port, 8443);
    assert_eq!(cluster.masters[0].name, name("m1.prod.k8s.internal"));
    assert!(cluster.aliases.is_empty());
    assert_eq!(cluster.kubernetes.minor, 34);
    assert_eq!(cluster.kubernetes.patch, None);
    assert_eq!(cluster.kubernetes.pod_subnet, None);
    assert_eq!(
        cluster.kubernetes.service_subnet.to_string(),
        "10.96.0.0/12"
    );
    assert_eq!(cluster.kubernetes.dns_domain, name("cluster.local"));
    assert_eq!(cluster.kubernetes.api_port, 6443);
    assert_eq!(cluster.dns.listen, ["127.0.0.1:1053".parse().unwrap()]);
    assert_eq!((cluster.dns.ttl, cluster.dns.upstream.len()), (5, 0));
    assert_eq!(cluster.hosts.path, Path::new("/etc/hosts"));
    assert_eq!(cluster.hosts.mode, HostsMode::Auto);
    let haproxy = cluster.haproxy;
    assert_eq!(haproxy.config, Path::new("/var/lib/stayput/haproxy.cfg"));
    assert_eq!(haproxy.socket, Path::new("/run/stayput/haproxy.sock"));
    let reload = ["/usr/bin/systemctl", "reload", "stayput-haproxy"];
    assert_eq!(haproxy.reload, reload);
    assert_eq!(haproxy.binary, Path::new("/usr/sbin/haproxy"));
    assert_eq!(haproxy.user.as_deref(), Some("haproxy"));
    assert_eq!(haproxy.stats, "127.0.0.1:8404".parse().unwrap());
    assert!(!haproxy.fallback);
    let days = |days: u64| days * 86_400;
    let certificates = cluster.certificates;
    assert_eq!(certificates, Certificates::default());
    assert_eq!(certificates.renew_before, days(30));
    assert_eq!(certificates.validity, days(365));
    assert_eq!(certificates.authority_validity, days(3650));
    assert_eq!(certificates.key_type, KeyType::Rsa2048);
    assert_eq!(certificates.after_renew, [AfterRenew::StaticPods]);
}

#[test]
fn the_full_file_has_what_it_says() {
    let cluster = parse(
        r#"
domain: Prod.K8s.Internal
endpoint: {name: api, port: 9443}
masters:
  - {name: master-1, address: 10.77.0.11}
  - {name: master-2.prod.k8s.internal, addresses: [10.77.0.12, "fd77::12"]}
  - {name: master-3, follow: ip-10-77-0-13.eu.example.com}
aliases: {k8s.example.com: api, old-name: master-1}
kubernetes: {version: "v1.33.2", serviceSubnet: 10.97.0.0/16, podSubnet: 10.244.0.0/16, dnsDomain: cluster.example, apiPort: 7443}
dns: {listen: ["127.0.0.53:53", "[::1]:53"], ttl: 0, upstream: [10.0.0.2, "10.0.0.3:5353"]}
hosts: {path: /etc/hosts.d/ours, mode: in-place}
haproxy:
  config: /srv/haproxy.cfg
  socket: /run/h.sock
  reload: []
  binary: /opt/haproxy
  user: ""
  fallback: true
  stats: "[::1]:8404"
"#,
    )
    .unwrap();
    assert_eq!(cluster.endpoint.port, 9443);
    assert_eq!(cluster.master_names(), "master-1, master-2, master-3");
    let second = &cluster.masters[1];
    assert_eq!(
        second.addresses,
        ["10.77.0.12", "fd77::12"].map(|a| a.parse::<std::net::IpAddr>().unwrap())
    );
    let third = &cluster.masters[2];
    assert_eq!(third.follow, Some(name("ip-10-77-0-13.eu.example.com")));
    assert!(third.addresses.is_empty());
    let aliases: Vec<_> = cluster
        .aliases
        .iter()
        .map(|(alias, target)| format!("{alias} {target}"))
        .collect();
    assert_eq!(
        aliases,
        [
            "k8s.example.com api.prod.k8s.internal",
            "old-name.prod.k8s.internal master-1.prod.k8s.internal"
        ]
    );
    assert_eq!(cluster.kubernetes.minor, 33);
    assert_eq!(cluster.kubernetes.patch, Some(2));
    let pods = "10.244.0.0/16".parse().unwrap();
    assert_eq!(cluster.kubernetes.pod_subnet, Some(pods));
    assert_eq!(cluster.kubernetes.api_port, 7443);
    assert_eq!(cluster.dns.listen.len(), 2);
    let upstream = ["10.0.0.2:53", "10.0.0.3:5353"].map(|s| s.parse().unwrap());
    assert_eq!(cluster.dns.upstream, upstream);
    assert_eq!(cluster.hosts.mode, HostsMode::InPlace);
    assert_eq!(cluster.haproxy.user, None);
    assert!(cluster.haproxy.reload.is_empty() && cluster.haproxy.fallback);
}

#[test]
fn files_of_other_editors_are_read() {
    let crlf = with("dns: {ttl: 9}\n").replace('\n', "\r\n");
    for text in [format!("\u{feff}{}", with("dns: {ttl: 9}")), crlf] {
        assert_eq!(parse(&text).unwrap().dns.ttl, 9, "{text:?}");
    }
}

#[test]
fn a_sandbox_may_have_loopback_masters_and_keeps_the_user() {
    let text = with("").replace("10.0.0.1", "127.77.0.1");
    assert_eq!(
        problems(&text),
        [
            "4:25: masters[0].address: 127.77.0.1 is a loopback address; a master needs an address that the other nodes reach"
        ]
    );
    let cluster = Cluster::parse(&text, Path::new("F"), Loopback::Allowed).unwrap();
    assert_eq!(cluster.haproxy.user, None);
}

#[test]
fn files_that_are_no_settings_at_all() {
    for (text, want) in [
        (
            "",
            "the file is empty; it needs domain, endpoint and masters",
        ),
        (
            "# nothing\n",
            "the file is empty; it needs domain, endpoint and masters",
        ),
        ("just text", "is text; write a mapping of settings"),
        (
            "domain: a.b\n---\ndomain: c.d\n",
            "3:1: a second document starts here; write one document per file",
        ),
        ("domain: [a", "did not find expected ',' or ']'"),
        ("domain: a.b\n\tendpoint: x", "found a tab character"),
    ] {
        let found = problems(text).join("\n");
        assert!(found.contains(want), "{text:?}: {found}");
        assert_eq!(found.lines().count(), 1, "{text:?}: {found}");
    }
}

#[test]
fn one_mistake_hides_no_other() {
    let text = "\
domain: k8s.local
endpoint: {name: a_b, port: 70000}
masters:
  - {name: m1, address: 127.0.0.1}
  - {name: m1, address: 10.0.0.2}
  - {name: m3}
aliases: {x.example.com: m9, y_z: m1}
kubernetes: {version: 1.30}
dns: {ttl: soon, listen: ['0.0.0.0:53']}
haproxy: {colour: red}
";
    let found = problems(text);
    let places: Vec<String> = found
        .iter()
        .map(|line| line.splitn(4, ": ").take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        places,
        [
            "1:9 domain",
            "2:18 endpoint.name",
            "2:29 endpoint.port",
            "4:25 masters[0].address",
            "5:12 masters[1].name",
            "6:5 masters[2]",
            "7:30 aliases.y_z",
            "8:23 kubernetes.version",
            "9:12 dns.ttl",
            "9:27 dns.listen[0]",
            "10:11 haproxy.colour",
        ],
        "{found:#?}"
    );
}

#[test]
fn problems_are_json_too() {
    let problems = parse(&with("dns: {ttl: 9999}")).unwrap_err();
    let json = serde_json::to_string(&problems).unwrap();
    let want = r#"[{"file":"F","line":5,"column":12,"key":"dns.ttl","message":"9999 is out of range; use 0 to 3600"}]"#;
    assert_eq!(json, want);
}

#[test]
fn hostile_text_stays_on_its_line() {
    let found = problems(&with("\"a\\e[31m\\nb\": 1"));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("5:1: a\\u{1b}[31m\\nb: is not a known key"),
        "{found:?}"
    );
}

#[test]
fn many_mistakes_are_told_up_to_a_bound() {
    let mut more = String::new();
    for n in 0..250 {
        writeln!(more, "unknown{n}: 1").unwrap();
    }
    let found = problems(&with(&more));
    assert_eq!(found.len(), 101);
    assert_eq!(found[100], "150 more problems");
}

#[test]
fn ten_thousand_masters_are_read() {
    let mut text = String::from("domain: a.internal\nendpoint: {name: api}\nmasters:\n");
    let mut aliases = String::from("aliases:\n");
    for n in 0..10_000 {
        let (high, low) = (n / 256, n % 256);
        writeln!(text, "  - {{name: m{n}, address: 10.1.{high}.{low}}}").unwrap();
        writeln!(aliases, "  a{n}: m{n}").unwrap();
    }
    let cluster = parse(&(text + &aliases)).unwrap();
    assert_eq!(cluster.masters.len(), 10_000);
    assert_eq!(cluster.aliases.len(), 10_000);
}

#[test]
fn stable_addresses_are_kept_where_the_file_says_so() {
    use super::routes::{Mode, Routes, Target};
    let file = |stable: &str, routes: &str| {
        format!(
            "domain: k8s.internal\nendpoint: {{name: api}}\nmasters:\n  - {{name: m1, address: 10.0.0.1, stable: {stable}}}\nroutes: {routes}\n"
        )
    };
    let off = parse(&file("10.254.0.1", "{}")).unwrap();
    assert_eq!(off.routes, Routes::default());
    assert!(!off.routes.in_force());
    assert_eq!(off.routes.kept(&off.masters[0]).next(), None);
    let direct = parse(&file(
        "10.254.0.1",
        "{mode: direct, names: stable, protocol: 77}",
    ))
    .unwrap();
    assert_eq!(
        (
            direct.routes.mode,
            direct.routes.names,
            direct.routes.protocol
        ),
        (Mode::Direct, Target::Stable, 77)
    );
    assert_eq!(
        direct.routes.stable(&direct.masters[0]),
        direct.masters[0].stable
    );
    // A rescue works without stable addresses, and beside them.
    let old = "10.0.0.9".parse().unwrap();
    let stable = direct.masters[0].stable.unwrap();
    for (mut rescued, want) in [(off, vec![old]), (direct, vec![old, stable])] {
        rescued.routes.rescue.insert(name("m1.k8s.internal"), old);
        assert!(rescued.routes.in_force());
        let kept = rescued.routes.kept(&rescued.masters[0]);
        assert_eq!(kept.collect::<Vec<_>>(), want);
    }

    let family = problems(&file("\"fd54::1\"", "{mode: direct}"));
    assert_eq!(
        family,
        [
            "4:43: masters[0].stable: fd54::1 cannot be reached: m1 has no IPv6 address; give stable and current ones of the same family"
        ]
    );
    for bad in ["127.77.0.9", "fe80::1"] {
        // Told once, and in a sandbox too.
        let text = file(&format!("'{bad}'"), "{mode: direct}");
        let path = std::path::Path::new("/etc/stayput/cluster.yaml");
        let sandbox = Cluster::parse(&text, path, crate::address::Loopback::Allowed);
        let told = sandbox.unwrap_err().to_string();
        assert!(
            told.contains(&format!("masters[0].stable: {bad} is a l")),
            "{told}"
        );
        assert!(!told.contains("routes.mode"), "{told}");
    }
    let service = problems(&file("10.96.0.9", "{mode: direct}"));
    assert!(
        service[0].contains("lies within kubernetes.serviceSubnet"),
        "{service:?}"
    );
    let pods = file("10.244.0.9", "{mode: direct}") + "kubernetes: {podSubnet: 10.244.0.0/16}\n";
    let pods = problems(&pods);
    assert!(pods[0].contains("has 10.244.0.9 in it"), "{pods:?}");
    let taken = problems(&file("10.0.0.1", "{mode: direct}"));
    assert!(taken[0].contains("give each address once"), "{taken:?}");
}
