//! Signed records as datagrams to everybody on the links, for when everybody has moved at once.
//!
//! A datagram is one record, as in `docs/protocol.md`, and is judged as any other. Groups:
//! `239.255.84.42` (RFC 2365, 6.1) and `ff12::8442` (link-local, and not assigned by anybody: RFC 4291, 2.7), at the UDP
//! port of the same number as the peers'. They leave with a TTL or hop limit of 1, the kernel's default
//! for multicast, so no router passes them on. Nothing in them is secret, and workers send none.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use netlink_packet_route::address::AddressFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::peers::allowance::{Allowance, Rate};
use crate::peers::record::LIMIT;
use crate::source::interface::{Snapshot, is_container_link};

/// The group of IPv4.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 84, 42);
/// The group of IPv6.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0, 0x8442);

/// Datagrams of all sources that are looked at; others are dropped before anything is read.
const OF_ALL: Rate = Rate {
    burst: 50,
    every: Duration::from_millis(20),
};
/// And of one source.
const OF_ONE: Rate = Rate {
    burst: 10,
    every: Duration::from_millis(100),
};
/// Sources that are told from each other at a time. Whoever is on the link can send as anybody.
const SOURCES: usize = 64;
/// Datagrams that wait to be looked at.
const WAITING: usize = 50;
/// Links that are joined.
const LINKS: usize = 32;

/// A link that others may be on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Link {
    index: u32,
    pub(super) name: String,
    v4: bool,
    v6: bool,
}

/// The links of a machine that are up, with the families that have an address there. What belongs to
/// containers leads to no node.
pub(super) fn links(snapshot: &Snapshot) -> Vec<Link> {
    let links = snapshot.links.iter();
    let links = links.filter(|link| link.up && !link.loopback && !is_container_link(&link.name));
    let has = |index, v4| {
        let unusable = AddressFlags::Tentative | AddressFlags::Dadfailed;
        let mut addresses = snapshot.addresses.iter();
        addresses.any(|it| {
            it.index == index && it.address.is_ipv4() == v4 && !it.flags.intersects(unusable)
        })
    };
    let links = links.map(|link| Link {
        index: link.index,
        name: link.name.clone(),
        v4: has(link.index, true),
        v6: has(link.index, false),
    });
    let links = links.filter(|link| link.v4 || link.v6);
    links.take(LINKS).collect()
}

/// The sockets on the links.
#[derive(Debug)]
pub(super) struct Multicast {
    port: u16,
    links: Vec<Link>,
    sockets: Vec<Arc<UdpSocket>>,
    heard: mpsc::Sender<(Vec<u8>, SocketAddr)>,
    dropped: Arc<AtomicU64>,
    begun: Instant,
    allowances: Arc<Mutex<Allowances>>,
    listening: JoinSet<()>,
}

impl Multicast {
    /// On no link yet. What is heard comes out of the receiver.
    pub(super) fn new(port: u16) -> (Self, mpsc::Receiver<(Vec<u8>, SocketAddr)>) {
        let (heard, receiver) = mpsc::channel(WAITING);
        let multicast = Self {
            port,
            links: Vec::new(),
            sockets: Vec::new(),
            heard,
            dropped: Arc::default(),
            begun: Instant::now(),
            allowances: Arc::default(),
            listening: JoinSet::new(),
        };
        (multicast, receiver)
    }

    /// Joins the groups on these links and no others.
    pub(super) fn join(&mut self, links: Vec<Link>) {
        if self.links == links {
            return;
        }
        self.listening = JoinSet::new();
        self.sockets.clear();
        for link in &links {
            let v4 = link.v4.then(|| bind_v4(link.index, self.port));
            let v6 = link.v6.then(|| bind_v6(link.index, self.port));
            for socket in v4.into_iter().chain(v6) {
                match socket {
                    Ok(socket) => self.listen(Arc::new(socket)),
                    Err(error) => tracing::debug!("no multicast on {}: {error}", link.name),
                }
            }
        }
        self.links = links;
    }

    fn listen(&mut self, socket: Arc<UdpSocket>) {
        self.sockets.push(socket.clone());
        let (heard, dropped) = (self.heard.clone(), self.dropped.clone());
        let (begun, allowances) = (self.begun, self.allowances.clone());
        self.listening.spawn(async move {
            let mut bytes = vec![0; LIMIT + 1];
            loop {
                let Ok((size, from)) = socket.recv_from(&mut bytes).await else {
                    // An error of the link; it is joined anew when that changes.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                };
                let source = from.ip().to_canonical();
                let mut allowances = allowances.lock().unwrap_or_else(PoisonError::into_inner);
                let allowed = allowances.take(source, begun.elapsed()) && size <= LIMIT;
                drop(allowances);
                if !allowed || heard.try_send((bytes[..size].to_vec(), from)).is_err() {
                    dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }

    /// Sends a record on all links; tells how many datagrams went.
    pub(super) fn send(&self, record: &[u8]) -> u64 {
        let mut sent = 0;
        for socket in &self.sockets {
            let to: SocketAddr = match socket.local_addr() {
                Ok(own) => own,
                Err(_) => continue,
            };
            match socket.try_send_to(record, to) {
                Ok(_) => sent += 1,
                Err(error) => tracing::debug!("multicast to {to}: {error}"),
            }
        }
        sent
    }

    /// The names of the links.
    pub(super) fn names(&self) -> Vec<String> {
        self.links.iter().map(|link| link.name.clone()).collect()
    }

    /// Datagrams that were too many, or too large.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// How many are looked at: of one source, and of all together.
#[derive(Debug, Default)]
struct Allowances {
    all: Allowance,
    sources: BTreeMap<IpAddr, Allowance>,
}

impl Allowances {
    /// Whether one more of a source is looked at.
    fn take(&mut self, source: IpAddr, now: Duration) -> bool {
        if self.sources.len() >= SOURCES && !self.sources.contains_key(&source) {
            // Who has all of it left need not be remembered.
            self.sources
                .retain(|_, allowance| !allowance.left(OF_ONE.burst, OF_ONE, now));
            if self.sources.len() >= SOURCES {
                self.sources.pop_first();
            }
        }
        let own = self.sources.entry(source).or_default();
        own.take(1, OF_ONE, now) && self.all.take(1, OF_ALL, now)
    }
}

/// A socket that is bound to the group gets nothing but what is sent there; of IPv4 also by way of the other
/// links that were joined (`IP_MULTICAST_ALL`, ip(7)), so that one datagram may come several times.
fn bind_v4(link: u32, port: u16) -> io::Result<UdpSocket> {
    let group = SocketAddrV4::new(GROUP_V4, port);
    let fd = open(AddressFamily::INET)?;
    // This node knows its own words.
    sockopt::set_ip_multicast_loop(&fd, false)?;
    rustix::net::bind(&fd, &group)?;
    sockopt::set_ip_add_membership_with_ifindex(&fd, &GROUP_V4, &Ipv4Addr::UNSPECIFIED, link)?;
    sockopt::set_ip_multicast_if_with_ifindex(&fd, &GROUP_V4, &Ipv4Addr::UNSPECIFIED, link)?;
    UdpSocket::from_std(fd.into())
}

fn bind_v6(link: u32, port: u16) -> io::Result<UdpSocket> {
    let group = SocketAddrV6::new(GROUP_V6, port, 0, link);
    let fd = open(AddressFamily::INET6)?;
    sockopt::set_ipv6_v6only(&fd, true)?;
    sockopt::set_ipv6_multicast_loop(&fd, false)?;
    rustix::net::bind(&fd, &group)?;
    sockopt::set_ipv6_add_membership(&fd, &GROUP_V6, link)?;
    sockopt::set_ipv6_multicast_if(&fd, link)?;
    UdpSocket::from_std(fd.into())
}

fn open(family: AddressFamily) -> io::Result<rustix::fd::OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
    // One socket for each link.
    sockopt::set_socket_reuseaddr(&fd, true)?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(number: u32) -> IpAddr {
        Ipv4Addr::from(number).into()
    }

    #[test]
    fn one_source_has_a_part_of_all() {
        let mut allowances = Allowances::default();
        let mut taken = |source, millis| {
            let now = Duration::from_millis(millis);
            (0..1000)
                .filter(|_| allowances.take(ip(source), now))
                .count()
        };
        assert_eq!([1, 1, 2].map(|source| taken(source, 0)), [10, 0, 10]);
        assert_eq!([1, 2].map(|source| taken(source, 200)), [2, 2]);
        assert_eq!(taken(1, 60_000), 10);
    }

    #[test]
    fn all_together_have_fifty_each_second_and_the_memory_ends() {
        let mut allowances = Allowances::default();
        let mut taken = |now| (0..5000).filter(|n| allowances.take(ip(*n), now)).count();
        assert_eq!(taken(Duration::ZERO), 50);
        assert_eq!(taken(Duration::from_millis(100)), 5);
        assert!(allowances.sources.len() <= SOURCES);
    }
}
