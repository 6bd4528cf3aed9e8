//! The kernel's addresses and routes over rtnetlink(7): the only part that touches them.
//!
//! What is ours carries a mark. Routes have a protocol number, which the kernel stores and does not
//! interpret. Addresses have the same number as `IFA_PROTO` (kernel 5.18 and later) and besides, for
//! older ones, the label `lo:stayput` (IPv4) or a metric of their own (IPv6, `IFA_RT_PRIORITY`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::{Either, select};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::Handle;
use tokio::time::timeout;

use super::plan::{Address, Change, Found, Reach, Route};
use super::wanted::Wanted;
use crate::source::netlink::Error;

/// The label of an IPv4 address of ours.
const LABEL: &str = "lo:stayput";
/// The metric of an IPv6 address of ours; nothing is routed by it, since it has no prefix route.
const METRIC: u32 = 0x7374_6179;
/// The kernel answers at once; this only keeps a broken one from holding the surface.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection, with the interfaces as they were when it was opened.
#[derive(Debug)]
pub struct Kernel {
    pub(super) handle: Handle,
    /// Names by number.
    links: BTreeMap<u32, String>,
    loopback: u32,
}

/// Opens a connection, lets `work` use it, and closes it.
pub async fn with<T>(work: impl AsyncFnOnce(&Kernel) -> Result<T, Error>) -> Result<T, Error> {
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(|e| Error::Socket(e.to_string()))?;
    let working = pin!(timeout(PATIENCE, async {
        work(&Kernel::open(handle).await?).await
    }));
    match select(pin!(connection), working).await {
        Either::Right((result, _)) => result.map_err(|_| Error::NoAnswer)?,
        Either::Left(((), _)) => Err(Error::NoAnswer),
    }
}

impl Kernel {
    async fn open(handle: Handle) -> Result<Self, Error> {
        let links = handle.link().get().execute();
        let links: Vec<LinkMessage> = links.try_collect().await.map_err(at("links"))?;
        let loopback = links
            .iter()
            .find(|link| link.header.flags.contains(LinkFlags::Loopback))
            .map_or(1, |link| link.header.index);
        let name = |link: &LinkMessage| {
            link.attributes.iter().find_map(|it| match it {
                LinkAttribute::IfName(name) => Some((link.header.index, name.clone())),
                _ => None,
            })
        };
        Ok(Self {
            links: links.iter().filter_map(name).collect(),
            handle,
            loopback,
        })
    }

    /// What is there of what matters to `wanted`.
    pub async fn find(&self, wanted: &Wanted) -> Result<Found, Error> {
        let addresses = self.handle.address().get().execute();
        let addresses: Vec<_> = addresses.try_collect().await.map_err(at("addresses"))?;
        let addresses = addresses.iter();
        let mut found = Found {
            addresses: addresses
                .filter_map(|it| self.address(it, wanted.protocol))
                .collect(),
            ..Found::default()
        };
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            let mut routes = pin!(self.handle.route().get(request).execute());
            while let Some(route) = routes.try_next().await.map_err(at("routes"))? {
                found.routes.extend(self.route(&route, wanted));
            }
        }
        for (destination, way) in &wanted.routes {
            let reach = match connected(&found.addresses, way.via) {
                // A route of ours to the host itself must not be the reason for keeping it.
                Some(interface) if way.via == *destination => Reach::Link(interface),
                _ => self.reach(way.via).await,
            };
            found.reach.insert(way.via, reach);
        }
        Ok(found)
    }

    /// How the kernel would send to an address (`RTM_GETROUTE`).
    pub async fn reach(&self, address: IpAddr) -> Reach {
        let mut request = host(address);
        request.header.protocol = RouteProtocol::Unspec;
        let answer = self.handle.route().get(request).execute().try_collect();
        let answer: Result<Vec<RouteMessage>, _> = answer.await;
        // A network that is unreachable is an error message.
        let Some(route) = answer.ok().and_then(|answer| answer.into_iter().next()) else {
            return Reach::Nowhere;
        };
        match route.header.kind {
            RouteType::Local => return Reach::Local,
            RouteType::Unicast => {}
            _ => return Reach::Nowhere,
        }
        let mut link = Reach::Nowhere;
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Gateway(gateway) => {
                    return ip(gateway).map_or(Reach::Nowhere, Reach::Router);
                }
                // IPv4 by way of an IPv6 router (RFC 5549).
                RouteAttribute::Via(_) => return Reach::Router(address),
                RouteAttribute::Oif(index) if *index == self.loopback => link = Reach::Local,
                RouteAttribute::Oif(index) => link = Reach::Link(self.name(*index)),
                _ => {}
            }
        }
        link
    }

    /// Makes one change.
    pub async fn make(&self, protocol: u8, change: &Change) -> Result<(), String> {
        let done = match change {
            Change::AddAddress(address) => {
                let mut request =
                    self.handle
                        .address()
                        .add(self.loopback, *address, width(*address));
                mark(request.message_mut(), *address, protocol);
                request.execute().await
            }
            Change::RemoveAddress(old) => {
                let mut request = self
                    .handle
                    .address()
                    .add(self.loopback, old.address, old.prefix);
                let message = std::mem::take(request.message_mut());
                self.handle.address().del(message).execute().await
            }
            Change::SetRoute { route, replaces } => {
                let request = self.handle.route().add(self.message(route, protocol)?);
                if *replaces {
                    request.replace().execute().await
                } else {
                    request.execute().await
                }
            }
            Change::RemoveRoute(route) => {
                let mut message = self.message(route, protocol)?;
                // Any scope: the kernel compares it otherwise.
                message.header.scope = RouteScope::NoWhere;
                self.handle.route().del(message).execute().await
            }
        };
        match done {
            Ok(()) => Ok(()),
            Err(rtnetlink::Error::NetlinkError(error)) => {
                let error = error.to_io();
                let is_removal =
                    matches!(change, Change::RemoveAddress(_) | Change::RemoveRoute(_));
                // Gone already: the kernel takes routes along with their source address.
                let gone = [rustix::io::Errno::SRCH, rustix::io::Errno::ADDRNOTAVAIL];
                let code = error.raw_os_error();
                if is_removal && gone.iter().any(|it| Some(it.raw_os_error()) == code) {
                    return Ok(());
                }
                let advice = match error.kind() {
                    std::io::ErrorKind::PermissionDenied => "; the program needs CAP_NET_ADMIN",
                    _ => "",
                };
                Err(format!("cannot {change}: {error}{advice}"))
            }
            Err(error) => Err(format!("cannot {change}: {error}")),
        }
    }

    /// The interface's number; names may have changed since.
    pub(super) fn index(&self, interface: &str) -> Option<u32> {
        let mut links = self.links.iter();
        links
            .find(|(_, name)| *name == interface)
            .map(|(index, _)| *index)
    }

    fn name(&self, index: u32) -> String {
        let name = self.links.get(&index).cloned();
        name.unwrap_or_else(|| format!("interface {index}"))
    }

    fn address(&self, message: &AddressMessage, protocol: u8) -> Option<Address> {
        let (mut local, mut other, mut ours) = (None, None, false);
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(address) => local = Some(*address),
                AddressAttribute::Address(address) => other = Some(*address),
                AddressAttribute::Label(label) => ours |= label == LABEL,
                AddressAttribute::Protocol(it) => ours |= u8::from(*it) == protocol,
                AddressAttribute::RoutePriority(metric) => ours |= *metric == METRIC,
                _ => {}
            }
        }
        let loopback = message.header.index == self.loopback;
        let address = local.or(other)?;
        let alone = message.header.prefix_len == width(address);
        Some(Address {
            address,
            interface: self.name(message.header.index),
            loopback,
            prefix: message.header.prefix_len,
            ours: ours && loopback && alone,
        })
    }

    /// A host route of the main table that is ours, or to where one of ours is wanted. Whatever has
    /// the mark and not the shape that [`Self::message`] gives is another program's.
    fn route(&self, message: &RouteMessage, wanted: &Wanted) -> Option<Route> {
        let marked = u8::from(message.header.protocol) == wanted.protocol;
        let unicast = message.header.kind == RouteType::Unicast;
        let mut ours = marked && unicast && message.header.tos == 0;
        let mut route = Route {
            destination: IpAddr::from([0, 0, 0, 0]),
            via: None,
            interface: "several interfaces".to_owned(),
            source: None,
            metric: 0,
            ours: false,
        };
        let mut destination = None;
        let mut table = u32::from(message.header.table);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(to) => destination = ip(to),
                RouteAttribute::Gateway(gateway) => route.via = ip(gateway),
                RouteAttribute::Oif(index) => route.interface = self.name(*index),
                RouteAttribute::PrefSource(source) => route.source = ip(source),
                RouteAttribute::Priority(metric) => route.metric = *metric,
                RouteAttribute::Table(number) => table = *number,
                RouteAttribute::MultiPath(_) | RouteAttribute::Via(_) => ours = false,
                _ => {}
            }
        }
        route.destination = destination?;
        let host = message.header.destination_prefix_length == width(route.destination);
        let main = table == u32::from(RouteHeader::RT_TABLE_MAIN);
        route.ours = ours && route.metric == metric(route.destination);
        let ours = route.ours;
        let matters = ours || wanted.routes.contains_key(&route.destination);
        (host && main && matters).then_some(route)
    }

    fn message(&self, route: &Route, protocol: u8) -> Result<RouteMessage, String> {
        let index = self.index(&route.interface);
        let index = index.ok_or_else(|| format!("there is no interface {}", route.interface))?;
        let mut message = host(route.destination);
        message.header.protocol = RouteProtocol::from(protocol);
        message.header.scope = match (route.via, route.destination) {
            // Without a router an IPv4 host is on the link (ip-route(8)); IPv6 has no scopes.
            (None, IpAddr::V4(_)) => RouteScope::Link,
            _ => RouteScope::Universe,
        };
        let attributes = &mut message.attributes;
        attributes.push(RouteAttribute::Oif(index));
        attributes.extend(route.via.map(|via| RouteAttribute::Gateway(of(via))));
        attributes.extend(route.source.map(|it| RouteAttribute::PrefSource(of(it))));
        if route.metric != 0 {
            attributes.push(RouteAttribute::Priority(route.metric));
        }
        Ok(message)
    }
}

/// The interface whose network holds an address: the smallest such network.
fn connected(addresses: &[Address], address: IpAddr) -> Option<String> {
    let networks = addresses.iter().filter(|it| !it.loopback);
    let holding = networks.filter(|it| {
        let network = ipnet::IpNet::new(it.address, it.prefix);
        network.is_ok_and(|network| network.contains(&address))
    });
    holding
        .max_by_key(|it| it.prefix)
        .map(|it| it.interface.clone())
}

/// Marks an address as ours.
fn mark(message: &mut AddressMessage, address: IpAddr, protocol: u8) {
    let attributes = &mut message.attributes;
    attributes.push(AddressAttribute::Protocol(AddressProtocol::from(protocol)));
    match address {
        IpAddr::V4(_) => attributes.push(AddressAttribute::Label(LABEL.to_owned())),
        IpAddr::V6(_) => {
            // Nobody else can have it on loopback: no duplicate detection, usable at once.
            let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
            attributes.push(AddressAttribute::Flags(flags));
            attributes.push(AddressAttribute::RoutePriority(METRIC));
        }
    }
}

/// A unicast route of the main table to one host.
fn host(address: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(address);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.kind = RouteType::Unicast;
    message.header.destination_prefix_length = width(address);
    message
        .attributes
        .push(RouteAttribute::Destination(of(address)));
    message
}

pub(super) fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// The metric that the kernel gives a route where none is asked for (`IP6_RT_PRIO_USER`).
fn metric(destination: IpAddr) -> u32 {
    if destination.is_ipv6() { 1024 } else { 0 }
}

/// The length of a host's prefix.
fn width(address: IpAddr) -> u8 {
    if address.is_ipv6() { 128 } else { 32 }
}

fn of(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

fn at(table: &'static str) -> impl Fn(rtnetlink::Error) -> Error {
    move |source| Error::List { table, source }
}

/// The addresses among these that are on this node, on whatever interface.
pub fn present(found: &Found, asked: &BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
    let addresses = found.addresses.iter().map(|it| it.address);
    addresses.filter(|it| asked.contains(it)).collect()
}
