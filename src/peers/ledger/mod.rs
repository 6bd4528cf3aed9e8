//! The join of all records that were ever accepted.
//!
//! Records come in any order, some twice, some late. What a ledger holds depends only on which came, not on
//! how: two ledgers that have seen the same are the same, and two that exchange what the other lacks become
//! so ([`summary`](mod@summary)).
//!
//! # What is held of each master
//!
//! - **The greatest word about it** (removed, replaced), by version, equal versions by the records' bytes.
//!   Removed: nothing that it says itself counts. Replaced: what it says counts under certificates that begin
//!   at the cutoff or later.
//! - **Its own words** that may still come to count. A replacement that nobody here has heard of yet will take
//!   away those under old certificates, so the greatest word alone is not enough: held is each that no other
//!   outdoes in both, version and beginning of the certificate. In an honest history that is one, or two
//!   while a master with a new certificate has not yet heard of its last version.
//!
//! What [counts](Ledger::effective) is the greatest of its own words that neither takes away.
//!
//! # Bounds
//!
//! [`MASTERS`] masters, and [`WORDS`] own words of each: those of the greatest versions. Who reaches the
//! second bound has nine certificates for one master. Its ninth word may then be held here and not there; the
//! next word that the master signs itself, under its newest certificate and above all versions, outdoes them
//! all and ends that.

mod master;
pub mod next;
mod said;
pub mod summary;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::record::Digest;
use super::verify::{Claim, Verified};
use crate::name::Name;
use master::Master;

/// The masters in one ledger, removed ones included.
pub const MASTERS: usize = 1024;
/// The own words that are held of one master.
pub const WORDS: usize = 8;

/// All records that count, or may come to.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    masters: BTreeMap<Name, Master>,
}

/// A record in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The record.
    pub verified: Verified,
    /// When this node first saw it, in Unix time by its own clock. Other nodes saw it at other times, so it
    /// has no part in what the ledger decides.
    pub received: u64,
}

/// What became of a record that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Taken, and something else counts of its master now. To be passed on.
    News,
    /// Taken; what counts says the same. To be passed on.
    Kept,
    /// It is held already.
    Known,
    /// A greater one is held.
    Outdone,
    /// Not taken: there are [`MASTERS`] masters already.
    TooManyMasters,
    /// Not taken: there are [`WORDS`] greater words of its master, each under another certificate.
    TooManyWords,
}

/// What counts of a master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// What is said.
    pub word: Word,
    /// Its version.
    pub version: u64,
    /// The master that said it: itself, where it says where it is.
    pub signer: Name,
    /// When this node first saw it, in Unix time.
    pub received: u64,
    /// The record that says it.
    pub digest: Digest,
}

/// What can count of a master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// Where it is.
    At(Vec<IpAddr>),
    /// It is a master no more.
    Removed,
}

impl Outcome {
    /// Whether it was taken, and others should have it.
    pub fn is_taken(self) -> bool {
        matches!(self, Self::News | Self::Kept)
    }

    /// What a person should know, where something is not as it should be.
    pub fn warning(self) -> Option<&'static str> {
        match self {
            Self::TooManyMasters => Some(
                "there are 1024 masters already, removed ones included; if they are not yours, somebody who holds a master's key invents them",
            ),
            Self::TooManyWords => Some(
                "there are eight records of this master already, each under another certificate; its next own record ends that",
            ),
            _ => None,
        }
    }
}

impl Ledger {
    /// Takes a record, if it adds anything. `received`: when this node first saw it, in Unix time.
    pub fn offer(&mut self, verified: Verified, received: u64) -> Outcome {
        let name = &verified.statement().master;
        if !self.masters.contains_key(name) && self.masters.len() >= MASTERS {
            return Outcome::TooManyMasters;
        }
        let master = self.masters.entry(name.clone()).or_default();
        master.offer(Held { verified, received })
    }

    /// Whether a record would not be taken, were it true: then it need not be verified.
    pub fn outdoes(&self, claim: &Claim) -> bool {
        let master = self.masters.get(&claim.statement().master);
        master.is_some_and(|master| master.outdoes(claim))
    }

    /// What counts of each master. One that was replaced and has not spoken since is not there: what cluster
    /// files and others say of it counts again.
    pub fn effective(&self) -> BTreeMap<Name, Effective> {
        let masters = self.masters.iter();
        masters
            .filter_map(|(name, master)| Some((name.clone(), master.effective()?)))
            .collect()
    }

    /// What counts of one master.
    pub fn effective_of(&self, master: &Name) -> Option<Effective> {
        self.masters.get(master)?.effective()
    }

    /// Since when a master's certificates count, in Unix time, where it was replaced.
    pub fn cutoff(&self, master: &Name) -> Option<i64> {
        self.masters.get(master)?.cutoff()
    }

    /// All records that are held, in the order of masters' names.
    pub fn records(&self) -> impl Iterator<Item = &Held> {
        self.masters.values().flat_map(Master::records)
    }

    /// Whether this very record is held: then it need not be verified.
    pub fn holds(&self, digest: Digest) -> bool {
        self.records().any(|held| held.verified.digest() == digest)
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.masters.is_empty()
    }
}

/// The same records, whenever each was received.
impl PartialEq for Ledger {
    fn eq(&self, other: &Self) -> bool {
        let digests = |ledger: &Self| -> Vec<Digest> {
            ledger
                .records()
                .map(|held| held.verified.digest())
                .collect()
        };
        digests(self) == digests(other)
    }
}

impl Eq for Ledger {}
