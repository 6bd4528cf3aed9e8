//! Who a node is among its peers, and where it listens.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::address::{Loopback, usable};
use crate::name::Name;

/// The addresses of one node: at most these, the preferred one first.
pub const ADDRESSES: usize = 4;

/// A peer by the name that its certificate proves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Who {
    /// A master, fully qualified.
    Master(Name),
    /// Any other node, by its name in Kubernetes.
    Worker(NodeName),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master(name) => f.pad(name.as_str()),
            Self::Worker(name) => f.pad(name.as_str()),
        }
    }
}

/// A node's name in Kubernetes: an RFC 1123 subdomain, which unlike a [`Name`] may end in a number
/// (`10.0.0.7` is one).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

/// Why something is not an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The name is not one that Kubernetes gives to nodes.
    #[error("not a node's name; it has at most 253 lower-case letters, digits, dots and hyphens")]
    NodeName,
    /// Nobody can be reached there.
    #[error("no node can listen on {0}")]
    Address(SocketAddr),
    /// More addresses than an identity holds.
    #[error("{0} addresses; an identity holds at most {ADDRESSES}")]
    Addresses(usize),
}

impl NodeName {
    /// Parses a node's name.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let label = |label: &str| {
            let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            !label.is_empty()
                && label.bytes().all(known)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() > 253 || !text.split('.').all(label) {
            return Err(IdentityError::NodeName);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NodeName {
    type Error = IdentityError;
    fn try_from(text: String) -> Result<Self, IdentityError> {
        Self::parse(&text)
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.0
    }
}

/// A node as it takes part in gossip. Of two identities with one name the higher generation counts;
/// equal generations are the same identity, whatever addresses are told with them.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Encoded", into = "Encoded")]
pub struct Identity {
    tag: Tag,
    generation: u64,
    node: Arc<Node>,
}

#[derive(Debug)]
struct Node {
    who: Who,
    addresses: Vec<SocketAddr>,
}

/// Half of the SHA-256 of a name and its kind: names are compared thousands of times for each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag([u64; 2]);

impl From<&Who> for Tag {
    fn from(who: &Who) -> Self {
        let (kind, name) = match who {
            Who::Master(name) => (b"master ", name.as_str()),
            Who::Worker(name) => (b"worker ", name.as_str()),
        };
        let hash = Sha256::new()
            .chain_update(kind)
            .chain_update(name)
            .finalize();
        let half = |at: usize| {
            let bytes = hash.iter().skip(at).take(8);
            bytes.fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        Self([half(0), half(8)])
    }
}

/// An identity on its way. A list of fixed length, so that no count is believed.
#[derive(Serialize, Deserialize)]
struct Encoded {
    who: Who,
    generation: u64,
    addresses: [Option<SocketAddr>; ADDRESSES],
}

impl Identity {
    /// A node that listens on these addresses. The generation is larger at each start and with each
    /// change of the addresses; [`Gossip`](super::Gossip) takes care of it from then on.
    pub fn new(
        who: Who,
        generation: u64,
        addresses: Vec<SocketAddr>,
    ) -> Result<Self, IdentityError> {
        if addresses.len() > ADDRESSES {
            return Err(IdentityError::Addresses(addresses.len()));
        }
        if let Some(address) = addresses.iter().find(|address| !can_listen(**address)) {
            return Err(IdentityError::Address(*address));
        }
        Ok(Self {
            tag: Tag::from(&who),
            generation,
            node: Arc::new(Node { who, addresses }),
        })
    }

    /// The name, and whether it is a master's.
    pub fn who(&self) -> &Who {
        &self.node.who
    }

    /// What is compared in place of the name.
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// The higher, the newer.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Where it listens, the preferred address first.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.node.addresses
    }

    /// Where this node would lead `own` astray, if it is told of or says so of itself: to a process of
    /// `own`'s machine, or to whatever there is on its link. Loopback addresses lead to nodes in a sandbox
    /// only, where `own` has no other either.
    pub(super) fn astray(&self, own: &Self) -> Option<SocketAddr> {
        let mut here = own.addresses().iter();
        let loopback = if here.all(|at| at.ip().to_canonical().is_loopback()) {
            Loopback::Allowed
        } else {
            Loopback::Refused
        };
        let mut there = self.addresses().iter();
        let astray = there.find(|at| usable(at.ip(), loopback).is_err());
        astray.copied()
    }

    /// The same node in a later generation.
    pub(super) fn at_generation(&self, generation: u64) -> Self {
        Self {
            generation,
            ..self.clone()
        }
    }
}

/// Whether a node can be reached there. A liar's word must not send others to a whole network.
fn can_listen(address: SocketAddr) -> bool {
    let ip = address.ip();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

impl TryFrom<Encoded> for Identity {
    type Error = IdentityError;
    fn try_from(encoded: Encoded) -> Result<Self, IdentityError> {
        let addresses = encoded.addresses.into_iter().flatten().collect();
        Self::new(encoded.who, encoded.generation, addresses)
    }
}

impl From<Identity> for Encoded {
    fn from(identity: Identity) -> Self {
        let mut addresses = [None; ADDRESSES];
        for (place, address) in addresses.iter_mut().zip(identity.addresses()) {
            *place = Some(*address);
        }
        Self {
            who: identity.who().clone(),
            generation: identity.generation,
            addresses,
        }
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.tag == other.tag && self.generation == other.generation
    }
}

impl Eq for Identity {}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Node { who, addresses } = self.node.as_ref();
        write!(f, "{who}#{} at {addresses:?}", self.generation)
    }
}

impl foca::Identity for Identity {
    type Addr = Tag;

    /// Declared down, a node comes back in the next generation.
    fn renew(&self) -> Option<Self> {
        let next = self.generation.checked_add(1)?;
        Some(self.at_generation(next))
    }

    fn addr(&self) -> Tag {
        self.tag
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.generation > adversary.generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(generation: u64, addresses: &[&str]) -> Result<Identity, IdentityError> {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let who = Who::Worker(NodeName::parse("10.0.0.7").unwrap());
        Identity::new(who, generation, addresses)
    }

    #[test]
    fn survives_its_encoding() {
        for addresses in [
            &[][..],
            &["10.0.0.7:8442"],
            &["[fd00::7]:8442", "10.0.0.7:8442"],
        ] {
            let identity = worker(u64::MAX, addresses).unwrap();
            let bytes = postcard::to_allocvec(&identity).unwrap();
            let again: Identity = postcard::from_bytes(&bytes).unwrap();
            assert_eq!(again, identity);
            assert_eq!(again.who(), identity.who());
            assert_eq!(again.addresses(), identity.addresses());
        }
    }

    #[test]
    fn refuses_where_nobody_listens() {
        for address in [
            "0.0.0.0:8442",
            "[::]:8442",
            "224.0.0.1:8442",
            "[ff02::1]:8442",
            "255.255.255.255:8442",
            "10.0.0.7:0",
        ] {
            worker(1, &[address]).unwrap_err();
            let encoded = Encoded {
                who: Who::Worker(NodeName::parse("a").unwrap()),
                generation: 1,
                addresses: [Some(address.parse().unwrap()), None, None, None],
            };
            let bytes = postcard::to_allocvec(&encoded).unwrap();
            postcard::from_bytes::<Identity>(&bytes).unwrap_err();
        }
        worker(1, &["10.0.0.7:8442"; 5]).unwrap_err();
    }

    #[test]
    fn names_are_those_that_kubernetes_gives() {
        for good in ["a", "worker-1", "10.0.0.7", "ip-10-0-0-7.ec2.internal"] {
            NodeName::parse(good).unwrap();
        }
        let long = "a".repeat(254);
        for bad in ["", ".", "a..b", "A", "a_b", "-a", "a-", "a\n", &long] {
            NodeName::parse(bad).unwrap_err();
        }
    }

    #[test]
    fn a_master_and_a_worker_of_one_name_are_two() {
        let master = Who::Master(Name::parse("a.b").unwrap());
        let worker = Who::Worker(NodeName::parse("a.b").unwrap());
        assert_ne!(Tag::from(&master), Tag::from(&worker));
    }
}
