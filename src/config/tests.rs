//! What an operator sees: files, and what is said about them.

use std::fmt::Write;
use std::path::Path;

use proptest::prelude::*;

use super::cluster::HostsMode;
use super::{Cluster, NodeSettings};
use crate::address::Loopback;
use crate::name::Name;
use crate::yaml::{Location, Tree};

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
kubernetes: {version: "v1.33.2", serviceSubnet: 10.97.0.0/16, dnsDomain: cluster.example, apiPort: 7443}
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
    assert_eq!(cluster.kubernetes.api_port, 7443);
    assert_eq!(cluster.dns.listen.len(), 2);
    let upstream = ["10.0.0.2:53", "10.0.0.3:5353"].map(|s| s.parse().unwrap());
    assert_eq!(cluster.dns.upstream, upstream);
    assert_eq!(cluster.hosts.mode, HostsMode::InPlace);
    assert_eq!(cluster.haproxy.user, None);
    assert!(cluster.haproxy.reload.is_empty() && cluster.haproxy.fallback);
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

/// Every class of mistake in the parts that stand for themselves: lines behind a good file, and
/// all that is said about them.
#[test]
fn each_mistake_is_told_with_its_place() {
    let mut wrong = Vec::new();
    for (more, want) in [
        (
            "dsn: {ttl: 5}",
            "5:1: dsn: is not a known key; did you mean 'dns'?",
        ),
        (
            "certificates: {}",
            "5:1: certificates: is not a known key; known here: domain, endpoint, masters, aliases, kubernetes, dns, hosts, haproxy",
        ),
        (
            "dns: {TTL: 5}",
            "5:7: dns.TTL: is not a known key; did you mean 'ttl'?",
        ),
        (
            "dns: {ttl: 1}\ndns: {ttl: 2}",
            "6:1: dns: is given twice; keep one",
        ),
        (
            "dns: [5]",
            "5:6: dns: is a list; write a mapping of settings",
        ),
        (
            "dns: {ttl: five}",
            "5:12: dns.ttl: is text; write a whole number from 0 to 3600",
        ),
        (
            "dns: {ttl: 5.5}",
            "5:12: dns.ttl: is a number; write a whole number from 0 to 3600",
        ),
        (
            "dns: {ttl: 3601}",
            "5:12: dns.ttl: 3601 is out of range; use 0 to 3600",
        ),
        (
            "dns: {ttl: -1}",
            "5:12: dns.ttl: -1 is out of range; use 0 to 3600",
        ),
        (
            "dns: {ttl: }",
            "5:12: dns.ttl: is empty; write a whole number from 0 to 3600",
        ),
        (
            "dns: {listen: 127.0.0.1:53}",
            "5:15: dns.listen: is text; write a list of sockets, such as [\"127.0.0.1:1053\"]",
        ),
        (
            "dns: {listen: []}",
            "5:15: dns.listen: is empty; give at least one, such as 127.0.0.1:1053",
        ),
        (
            "dns:\n  listen:\n    - 127.0.0.1",
            "7:7: dns.listen[0]: '127.0.0.1' has no port; write 127.0.0.1:PORT",
        ),
        (
            "dns: {listen: ['::1']}",
            "5:16: dns.listen[0]: '::1' has no port; write [::1]:PORT",
        ),
        (
            "dns: {listen: [localhost:53]}",
            "5:16: dns.listen[0]: 'localhost:53' is not an address with a port; write one such as 127.0.0.1:1053 or [::1]:1053",
        ),
        (
            "dns: {listen: ['127.0.0.1:0']}",
            "5:16: dns.listen[0]: '127.0.0.1:0' has port 0; use 1 to 65535",
        ),
        (
            "dns: {listen: ['0.0.0.0:53']}",
            "5:16: dns.listen[0]: 0.0.0.0 would answer from an address that was not asked; list each address, such as 127.0.0.1:1053",
        ),
        (
            "dns: {listen: ['127.0.0.1:53', '127.0.0.1:53']}",
            "5:32: dns.listen[1]: 127.0.0.1:53 is given twice; keep one",
        ),
        (
            "dns: {upstream: ['127.0.0.1:1053']}",
            "5:18: dns.upstream[0]: 127.0.0.1:1053 is stayput's own responder; give a server beyond it",
        ),
        (
            "dns: {upstream: [0.0.0.0]}",
            "5:18: dns.upstream[0]: 0.0.0.0 is not the address of a DNS server; write one such as 10.0.0.2",
        ),
        (
            "dns: {listen: ['127.0.0.1:8443']}",
            "5:16: dns.listen[0]: port 8443 (127.0.0.1:8443) belongs to endpoint.port by default; choose another one",
        ),
        (
            "kubernetes: {apiPort: 8443}",
            "5:23: kubernetes.apiPort: port 8443 (0.0.0.0:8443) belongs to endpoint.port by default; choose another one",
        ),
        (
            "haproxy: {stats: '127.0.0.1:6443'}",
            "5:18: haproxy.stats: port 6443 (127.0.0.1:6443) belongs to kubernetes.apiPort by default; choose another one",
        ),
        (
            "haproxy: {stats: '10.0.0.9:8404'}",
            "5:18: haproxy.stats: 10.0.0.9 can be reached from outside; use loopback, such as 127.0.0.1:8404",
        ),
        (
            "kubernetes: {version: 1.30}",
            "5:23: kubernetes.version: is a number, which loses a final zero (1.30 is 1.3); put it in quotes, such as \"1.34\"",
        ),
        (
            "kubernetes: {version: '1.19'}",
            "5:23: kubernetes.version: '1.19' is too old; stayput knows Kubernetes 1.20 and later",
        ),
        (
            "kubernetes: {version: '1.+34'}",
            "5:23: kubernetes.version: '1.+34' is not a Kubernetes release; write one such as \"1.34\"",
        ),
        (
            "kubernetes: {version: latest}",
            "5:23: kubernetes.version: 'latest' is not a Kubernetes release; write one such as \"1.34\"",
        ),
        (
            "kubernetes: {serviceSubnet: 10.97.0.1/16}",
            "5:29: kubernetes.serviceSubnet: 10.97.0.1/16 is an address within a range; write 10.97.0.0/16",
        ),
        (
            "kubernetes: {serviceSubnet: '10.97.0.0/16,fd00::/108'}",
            "5:29: kubernetes.serviceSubnet: holds two ranges; give the first one only, kube-apiserver's own address comes from it",
        ),
        (
            "kubernetes: {serviceSubnet: 10.97.0.0/30}",
            "5:29: kubernetes.serviceSubnet: 10.97.0.0/30 is too small for Services; use 16 addresses or more",
        ),
        (
            "kubernetes: {serviceSubnet: 10.0.0.0/16}",
            "4:25: masters[0].address: 10.0.0.1 lies within kubernetes.serviceSubnet 10.0.0.0/16; give the machine's own address or the right range",
        ),
        (
            "kubernetes: {dnsDomain: k8s.internal}",
            "1:9: domain: overlaps with kubernetes.dnsDomain k8s.internal, which the cluster's own DNS answers for; choose one beside it",
        ),
        (
            "hosts: {mode: inplace}",
            "5:15: hosts.mode: 'inplace' is not a mode; use auto, rename or in-place",
        ),
        (
            "hosts: {path: etc/hosts}",
            "5:15: hosts.path: 'etc/hosts' is not an absolute path; start it with /",
        ),
        (
            "hosts: {path: /etc/../hosts}",
            "5:15: hosts.path: '/etc/../hosts' is not a plain path to a file; write it without ., .. and needless slashes",
        ),
        (
            "hosts: {path: /etc/}",
            "5:15: hosts.path: '/etc/' is not a plain path to a file; write it without ., .. and needless slashes",
        ),
        (
            "hosts: {path: \"/etc/hosts\\n10.0.0.1 evil\"}",
            "5:15: hosts.path: holds a line break or another control character; write it on one line",
        ),
        (
            "haproxy: {config: /etc/hosts}",
            "5:19: haproxy.config: /etc/hosts belongs to hosts.path by default; choose another one",
        ),
        (
            "haproxy: {config: /etc/haproxy/haproxy.cfg}",
            "5:19: haproxy.config: /etc/haproxy/haproxy.cfg belongs to the distribution; choose another file, stayput writes all of it",
        ),
        (
            "haproxy: {socket: '/run/my dir/s'}",
            "5:19: haproxy.socket: '/run/my dir/s' holds characters that HAProxy would misread; use letters, digits and / . _ - + @ ~",
        ),
        (
            "haproxy: {reload: systemctl reload haproxy}",
            "5:19: haproxy.reload: is text; write a list of a program and its arguments",
        ),
        (
            "haproxy: {reload: [systemctl, reload]}",
            "5:20: haproxy.reload[0]: 'systemctl' is not an absolute path; start it with /",
        ),
        (
            "haproxy: {reload: [/bin/x, \"a\\nb\"]}",
            "5:28: haproxy.reload[1]: holds a line break or another control character; write it on one line",
        ),
        (
            "haproxy: {user: 'root '}",
            "5:17: haproxy.user: 'root ' is not a user name; use lower-case letters, digits, _ and - (useradd(8)), or \"\" for none",
        ),
        (
            "haproxy: {fallback: 'yes'}",
            "5:21: haproxy.fallback: is text; write true or false",
        ),
        (
            "aliases: [api]",
            "5:10: aliases: is a list; write a mapping of aliases, such as {k8s.example.com: api}",
        ),
        (
            "aliases: {a.example.com: m2}",
            "5:26: aliases.a.example.com: 'm2.prod.k8s.internal' is neither the endpoint nor a master; known: api.prod.k8s.internal, m1.prod.k8s.internal",
        ),
        (
            "aliases: {old: m1, older: old}",
            "5:27: aliases.older: 'old.prod.k8s.internal' is an alias too; name what that one stands for",
        ),
        (
            "aliases: {m1: api}",
            "5:11: aliases.m1: 'm1.prod.k8s.internal' is taken by masters[0].name; each name may occur once",
        ),
        (
            "aliases: {api.prod.k8s.internal: m1}",
            "5:11: aliases.api.prod.k8s.internal: 'api.prod.k8s.internal' is taken by endpoint.name; each name may occur once",
        ),
        (
            "aliases: {A.example.com: m1, a.example.com: api}",
            "5:30: aliases.a.example.com: 'a.example.com' is taken by aliases.A.example.com; each name may occur once",
        ),
        (
            "aliases: {ns: m1}",
            "5:11: aliases.ns: 'ns.prod.k8s.internal' is the responder's own name; choose another one",
        ),
        (
            "aliases: {localhost: m1}",
            "5:11: aliases.localhost: 'localhost' has its own meaning in every hosts file; choose another name",
        ),
        (
            "aliases: {prod.k8s.internal: m1}",
            "5:11: aliases.prod.k8s.internal: 'prod.k8s.internal' is the domain itself, which cannot be an alias in DNS (RFC 1034, 3.6.2); choose a name below or beside it",
        ),
        (
            "aliases: {a_b.example.com: m1}",
            "5:11: aliases.a_b.example.com: 'a_b.example.com' is not a host name; use letters, digits and inner hyphens (RFC 1123)",
        ),
    ] {
        let found = problems(&with(more));
        if found != [want] {
            wrong.push(format!("{more}\n  said {found:?}\n  want {want:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The same for domain, endpoint and masters, which replace those of the good file.
#[test]
fn mistakes_in_names_and_masters_are_told_with_their_place() {
    let mut wrong = Vec::new();
    for (from, to, want) in [
        (
            "domain: prod.k8s.internal\n",
            "\n",
            "2:1: domain: is missing; write one such as prod.k8s.internal",
        ),
        (
            "prod.k8s.internal",
            "k8s",
            "1:9: domain: 'k8s' is a single label; write two or more, such as k8s.internal",
        ),
        (
            "prod.k8s.internal",
            "k8s.local",
            "1:9: domain: 'k8s.local' cannot be used, .local belongs to multicast DNS (RFC 6762); choose one such as prod.k8s.internal",
        ),
        (
            "prod.k8s.internal",
            "7",
            "1:9: domain: is a number; write text, in quotes if it looks like a number",
        ),
        (
            "endpoint: {name: api}\n",
            "\n",
            "1:1: endpoint.name: is missing; write a label such as api",
        ),
        (
            "{name: api}",
            "{port: 8443}",
            "2:11: endpoint.name: is missing; write a label such as api",
        ),
        (
            "{name: api}",
            "{name: api, port: 0}",
            "2:29: endpoint.port: 0 is out of range; use 1 to 65535",
        ),
        (
            "{name: api}",
            "{name: api, port: 65536}",
            "2:29: endpoint.port: 65536 is out of range; use 1 to 65535",
        ),
        (
            "{name: api}",
            "{name: api, port: '8443'}",
            "2:29: endpoint.port: is text; write a whole number from 1 to 65535",
        ),
        (
            "{name: api}",
            "{name: api.example.com}",
            "2:18: endpoint.name: 'api.example.com' is not below prod.k8s.internal; write a label such as api",
        ),
        (
            "{name: api}",
            "{name: localhost}",
            "2:18: endpoint.name: 'localhost' has its own meaning in every hosts file; choose another name",
        ),
        (
            "{name: api}",
            "{name: m1}",
            "4:12: masters[0].name: 'm1.prod.k8s.internal' is taken by endpoint.name; each name may occur once",
        ),
        (
            "masters:\n  - {name: m1, address: 10.0.0.1}\n",
            "",
            "1:1: masters: is missing; list the control-plane nodes",
        ),
        (
            "masters:\n  - {name: m1, address: 10.0.0.1}\n",
            "masters: []",
            "3:10: masters: is empty; list at least one control-plane node",
        ),
        (
            "masters:\n  - {name: m1, address: 10.0.0.1}\n",
            "masters: {m1: 10.0.0.1}",
            "3:10: masters: is a mapping; write a list of masters, such as {name: master-1, address: 10.77.0.11}",
        ),
        (
            "{name: m1, address: 10.0.0.1}",
            "m1",
            "4:5: masters[0]: is text; write a mapping of settings",
        ),
        (
            "name: m1, ",
            "",
            "4:5: masters[0].name: is missing; write a label such as master-1",
        ),
        (
            ", address: 10.0.0.1",
            "",
            "4:5: masters[0]: has no address; give exactly one of address, addresses and follow",
        ),
        (
            "address: 10.0.0.1",
            "address: 10.0.0.1, follow: a.example.com",
            "4:5: masters[0]: has address and follow; give exactly one of address, addresses and follow",
        ),
        (
            "address: 10.0.0.1",
            "addresses: []",
            "4:27: masters[0].addresses: is empty; list at least one address",
        ),
        (
            "address: 10.0.0.1",
            "addresses: [10.0.0.1, '::ffff:10.0.0.1']",
            "4:38: masters[0].addresses[1]: 10.0.0.1 is in masters[0].addresses[0] already; give each address once",
        ),
        (
            "10.0.0.1}",
            "10.0.0.1}\n  - {name: m2, address: 10.0.0.1}",
            "5:25: masters[1].address: 10.0.0.1 is in masters[0].address already; give each address once",
        ),
        (
            "10.0.0.1}",
            "10.0.0.1}\n  - {name: M1, address: 10.0.0.2}",
            "5:12: masters[1].name: 'm1.prod.k8s.internal' is taken by masters[0].name; each name may occur once",
        ),
        (
            "address: 10.0.0.1",
            "address: fe80::1",
            "4:25: masters[0].address: fe80::1 is a link-local address; a master needs an address that the other nodes reach",
        ),
        (
            "address: 10.0.0.1",
            "address: 10.0.0",
            "4:25: masters[0].address: '10.0.0' is not an IP address; write one such as 10.77.0.11 or fd77::11",
        ),
        (
            "address: 10.0.0.1",
            "follow: m1.prod.k8s.internal",
            "4:24: masters[0].follow: 'm1.prod.k8s.internal' lies in prod.k8s.internal, so the master would follow itself; follow a name that another server answers for",
        ),
        (
            "address: 10.0.0.1}",
            "follow: a.example.com}\naliases: {a.example.com: api}",
            "4:24: masters[0].follow: 'a.example.com' is aliases.a.example.com, so the master would follow itself; follow a name that another server answers for",
        ),
        (
            "address: 10.0.0.1}",
            "follow: a.example.com}\n  - {name: m2, follow: a.example.com}",
            "5:24: masters[1].follow: 'a.example.com' is followed in masters[0].follow already; follow each name once",
        ),
        (
            "address: 10.0.0.1",
            "follow: upstream",
            "4:24: masters[0].follow: 'upstream' is a single label; write the whole upstream name",
        ),
        (
            "name: m1",
            "nmae: m1, name: m1",
            "4:6: masters[0].nmae: is not a known key; did you mean 'name'?",
        ),
    ] {
        let text = with("").replacen(from, to, 1);
        let found = problems(&text);
        if found != [want] {
            wrong.push(format!("{text}\n  said {found:?}\n  want {want:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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

/// Values of every kind at keys that exist, so that random files get past the first check.
fn tree() -> impl Strategy<Value = Tree> {
    let texts = prop_oneof![
        Just("api"),
        Just("m1"),
        Just("10.0.0.1"),
        Just("fd77::1"),
        Just("127.0.0.1:53"),
        Just("/etc/hosts"),
        Just("a.example.com"),
        Just("prod.k8s.internal"),
        Just("1.34"),
        Just(""),
    ]
    .prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::Bool),
        any::<i64>().prop_map(|n| Tree::Integer(n.into())),
        (0..70_000_i128).prop_map(Tree::Integer),
        texts.prop_map(Tree::String),
        "[ -~ü\n\t]{0,12}".prop_map(Tree::String),
    ];
    let key = prop_oneof![
        Just("domain"),
        Just("endpoint"),
        Just("masters"),
        Just("aliases"),
        Just("dns"),
        Just("name"),
        Just("address"),
        Just("addresses"),
        Just("follow"),
        Just("listen"),
        Just("kubernetes"),
        Just("haproxy"),
        Just("reload"),
        Just("hosts"),
        Just("path"),
        Just("a.example.com"),
    ]
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Tree::Sequence),
            prop::collection::vec((key.clone(), inner), 0..8).prop_map(Tree::Mapping),
        ]
    })
}

/// A tree as YAML in flow style (JSON is YAML), with repeated keys kept.
fn flow(tree: &Tree) -> String {
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    match tree {
        Tree::Null => "null".into(),
        Tree::Bool(value) => value.to_string(),
        Tree::Integer(value) => value.to_string(),
        Tree::Float(value) => format!("{value:?}"),
        Tree::String(text) => quoted(text),
        Tree::Sequence(items) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        Tree::Mapping(entries) => {
            let entry = |(key, value): &(String, Tree)| format!("{}: {}", quoted(key), flow(value));
            let entries: Vec<String> = entries.iter().map(entry).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

proptest! {
    #[test]
    fn random_text_never_panics(text in "\\PC{0,200}|[-{}\\[\\]:,#&*!|>'\"%@` \n\ta-z0-9]{0,120}") {
        let _ = parse(&text);
        let _ = NodeSettings::parse(&text, Path::new("F"));
    }

    #[test]
    fn a_random_tree_is_good_or_every_problem_has_its_place(tree in tree()) {
        let text = flow(&tree);
        prop_assert_eq!(crate::yaml::parse(&text).unwrap(), tree.clone());
        if let Err(problems) = parse(&text) {
            prop_assert!(problems.iter().count() > 0);
            for problem in &problems {
                prop_assert!(matches!(problem.location, Some(Location { line: 1, .. })), "{} in {}", problem, text);
                prop_assert!(!problem.to_string().contains('\n'));
            }
        }
    }

    /// What is wrong in one master is told at its line, wherever it stands.
    #[test]
    fn the_line_is_the_mistake_s(before in 0_usize..20, after in 0_usize..20) {
        let mut text = String::from("domain: a.internal\nendpoint: {name: api}\nmasters:\n");
        for n in 0..before {
            writeln!(text, "  - name: m{n}\n    address: 10.1.0.{n}").unwrap();
        }
        writeln!(text, "  - name: bad\n    address: 10.1.0.300").unwrap();
        for n in 0..after {
            writeln!(text, "  - name: n{n}\n    address: 10.2.0.{n}").unwrap();
        }
        let line = 3 + 2 * before + 2;
        let want = format!("{line}:14: masters[{before}].address: '10.1.0.300' is not");
        let found = problems(&text);
        prop_assert_eq!(found.len(), 1);
        prop_assert!(found[0].starts_with(&want), "{:?}", found);
    }
}
