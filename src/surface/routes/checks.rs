//! What only shows when one looks at the network: strangers that have an address already, and
//! filters that drop what comes back another way.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::TryStreamExt;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep};

use super::kernel::{Kernel, family};
use super::plan::{Found, Plan, Reach, Route};
use super::wanted::Wanted;

/// How long a neighbour may take to answer for its address. One that is there answers within a
/// millisecond or two.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two looks at the table of neighbours.
const PAUSE: Duration = Duration::from_millis(10);
/// The discard service (RFC 863): what is sent there is for the look-up alone.
const DISCARD: u16 = 9;

/// Who has an address already, on a link of this node: the neighbour's hardware address and the
/// interface. Asks the link (ARP, RFC 826; neighbour discovery, RFC 4861) and waits for an answer.
pub async fn occupant(kernel: &Kernel, address: IpAddr) -> Option<String> {
    let Reach::Link(interface) = kernel.reach(address).await else {
        return None;
    };
    let index = kernel.index(&interface)?;
    // What was known of it may be old: this node itself may have had the address until now.
    if let Some((old, _)) = neighbour(kernel, index, address).await {
        let _ = kernel.handle.neighbours().del(old).execute().await;
    }
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await.ok()?;
    socket.send_to(&[], (address, DISCARD)).await.ok()?;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some((_, Some(hardware))) = neighbour(kernel, index, address).await {
            return Some(format!("{hardware} on {interface}"));
        }
        sleep(PAUSE).await;
    }
    None
}

/// The kernel's entry, and the hardware address in it if one has answered.
async fn neighbour(
    kernel: &Kernel,
    index: u32,
    address: IpAddr,
) -> Option<(NeighbourMessage, Option<String>)> {
    let entries = kernel.handle.neighbours().get();
    let mut entries = Box::pin(entries.set_address_family(family(address)).execute());
    while let Ok(Some(entry)) = entries.try_next().await {
        let is_it = |it: &NeighbourAttribute| match it {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(it)) => address == *it,
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(it)) => address == *it,
            _ => false,
        };
        if entry.header.ifindex != index || !entry.attributes.iter().any(is_it) {
            continue;
        }
        let answered = !matches!(
            entry.header.state,
            NeighbourState::Incomplete | NeighbourState::Failed | NeighbourState::None
        );
        let hardware = entry.attributes.iter().find_map(|it| match it {
            NeighbourAttribute::LinkLayerAddress(bytes) => Some(colons(bytes)),
            _ => None,
        });
        return Some((entry, hardware.filter(|_| answered)));
    }
    None
}

fn colons(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

/// Which interfaces drop what the masters send here, one line each.
///
/// A strict filter (`rp_filter` 1, RFC 3704 section 2.2) takes a packet only by the interface that
/// leads back to its sender. Masters send to this one by way of its current address, so by that
/// address's interface; a route back by another one makes them look forged. `filter` reads
/// `net.ipv4.conf.NAME.rp_filter`; of `all` and the interface the greater counts (the kernel's
/// ip-sysctl). IPv6 has no such filter.
pub fn strict_filters(
    wanted: &Wanted,
    found: &Found,
    routes: &[Route],
    filter: impl Fn(&str) -> Option<u8>,
) -> Vec<String> {
    let own =
        |it: &&super::plan::Address| it.address.is_ipv4() && wanted.current.contains(&it.address);
    let Some(own) = found.addresses.iter().find(own) else {
        return Vec::new();
    };
    let strength = filter("all").max(filter(&own.interface));
    if strength != Some(1) {
        return Vec::new();
    }
    let elsewhere = routes
        .iter()
        .filter(|it| it.destination.is_ipv4() && it.interface != own.interface);
    let elsewhere: BTreeSet<&str> = elsewhere.map(|it| it.interface.as_str()).collect();
    let line = |interface: &str| {
        format!(
            "{} filters strictly (rp_filter 1) and drops what masters send here, because the way back to them is by {interface}; set net.ipv4.conf.all.rp_filter and net.ipv4.conf.{}.rp_filter to 2, or put the masters on one link",
            own.interface, own.interface
        )
    };
    elsewhere.into_iter().map(line).collect()
}

/// The routes that are there once a plan is carried out, for [`strict_filters`].
pub fn resulting(found: &Found, plan: &Plan) -> Vec<Route> {
    use super::plan::Change;
    let set = plan.changes.iter().filter_map(|change| match change {
        Change::SetRoute { route, .. } => Some(route.clone()),
        _ => None,
    });
    let mut routes: Vec<Route> = set.collect();
    let stay = found.routes.iter().filter(|it| it.ours);
    for route in stay {
        if !routes.iter().any(|it| it.destination == route.destination) {
            routes.push(route.clone());
        }
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::super::plan::Address;
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_strict_filter_is_told_only_where_it_would_drop() {
        let mut wanted = Wanted::nothing(145);
        wanted.current = vec![ip("10.77.0.11")];
        let found = Found {
            addresses: vec![Address {
                address: ip("10.77.0.11"),
                interface: "eth0".to_owned(),
                loopback: false,
                prefix: 24,
                ours: false,
            }],
            ..Found::default()
        };
        let by = |interface: &str| Route {
            destination: ip("10.254.0.2"),
            via: Some(ip("10.77.0.12")),
            interface: interface.to_owned(),
            source: None,
            metric: 0,
            ours: true,
        };
        for (all, own, interface, want) in [
            (0, 0, "eth1", 0),
            (1, 0, "eth1", 1),
            (0, 1, "eth1", 1),
            (2, 1, "eth1", 0),
            (1, 2, "eth1", 0),
            (1, 1, "eth0", 0),
        ] {
            let filter = |name: &str| Some(if name == "all" { all } else { own });
            let said = strict_filters(&wanted, &found, &[by(interface)], filter);
            assert_eq!(said.len(), want, "{all} {own} {interface}: {said:?}");
        }
        let nobody = Wanted::nothing(145);
        let worker = strict_filters(&nobody, &found, &[by("eth1")], |_| Some(1));
        assert_eq!(
            worker, [""; 0],
            "nobody sends to a worker by an address of the book"
        );
    }
}
