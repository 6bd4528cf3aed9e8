//! What a node is to have: its own stable address, and a way to each master's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::config::cluster::Master;
use crate::config::routes::Routes;
use crate::name::Name;
use crate::view::View;

/// What is to be there, and nothing else of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The route protocol number that marks what is ours.
    pub protocol: u8,
    /// This node's own, on loopback: its stable one, and its old one while it is rescued.
    pub addresses: BTreeSet<IpAddr>,
    /// Host routes by destination.
    pub routes: BTreeMap<IpAddr, Way>,
    /// This node's own address where the book has it, to tell by which link others come.
    pub current: Vec<IpAddr>,
    /// What cannot be, one line each; the rest is done.
    pub troubles: Vec<String>,
    /// What an operator should know, one line each.
    pub notices: Vec<String>,
}

/// How a destination is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The master, for people.
    pub master: String,
    /// Its current address; the destination itself where that has not changed, and only the source is
    /// to be another.
    pub via: IpAddr,
    /// This node's address of the same kind and family, stable or old: a server that checks the
    /// sender's address against a certificate, as etcd does, then sees the right one.
    pub source: Option<IpAddr>,
}

impl Wanted {
    /// Nothing at all: everything of ours goes.
    pub fn nothing(protocol: u8) -> Self {
        Self {
            protocol,
            addresses: BTreeSet::new(),
            routes: BTreeMap::new(),
            current: Vec::new(),
            troubles: Vec::new(),
            notices: Vec::new(),
        }
    }
}

/// What a view means for this node's kernel.
pub fn wanted(view: &View) -> Wanted {
    let routes = &view.cluster.routes;
    let mut wanted = Wanted::nothing(routes.protocol);
    if !routes.in_force() {
        return wanted;
    }
    wanted.notices.extend(rescue_in_force(routes));
    let own = view
        .node
        .master()
        .and_then(|name| view.cluster.master(name));
    if let Some(own) = own {
        for kept in routes.kept(own) {
            wanted.current = view.book.addresses(&own.name).to_vec();
            match holder(view, kept, &own.name) {
                Some(other) => wanted.troubles.push(taken(kept, own, other)),
                None => drop(wanted.addresses.insert(kept)),
            }
        }
    }
    let there = |address: Option<IpAddr>| address.filter(|it| wanted.addresses.contains(it));
    let stable = there(own.and_then(|own| routes.stable(own)));
    let rescued = there(own.and_then(|own| routes.rescued(own)));
    for master in view.cluster.masters.iter().filter(|it| own != Some(*it)) {
        if let Some(destination) = routes.stable(master) {
            way(view, master, destination, stable, &mut wanted);
        }
        let old = routes.rescued(master).or_else(|| {
            // It has not moved; this master has, and is known to it by the old address only.
            rescued.and_then(|rescued| beside(view, master, rescued))
        });
        if let Some(destination) = old {
            way(view, master, destination, rescued, &mut wanted);
        }
    }
    wanted
}

/// That a rescue is in force, for people; `None` where none is.
pub fn rescue_in_force(routes: &Routes) -> Option<String> {
    let given = routes.rescue.iter();
    let given: Vec<String> = given
        .map(|(name, old)| format!("{}={old}", name.label()))
        .collect();
    let line = || {
        format!(
            "a rescue is in force: {}; `stayput kubeadm rescue --end` ends it",
            given.join(" ")
        )
    };
    (!given.is_empty()).then(line)
}

/// A master's current address of the same family.
fn beside(view: &View, master: &Master, other: IpAddr) -> Option<IpAddr> {
    let mut current = view.book.addresses(&master.name).iter();
    current.find(|it| it.is_ipv6() == other.is_ipv6()).copied()
}

/// Adds the way to an address of another master.
fn way(
    view: &View,
    master: &Master,
    destination: IpAddr,
    source: Option<IpAddr>,
    wanted: &mut Wanted,
) {
    let label = master.name.label();
    let Some(via) = beside(view, master, destination) else {
        let family = if destination.is_ipv6() {
            "IPv6"
        } else {
            "IPv4"
        };
        wanted.notices.push(format!(
            "{label} has no known {family} address, so there is no way to its {destination}; tell where it is with `stayput event {label} ADDRESS`"
        ));
        return;
    };
    let source = source.filter(|source| source.is_ipv6() == destination.is_ipv6());
    if let Some(other) = holder(view, destination, &master.name) {
        wanted.troubles.push(taken(destination, master, other));
        return;
    }
    let unmoved = source.is_some_and(|source| wanted.current.contains(&source));
    if via == destination && (source.is_none() || unmoved) {
        return;
    }
    let master = label.to_owned();
    let way = Way {
        master,
        via,
        source,
    };
    wanted.routes.insert(destination, way);
}

/// Another master that has this address now.
fn holder<'a>(view: &'a View, address: IpAddr, but: &Name) -> Option<&'a Name> {
    let masters = view.cluster.masters.iter().map(|master| &master.name);
    let mut others = masters.filter(|name| *name != but);
    others.find(|name| view.book.addresses(name).contains(&address))
}

fn taken(address: IpAddr, master: &Master, holder: &Name) -> String {
    format!(
        "{address} cannot be kept for {}: it is where {} is now, and whoever sends to it means that one",
        master.name.label(),
        holder.label()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::{Book, Event, reduce};
    use crate::config::node::{Node, Role, Selection};
    use crate::sample;

    const STABLE: &str = "\
domain: k8s.internal
endpoint: {name: api}
masters:
  - {name: m1, addresses: [10.77.0.11, 'fd77::11'], stable: 10.254.0.1}
  - {name: m2, address: 10.77.0.12, stable: 10.254.0.2}
  - {name: m3, follow: m3.example.com, stable: 10.254.0.3}
routes: {mode: direct}
";
    const PLAIN: &str = "\
domain: k8s.internal
endpoint: {name: api}
masters:
  - {name: m1, address: 10.77.0.111}
  - {name: m2, address: 10.77.0.112}
  - {name: m3, address: 10.77.0.13}
";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn name(label: &str) -> Name {
        Name::parse(&format!("{label}.k8s.internal")).unwrap()
    }

    /// A node's view; `rescue` and `moved` are pairs of a label and an address.
    fn view(file: &str, node: &str, rescue: &[(&str, &str)], moved: &[(&str, &str)]) -> View {
        let mut cluster = crate::config::Cluster::clone(&sample::parse(file));
        let rescue = rescue.iter().map(|(label, old)| (name(label), ip(old)));
        cluster.routes.rescue = rescue.collect();
        let mut book = reduce(&Book::default(), &crate::engine::declared(&cluster), 1).unwrap();
        for (label, at) in moved {
            let told = Event::Told {
                name: name(label),
                addresses: vec![ip(at)],
            };
            book = reduce(&book, &told, 2).unwrap();
        }
        let role = match cluster.master(&name(node)) {
            Some(master) => Role::Master(master.name.clone()),
            None => Role::Worker,
        };
        View {
            cluster: cluster.into(),
            node: std::sync::Arc::new(Node {
                role,
                kubernetes_name: Name::parse(node).unwrap(),
                selection: Selection::DefaultRoute,
            }),
            book: book.into(),
            provisioned: false,
        }
    }

    /// `destination via current src own`, as `ip route` prints it.
    fn lines(wanted: &Wanted) -> Vec<String> {
        let address = wanted.addresses.iter().map(|it| format!("{it} on lo"));
        let routes = wanted.routes.iter().map(|(to, way)| {
            let source = way
                .source
                .map_or_else(String::new, |it| format!(" src {it}"));
            format!("{to} via {}{source}", way.via)
        });
        address.chain(routes).collect()
    }

    #[test]
    fn each_node_has_its_own_address_and_a_way_to_the_others() {
        for (node, want) in [
            (
                "m1",
                &[
                    "10.254.0.1 on lo",
                    "10.254.0.2 via 10.77.0.12 src 10.254.0.1",
                ][..],
            ),
            (
                "m2",
                &[
                    "10.254.0.2 on lo",
                    "10.254.0.1 via 10.77.0.11 src 10.254.0.2",
                ],
            ),
            (
                "worker",
                &["10.254.0.1 via 10.77.0.11", "10.254.0.2 via 10.77.0.12"],
            ),
        ] {
            let wanted = wanted(&view(STABLE, node, &[], &[]));
            assert_eq!(lines(&wanted), want, "{node}");
            assert_eq!(wanted.troubles, [""; 0]);
            let [notice] = &wanted.notices[..] else {
                panic!("{:?}", wanted.notices)
            };
            assert!(
                notice.starts_with("m3 has no known IPv4 address"),
                "{notice}"
            );
        }
        let moved = wanted(&view(
            STABLE,
            "worker",
            &[],
            &[("m1", "10.77.0.200"), ("m3", "10.77.0.13")],
        ));
        assert_eq!(moved.notices, [""; 0]);
        assert_eq!(
            lines(&moved),
            [
                "10.254.0.1 via 10.77.0.200",
                "10.254.0.2 via 10.77.0.12",
                "10.254.0.3 via 10.77.0.13"
            ]
        );
    }

    #[test]
    fn off_is_nothing() {
        let off = STABLE.replace("direct", "off");
        assert_eq!(wanted(&view(&off, "m1", &[], &[])), Wanted::nothing(145));
    }

    #[test]
    fn a_rescue_gives_old_addresses_whatever_the_file_says() {
        let rescue = [("m1", "10.77.0.11"), ("m2", "10.77.0.12")];
        for (node, want) in [
            // m3 has not moved, and knows m1 by its old address only.
            (
                "m1",
                &[
                    "10.77.0.11 on lo",
                    "10.77.0.12 via 10.77.0.112 src 10.77.0.11",
                    "10.77.0.13 via 10.77.0.13 src 10.77.0.11",
                ][..],
            ),
            (
                "m3",
                &["10.77.0.11 via 10.77.0.111", "10.77.0.12 via 10.77.0.112"],
            ),
            (
                "worker",
                &["10.77.0.11 via 10.77.0.111", "10.77.0.12 via 10.77.0.112"],
            ),
        ] {
            let wanted = wanted(&view(PLAIN, node, &rescue, &[]));
            assert_eq!(lines(&wanted), want, "{node}");
            assert!(
                wanted.notices[0].starts_with("a rescue is in force: m1=10.77.0.11 m2=10.77.0.12")
            );
        }
        let wanted = wanted(&view(STABLE, "worker", &[("m1", "10.77.0.99")], &[]));
        assert_eq!(
            lines(&wanted)[0],
            "10.77.0.99 via 10.77.0.11",
            "beside `stable`"
        );
    }

    #[test]
    fn a_rescue_leaves_stable_addresses_where_they_are() {
        // m2 has not moved, and knows m1 by its old address only.
        let rescue = [("m1", "10.77.0.99")];
        for (node, want) in [
            (
                "m1",
                &[
                    "10.77.0.99 on lo",
                    "10.254.0.1 on lo",
                    "10.77.0.12 via 10.77.0.12 src 10.77.0.99",
                    "10.254.0.2 via 10.77.0.12 src 10.254.0.1",
                ][..],
            ),
            (
                "m2",
                &[
                    "10.254.0.2 on lo",
                    "10.77.0.99 via 10.77.0.11",
                    "10.254.0.1 via 10.77.0.11 src 10.254.0.2",
                ],
            ),
            (
                "worker",
                &[
                    "10.77.0.99 via 10.77.0.11",
                    "10.254.0.1 via 10.77.0.11",
                    "10.254.0.2 via 10.77.0.12",
                ],
            ),
        ] {
            let wanted = wanted(&view(STABLE, node, &rescue, &[]));
            assert_eq!(lines(&wanted), want, "{node}");
            assert_eq!(wanted.troubles, [""; 0]);
        }
        let both = [("m1", "10.77.0.99"), ("m2", "10.77.0.98")];
        let m1 = wanted(&view(STABLE, "m1", &both, &[]));
        assert_eq!(
            lines(&m1)[2..],
            [
                "10.77.0.98 via 10.77.0.12 src 10.77.0.99",
                "10.254.0.2 via 10.77.0.12 src 10.254.0.1",
            ]
        );
    }

    #[test]
    fn who_is_back_at_its_old_address_needs_no_way() {
        let rescue = [("m1", "10.77.0.111"), ("m2", "10.77.0.12")];
        let worker = wanted(&view(PLAIN, "worker", &rescue, &[]));
        assert_eq!(lines(&worker), ["10.77.0.12 via 10.77.0.112"]);
        // Its own is still to be somewhere on it, and it sends from there anyway.
        let m1 = wanted(&view(PLAIN, "m1", &rescue, &[]));
        assert_eq!(
            lines(&m1),
            [
                "10.77.0.111 on lo",
                "10.77.0.12 via 10.77.0.112 src 10.77.0.111"
            ]
        );
    }

    #[test]
    fn an_address_that_another_master_has_now_is_a_trouble_and_the_rest_is_done() {
        let swapped = [("m1", "10.77.0.112"), ("m2", "10.77.0.12")];
        for (node, lines_want) in [
            ("m1", &["10.77.0.12 via 10.77.0.112"][..]),
            ("worker", &["10.77.0.12 via 10.77.0.112"]),
        ] {
            let wanted = wanted(&view(PLAIN, node, &swapped, &[]));
            assert_eq!(lines(&wanted), lines_want, "{node}");
            assert_eq!(
                wanted.troubles,
                [
                    "10.77.0.112 cannot be kept for m1: it is where m2 is now, and whoever sends to it means that one"
                ]
            );
        }
    }
}
