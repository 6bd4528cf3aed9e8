//! A cluster to ask about, and what its messages are made of.
#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::allow_attributes,
    reason = "tests"
)]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use stayput::book::{Book, Event, Origin, Record, reduce};
use stayput::config::cluster::{
    Cluster, Dns, Endpoint, Haproxy, Hosts, HostsMode, Kubernetes, Master,
};
use stayput::config::node::{Node, Role, Selection};
use stayput::name::Name;
use stayput::surface::dns::Zone;
use stayput::view::View;

pub(crate) const DOMAIN: &str = "k8s.internal";
pub(crate) const TTL: u32 = 5;

pub(crate) fn name(relative: &str) -> Name {
    Name::parse(&format!("{relative}.{DOMAIN}")).unwrap()
}

/// Masters by relative name with their addresses, aliases by full name with relative targets.
pub(crate) fn view(masters: &[(&str, &[&str])], aliases: &[(&str, &str)]) -> View {
    let masters: Vec<(Name, Vec<IpAddr>)> = masters
        .iter()
        .map(|(relative, addresses)| {
            let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
            (name(relative), addresses)
        })
        .collect();
    let aliases = aliases
        .iter()
        .map(|(alias, target)| (Name::parse(alias).unwrap(), name(target)))
        .collect();
    let cluster = Cluster {
        domain: Name::parse(DOMAIN).unwrap(),
        endpoint: Endpoint {
            name: name("api"),
            port: 8443,
        },
        masters: masters
            .iter()
            .map(|(name, addresses)| Master {
                name: name.clone(),
                addresses: addresses.clone(),
                follow: None,
            })
            .collect(),
        aliases,
        kubernetes: Kubernetes {
            minor: 34,
            service_subnet: "10.96.0.0/12".parse().unwrap(),
            dns_domain: Name::parse("cluster.local").unwrap(),
            api_port: 6443,
        },
        dns: Dns {
            listen: vec![],
            ttl: TTL,
            upstream: vec![],
        },
        hosts: Hosts {
            path: "/etc/hosts".into(),
            mode: HostsMode::Auto,
        },
        haproxy: Haproxy {
            config: "/var/lib/stayput/haproxy.cfg".into(),
            socket: "/run/stayput/haproxy.sock".into(),
            reload: vec![],
            binary: "/usr/sbin/haproxy".into(),
            user: None,
            fallback: false,
            stats: SocketAddr::from(([127, 0, 0, 1], 8404)),
        },
    };
    let records = masters
        .into_iter()
        .filter(|(_, addresses)| !addresses.is_empty())
        .map(|(name, addresses)| {
            let origin = Origin::ClusterFile;
            (
                name,
                Record {
                    addresses,
                    version: 1,
                    origin,
                },
            )
        })
        .collect();
    let book = Book {
        generation: 1_764_000_000,
        records,
        said: BTreeMap::new(),
    };
    View {
        cluster: Arc::new(cluster),
        node: Arc::new(Node {
            role: Role::Worker,
            kubernetes_name: Name::parse("worker-1").unwrap(),
            selection: Selection::DefaultRoute,
        }),
        book: Arc::new(book),
        provisioned: false,
    }
}

/// The cluster that most tests ask about. `master-4` follows a name whose addresses are not known;
/// `a.rack.` makes `rack.` an empty non-terminal.
pub(crate) fn cluster() -> View {
    view(
        &[
            ("master-1", &["10.77.0.11"]),
            ("master-2", &["10.77.0.12", "fd77::12"]),
            ("a.rack", &["10.77.0.13"]),
            ("master-4", &[]),
        ],
        &[
            ("old-name.k8s.internal", "master-2"),
            ("kube.k8s.internal", "api"),
            ("nowhere.k8s.internal", "master-4"),
            ("k8s.example.com", "api"),
        ],
    )
}

/// The same view after a master has moved.
pub(crate) fn moved(view: &View, master: &str, to: &[&str]) -> View {
    let event = Event::Told {
        name: name(master),
        addresses: to.iter().map(|a| a.parse().unwrap()).collect(),
    };
    let book = reduce(&view.book, &event, 0).unwrap();
    View {
        book: Arc::new(book),
        ..view.clone()
    }
}

/// A master with so many addresses that no datagram holds them.
pub(crate) fn crowd() -> Zone {
    let addresses: Vec<String> = (0..250).map(|i| format!("10.1.2.{i}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    Zone::new(&view(&[("crowd", &addresses)], &[]))
}

/// A loopback address that no other test of this machine uses, with an unprivileged port: all of
/// 127.0.0.0/8 is the machine itself.
pub(crate) fn loopback() -> SocketAddr {
    use std::sync::atomic::{AtomicU8, Ordering};
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let host = NEXT.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from(([127, high, low, host], 5300))
}
