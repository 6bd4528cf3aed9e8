//! What the responder knows: a map from names to what is there, built from one [`View`].
//!
//! A zone is an immutable value. Its keys are names in wire format (RFC 1035 section 3.1), lower
//! case, so that the short path can look a question up by the bytes it came in. Invariants:
//!
//! - Every name between a name in the domain and the domain itself has a node. A name that is not
//!   in the map therefore does not exist (NXDOMAIN), and an empty non-terminal does (NODATA, RFC
//!   8020).
//! - Beside the domain there is one zone for each master's address, of exactly its reverse name.
//!   Reverse names of other addresses belong to somebody else and are refused.
//! - The name server of all of them is the endpoint's name: it is loopback on every node, as the
//!   responder is, and cannot collide with a master.

use std::collections::HashMap;
use std::net::IpAddr;

use hickory_server::proto::rr::rdata::SOA;
use hickory_server::proto::rr::{Name, RecordType};

use super::short::Memo;
use crate::name::Name as HostName;
use crate::view::{Entry, View};

/// etcd's discovery by SRV records (etcd's documentation, "DNS discovery"), with the ports that
/// kubeadm gives to peers and clients.
const SERVICES: [(&str, u16); 2] = [
    ("_etcd-server-ssl._tcp", 2380),
    ("_etcd-client-ssl._tcp", 2379),
];

/// All that the responder answers from.
#[derive(Debug)]
pub struct Zone {
    /// The cluster's domain, as a key of `nodes`.
    apex: Box<[u8]>,
    /// The person to ask, as SOA's RNAME: `hostmaster` of the domain (RFC 2142).
    contact: Name,
    /// The book's generation.
    serial: u32,
    /// Of every record, in seconds.
    ttl: u32,
    /// The endpoint first, then the masters.
    hosts: Vec<Host>,
    nodes: HashMap<Box<[u8]>, Node>,
}

/// A name with addresses.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) name: Name,
    /// Empty while a followed master's addresses are not known.
    pub(super) addresses: Box<[IpAddr]>,
}

/// A name that exists.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) content: Content,
    /// Encoded answers of the short path.
    pub(super) memo: Memo,
}

/// What a name holds. Numbers are indices of [`Zone::hosts`].
#[derive(Debug, Default)]
pub(super) enum Content {
    /// Nothing: an empty non-terminal, or the domain itself.
    #[default]
    Empty,
    /// Addresses.
    Host(usize),
    /// Another name for a host.
    Alias(usize),
    /// The hosts that have the address of this reverse name.
    Reverse(Vec<usize>),
    /// A service that every master offers at this port.
    Service(u16),
}

/// Where a name leads in a zone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'z> {
    /// The name's own node, or that of the closest name above it that exists.
    pub(super) node: &'z Node,
    /// Whether the node is the name's own.
    pub(super) exact: bool,
    /// How many of the name's last labels name the zone it belongs to.
    pub(super) apex_labels: usize,
}

impl Zone {
    /// Builds the zone of a view: linear in the number of names.
    pub fn new(view: &View) -> Self {
        let domain = &view.cluster.domain;
        let mut zone = Self {
            apex: key(&Name::root()),
            contact: Name::root(),
            serial: serial(view.book.generation),
            ttl: view.cluster.dns.ttl,
            hosts: Vec::new(),
            nodes: HashMap::new(),
        };
        // A host name is always a DNS name. Were it not, the zone would be empty and refuse.
        if let Some(apex) = absolute(domain.as_str()) {
            zone.apex = key(&apex);
            zone.contact = absolute(&format!("hostmaster.{domain}")).unwrap_or(apex);
            zone.nodes.insert(zone.apex.clone(), Node::default());
            let entries = view.entries();
            // Each has a name and, mostly, a reverse name.
            zone.nodes.reserve(2 * entries.len() + SERVICES.len());
            for entry in &entries {
                zone.add_host(domain, entry);
            }
            zone.add_reverse();
            for (service, port) in SERVICES {
                if let Some(name) = absolute(&format!("{service}.{domain}")) {
                    zone.add(&name, Content::Service(port));
                }
            }
        }
        zone
    }

    fn add_host(&mut self, domain: &HostName, entry: &Entry) {
        let Some(name) = absolute(entry.name.as_str()) else {
            return;
        };
        let index = self.hosts.len();
        if entry.name.is_below(domain) {
            self.add(&name, Content::Host(index));
        }
        for alias in entry.aliases.iter().filter(|alias| alias.is_below(domain)) {
            if let Some(alias) = absolute(alias.as_str()) {
                self.add(&alias, Content::Alias(index));
            }
        }
        self.hosts.push(Host {
            name,
            addresses: entry.addresses.clone().into(),
        });
    }

    /// A reverse name for each address of a master. The endpoint's has none: loopback is everybody's.
    fn add_reverse(&mut self) {
        for (index, host) in self.hosts.iter().enumerate().skip(1) {
            for address in &host.addresses {
                let node = self.nodes.entry(key(&Name::from(*address))).or_default();
                match &mut node.content {
                    Content::Reverse(hosts) => hosts.push(index),
                    content => *content = Content::Reverse(vec![index]),
                }
            }
        }
    }

    /// Adds a name of the domain and the names above it. What is there first stays: the
    /// configuration has no name twice.
    fn add(&mut self, name: &Name, content: Content) {
        let key = key(name);
        let mut above = parent(&key);
        while let Some(ancestor) = above
            && ancestor.len() > self.apex.len()
        {
            self.nodes.entry(ancestor.into()).or_default();
            above = parent(ancestor);
        }
        let node = self.nodes.entry(key).or_default();
        if matches!(node.content, Content::Empty) {
            node.content = content;
        }
    }

    /// Where a name leads; `None` if it is in none of our zones. The name is in wire format and
    /// lower case.
    pub(super) fn find(&self, name: &[u8]) -> Option<Place<'_>> {
        let mut here = name;
        loop {
            if let Some(node) = self.nodes.get(here) {
                let apex = match node.content {
                    Content::Reverse(_) => here,
                    _ => &here[here.len().checked_sub(self.apex.len())?..],
                };
                return Some(Place {
                    node,
                    exact: here.len() == name.len(),
                    apex_labels: labels(apex),
                });
            }
            here = parent(here)?;
        }
    }

    /// The node of exactly this name, in wire format and lower case.
    pub(super) fn node(&self, name: &[u8]) -> Option<&Node> {
        self.nodes.get(name)
    }

    pub(super) fn host(&self, index: usize) -> Option<&Host> {
        self.hosts.get(index)
    }

    pub(super) fn masters(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().skip(1)
    }

    /// The name server of all our zones.
    pub(super) fn name_server(&self) -> Option<&Host> {
        self.hosts.first()
    }

    pub(super) fn ttl(&self) -> u32 {
        self.ttl
    }

    /// The start of authority. Nobody transfers the zone, so the timers matter only to readers; the
    /// last one is how long a resolver may remember that a name is not there (RFC 2308).
    pub(super) fn soa(&self) -> SOA {
        let server = self.name_server().map_or(&self.contact, |host| &host.name);
        let (refresh, retry, expire) = (3600, 600, 86_400);
        SOA::new(
            server.clone(),
            self.contact.clone(),
            self.serial,
            refresh,
            retry,
            expire,
            self.ttl,
        )
    }

    /// How many names exist, reverse names included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no name at all, so that every question is refused.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

impl Host {
    /// The record type that an address is shown as.
    pub(super) fn record_type(address: IpAddr) -> RecordType {
        match address {
            IpAddr::V4(_) => RecordType::A,
            IpAddr::V6(_) => RecordType::AAAA,
        }
    }
}

/// A name in wire format and lower case: how the zone is asked.
pub(super) fn key(name: &Name) -> Box<[u8]> {
    let mut wire = Vec::with_capacity(name.len() + 1);
    for label in name {
        // A label has at most 63 octets.
        wire.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        wire.extend(label.iter().map(u8::to_ascii_lowercase));
    }
    wire.push(0);
    wire.into()
}

/// The name above, in wire format; `None` above the root.
fn parent(wire: &[u8]) -> Option<&[u8]> {
    let (length, rest) = wire.split_first()?;
    match length {
        0 => None,
        length => rest.get(usize::from(*length)..),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "serial numbers are compared modulo 2^32 (RFC 1982)"
)]
fn serial(generation: u64) -> u32 {
    generation as u32
}

fn labels(wire: &[u8]) -> usize {
    std::iter::successors(parent(wire), |wire| parent(wire)).count()
}

fn absolute(name: &str) -> Option<Name> {
    Name::from_ascii(format!("{name}.")).ok()
}
