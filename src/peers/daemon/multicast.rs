//! Signed records as datagrams to everybody on the links, for when everybody has moved at once.
//!
//! A datagram is one record, as in `docs/protocol.md`, and is judged as any other. Groups:
//! `239.255.84.42` (RFC 2365, 6.1) and `ff12::8442` (link-local, and not assigned by anybody: RFC 4291, 2.7), at the UDP
//! port of the same number as the peers'. They leave with a TTL or hop limit of 1, the kernel's default
//! for multicast, so no router passes them on. Nothing in them is secret, and workers send none.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use netlink_packet_route::address::AddressFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::peers::record::LIMIT;
use crate::source::interface::{Snapshot, is_container_link};

/// The group of IPv4.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 84, 42);
/// The group of IPv6.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0, 0x8442);

/// Datagrams that are looked at each second; others are dropped before anything is verified.
const EACH_SECOND: u32 = 50;
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
    allowance: Arc<Mutex<Allowance>>,
    listening: JoinSet<()>,
}

impl Multicast {
    /// On no link yet. What is heard comes out of the receiver.
    pub(super) fn new(port: u16) -> (Self, mpsc::Receiver<(Vec<u8>, SocketAddr)>) {
        let (heard, receiver) = mpsc::channel(EACH_SECOND as usize);
        let multicast = Self {
            port,
            links: Vec::new(),
            sockets: Vec::new(),
            heard,
            dropped: Arc::default(),
            allowance: Arc::new(Mutex::new(Allowance::new(Instant::now()))),
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
        let allowance = self.allowance.clone();
        self.listening.spawn(async move {
            let mut bytes = vec![0; LIMIT + 1];
            loop {
                let Ok((size, from)) = socket.recv_from(&mut bytes).await else {
                    // An error of the link; it is joined anew when that changes.
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    continue;
                };
                let mut allowance = allowance.lock().unwrap_or_else(PoisonError::into_inner);
                let allowed = size <= LIMIT && allowance.take(Instant::now());
                drop(allowance);
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

/// So many at once, and so many each second.
#[derive(Debug)]
struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self {
            left: f64::from(EACH_SECOND),
            at: now,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let most = f64::from(EACH_SECOND);
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * most).min(most);
        self.at = now;
        let taken = self.left >= 1.0;
        if taken {
            self.left -= 1.0;
        }
        taken
    }
}

/// A socket that is bound to the group gets nothing but what is sent there.
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn fifty_each_second_and_no_more() {
        let now = Instant::now();
        let mut allowance = Allowance::new(now);
        let taken =
            |allowance: &mut Allowance, at| (0..1000).filter(|_| allowance.take(at)).count();
        assert_eq!(taken(&mut allowance, now), 50);
        assert_eq!(taken(&mut allowance, now + Duration::from_millis(100)), 5);
        assert_eq!(taken(&mut allowance, now + Duration::from_mins(1)), 50);
    }
}
