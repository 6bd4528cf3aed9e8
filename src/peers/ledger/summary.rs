//! What a ledger holds, in few words: so that two nodes find out what one of them lacks.
//!
//! Two ledgers of the same digest are the same. Otherwise each sends its summary, gets the records that it
//! is [missing](Ledger::missing), and offers them to itself.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{Held, Ledger, MASTERS, WORDS};
use crate::name::Name;
use crate::peers::record::Digest;
use crate::peers::statement::Says;

/// The longest summary: who sends more is not listened to.
pub const ENTRIES: usize = MASTERS * (WORDS + 1);

/// A record, in a summary.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The master that it speaks of.
    pub master: Name,
    /// When its certificate began, for a master's own word; none for one about it.
    pub not_before: Option<i64>,
    /// Its version.
    pub version: u64,
    /// Its digest.
    pub digest: Digest,
}

impl Entry {
    fn of(held: &Held) -> Self {
        let verified = &held.verified;
        let statement = verified.statement();
        let own = matches!(statement.says, Says::At(_));
        Self {
            master: statement.master.clone(),
            not_before: own.then(|| verified.not_before()),
            version: statement.version,
            digest: verified.digest(),
        }
    }

    /// Whether a ledger that holds this one would not take the other. Equal versions are decided by
    /// bytes, which are not here: those are sent.
    fn outdoes(&self, other: &Self) -> bool {
        self.master == other.master
            && self.not_before.is_some() == other.not_before.is_some()
            && self.not_before >= other.not_before
            && self.version > other.version
    }
}

impl Ledger {
    /// Every record that is held, in the order of masters, own words behind the one about it.
    pub fn summary(&self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = self.records().map(Entry::of).collect();
        entries.sort();
        entries
    }

    /// SHA-256 over the digests of all records that are held, in ascending order.
    pub fn digest(&self) -> Digest {
        let mut digests: Vec<[u8; 32]> = self
            .records()
            .map(|held| held.verified.digest().0)
            .collect();
        digests.sort_unstable();
        Digest::of(digests.as_flattened())
    }

    /// The records that a node of this summary lacks and would take. What it says of itself is not
    /// trusted with anything: at worst it gets what it did not need.
    pub fn missing(&self, theirs: &[Entry]) -> Vec<&Held> {
        let known: HashSet<Digest> = theirs.iter().map(|entry| entry.digest).collect();
        let mut by_master: Vec<&Entry> = theirs.iter().take(ENTRIES).collect();
        by_master.sort_by(|a, b| a.master.cmp(&b.master));
        let lacks = |held: &&Held| {
            let own = Entry::of(held);
            let first = by_master.partition_point(|entry| entry.master < own.master);
            let same = by_master[first..].iter();
            let mut same = same.take_while(|entry| entry.master == own.master);
            !known.contains(&own.digest) && !same.any(|entry| entry.outdoes(&own))
        };
        self.records().filter(lacks).collect()
    }
}
