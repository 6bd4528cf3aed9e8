//! Tables of what is found, and properties over many of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// `10.254.0.N`.
fn stable(number: u8) -> IpAddr {
    IpAddr::from([10, 254, 0, number])
}

/// `10.77.0.N`.
fn current(number: u8) -> IpAddr {
    IpAddr::from([10, 77, 0, number])
}

fn address(address: IpAddr, interface: &str, ours: bool) -> Address {
    Address {
        address,
        interface: interface.to_owned(),
        loopback: interface == "lo",
        prefix: if interface == "lo" { 32 } else { 24 },
        ours,
    }
}

fn to(destination: IpAddr, via: IpAddr, source: Option<IpAddr>, ours: bool) -> Route {
    Route {
        destination,
        via: (via != destination).then_some(via),
        interface: "eth0".to_owned(),
        source,
        metric: 0,
        ours,
    }
}

fn wanted(own: Option<IpAddr>, ways: &[(IpAddr, IpAddr)]) -> Wanted {
    let mut wanted = Wanted::nothing(145);
    wanted.addresses = own.into_iter().collect();
    for (destination, via) in ways {
        let way = Way {
            master: format!("m{destination}"),
            via: *via,
            source: own,
        };
        wanted.routes.insert(*destination, way);
    }
    wanted
}

fn on_link(numbers: impl IntoIterator<Item = u8>) -> BTreeMap<IpAddr, Reach> {
    let link = |number| (current(number), Reach::Link("eth0".to_owned()));
    numbers.into_iter().map(link).collect()
}

fn words(plan: &Plan) -> Vec<String> {
    plan.changes.iter().map(ToString::to_string).collect()
}

/// What the kernel has after the changes.
fn after(found: &Found, plan: &Plan) -> Found {
    let mut found = found.clone();
    for change in &plan.changes {
        match change {
            Change::AddAddress(new) => {
                assert!(
                    found.addresses.iter().all(|it| it.address != *new),
                    "EEXIST"
                );
                found.addresses.push(address(*new, "lo", true));
            }
            Change::RemoveAddress(old) => {
                assert!(old.ours, "a foreign one");
                found.addresses.retain(|it| it != old);
                // The kernel takes along what was sent from it (fib_sync_down_addr).
                let local = |it: IpAddr| found.addresses.iter().any(|a| a.address == it);
                found.routes.retain(|it| it.source.is_none_or(local));
            }
            Change::SetRoute { route, replaces } => {
                let old = found
                    .routes
                    .iter()
                    .position(|it| it.destination == route.destination);
                assert_eq!(old.is_some(), *replaces, "EEXIST");
                if let Some(old) = old {
                    assert!(found.routes[old].ours, "a foreign one");
                    found.routes.remove(old);
                }
                if let Some(source) = route.source {
                    assert!(
                        found.addresses.iter().any(|it| it.address == source),
                        "EINVAL"
                    );
                }
                found.routes.push(route.clone());
            }
            Change::RemoveRoute(old) => {
                assert!(old.ours, "a foreign one");
                found.routes.retain(|it| it != old);
            }
        }
    }
    found
}

#[test]
fn what_is_missing_is_added_and_what_has_changed_is_replaced() {
    let wanted = wanted(
        Some(stable(1)),
        &[(stable(2), current(22)), (stable(3), current(13))],
    );
    let mut found = Found {
        addresses: vec![address(current(11), "eth0", false)],
        reach: on_link([22, 13]),
        ..Found::default()
    };
    assert_eq!(
        words(&plan(&wanted, &found)),
        [
            "add 10.254.0.1 to lo",
            "set the route 10.254.0.2 via 10.77.0.22 dev eth0 src 10.254.0.1",
            "set the route 10.254.0.3 via 10.77.0.13 dev eth0 src 10.254.0.1",
        ]
    );
    found.addresses.push(address(stable(1), "lo", true));
    found.addresses.push(address(stable(9), "lo", true));
    found.routes = vec![
        to(stable(2), current(12), Some(stable(1)), true),
        to(stable(3), current(13), Some(stable(1)), true),
        to(stable(4), current(14), None, true),
        to(stable(5), current(15), None, false),
    ];
    let plan = plan(&wanted, &found);
    assert_eq!(
        words(&plan),
        [
            "set the route 10.254.0.2 via 10.77.0.22 dev eth0 src 10.254.0.1",
            "remove the route 10.254.0.4 via 10.77.0.14 dev eth0",
            "remove 10.254.0.9 from lo",
        ]
    );
    assert!(matches!(
        plan.changes[0],
        Change::SetRoute { replaces: true, .. }
    ));
}

#[test]
fn an_operators_address_counts_and_stays() {
    let wanted = wanted(Some(stable(1)), &[]);
    for (interface, notices) in [("lo", 0), ("eth1", 1)] {
        let found = Found {
            addresses: vec![address(stable(1), interface, false)],
            ..Found::default()
        };
        let now = plan(&wanted, &found);
        assert_eq!(
            (now.changes.len(), now.notices.len()),
            (0, notices),
            "{interface}"
        );
        let gone = plan(&Wanted::nothing(145), &found);
        assert_eq!(gone.changes, []);
    }
}

#[test]
fn a_broadcast_address_is_told_where_the_network_is_here() {
    for (last, prefix, told) in [(255, 24, 1), (254, 24, 0), (255, 16, 0), (255, 31, 0)] {
        let address = Address {
            prefix,
            ..address(current(254), "eth0", false)
        };
        let found = Found {
            addresses: vec![address],
            ..Found::default()
        };
        let plan = plan(&wanted(Some(current(last)), &[]), &found);
        assert_eq!(plan.troubles.len(), told, "{last}/{prefix}: {plan:?}");
    }
}

#[test]
fn what_is_in_the_way_is_told_and_the_others_are_done() {
    let wanted = wanted(None, &[(stable(2), current(12)), (stable(3), current(13))]);
    let good = Found {
        reach: on_link([12, 13]),
        ..Found::default()
    };
    let reach = |reach| Found {
        reach: [
            (current(12), reach),
            (current(13), Reach::Link("eth0".into())),
        ]
        .into(),
        ..Found::default()
    };
    let cases = [
        (
            Found {
                routes: vec![to(stable(2), current(99), None, false)],
                ..good.clone()
            },
            "there is a route to m10.254.0.2's 10.254.0.2 already that is not stayput's (10.254.0.2 via 10.77.0.99 dev eth0); take it away: ip route del 10.254.0.2",
        ),
        (
            Found {
                addresses: vec![address(stable(2), "eth1", false)],
                ..good.clone()
            },
            "10.254.0.2, which is m10.254.0.2's, is on this node's eth1 too; take it away there: ip address del 10.254.0.2/24 dev eth1",
        ),
        (
            reach(Reach::Router(ip("10.77.0.1"))),
            "m10.254.0.2 is at 10.77.0.12, which is not on a link of this node but behind 10.77.0.1; routes of mode direct do not go through routers",
        ),
        (
            reach(Reach::Local),
            "m10.254.0.2 is said to be at 10.77.0.12, which is this node's own; tell where it is with `stayput event m10.254.0.2 ADDRESS`",
        ),
        (
            reach(Reach::Nowhere),
            "m10.254.0.2 is at 10.77.0.12, and this node has no way there; is the interface up?",
        ),
    ];
    for (found, want) in cases {
        let plan = plan(&wanted, &found);
        assert_eq!(plan.troubles, [want]);
        let over = crate::surface::routes::overcome(want);
        for advice in [" del ", "stayput event", "is the interface"] {
            assert!(!over.contains(advice), "{over}");
        }
        assert!(
            want.starts_with(&over) && over.contains("10.254.0.2"),
            "{over}"
        );
        assert_eq!(
            words(&plan),
            ["set the route 10.254.0.3 via 10.77.0.13 dev eth0"]
        );
    }
}

fn an_address() -> impl Strategy<Value = Address> {
    (1..8_u8, 0..3_u8).prop_map(|(number, place)| match place {
        0 => address(stable(number), "lo", true),
        1 => address(stable(number), "lo", false),
        _ => address(stable(number), "eth1", false),
    })
}

fn a_route() -> impl Strategy<Value = Route> {
    (1..8_u8, 1..8_u8, any::<bool>())
        .prop_map(|(number, via, ours)| to(stable(number), current(via), None, ours))
}

fn a_reach() -> impl Strategy<Value = Reach> {
    prop_oneof![
        4 => Just(Reach::Link("eth0".to_owned())),
        1 => Just(Reach::Router(current(1))),
        1 => Just(Reach::Local),
        1 => Just(Reach::Nowhere),
    ]
}

prop_compose! {
    /// No two addresses, and no two routes, to the same host: the kernel has none of the latter with
    /// the same metric.
    fn a_state()(
        addresses in prop::collection::vec(an_address(), 0..6),
        routes in prop::collection::vec(a_route(), 0..6),
        reach in prop::collection::vec(a_reach(), 8),
    ) -> Found {
        let mut found = Found::default();
        for address in addresses {
            if found.addresses.iter().all(|it| it.address != address.address) {
                found.addresses.push(address);
            }
        }
        for route in routes {
            if found.routes.iter().all(|it| it.destination != route.destination) {
                found.routes.push(route);
            }
        }
        let reach = reach.into_iter().enumerate();
        found.reach = reach.map(|(number, reach)| (current(u8::try_from(number).unwrap()), reach)).collect();
        found
    }
}

fn a_wish() -> impl Strategy<Value = Wanted> {
    let ways = prop::collection::btree_map(1..8_u8, 0..8_u8, 0..6);
    (prop::option::of(1..8_u8), ways).prop_map(|(own, ways)| {
        let ways = ways.into_iter().filter(|(to, _)| Some(*to) != own);
        let ways: Vec<_> = ways.map(|(to, via)| (stable(to), current(via))).collect();
        wanted(own.map(stable), &ways)
    })
}

fn foreign(found: &Found) -> (Vec<&Address>, Vec<&Route>) {
    (
        found.addresses.iter().filter(|it| !it.ours).collect(),
        found.routes.iter().filter(|it| !it.ours).collect(),
    )
}

proptest! {
    #[test]
    fn a_plan_leads_to_what_is_wanted_and_touches_nothing_foreign(wanted in a_wish(), found in a_state()) {
        let first = plan(&wanted, &found);
        let then = after(&found, &first);
        prop_assert_eq!(foreign(&then), foreign(&found));
        let again = plan(&wanted, &then);
        prop_assert_eq!(&again.changes, &[]);
        prop_assert_eq!(&again.troubles, &first.troubles);
        // Each wanted thing is there, or it is told why not; nothing else of ours is.
        for address in &wanted.addresses {
            prop_assert!(then.addresses.iter().any(|it| it.address == *address));
        }
        let set: BTreeSet<IpAddr> = then.routes.iter().filter(|it| it.ours).map(|it| it.destination).collect();
        let asked: BTreeSet<IpAddr> = wanted.routes.keys().copied().collect();
        prop_assert!(set.is_subset(&asked));
        prop_assert_eq!(asked.len(), set.len() + first.troubles.len());
        for route in then.routes.iter().filter(|it| it.ours) {
            let way = &wanted.routes[&route.destination];
            prop_assert_eq!((route.via, route.source), (Some(way.via), way.source));
        }
    }

    #[test]
    fn off_leaves_nothing_of_ours(found in a_state()) {
        let nothing = Wanted::nothing(145);
        let then = after(&found, &plan(&nothing, &found));
        prop_assert_eq!(foreign(&then), foreign(&found));
        prop_assert!(then.addresses.iter().all(|it| !it.ours) && then.routes.iter().all(|it| !it.ours));
    }
}
