//! The address book and the one function that changes it.
//!
//! A [`Book`] is an immutable snapshot: master → addresses, version, origin. [`reduce`] takes a book
//! and an [`Event`] and gives the next book; it reads no clock, no file and no socket.
//!
//! # Who is believed
//!
//! 1. A signed record ([`Event::Recorded`]): what a master says of itself, verified elsewhere.
//! 2. An operator's override, `stayput event NAME ADDRESS` for another master, on this node only, until a
//!    newer record of that master comes.
//! 3. Cluster file and upstream names, while the master has no signed record.
//!
//! Of its own master a node knows better than any record: its interface, what is told on the machine
//! itself, and what its cluster file or the upstream name says anew, move it at once, and a record is
//! signed afterwards.
//!
//! # Invariants
//!
//! - An entry is replaced only by one of a higher version, unless by a signed record, which has its own;
//!   versions and the generation are the larger of last plus one and Unix time, so they grow even where
//!   state was lost.
//! - A source (cluster file, interface, upstream name) moves a master only when what it says differs
//!   from what *it* said last time. A stale file that is rendered again moves nothing.
//! - No event leaves a known master without an address, and none leaves the cluster without a master.
//!   Only a signed removal, or the cluster file, takes a master out.

mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::name::Name;

pub use records::{Says, Signed};

/// Where an entry's addresses come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The cluster file.
    ClusterFile,
    /// `stayput event NAME ADDRESS`.
    Event,
    /// The same on another node than the master's own, against its signed record.
    Override,
    /// The master's signed record.
    Record,
    /// This node's own interface.
    Interface,
    /// The upstream name that the master follows.
    Upstream,
}

impl Origin {
    /// The word that tables and JSON show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterFile => "cluster-file",
            Self::Event => "event",
            Self::Override => "override",
            Self::Record => "record",
            Self::Interface => "interface",
            Self::Upstream => "upstream",
        }
    }
}

/// What the book holds of one master.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// In the order in which they were told, without repeats; never empty.
    pub addresses: Vec<IpAddr>,
    /// The larger of last plus one and Unix time, in seconds, when this was said; of a signed record its
    /// own.
    pub version: u64,
    /// Who said so.
    pub origin: Origin,
}

/// An immutable snapshot of all masters' addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Book {
    /// Grows with every change, also across restarts.
    pub generation: u64,
    /// By fully qualified name. A master whose address is not known yet has no record.
    pub records: BTreeMap<Name, Record>,
    /// What each source said last, so that only a difference is an event.
    #[serde(default)]
    pub said: BTreeMap<Origin, BTreeMap<Name, Vec<IpAddr>>>,
    /// The masters that the cluster file names.
    #[serde(default)]
    pub declared: BTreeSet<Name>,
    /// What signed records say now.
    #[serde(default)]
    pub signed: BTreeMap<Name, Signed>,
    /// This node's master, as it was told with the records; none on a worker and where no record counts.
    #[serde(default)]
    pub own: Option<Name>,
}

/// Something that may change the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The masters by the cluster file; a master that follows an upstream name has no addresses.
    Declared(BTreeMap<Name, Vec<IpAddr>>),
    /// An operator or a hook says where a master is.
    Told {
        /// The master, fully qualified.
        name: Name,
        /// Its addresses.
        addresses: Vec<IpAddr>,
    },
    /// The same of this node's own master, which is to be signed.
    Moved {
        /// This node's master, fully qualified.
        name: Name,
        /// Its addresses.
        addresses: Vec<IpAddr>,
    },
    /// What all signed records together say now; one that is missing is known no more.
    Recorded {
        /// By fully qualified name.
        records: BTreeMap<Name, Signed>,
        /// This node's master.
        own: Option<Name>,
    },
    /// A source that speaks for one master was looked at.
    Observed {
        /// [`Origin::Interface`] or [`Origin::Upstream`].
        origin: Origin,
        /// The master, fully qualified.
        name: Name,
        /// What the source says now.
        addresses: Vec<IpAddr>,
    },
}

/// Why an event changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The name is no master of this cluster.
    #[error("'{name}' is not a master of this cluster; the masters are {known}")]
    UnknownMaster {
        /// The name that was given.
        name: String,
        /// The masters, joined by commas.
        known: String,
    },
    /// An event without an address.
    #[error("no address was given for {0}; a master always keeps at least one")]
    NoAddress(Name),
    /// A cluster without masters.
    #[error("the cluster file names no masters; the book keeps the ones it has")]
    NoMasters,
    /// Nobody would be left.
    #[error(
        "all masters that the cluster file names were removed by signed records, and no other has one; the book keeps the ones it has"
    )]
    AllRemoved,
    /// An event about a master that is none any more.
    #[error(
        "{0} was removed by a signed record; where a new machine has its name, `stayput replace` makes it a master again"
    )]
    Removed(Name),
}

/// One master's move, for logs and reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The master.
    pub name: Name,
    /// Its addresses before; empty for a master that is new.
    pub before: Vec<IpAddr>,
    /// Its addresses now; empty for a master that was taken out.
    pub after: Vec<IpAddr>,
}

impl Book {
    /// A master's addresses; empty while they are not known.
    pub fn addresses(&self, name: &Name) -> &[IpAddr] {
        self.records.get(name).map_or(&[], |r| &r.addresses)
    }

    /// The same book under the next generation.
    #[must_use]
    pub fn renumbered(mut self, now: u64) -> Self {
        self.generation = successor(self.generation, now);
        self
    }

    /// What moved between two books, in the order of names.
    pub fn moves_since(&self, before: &Self) -> Vec<Move> {
        let mut names: Vec<&Name> = before.records.keys().chain(self.records.keys()).collect();
        names.sort();
        names.dedup();
        names
            .into_iter()
            .filter(|name| before.addresses(name) != self.addresses(name))
            .map(|name| Move {
                name: name.clone(),
                before: before.addresses(name).to_vec(),
                after: self.addresses(name).to_vec(),
            })
            .collect()
    }

    /// Addresses that more than one master has, as happens between two events when masters swap
    /// theirs, or when a stale record outlives a reassigned lease.
    pub fn shared_addresses(&self) -> BTreeMap<IpAddr, Vec<Name>> {
        let mut owners: BTreeMap<IpAddr, Vec<Name>> = BTreeMap::new();
        for (name, record) in &self.records {
            for address in &record.addresses {
                owners.entry(*address).or_default().push(name.clone());
            }
        }
        owners.retain(|_, names| names.len() > 1);
        owners
    }
}

/// The book after an event.
///
/// `now` is Unix time in seconds. The result equals `book` when the event says nothing new; it may
/// differ in [`Book::said`] alone when a source now agrees with what another one had said before.
pub fn reduce(book: &Book, event: &Event, now: u64) -> Result<Book, Rejection> {
    let mut next = book.clone();
    match event {
        Event::Declared(masters) => next.declare(masters, now)?,
        Event::Told { name, addresses } => {
            let origin = match next.signed_addresses(name) {
                Some(_) => Origin::Override,
                None => Origin::Event,
            };
            next.set(origin, name, addresses, now)?;
        }
        Event::Moved { name, addresses } => next.set(Origin::Event, name, addresses, now)?,
        Event::Recorded { records, own } => next.record(records, own.as_ref(), now)?,
        Event::Observed {
            origin,
            name,
            addresses,
        } => {
            if addresses.is_empty() {
                return Err(Rejection::NoAddress(name.clone()));
            }
            next.hear(*origin, name, addresses, now);
        }
    }
    if next.records != book.records || next.differs_from_file() != book.differs_from_file() {
        next.generation = successor(book.generation, now);
    }
    Ok(next)
}

impl Book {
    fn declare(
        &mut self,
        masters: &BTreeMap<Name, Vec<IpAddr>>,
        now: u64,
    ) -> Result<(), Rejection> {
        if masters.is_empty() {
            return Err(Rejection::NoMasters);
        }
        self.declared = masters.keys().cloned().collect();
        self.forget_strangers()?;
        let followed = self.said.entry(Origin::ClusterFile).or_default();
        followed.retain(|name, _| masters.get(name).is_some_and(|a| !a.is_empty()));
        for (name, addresses) in masters.iter().filter(|(_, a)| !a.is_empty()) {
            self.hear(Origin::ClusterFile, name, addresses, now);
        }
        Ok(())
    }

    /// A source speaks: it is an event only if it says something else than last time, or if nobody
    /// has said anything yet. It is remembered also where a signed record is believed instead.
    fn hear(&mut self, origin: Origin, name: &Name, addresses: &[IpAddr], now: u64) {
        let addresses = without_repeats(addresses);
        let said = self.said.entry(origin).or_default();
        let before = said.insert(name.clone(), addresses.clone());
        let news = before.as_ref() != Some(&addresses) || !self.records.contains_key(name);
        if news && self.believes(origin, name, before.is_some()) {
            self.put(origin, name, addresses, now);
        }
    }

    /// Sets what an operator says.
    fn set(
        &mut self,
        origin: Origin,
        name: &Name,
        addresses: &[IpAddr],
        now: u64,
    ) -> Result<(), Rejection> {
        if addresses.is_empty() {
            return Err(Rejection::NoAddress(name.clone()));
        }
        if self.is_removed(name) {
            return Err(Rejection::Removed(name.clone()));
        }
        let addresses = without_repeats(addresses);
        if origin == Origin::Override && self.signed_addresses(name) == Some(&addresses) {
            // The override is taken back.
            self.follow_record(name);
        } else {
            self.put(origin, name, addresses, now);
        }
        Ok(())
    }

    /// Replaces an entry if its addresses differ. Who says what is already known changes nothing.
    fn put(&mut self, origin: Origin, name: &Name, addresses: Vec<IpAddr>, now: u64) {
        let old = self.records.get(name);
        if old.is_some_and(|record| record.addresses == addresses) {
            return;
        }
        let version = successor(old.map_or(0, |record| record.version), now);
        self.records.insert(
            name.clone(),
            Record {
                addresses,
                version,
                origin,
            },
        );
    }
}

/// The larger of last plus one and Unix time.
fn successor(last: u64, now: u64) -> u64 {
    last.saturating_add(1).max(now)
}

fn without_repeats(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut unique = Vec::with_capacity(addresses.len());
    for address in addresses {
        if !unique.contains(address) {
            unique.push(*address);
        }
    }
    unique
}

#[cfg(test)]
mod tests;
