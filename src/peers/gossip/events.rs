//! What a node is told, and what it says is to be done.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::identity::{Identity, IdentityError, Who};
use super::wire::Malformed;
use crate::name::Name;

/// What happens to a node.
#[derive(Debug)]
pub enum Input<'a> {
    /// A peer, whose certificate says who it is, sent a frame.
    Frame {
        /// Who it is, by its certificate.
        from: &'a Who,
        /// The frame.
        bytes: &'a [u8],
    },
    /// The [deadline](super::Gossip::deadline) has come (or anything else; too early is no harm).
    Tick,
    /// This node's own record, or one that was brought to it, which its ledger already holds: everybody
    /// should have it, the masters at once.
    Tell(&'a [u8]),
    /// This node listens elsewhere now.
    Moved(Vec<SocketAddr>),
    /// The masters by their signed records and the cluster file, and where they listen by these. All of
    /// them each time.
    Masters(BTreeMap<Name, Vec<SocketAddr>>),
    /// Who was [known](super::Gossip::known) before the start.
    Known(Vec<Identity>),
}

/// What a node does, or what it saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a frame to a peer, over the connection that there is or by dialling its addresses in this
    /// order. Lost frames are no harm.
    Send {
        /// The peer; nobody else may get it.
        to: Who,
        /// Where it may listen; empty where only a connection that it opened leads to it.
        addresses: Vec<SocketAddr>,
        /// The frame.
        frame: Vec<u8>,
    },
    /// The ledger took a record.
    News {
        /// The record.
        record: Vec<u8>,
        /// Who sent it (not who signed it).
        from: Who,
    },
    /// Somebody is there, or there with another identity.
    Up(Identity),
    /// Somebody did not answer, as far as the members know.
    Down(Identity),
    /// This node has a new identity. Its generation is to be saved: the next start needs a higher one.
    Renewed(Identity),
    /// Nobody was heard for a while. Whom the caller knows by address only should get
    /// [`hello`](super::Gossip::hello).
    Lonely,
    /// A peer sent what is not to be taken.
    Refused {
        /// The peer, by its certificate.
        from: Who,
        /// What was wrong.
        why: Refusal,
    },
}

/// Why something was not taken; in words for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no frame.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It is no packet of the membership protocol.
    #[error("a membership packet that cannot be read: {0}")]
    Packet(String),
    /// It speaks for somebody else.
    #[error("it speaks in the name of {0}, which its certificate does not have")]
    Impostor(Who),
    /// It has this node's own certificate.
    #[error("it has this node's own name: is this machine there twice?")]
    Twin,
    /// A record that the ledger refuses.
    #[error("a record that is not to be believed: {0}")]
    Record(String),
    /// So many records were refused that none is looked at for a while.
    #[error("too many records that were not to be believed")]
    Liar,
    /// It tells of so many members that some of them are not looked at. After a network was cut in two an
    /// honest one may.
    #[error("more of other members than is taken from one node; the rest is passed over")]
    Talker,
    /// Addresses on which no node can listen.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}
