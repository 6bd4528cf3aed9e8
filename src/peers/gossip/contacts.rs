//! Who spoke to this node itself: what a peer's own certificate stands behind, unlike what others tell.

use std::collections::BTreeMap;
use std::time::Duration;

use super::gate::LEAP;
use super::identity::{Identity, Who};
use crate::peers::allowance::Allowance;

/// Peers that are remembered: as many as members are.
pub(super) const CONTACTS: usize = super::MEMBERS;

/// A peer that spoke.
#[derive(Debug, Clone, Default)]
pub(super) struct Contact {
    /// What it said of itself, if it did.
    pub(super) identity: Option<Identity>,
    /// When it spoke last.
    pub(super) heard: Duration,
    /// What it may tell about others.
    pub(super) tells: Allowance,
    /// Packets that it may have sent on to others.
    pub(super) relays: Allowance,
    /// Bytes of answers that it may ask for.
    pub(super) asks: Allowance,
    /// Records that were not to be believed.
    pub(super) lies: Allowance,
}

/// All of them, bounded: a new one takes the place of whoever was silent for longest.
#[derive(Debug, Default)]
pub(super) struct Contacts(BTreeMap<Who, Contact>);

impl Contacts {
    /// The peer that speaks now.
    pub(super) fn hear(&mut self, who: &Who, now: Duration) -> &mut Contact {
        if self.0.len() >= CONTACTS && !self.0.contains_key(who) {
            let silent = self.0.iter().min_by_key(|(_, contact)| contact.heard);
            if let Some(silent) = silent.map(|(who, _)| who.clone()) {
                self.0.remove(&silent);
            }
        }
        let contact = self.0.entry(who.clone()).or_default();
        contact.heard = now;
        contact
    }

    /// A peer that speaks now proved to be this. An older generation than it had says nothing, unless it
    /// could never go above that.
    pub(super) fn prove(&mut self, identity: &Identity, now: Duration) {
        let contact = self.hear(identity.who(), now);
        let newer = contact.identity.as_ref().is_none_or(|known| {
            let behind = known.generation().checked_sub(identity.generation());
            behind.is_none_or(|behind| behind == 0 || behind > LEAP)
        });
        if newer {
            contact.identity = Some(identity.clone());
        }
    }

    pub(super) fn get(&self, who: &Who) -> Option<&Contact> {
        self.0.get(who)
    }

    /// What it said of itself.
    pub(super) fn proven(&self, who: &Who) -> Option<&Identity> {
        self.get(who)?.identity.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Who, &Contact)> {
        self.0.iter()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::gossip::identity::NodeName;

    fn worker(number: usize) -> Who {
        Who::Worker(NodeName::parse(&format!("worker-{number}")).unwrap())
    }

    #[test]
    fn the_longest_silent_makes_room() {
        let mut contacts = Contacts::default();
        for number in 0..CONTACTS {
            contacts.hear(&worker(number), Duration::from_secs(number as u64 + 1));
        }
        contacts.hear(&worker(0), Duration::from_hours(9));
        contacts.hear(&worker(CONTACTS), Duration::from_hours(9));
        assert_eq!(contacts.len(), CONTACTS);
        assert!(contacts.get(&worker(0)).is_some());
        assert!(contacts.get(&worker(1)).is_none());
    }

    #[test]
    fn an_older_generation_says_nothing() {
        let mut contacts = Contacts::default();
        let at = |generation, address: &str| {
            let addresses = vec![address.parse().unwrap()];
            Identity::new(worker(1), generation, addresses).unwrap()
        };
        let now = Duration::from_secs(1);
        contacts.prove(&at(5, "10.0.0.5:1"), now);
        contacts.prove(&at(4, "10.0.0.4:1"), now);
        assert_eq!(contacts.proven(&worker(1)).unwrap().generation(), 5);
        contacts.prove(&at(6, "10.0.0.6:1"), now);
        assert_eq!(contacts.proven(&worker(1)).unwrap().generation(), 6);
        contacts.prove(&at(u64::MAX, "10.0.0.6:1"), now);
        contacts.prove(&at(7, "10.0.0.7:1"), now);
        assert_eq!(contacts.proven(&worker(1)).unwrap().generation(), 7);
    }
}
