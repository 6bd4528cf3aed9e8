//! What is said of a master, and how it is written as bytes.
//!
//! The encoding is postcard's (its wire format is stable and documented); `docs/protocol.md` has it byte
//! by byte. A statement is decoded whole or not at all, and whatever it is decoded from is bounded.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::name::Name;

/// The addresses in one statement: at least one, at most these.
pub const ADDRESSES: usize = 16;

/// What a master says, of itself or of another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Statement {
    /// The cluster's domain.
    pub cluster: Name,
    /// The master that is spoken of, fully qualified.
    pub master: Name,
    /// The larger of the last one plus one and Unix time in seconds.
    pub version: u64,
    /// What is said of it.
    pub says: Says,
}

/// What can be said of a master.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Says {
    /// It is there. Only its own word counts.
    At(Vec<IpAddr>),
    /// It is a master no more, whatever it says itself.
    Removed,
    /// A new machine has its name: a word under a certificate that begins before this moment (Unix time in
    /// seconds) counts no more.
    Replaced {
        /// The moment.
        not_before: i64,
    },
}
