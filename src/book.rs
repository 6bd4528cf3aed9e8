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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn ips(text: &str) -> Vec<IpAddr> {
        text.split_whitespace()
            .map(|t| t.parse().unwrap())
            .collect()
    }

    fn declared(pairs: &[(&str, &str)]) -> Event {
        Event::Declared(pairs.iter().map(|(n, a)| (name(n), ips(a))).collect())
    }

    fn told(n: &str, a: &str) -> Event {
        Event::Told {
            name: name(n),
            addresses: ips(a),
        }
    }

    fn observed(origin: Origin, n: &str, a: &str) -> Event {
        Event::Observed {
            origin,
            name: name(n),
            addresses: ips(a),
        }
    }

    fn after(events: &[Event]) -> Book {
        events.iter().fold(Book::default(), |book, event| {
            reduce(&book, event, 1000).unwrap_or(book)
        })
    }

    #[test]
    fn a_stale_file_that_is_rendered_again_moves_nothing() {
        let file = declared(&[("m1.x", "10.0.0.1")]);
        let book = after(&[file.clone(), told("m1.x", "10.0.0.9"), file]);
        assert_eq!(book.addresses(&name("m1.x")), ips("10.0.0.9"));
        assert_eq!(book.records[&name("m1.x")].origin, Origin::Event);
    }

    #[test]
    fn a_file_that_says_something_new_is_an_event() {
        let book = after(&[
            declared(&[("m1.x", "10.0.0.1")]),
            told("m1.x", "10.0.0.9"),
            declared(&[("m1.x", "10.0.0.2")]),
        ]);
        assert_eq!(book.addresses(&name("m1.x")), ips("10.0.0.2"));
    }

    #[test]
    fn sources_are_told_apart() {
        let book = after(&[
            declared(&[("m1.x", "10.0.0.1")]),
            observed(Origin::Interface, "m1.x", "10.0.0.2"),
            told("m1.x", "10.0.0.3"),
            observed(Origin::Interface, "m1.x", "10.0.0.2"),
        ]);
        assert_eq!(book.addresses(&name("m1.x")), ips("10.0.0.3"));
    }

    #[test]
    fn a_master_taken_out_and_put_back_is_declared_anew() {
        let both = declared(&[("m1.x", "10.0.0.1"), ("m2.x", "10.0.0.2")]);
        let one = declared(&[("m1.x", "10.0.0.1")]);
        assert!(
            after(&[both.clone(), one.clone()])
                .addresses(&name("m2.x"))
                .is_empty()
        );
        let book = after(&[both.clone(), one, both]);
        assert_eq!(book.addresses(&name("m2.x")), ips("10.0.0.2"));
    }

    #[test]
    fn a_master_that_turns_to_following_keeps_its_addresses() {
        let book = after(&[declared(&[("m1.x", "10.0.0.1")]), declared(&[("m1.x", "")])]);
        assert_eq!(book.addresses(&name("m1.x")), ips("10.0.0.1"));
    }

    #[test]
    fn nothing_empties_the_book() {
        let book = after(&[declared(&[("m1.x", "10.0.0.1")])]);
        for event in [
            declared(&[]),
            told("m1.x", ""),
            observed(Origin::Upstream, "m1.x", ""),
        ] {
            assert!(reduce(&book, &event, 1).is_err(), "{event:?}");
        }
    }

    #[test]
    fn versions_grow_without_a_clock() {
        let first = reduce(&Book::default(), &told("m1.x", "10.0.0.1"), 5000).unwrap();
        let second = reduce(&first, &told("m1.x", "10.0.0.2"), 0).unwrap();
        assert_eq!(second.records[&name("m1.x")].version, 5001);
        assert_eq!(second.generation, 5001);
    }

    #[test]
    fn saying_what_is_known_is_no_change() {
        let book = after(&[declared(&[("m1.x", "10.0.0.1")])]);
        let same = reduce(&book, &told("m1.x", "10.0.0.1 10.0.0.1"), 9999).unwrap();
        assert_eq!(same.generation, book.generation);
        assert!(same.moves_since(&book).is_empty());
    }

    #[test]
    fn shared_addresses_are_seen() {
        let book = after(&[declared(&[("m1.x", "10.0.0.1"), ("m2.x", "10.0.0.1")])]);
        assert_eq!(
            book.shared_addresses()[&"10.0.0.1".parse::<IpAddr>().unwrap()].len(),
            2
        );
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let master = (1..4u8).prop_map(|n| name(&format!("m{n}.x")));
        let addresses =
            prop::collection::vec((1..5u8).prop_map(|n| IpAddr::from([10, 0, 0, n])), 0..3);
        let masters = prop::collection::btree_map(master.clone(), addresses.clone(), 0..4);
        prop_oneof![
            masters.prop_map(Event::Declared),
            (master.clone(), addresses.clone())
                .prop_map(|(name, addresses)| Event::Told { name, addresses }),
            (master, addresses, any::<bool>()).prop_map(|(name, addresses, own)| Event::Observed {
                origin: if own {
                    Origin::Interface
                } else {
                    Origin::Upstream
                },
                name,
                addresses,
            }),
        ]
    }

    proptest! {
        #[test]
        fn any_history_keeps_the_invariants(
            history in prop::collection::vec((any_event(), 0..3000u64), 0..30),
        ) {
            let mut book = Book::default();
            for (event, now) in history {
                let Ok(next) = reduce(&book, &event, now) else { continue };
                let moved = next.records != book.records;
                prop_assert_eq!(next.generation > book.generation, moved);
                for (name, record) in &next.records {
                    prop_assert!(!record.addresses.is_empty());
                    if let Some(old) = book.records.get(name) {
                        prop_assert!(record == old || record.version > old.version);
                    }
                }
                prop_assert_eq!(&reduce(&next, &event, now).unwrap(), &next, "an event said twice");
                book = next;
            }
        }
    }
}
