//! A cluster for tests.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::book::{Book, Origin, Record};
use crate::config::cluster::{
    Cluster, Dns, Endpoint, Haproxy, Hosts, HostsMode, Kubernetes, Master,
};
use crate::config::node::{Node, Role, Selection};
use crate::name::Name;
use crate::view::View;

pub(super) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// A cluster `k8s.internal` with these masters (short names) and aliases (full names).
pub(super) fn view(masters: &[(&str, &[&str])], aliases: &[(&str, &str)]) -> View {
    let domain = name("k8s.internal");
    let full = |short: &str| name(short).below(&domain).unwrap();
    let addresses =
        |list: &[&str]| -> Vec<IpAddr> { list.iter().map(|a| a.parse().unwrap()).collect() };
    let record = |list: &[&str]| Record {
        addresses: addresses(list),
        version: 1,
        origin: Origin::ClusterFile,
    };
    let records = masters
        .iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(short, list)| (full(short), record(list)));
    let book = Book {
        generation: 1,
        records: records.collect(),
        said: BTreeMap::new(),
    };
    let masters = masters.iter().map(|(short, list)| Master {
        name: full(short),
        addresses: addresses(list),
        follow: None,
    });
    let cluster = Cluster {
        endpoint: Endpoint {
            name: full("api"),
            port: 8443,
        },
        masters: masters.collect(),
        aliases: aliases
            .iter()
            .map(|(alias, to)| (name(alias), full(to)))
            .collect(),
        kubernetes: Kubernetes {
            minor: 34,
            service_subnet: "10.96.0.0/12".parse().unwrap(),
            dns_domain: name("cluster.local"),
            api_port: 6443,
        },
        dns: Dns {
            listen: Vec::new(),
            ttl: 5,
            upstream: Vec::new(),
        },
        hosts: Hosts {
            path: "/etc/hosts".into(),
            mode: HostsMode::Auto,
        },
        haproxy: Haproxy {
            config: "/var/lib/stayput/haproxy.cfg".into(),
            socket: "/run/stayput/haproxy.sock".into(),
            reload: Vec::new(),
            binary: "/usr/sbin/haproxy".into(),
            user: None,
            fallback: false,
            stats: "127.0.0.1:8405".parse().unwrap(),
        },
        domain,
    };
    let node = Node {
        role: Role::Worker,
        kubernetes_name: name("worker"),
        selection: Selection::DefaultRoute,
    };
    View {
        cluster: Arc::new(cluster),
        node: Arc::new(node),
        book: Arc::new(book),
        provisioned: false,
    }
}

/// Three masters at these last octets of 10.77.0.0/24, as in the examples.
pub(super) fn three(octets: [u8; 3]) -> View {
    let [a, b, c] = octets.map(|octet| format!("10.77.0.{octet}"));
    view(
        &[
            ("master-1", &[&a]),
            ("master-2", &[&b]),
            ("master-3", &[&c]),
        ],
        &[("k8s.example.com", "api"), ("old.k8s.internal", "master-1")],
    )
}
