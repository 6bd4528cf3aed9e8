//! What signed records do to the book.
//!
//! Records are verified before they come here; what comes is the whole of what they say, each time, so
//! that nothing is lost where one message was.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Book, Origin, Record, Rejection, successor, without_repeats};
use crate::name::Name;

/// What signed records say of one master.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The larger of the master's last version plus one and Unix time, in seconds, when it was signed.
    pub version: u64,
    /// What is said.
    pub says: Says,
}

/// Where a master is, or that it is none any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Says {
    /// At these addresses, by its own word; at least one.
    At(Vec<IpAddr>),
    /// Taken out of the cluster, whatever the cluster file says.
    Removed,
}

/// Who may have said where a master is, the nearest first.
const SOURCES: [Origin; 3] = [Origin::Interface, Origin::Upstream, Origin::ClusterFile];

impl Book {
    /// Whether a signed record has taken this master out.
    pub fn is_removed(&self, name: &Name) -> bool {
        let signed = self.signed.get(name);
        signed.is_some_and(|signed| signed.says == Says::Removed)
    }

    /// Where a master is by its signed record; `None` where it has none, or was removed.
    pub fn signed_addresses(&self, name: &Name) -> Option<&Vec<IpAddr>> {
        match &self.signed.get(name)?.says {
            Says::At(addresses) => Some(addresses),
            Says::Removed => None,
        }
    }

    /// The masters that only their signed records name, in the order of names.
    pub fn added(&self) -> impl Iterator<Item = &Name> {
        let signed = self.signed.iter();
        let there = signed.filter(|(_, signed)| matches!(signed.says, Says::At(_)));
        there
            .map(|(name, _)| name)
            .filter(|name| !self.declared.contains(*name))
    }

    /// Who is a master though the cluster file does not name it, and who is none though it does.
    pub(super) fn differs_from_file(&self) -> BTreeSet<&Name> {
        let removed = self.declared.iter().filter(|name| self.is_removed(name));
        self.added().chain(removed).collect()
    }

    /// Whether what a source says anew may move a master now; `spoke` tells whether it had said anything
    /// of that master before.
    pub(super) fn believes(&self, origin: Origin, name: &Name, spoke: bool) -> bool {
        match self.signed.get(name).map(|signed| &signed.says) {
            None => true,
            // This node knows better where its own master is. The first word of an upstream name is no news
            // beside a record: it may be older, and is heard first where state was lost.
            Some(Says::At(_)) => match origin {
                Origin::Interface => true,
                Origin::Upstream => spoke && self.own.as_ref() == Some(name),
                _ => self.own.as_ref() == Some(name),
            },
            Some(Says::Removed) => false,
        }
    }

    /// Takes in what all signed records say now.
    pub(super) fn record(
        &mut self,
        records: &BTreeMap<Name, Signed>,
        own: Option<&Name>,
        now: u64,
    ) -> Result<(), Rejection> {
        let mut signed = records.clone();
        for (name, signed) in &mut signed {
            if let Says::At(addresses) = &mut signed.says {
                if addresses.is_empty() {
                    return Err(Rejection::NoAddress(name.clone()));
                }
                *addresses = without_repeats(addresses);
            }
        }
        let before = std::mem::replace(&mut self.signed, signed);
        self.own = own.cloned();
        for name in records.keys() {
            if self.signed_addresses(name).is_none() {
                continue;
            }
            let follows = if own == Some(name) {
                self.recall(&[Origin::Interface], name, now);
                self.own_follows(name, before.get(name))
            } else {
                self.follows(name, before.get(name))
            };
            if follows {
                self.follow_record(name);
            } else if own == Some(name) {
                self.claim(name, now);
            }
        }
        self.forget_strangers()?;
        // A removal that was lifted, by whoever has spoken of that master meanwhile.
        let lifted = before
            .keys()
            .filter(|name| !self.signed.contains_key(*name));
        let lifted = lifted.filter(|name| self.declared.contains(*name));
        for name in lifted.cloned().collect::<Vec<_>>() {
            self.recall(&SOURCES, &name, now);
        }
        Ok(())
    }

    /// Whether another master's record moves it; `before` is what its record said until now.
    fn follows(&self, name: &Name, before: Option<&Signed>) -> bool {
        let overridden = self.records.get(name).is_some_and(|current| {
            current.origin == Origin::Override
                && self.signed_addresses(name) != Some(&current.addresses)
        });
        let version = |signed: &Signed| signed.version;
        !overridden || before.map(version) < self.signed.get(name).map(version)
    }

    /// Whether this node's own master is where its record says, or nobody here has said where it is since
    /// it had one; `before` is what its record said until now.
    fn own_follows(&self, name: &Name, before: Option<&Signed>) -> bool {
        let had_one = before.is_some_and(|before| matches!(before.says, Says::At(_)));
        self.records.get(name).is_none_or(|current| {
            let passive = matches!(current.origin, Origin::ClusterFile | Origin::Upstream);
            passive && !had_one || self.signed_addresses(name) == Some(&current.addresses)
        })
    }

    /// The entry of this node's own master says something else than its record, and stays: it is to be
    /// signed anew.
    fn claim(&mut self, name: &Name, now: u64) {
        let seen = self.said.get(&Origin::Interface);
        let seen = seen.and_then(|said| said.get(name));
        if let Some(current) = self.records.get_mut(name)
            && matches!(current.origin, Origin::Record | Origin::Override)
        {
            current.origin = match seen {
                Some(seen) if *seen == current.addresses => Origin::Interface,
                _ => Origin::Event,
            };
            current.version = successor(current.version, now);
        }
    }

    /// The entry becomes what the signed record says.
    pub(super) fn follow_record(&mut self, name: &Name) {
        if let Some(Signed { version, says }) = self.signed.get(name)
            && let Says::At(addresses) = says
        {
            let record = Record {
                addresses: addresses.clone(),
                version: *version,
                origin: Origin::Record,
            };
            self.records.insert(name.clone(), record);
        }
    }

    /// Forgets who is no master: neither the cluster file nor a record names it, or it was removed. What
    /// sources say of a removed one is kept for the day on which that is lifted.
    pub(super) fn forget_strangers(&mut self) -> Result<(), Rejection> {
        let Self {
            records,
            said,
            declared,
            signed,
            ..
        } = self;
        let is_removed = |name: &Name| {
            let signed = signed.get(name);
            signed.is_some_and(|signed| signed.says == Says::Removed)
        };
        let is_named = |name: &Name| declared.contains(name) || signed.contains_key(name);
        let mut named = declared.iter().chain(signed.keys());
        if named.all(is_removed) {
            return Err(Rejection::AllRemoved);
        }
        records.retain(|name, _| is_named(name) && !is_removed(name));
        for said in said.values_mut() {
            said.retain(|name, _| is_named(name));
        }
        Ok(())
    }

    /// Gives a master that has no entry what the first of these sources said last.
    fn recall(&mut self, sources: &[Origin], name: &Name, now: u64) {
        if self.records.contains_key(name) {
            return;
        }
        for origin in sources {
            let said = self.said.get(origin).and_then(|said| said.get(name));
            if let Some(addresses) = said.cloned() {
                self.put(*origin, name, addresses, now);
                return;
            }
        }
    }
}
