//! The section `peers`, and its mistakes in their exact words.

use std::path::Path;

use super::{parse, problems, with};
use crate::address::Loopback;
use crate::config::Cluster;
use crate::config::peers::{Host, MOST, Mode, Peers};

#[test]
fn without_the_section_nodes_speak_at_8442_on_all_addresses() {
    for more in ["", "peers:", "peers: {}", "peers: {mode: auto, port: 8442}"] {
        let peers = parse(&with(more)).unwrap().peers;
        assert_eq!(peers, Peers::default(), "{more}");
    }
    let peers = Peers::default();
    assert_eq!((peers.mode, peers.port), (Mode::Auto, 8442));
    assert!(peers.multicast && peers.listen.is_empty() && peers.seeds.is_empty());
}

#[test]
fn a_full_section_has_what_it_says() {
    let text = "
peers:
  mode: off
  port: 9442
  listen: [10.0.0.1, '::ffff:10.0.0.2', 'fd77::1']
  multicast: false
  seeds: [Peers.example.com, 'peers.example.com:9000', 10.0.0.7, 'fd77::7', '10.0.0.7:1', '[fd77::7]:65535', '[::ffff:10.0.0.8]:2']
";
    let peers = parse(&with(text)).unwrap().peers;
    assert_eq!((peers.mode, peers.port), (Mode::Off, 9442));
    assert!(!peers.multicast);
    let listen: Vec<String> = peers.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["10.0.0.1", "10.0.0.2", "fd77::1"]);
    let seeds: Vec<String> = peers.seeds.iter().map(ToString::to_string).collect();
    assert_eq!(
        seeds,
        [
            "peers.example.com:9442",
            "peers.example.com:9000",
            "10.0.0.7:9442",
            "[fd77::7]:9442",
            "10.0.0.7:1",
            "[fd77::7]:65535",
            "10.0.0.8:2",
        ]
    );
    assert!(
        matches!(&peers.seeds[0].host, Host::Name(name) if name.as_str() == "peers.example.com")
    );
    assert!(matches!(peers.seeds[3].host, Host::Address(address) if address.is_ipv6()));
    let all = parse(&with("peers: {listen: all}")).unwrap().peers;
    assert_eq!(all, Peers::default());
}

/// What listens nowhere can be anybody's, and different addresses of a port are different things.
#[test]
fn a_port_is_claimed_where_it_is_listened_on() {
    for (more, want) in [
        (
            "kubernetes: {apiPort: 8442}",
            "5:23: kubernetes.apiPort: port 8442 (0.0.0.0:8442) belongs to peers.port by default; choose another one",
        ),
        (
            "peers: {port: 8443}",
            "5:15: peers.port: port 8443 (0.0.0.0:8443) belongs to endpoint.port by default; choose another one",
        ),
        (
            "peers: {port: 6443}",
            "5:15: peers.port: port 6443 (0.0.0.0:6443) belongs to kubernetes.apiPort by default; choose another one",
        ),
        (
            "peers: {port: 1053}",
            "5:15: peers.port: port 1053 (0.0.0.0:1053) belongs to dns.listen by default; choose another one",
        ),
        (
            "peers: {port: 8404}",
            "5:15: peers.port: port 8404 (0.0.0.0:8404) belongs to haproxy.stats by default; choose another one",
        ),
        (
            "dns: {listen: ['127.0.0.1:8442']}",
            "5:16: dns.listen[0]: port 8442 (0.0.0.0:8442) belongs to peers.port by default; choose another one",
        ),
        (
            "dns: {listen: ['127.0.0.1:8442']}\npeers: {listen: [10.0.0.1]}",
            "",
        ),
        ("peers: {port: 8443, listen: [10.0.0.1]}", ""),
        (
            "peers: {port: 6443, listen: [10.0.0.1]}",
            "5:15: peers.port: port 6443 (10.0.0.1:6443) belongs to kubernetes.apiPort by default; choose another one",
        ),
        ("peers: {port: 6443, mode: off}", ""),
        ("kubernetes: {apiPort: 8442}\npeers: {mode: off}", ""),
    ] {
        assert_eq!(problems(&with(more)).join("\n"), want, "{more}");
    }
}

#[test]
fn seeds_and_listeners_of_a_sandbox_may_be_on_loopback() {
    let text = with("peers: {listen: [127.77.0.1], seeds: ['127.77.0.2:9', 127.77.0.3]}")
        .replace("10.0.0.1", "127.77.0.1");
    let cluster = Cluster::parse(&text, Path::new("F"), Loopback::Allowed).unwrap();
    assert_eq!(
        (cluster.peers.listen.len(), cluster.peers.seeds.len()),
        (1, 2)
    );
}

#[test]
fn there_are_few_seeds() {
    let seeds = |count: usize| {
        let seeds: Vec<String> = (1..=count).map(|n| format!("10.9.0.{n}")).collect();
        with(&format!("peers: {{seeds: [{}]}}", seeds.join(", ")))
    };
    assert_eq!(parse(&seeds(MOST)).unwrap().peers.seeds.len(), MOST);
    assert_eq!(
        problems(&seeds(MOST + 1)),
        ["5:16: peers.seeds: has 17 entries; give 16 at most"]
    );
}

#[test]
fn each_mistake_is_told_with_its_place() {
    let mut wrong = Vec::new();
    for (inner, want) in MISTAKES {
        let found = problems(&with(&format!("peers: {{{inner}}}")));
        if found != [*want] {
            wrong.push(format!("{inner}\n  said {found:?}\n  want {want:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What stands within `peers: {…}`, and all that is said about it.
const MISTAKES: &[(&str, &str)] = &[
    (
        "ports: 1",
        "5:9: peers.ports: is not a known key; did you mean 'port'?",
    ),
    (
        "mode: on",
        "5:15: peers.mode: 'on' is not a mode; use auto or off",
    ),
    (
        "mode: true",
        "5:15: peers.mode: is true or false; write text, in quotes if it looks like true or false",
    ),
    (
        "port: 0",
        "5:15: peers.port: 0 is out of range; use 1 to 65535",
    ),
    (
        "port: 65536",
        "5:15: peers.port: 65536 is out of range; use 1 to 65535",
    ),
    (
        "port: '8442'",
        "5:15: peers.port: is text; write a whole number from 1 to 65535",
    ),
    (
        "listen: 10.0.0.1",
        "5:17: peers.listen: '10.0.0.1' is not known; write all, or a list of addresses",
    ),
    (
        "listen: []",
        "5:17: peers.listen: is empty; write all, or give at least one",
    ),
    (
        "listen: [0.0.0.0]",
        "5:18: peers.listen[0]: 0.0.0.0 is not an address that others reach a node at; write all, or such addresses",
    ),
    (
        "listen: [127.0.0.1]",
        "5:18: peers.listen[0]: 127.0.0.1 is not an address that others reach a node at; write all, or such addresses",
    ),
    (
        "listen: [eth0]",
        "5:18: peers.listen[0]: 'eth0' is not an IP address; write one such as 10.77.0.11 or fd77::11",
    ),
    (
        "listen: [10.0.0.1, '::ffff:10.0.0.1']",
        "5:28: peers.listen[1]: is given twice; keep one",
    ),
    (
        "multicast: 'no'",
        "5:20: peers.multicast: is text; write true or false",
    ),
    (
        "seeds: peers.example.com",
        "5:16: peers.seeds: is text; write a list of names and addresses, such as [peers.example.com, \"10.77.0.11:8442\"]",
    ),
    (
        "seeds: [peers]",
        "5:17: peers.seeds[0]: 'peers' is a single label; write the whole upstream name",
    ),
    (
        "seeds: [m1.prod.k8s.internal]",
        "5:17: peers.seeds[0]: 'm1.prod.k8s.internal' lies in prod.k8s.internal, which no other server answers for; give an upstream name or an address",
    ),
    (
        "seeds: [a_b.example.com]",
        "5:17: peers.seeds[0]: 'a_b.example.com' is not a host name; use letters, digits and inner hyphens (RFC 1123)",
    ),
    (
        "seeds: ['a.example.com:0']",
        "5:17: peers.seeds[0]: 'a.example.com:0' has no port from 1 to 65535 behind its colon; write one such as peers.example.com:8442 or [fd77::11]:8442",
    ),
    (
        "seeds: ['a.example.com:+1']",
        "5:17: peers.seeds[0]: 'a.example.com:+1' has no port from 1 to 65535 behind its colon; write one such as peers.example.com:8442 or [fd77::11]:8442",
    ),
    (
        "seeds: ['a.example.com:65536']",
        "5:17: peers.seeds[0]: 'a.example.com:65536' has no port from 1 to 65535 behind its colon; write one such as peers.example.com:8442 or [fd77::11]:8442",
    ),
    (
        "seeds: ['10.0.0.7:0']",
        "5:17: peers.seeds[0]: '10.0.0.7:0' has no port from 1 to 65535 behind its colon; write one such as peers.example.com:8442 or [fd77::11]:8442",
    ),
    (
        "seeds: ['[fd77::7]']",
        "5:17: peers.seeds[0]: '[fd77::7]' has no port from 1 to 65535 behind its colon; write one such as peers.example.com:8442 or [fd77::11]:8442",
    ),
    (
        "seeds: [127.0.0.1]",
        "5:17: peers.seeds[0]: 127.0.0.1 is not an address of another machine; give one that this node can reach, or an upstream name",
    ),
    (
        "seeds: ['[ff02::1]:8442']",
        "5:17: peers.seeds[0]: ff02::1 is not an address of another machine; give one that this node can reach, or an upstream name",
    ),
    (
        "seeds: [10.0.0.7, '10.0.0.7:8442']",
        "5:27: peers.seeds[1]: is given twice; keep one",
    ),
];

#[test]
fn figures_are_shown_on_loopback_and_only_when_asked_for() {
    let metrics = |more: &str| {
        parse(&with(&format!("peers: {{{more}}}")))
            .unwrap()
            .peers
            .metrics
    };
    assert_eq!(metrics(""), None);
    assert_eq!(metrics("metrics: off"), None);
    let all = [
        ("'127.0.0.1:9442'", "127.0.0.1:9442"),
        ("'[::1]:1'", "[::1]:1"),
    ];
    for (text, want) in all {
        assert_eq!(
            metrics(&format!("metrics: {text}")),
            Some(want.parse().unwrap())
        );
    }
    for (more, want) in [
        (
            "metrics: '10.0.0.1:9442'",
            "5:18: peers.metrics: 10.0.0.1 can be reached from outside; use loopback, such as 127.0.0.1:9442",
        ),
        (
            "metrics: 127.0.0.1",
            "5:18: peers.metrics: '127.0.0.1' has no port; write 127.0.0.1:PORT",
        ),
        (
            "metrics: '127.0.0.1:8442'",
            "5:18: peers.metrics: port 8442 (127.0.0.1:8442) belongs to peers.port by default; choose another one",
        ),
        (
            "metrics: '127.0.0.1:8404'",
            "5:18: peers.metrics: port 8404 (127.0.0.1:8404) belongs to haproxy.stats by default; choose another one",
        ),
        ("mode: off, metrics: '127.0.0.1:8404'", ""),
    ] {
        let more = format!("peers: {{{more}}}");
        assert_eq!(problems(&with(&more)).join("\n"), want, "{more}");
    }
}
