use super::*;
use proptest::prelude::*;

/// A snapshot from lines like those of ip(8): `link eth0 [KIND] [down]`, `eth0 10.0.0.1/24
/// FLAG...` and `default eth0 [via R] [src A] [metric N] [onlink]`. Addresses are permanent
/// unless `dynamic`.
fn snapshot(lines: &[&str]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let has = |word| words.contains(&word);
        let after = |word| {
            let at = words.iter().position(|w| *w == word)?;
            words.get(at + 1).copied()
        };
        match words[0] {
            "link" => snapshot.links.push(Link {
                index: u32::try_from(snapshot.links.len()).unwrap() + 1,
                name: words[1].to_owned(),
                kind: words
                    .get(2)
                    .filter(|w| **w != "down")
                    .map(ToString::to_string),
                up: !has("down"),
                loopback: words[1] == "lo",
            }),
            "default" => snapshot.routes.push(DefaultRoute {
                index: index(&snapshot, words[1]),
                ipv6: after("via").is_some_and(|v| v.contains(':')),
                metric: after("metric").map_or(0, |m| m.parse().unwrap()),
                source: after("src").map(|s| s.parse().unwrap()),
                gateway: after("via").map(|s| s.parse().unwrap()),
                onlink: has("onlink"),
            }),
            link => {
                let net: IpNet = words[1].parse().unwrap();
                let mut flags = AddressFlags::Permanent;
                for word in &words[2..] {
                    match *word {
                        "dynamic" => flags.remove(AddressFlags::Permanent),
                        "secondary" | "temporary" => flags |= AddressFlags::Secondary,
                        "tentative" => flags |= AddressFlags::Tentative,
                        "dadfailed" => flags |= AddressFlags::Dadfailed,
                        "deprecated" => flags |= AddressFlags::Deprecated,
                        "host" | "link" => {}
                        other => panic!("{other}"),
                    }
                }
                snapshot.addresses.push(Address {
                    index: index(&snapshot, link),
                    address: net.addr(),
                    prefix: net.prefix_len(),
                    scope: match words.last() {
                        Some(&"host") => AddressScope::Host,
                        Some(&"link") => AddressScope::Link,
                        _ => AddressScope::Universe,
                    },
                    flags,
                });
            }
        }
    }
    snapshot
}

fn index(snapshot: &Snapshot, name: &str) -> u32 {
    snapshot
        .links
        .iter()
        .find(|l| l.name == name)
        .unwrap()
        .index
}

fn selection_of(text: &str) -> Selection {
    match text {
        "default" => Selection::DefaultRoute,
        range if range.contains('/') => Selection::Within(range.parse().unwrap()),
        name => Selection::Interface(name.to_owned()),
    }
}

fn choose(lines: &[&str], selection: &str, known: &str) -> String {
    let selection = selection_of(selection);
    let known: Vec<IpAddr> = known
        .split_whitespace()
        .map(|k| k.parse().unwrap())
        .collect();
    let chosen = select(&snapshot(lines), &selection, &known);
    let chosen: Vec<String> = chosen.iter().map(ToString::to_string).collect();
    chosen.join(" ")
}

const LO: [&str; 3] = ["link lo", "lo 127.0.0.1/8 host", "lo ::1/128 host"];

/// What it shows, the node, the selection, what the book knows, what is announced.
type Case = (
    &'static str,
    &'static [&'static str],
    &'static str,
    &'static str,
    &'static str,
);

const CASES: &[Case] = &[
    (
        "the plain case, nothing known yet",
        &[
            "link eth0",
            "eth0 10.77.0.11/24",
            "eth0 fd77::11/64",
            "eth0 fe80::1/64 link",
            "default eth0 via 10.77.0.1",
        ],
        "default",
        "",
        "10.77.0.11",
    ),
    (
        "an IPv6-only node, nothing known yet",
        &["link eth0", "eth0 fd77::11/64", "default eth0 via fe80::9"],
        "default",
        "",
        "fd77::11",
    ),
    (
        "both families are kept up, in the book's order",
        &[
            "link eth0",
            "eth0 10.77.0.91/24",
            "eth0 fd77::91/64",
            "default eth0 via 10.77.0.1",
        ],
        "default",
        "fd77::11 10.77.0.11",
        "fd77::91 10.77.0.91",
    ),
    (
        "a family that is gone keeps what is known while the other one moves",
        &[
            "link eth0",
            "eth0 10.77.0.91/24",
            "eth0 fe80::1/64 link",
            "default eth0 via 10.77.0.1",
        ],
        "default",
        "10.77.0.11 fd77::11",
        "10.77.0.91 fd77::11",
    ),
    (
        "the node does not change families by itself",
        &["link eth0", "eth0 fd77::11/64", "default eth0 via fe80::9"],
        "default",
        "10.77.0.11",
        "",
    ),
    (
        "DHCP gave another address",
        &[
            "link eth0",
            "eth0 10.77.0.99/24 dynamic",
            "default eth0 via 10.77.0.1",
        ],
        "default",
        "10.77.0.11",
        "10.77.0.99",
    ),
    (
        "a new address beside the known one is no event",
        &[
            "link eth0",
            "eth0 10.77.0.9/24",
            "eth0 10.77.0.11/24 secondary",
            "default eth0 via 10.77.0.1 src 10.77.0.9",
        ],
        "default",
        "10.77.0.11",
        "10.77.0.11",
    ),
    (
        "one of two known addresses is gone",
        &[
            "link eth0",
            "eth0 10.77.0.11/24",
            "default eth0 via 10.77.0.1",
        ],
        "default",
        "10.77.0.11 10.77.0.12",
        "10.77.0.11",
    ),
    (
        "no address for a moment: nothing has happened",
        &["link eth0", "default eth0 via 10.77.0.1"],
        "default",
        "10.77.0.11",
        "",
    ),
    (
        "the link is down",
        &["link eth0 down", "eth0 10.77.0.99/24"],
        "eth0",
        "10.77.0.11",
        "",
    ),
    (
        "not yet or no longer usable IPv6",
        &[
            "link eth0",
            "eth0 fd77::1/64 tentative",
            "eth0 fd77::2/64 dadfailed",
            "eth0 fd77::3/64 deprecated",
            "eth0 fd77::4/64 temporary",
            "eth0 fd77::5/64",
            "default eth0 via fe80::9",
        ],
        "default",
        "fd77::2",
        "fd77::5",
    ),
    (
        "a keepalived VIP of the same network is secondary",
        &[
            "link eth0",
            "eth0 10.77.0.99/24",
            "eth0 10.77.0.5/24 secondary",
            "default eth0 via 10.77.0.1",
        ],
        "default",
        "10.77.0.11",
        "10.77.0.99",
    ),
    (
        "a VIP as a host prefix",
        &[
            "link eth0",
            "eth0 10.77.0.5/32",
            "eth0 10.77.0.99/24",
            "default eth0 via 10.77.0.1",
        ],
        "default",
        "",
        "10.77.0.99",
    ),
    (
        "a VIP stays behind while the lease is replaced",
        &[
            "link eth0",
            "eth0 10.77.0.5/32",
            "default eth0 via 10.77.0.1",
        ],
        "default",
        "10.77.0.11",
        "",
    ),
    (
        "clouds: a host prefix alone, by lease",
        &[
            "link ens4",
            "ens4 10.128.0.5/32 dynamic",
            "default ens4 via 10.128.0.1",
        ],
        "default",
        "10.128.0.4",
        "10.128.0.5",
    ),
    (
        "clouds: a host prefix alone, the route's source",
        &[
            "link ens4",
            "ens4 10.128.0.5/32",
            "default ens4 via 10.128.0.1 src 10.128.0.5",
        ],
        "default",
        "10.128.0.4",
        "10.128.0.5",
    ),
    (
        "clouds: a host prefix alone, router on the link",
        &[
            "link eth0",
            "eth0 203.0.113.7/32",
            "default eth0 via 172.31.1.1 onlink",
        ],
        "default",
        "203.0.113.6",
        "203.0.113.7",
    ),
    (
        "DHCPv6 gives host prefixes with a lifetime, beside SLAAC's; VIPs have none",
        &[
            "link eth0",
            "eth0 fd77::5/128",
            "eth0 fd77::99/128 dynamic",
            "eth0 fd77:0:0:0:aaaa::1/64 dynamic",
            "default eth0 via fe80::9",
        ],
        "default",
        "fd77::11",
        "fd77::99",
    ),
    (
        "DHCPv6 alone with a VIP",
        &[
            "link eth0",
            "eth0 fd77::5/128",
            "eth0 fd77::99/128 dynamic",
            "default eth0 via fe80::9",
        ],
        "default",
        "fd77::11",
        "fd77::99",
    ),
    (
        "the default route's source before others",
        &[
            "link eth0",
            "eth0 10.77.0.8/24",
            "eth0 10.78.0.9/24",
            "default eth0 via 10.77.0.1 src 10.78.0.9",
        ],
        "default",
        "",
        "10.78.0.9",
    ),
    (
        "the router's network before others",
        &[
            "link eth0",
            "eth0 10.1.0.8/24",
            "eth0 10.78.0.9/24",
            "default eth0 via 10.78.0.1",
        ],
        "default",
        "",
        "10.78.0.9",
    ),
    (
        "the network that the master was in before others",
        &[
            "link eth0",
            "eth0 10.1.0.8/24",
            "eth0 10.78.0.9/24",
            "default eth0 via 10.78.0.1",
        ],
        "default",
        "10.1.0.7",
        "10.1.0.8",
    ),
    (
        "the lowest metric",
        &[
            "link eth0",
            "link eth1",
            "eth0 10.77.0.11/24",
            "eth1 10.78.0.11/24",
            "default eth0 via 10.77.0.1 metric 200",
            "default eth1 via 10.78.0.1 metric 100",
        ],
        "default",
        "",
        "10.78.0.11",
    ),
    (
        "the default route moved, the old address is gone",
        &[
            "link eth0",
            "link eth1",
            "eth1 10.78.0.11/24",
            "default eth1 via 10.78.0.1",
        ],
        "default",
        "10.77.0.11",
        "10.78.0.11",
    ),
    (
        "a master that is known by its private address stays there",
        &[
            "link eth0",
            "link eth1",
            "eth0 203.0.113.9/24",
            "eth1 10.77.0.11/24",
            "default eth0 via 203.0.113.1",
        ],
        "default",
        "10.77.0.11",
        "10.77.0.11",
    ),
    (
        "a container's link keeps no address",
        &[
            "link eth0",
            "link docker0 bridge",
            "eth0 203.0.113.9/24",
            "docker0 172.17.0.1/16",
            "default eth0 via 203.0.113.1",
        ],
        "default",
        "172.17.0.1",
        "203.0.113.9",
    ),
    (
        "a bridge that the default route leaves by",
        &[
            "link br0 bridge",
            "br0 10.77.0.11/24",
            "default br0 via 10.77.0.1",
        ],
        "default",
        "",
        "10.77.0.11",
    ),
    (
        "each family by its own default route",
        &[
            "link eth0",
            "link eth1",
            "eth0 10.77.0.9/24",
            "eth0 fd77::9/64",
            "eth1 fd78::9/64",
            "default eth0 via 10.77.0.1",
            "default eth1 via fe80::9",
        ],
        "default",
        "10.77.0.1 fd77::1",
        "10.77.0.9 fd78::9",
    ),
    (
        "a named interface",
        &[
            "link eth0",
            "link eth1",
            "eth0 10.77.0.11/24",
            "eth1 10.78.0.11/24",
            "default eth0 via 10.77.0.1",
        ],
        "eth1",
        "10.77.0.11",
        "10.78.0.11",
    ),
    (
        "an address that routing brings to the node, on lo",
        &["link eth0", "eth0 169.254.0.2/30", "lo 10.9.9.9/32"],
        "lo",
        "10.9.9.8",
        "10.9.9.9",
    ),
    (
        "in a range: on no container's link, not on lo, none that comes and goes",
        &[
            "link eth0",
            "link eth1",
            "link cni0 bridge",
            "link veth12ab veth",
            "link br-0123456789ab bridge",
            "link kube-ipvs0 dummy",
            "link d0 dummy",
            "lo 10.77.1.1/32",
            "cni0 10.77.1.2/24",
            "veth12ab 10.77.1.3/24",
            "br-0123456789ab 10.77.1.4/24",
            "kube-ipvs0 10.77.1.5/32",
            "d0 10.77.1.6/24",
            "eth1 10.77.1.7/32",
            "eth1 10.77.1.99/24",
            "eth0 203.0.113.9/24",
            "default eth0 via 203.0.113.1",
        ],
        "10.77.0.0/16",
        "",
        "10.77.1.99",
    ),
    (
        "in a range, on a veth that the default route leaves by: the node is a container",
        &[
            "link eth0 veth",
            "eth0 172.18.0.3/16",
            "default eth0 via 172.18.0.1",
        ],
        "172.18.0.0/16",
        "",
        "172.18.0.3",
    ),
    (
        "never loopback or link-local, whatever their scope",
        &[
            "link eth0",
            "eth0 127.0.0.5/8",
            "eth0 169.254.9.9/16",
            "eth0 fe80::5/64",
            "default eth0 via 10.77.0.1",
        ],
        "default",
        "",
        "",
    ),
];

#[test]
fn rules() {
    for (what, lines, selection, known, want) in CASES {
        let lines: Vec<&str> = LO.iter().chain(lines.iter()).copied().collect();
        assert_eq!(choose(&lines, selection, known), *want, "{what}");
        let mut turned = lines.clone();
        turned.sort_by_key(|line| (!line.starts_with("link"), std::cmp::Reverse(*line)));
        assert_eq!(
            choose(&turned, selection, known),
            *want,
            "{what}, in another order"
        );
    }
}

#[test]
fn says_what_is_missing() {
    let without = &["link lo", "link eth0", "link eth1 down"][..];
    let with = &["link lo", "link eth0", "default eth0 via 10.77.0.1"];
    for (lines, selection, want) in [
        (without, "default", "there is no default route"),
        (
            with,
            "default",
            "no usable address on eth0, where the default route leaves",
        ),
        (
            without,
            "eth9",
            "there is no interface eth9; there are lo, eth0, eth1",
        ),
        (without, "eth1", "interface eth1 is down"),
        (without, "eth0", "no usable address on eth0"),
        (
            without,
            "10.0.0.0/8",
            "no usable address within 10.0.0.0/8 on any interface",
        ),
    ] {
        let shown = absence(&snapshot(lines), &selection_of(selection));
        assert!(shown.starts_with(want), "{shown}");
        assert!(
            shown.contains("set `interface` or `cidr` in /etc/stayput/node.yaml"),
            "{shown}"
        );
    }
}

#[test]
fn container_links_by_name() {
    for name in [
        "docker0",
        "cni0",
        "cni-podman0",
        "podman1",
        "flannel.1",
        "cali12345",
        "veth0a1b",
        "virbr0",
        "vnet3",
        "kube-ipvs0",
        "nodelocaldns",
        "vxlan.calico",
        "cilium_host",
        "lxc_health",
        "br-a1b2c3d4e5f6",
        "tunl0",
    ] {
        assert!(is_container_link(name), "{name}");
    }
    for name in [
        "eth0", "ens3", "enp0s3", "bond0", "br0", "br-lan", "br-ex", "vlan10", "wg0",
    ] {
        assert!(!is_container_link(name), "{name}");
    }
}

fn any_address() -> impl Strategy<Value = Address> {
    let ip = prop_oneof![
        (0u8..4, 0u8..4).prop_map(|(a, b)| IpAddr::from([10, 77, a, b])),
        (0u16..8).prop_map(|a| IpAddr::from([0xfd77, 0, 0, 0, 0, 0, 0, a])),
        Just(IpAddr::from([127, 0, 0, 1])),
        Just(IpAddr::from([169, 254, 0, 1])),
    ];
    let flags = prop::sample::select(vec![0x80u32, 0, 0x81, 0x01, 0xa0, 0xc0, 0x88]);
    (1u32..4, ip, prop::sample::select(vec![24u8, 32]), flags).prop_map(
        |(index, address, prefix, flags)| Address {
            index,
            address,
            prefix: if address.is_ipv6() {
                prefix * 4
            } else {
                prefix
            },
            scope: AddressScope::Universe,
            flags: AddressFlags::from_bits_retain(flags),
        },
    )
}

fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    let route = (1u32..4, any::<bool>(), 0u32..3).prop_map(|(index, ipv6, metric)| DefaultRoute {
        index,
        ipv6,
        metric,
        source: None,
        gateway: None,
        onlink: false,
    });
    let addresses = prop::collection::vec(any_address(), 0..8);
    (addresses, prop::collection::vec(route, 0..4)).prop_map(|(addresses, routes)| Snapshot {
        links: (1..4)
            .map(|index| Link {
                index,
                name: format!("eth{index}"),
                kind: None,
                up: index != 3,
                loopback: false,
            })
            .collect(),
        addresses,
        routes,
    })
}

proptest! {
    /// What was announced is announced again: one look never causes the next event.
    #[test]
    fn a_choice_is_stable(snapshot in any_snapshot(), first in any_snapshot()) {
        let known = select(&first, &Selection::DefaultRoute, &[]);
        let once = select(&snapshot, &Selection::DefaultRoute, &known);
        if !once.is_empty() {
            prop_assert_eq!(&select(&snapshot, &Selection::DefaultRoute, &once), &once);
            let families = |list: &[IpAddr]| list.iter().map(IpAddr::is_ipv6).collect::<Vec<_>>();
            prop_assert!(known.is_empty() || families(&once) == families(&known));
            let usable = once.iter().all(|a| usable(*a, Loopback::Refused).is_ok());
            prop_assert!(usable);
        }
    }

    /// An address that is added changes nothing while the known ones are there.
    #[test]
    fn additions_are_no_events(snapshot in any_snapshot(), extra in any_address()) {
        let known = select(&snapshot, &Selection::DefaultRoute, &[]);
        if known.is_empty() || known.contains(&extra.address) {
            return Ok(());
        }
        let mut more = snapshot;
        more.addresses.push(extra);
        prop_assert_eq!(select(&more, &Selection::DefaultRoute, &known), known);
    }
}

/// A stable address is kept on loopback, and in a rescue it is the old one, which the book may still
/// have.
#[test]
fn a_kept_address_is_not_where_the_node_is() {
    let stable: IpAddr = "10.77.0.11".parse().unwrap();
    let lines = [
        "link lo",
        "link eth0",
        "lo 10.77.0.11/32",
        "eth0 10.77.0.111/24",
        "default eth0 via 10.77.0.1",
    ];
    let found = snapshot(&lines);
    let range = "10.77.0.0/24".parse().unwrap();
    for selection in [
        Selection::DefaultRoute,
        Selection::Interface("eth0".to_owned()),
        Selection::Within(range),
    ] {
        let seen = found.without_kept(&[stable]);
        let chosen = select(&seen, &selection, &[stable]);
        assert_eq!(
            chosen,
            ["10.77.0.111".parse::<IpAddr>().unwrap()],
            "{selection:?}"
        );
    }
    // A node whose addresses are all on loopback, as with a routed fabric.
    let fabric = snapshot(&["link lo", "lo 10.77.0.11/32", "lo 10.254.0.1/32"]);
    let lo = Selection::Interface("lo".to_owned());
    let stable = "10.254.0.1".parse().unwrap();
    let chosen = select(&fabric.without_kept(&[stable]), &lo, &[]);
    assert_eq!(chosen, ["10.77.0.11".parse::<IpAddr>().unwrap()]);
    // Back on its interface: it counts.
    let back = snapshot(&[
        "link lo",
        "link eth0",
        "eth0 10.77.0.11/24",
        "default eth0 via 10.77.0.1",
    ]);
    let old = "10.77.0.11".parse().unwrap();
    assert_eq!(
        select(&back.without_kept(&[old]), &Selection::DefaultRoute, &[]),
        [old]
    );
}
