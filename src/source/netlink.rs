//! Looks at the kernel's links, addresses and default routes, and listens for their changes
//! (rtnetlink(7)).
//!
//! A message is only a hint: it may be lost (`ENOBUFS`), or be one of a dozen that belong together.
//! So 50 ms pass after the first one, what has come meanwhile is thrown away, and the tables are read
//! anew. They are also read every 30 s, and a socket that ends is opened again. Sockets
//! belong to the network namespace of the thread that opens them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::{Stream, StreamExt, TryStreamExt};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHopFlags,
    RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::interface::{Address, DefaultRoute, Link, Snapshot};

/// From the first hint until the tables are read: what belongs together has then arrived.
const SETTLE: Duration = Duration::from_millis(50);
/// The tables are read this often even if no hint comes.
const INTERVAL: Duration = Duration::from_secs(30);
/// Between two attempts to open a socket.
const RETRY: Duration = Duration::from_secs(1);
/// The kernel answers at once; this only keeps a broken one from holding the agent.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the interfaces are not known.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No socket.
    #[error("cannot open a netlink socket: {0}; the program needs AF_NETLINK")]
    Socket(String),
    /// The kernel refused to list a table.
    #[error("cannot list {table} over netlink: {source}")]
    List {
        /// Links, addresses, routes.
        table: &'static str,
        /// Why not.
        source: rtnetlink::Error,
    },
    /// The kernel did not answer.
    #[error("the kernel did not answer over netlink")]
    NoAnswer,
}

/// Reads the tables once.
pub async fn snapshot() -> Result<Snapshot, Error> {
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(|e| Error::Socket(e.to_string()))?;
    let reading = pin!(timeout(PATIENCE, read(&handle)));
    match select(pin!(connection), reading).await {
        Either::Right((result, _)) => result.map_err(|_| Error::NoAnswer)?,
        Either::Left(((), _)) => Err(Error::NoAnswer),
    }
}

/// Tells when the tables have changed, until it is dropped.
#[derive(Debug)]
pub struct Watch {
    latest: watch::Receiver<Option<Result<Snapshot, Error>>>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Starts to listen, on the current runtime and in the current network namespace.
    pub fn start() -> Self {
        let (sender, latest) = watch::channel(None);
        let task = tokio::spawn(listen(sender));
        Self { latest, task }
    }

    /// The tables as they are now, at first and after each change; or why they cannot be read, once
    /// for each time that this begins. Who asks late gets the latest only. May be cancelled.
    pub async fn next(&mut self) -> Result<Snapshot, Error> {
        if self.latest.changed().await.is_err() {
            // The task never ends by itself.
            std::future::pending::<()>().await;
        }
        let latest = self.latest.borrow_and_update().clone();
        latest.unwrap_or(Err(Error::NoAnswer))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Tells that the kernel's addresses, or routes that matter to somebody, may have changed, until it is
/// dropped. It does not say what: look.
#[derive(Debug)]
pub struct Hints {
    hint: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Hints {
    /// Starts to listen, on the current runtime and in the current network namespace. Of routes those
    /// with this protocol number count, and those to one of these hosts.
    pub fn start(protocol: u8, hosts: BTreeSet<IpAddr>) -> Self {
        let hint = Arc::new(Notify::new());
        let told = hint.clone();
        let matters = move |route: &RouteMessage| {
            let to_host = route.attributes.iter().any(|it| match it {
                RouteAttribute::Destination(to) => ip(to).is_some_and(|to| hosts.contains(&to)),
                _ => false,
            });
            to_host || u8::from(route.header.protocol) == protocol
        };
        let listening = async move {
            loop {
                match rtnetlink::new_multicast_connection(&GROUPS) {
                    Ok((connection, _, messages)) => {
                        // What happened while nobody listened.
                        told.notify_one();
                        let hints = messages
                            .filter(|(message, _)| std::future::ready(is_hint(message, &matters)));
                        let telling = pin!(tell_of(&told, hints));
                        select(pin!(connection), telling).await;
                        tracing::warn!("the netlink socket ended; opening another one");
                    }
                    Err(error) => tracing::warn!("{}", Error::Socket(error.to_string())),
                }
                sleep(RETRY).await;
            }
        };
        Self {
            hint,
            task: tokio::spawn(listening),
        }
    }

    /// The next hint; what belongs together is one. May be cancelled.
    pub async fn next(&mut self) {
        self.hint.notified().await;
    }
}

impl Drop for Hints {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn tell_of<T>(told: &Notify, hints: impl Stream<Item = T>) {
    let mut hints = pin!(hints);
    while hints.next().await.is_some() {
        sleep(SETTLE).await;
        while let Some(Some(_)) = futures_util::FutureExt::now_or_never(hints.next()) {}
        told.notify_one();
    }
}

/// What is listened to.
const GROUPS: [MulticastGroup; 5] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

type Latest = watch::Sender<Option<Result<Snapshot, Error>>>;

async fn listen(latest: Latest) {
    loop {
        match rtnetlink::new_multicast_connection(&GROUPS) {
            Ok((connection, _, messages)) => {
                // The socket is bound first and the tables are read then: no change is missed.
                let hints = messages
                    .filter(|(message, _)| std::future::ready(is_hint(message, is_default)));
                let publishing = pin!(publish_on(&latest, hints));
                select(pin!(connection), publishing).await;
                tracing::warn!("the netlink socket ended; opening another one");
            }
            Err(error) => publish(&latest, Err(Error::Socket(error.to_string()))),
        }
        sleep(RETRY).await;
    }
}

async fn publish_on<T>(latest: &Latest, hints: impl Stream<Item = T>) {
    let mut hints = pin!(hints);
    loop {
        publish(latest, snapshot().await);
        // At the end of the time the tables are read all the same.
        if let Ok(None) = timeout(INTERVAL, hints.next()).await {
            return;
        }
        sleep(SETTLE).await;
        while let Some(Some(_)) = futures_util::FutureExt::now_or_never(hints.next()) {}
    }
}

/// Passes on what differs from the last time.
fn publish(latest: &Latest, now: Result<Snapshot, Error>) {
    latest.send_if_modified(|last| {
        let same = match (&*last, &now) {
            (Some(Ok(last)), Ok(now)) => last == now,
            (Some(Err(last)), Err(now)) => last.to_string() == now.to_string(),
            _ => false,
        };
        if !same {
            *last = Some(now);
        }
        !same
    });
}

/// Whether a message can mean work. Of routes only some do: a node that speaks BGP hears of thousands
/// of others.
fn is_hint(
    message: &NetlinkMessage<RouteNetlinkMessage>,
    route_matters: impl Fn(&RouteMessage) -> bool,
) -> bool {
    match &message.payload {
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route),
        ) => route_matters(route),
        _ => true,
    }
}

async fn read(handle: &Handle) -> Result<Snapshot, Error> {
    let at = |table| move |source| Error::List { table, source };
    let no_statistics = vec![LinkExtentMask::SkipStats];
    let links = handle
        .link()
        .get()
        .set_filter_mask(AddressFamily::Unspec, no_statistics)
        .execute();
    let links: Vec<_> = links.try_collect().await.map_err(at("links"))?;
    let addresses = handle.address().get().execute();
    let addresses: Vec<_> = addresses.try_collect().await.map_err(at("addresses"))?;
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        let found = handle.route().get(request).execute();
        let found = found.try_filter(|route| std::future::ready(is_default(route)));
        let found: Vec<_> = found.try_collect().await.map_err(at("routes"))?;
        routes.extend(found);
    }
    let mut snapshot = Snapshot {
        links: links.iter().map(link).collect(),
        addresses: addresses.iter().filter_map(address).collect(),
        routes: routes.iter().flat_map(next_hops).collect(),
    };
    // So that another order is no change: the kernel lists some of them by hash.
    let Snapshot {
        links,
        addresses,
        routes,
    } = &mut snapshot;
    links.sort_by_key(|link| link.index);
    addresses.sort_by_key(|address| (address.index, address.address, address.prefix));
    routes.sort_by_key(|route| (route.ipv6, route.metric, route.index, route.gateway));
    Ok(snapshot)
}

fn link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        kind: None,
        up: message.header.flags.contains(LinkFlags::Up),
        loopback: message.header.flags.contains(LinkFlags::Loopback),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::LinkInfo(info) => {
                link.kind = info.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    link
}

fn address(message: &AddressMessage) -> Option<Address> {
    // The header has the lower eight flags, the attribute all of them.
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    let (mut local, mut other) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Flags(all) => flags = *all,
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => other = Some(*address),
            _ => {}
        }
    }
    Some(Address {
        index: message.header.index,
        // IPv4 always has both, and IFA_ADDRESS is the peer's on a point-to-point link; IPv6 has
        // IFA_LOCAL only there.
        address: local.or(other)?,
        prefix: message.header.prefix_len,
        scope: message.header.scope,
        flags,
    })
}

fn is_default(route: &RouteMessage) -> bool {
    let header = &route.header;
    header.destination_prefix_length == 0
        && header.table == RouteHeader::RT_TABLE_MAIN
        && header.kind == RouteType::Unicast
}

fn next_hops(message: &RouteMessage) -> Vec<DefaultRoute> {
    let mut route = DefaultRoute {
        index: 0,
        ipv6: message.header.address_family == AddressFamily::Inet6,
        metric: 0,
        source: None,
        gateway: None,
        onlink: message.header.flags.contains(RouteFlags::Onlink),
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => route.index = *index,
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::PrefSource(source) => route.source = ip(source),
            RouteAttribute::Gateway(gateway) => route.gateway = ip(gateway),
            _ => {}
        }
    }
    let hops = message.attributes.iter().find_map(|a| match a {
        RouteAttribute::MultiPath(hops) => Some(hops),
        _ => None,
    });
    let Some(hops) = hops else {
        let dead = message.header.flags.contains(RouteFlags::Dead);
        return if dead { Vec::new() } else { vec![route] };
    };
    let alive = hops
        .iter()
        .filter(|hop| !hop.flags.contains(RouteNextHopFlags::Dead));
    alive
        .map(|hop| DefaultRoute {
            index: hop.interface_index,
            onlink: hop.flags.contains(RouteNextHopFlags::Onlink),
            gateway: hop.attributes.iter().find_map(|a| match a {
                RouteAttribute::Gateway(gateway) => ip(gateway),
                _ => None,
            }),
            ..route.clone()
        })
        .collect()
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
