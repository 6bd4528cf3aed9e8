//! The address book and the one function that changes it.
//!
//! A [`Book`] is an immutable snapshot: master → addresses, version, origin. [`reduce`] takes a book
//! and an [`Event`] and gives the next book; it reads no clock, no file and no socket.
//!
//! Invariants:
//!
//! - A record is replaced only by a higher version of the same name; versions and the generation are
//!   the larger of last plus one and Unix time, so they grow even where state was lost.
//! - A source (cluster file, interface, upstream name) moves a master only when what it says differs
//!   from what *it* said last time. A stale file that is rendered again moves nothing.
//! - No event leaves a known master without an address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::name::Name;

/// Where a record's addresses come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The cluster file.
    ClusterFile,
    /// `stayput event NAME ADDRESS`.
    Event,
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
    /// The larger of last plus one and Unix time, in seconds, when the record was made.
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
        Event::Declared(masters) => {
            if masters.is_empty() {
                return Err(Rejection::NoMasters);
            }
            next.records.retain(|name, _| masters.contains_key(name));
            for said in next.said.values_mut() {
                said.retain(|name, _| masters.contains_key(name));
            }
            let followed = next.said.entry(Origin::ClusterFile).or_default();
            followed.retain(|name, _| masters.get(name).is_some_and(|a| !a.is_empty()));
            for (name, addresses) in masters.iter().filter(|(_, a)| !a.is_empty()) {
                next.hear(Origin::ClusterFile, name, addresses, now);
            }
        }
        Event::Told { name, addresses } => {
            next.set(Origin::Event, name, addresses, now)?;
        }
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
    if next.records != book.records {
        next.generation = successor(book.generation, now);
    }
    Ok(next)
}

impl Book {
    /// A source speaks: it is an event only if it says something else than last time, or if nobody
    /// has said anything yet.
    fn hear(&mut self, origin: Origin, name: &Name, addresses: &[IpAddr], now: u64) {
        let addresses = without_repeats(addresses);
        let said = self.said.entry(origin).or_default();
        let news = said.get(name) != Some(&addresses) || !self.records.contains_key(name);
        said.insert(name.clone(), addresses.clone());
        if news {
            self.put(origin, name, addresses, now);
        }
    }

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
        self.put(origin, name, without_repeats(addresses), now);
        Ok(())
    }

    /// Replaces a record if its addresses differ. Who says what is already known changes nothing.
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
