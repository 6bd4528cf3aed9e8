//! Who was met: only those that finished a handshake, where they were, and when.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::who::Peer;

/// Addresses of one peer, the newest first.
const ADDRESSES: usize = 4;

/// One that was met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Who.
    pub peer: Peer,
    /// Where it takes connections, the newest first; at most four.
    pub addresses: Vec<SocketAddr>,
    /// When it was last met, in Unix time by this node's clock.
    pub last: i64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Known {
    limit: usize,
    all: BTreeMap<Peer, Contact>,
}

impl Known {
    /// What was kept from the last run; the latest, where they are too many.
    pub(super) fn new(limit: usize, mut kept: Vec<Contact>) -> Self {
        kept.sort_by_key(|contact| contact.last);
        let mut known = Self {
            limit,
            all: BTreeMap::new(),
        };
        for contact in kept {
            for address in contact.addresses.iter().rev() {
                known.met(&contact.peer, Some(*address), contact.last);
            }
        }
        known
    }

    /// A handshake was finished.
    pub(super) fn met(&mut self, peer: &Peer, at: Option<SocketAddr>, now: i64) {
        if !self.all.contains_key(peer) && self.all.len() >= self.limit {
            self.make_room();
        }
        let contact = self.all.entry(peer.clone()).or_insert_with(|| Contact {
            peer: peer.clone(),
            addresses: Vec::new(),
            last: now,
        });
        contact.last = now;
        if let Some(at) = at {
            contact.addresses.retain(|address| *address != at);
            contact.addresses.insert(0, at);
            contact.addresses.truncate(ADDRESSES);
        }
    }

    /// Whether somebody was met.
    pub(super) fn has(&self, peer: &Peer) -> bool {
        self.all.contains_key(peer)
    }

    /// Where somebody was last.
    pub(super) fn addresses(&self, peer: &Peer) -> &[SocketAddr] {
        let contact = self.all.get(peer);
        contact.map_or(&[], |contact| &contact.addresses)
    }

    /// All, masters first.
    pub(super) fn list(&self) -> Vec<Contact> {
        self.all.values().cloned().collect()
    }

    /// Forgets whoever was not met for longest; a node before a master.
    fn make_room(&mut self) {
        let rank = |contact: &&Contact| (matches!(contact.peer, Peer::Master(_)), contact.last);
        let oldest = self.all.values().min_by_key(rank);
        if let Some(peer) = oldest.map(|contact| contact.peer.clone()) {
            self.all.remove(&peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    fn at(port: u16) -> SocketAddr {
        ([10, 0, 0, 1], port).into()
    }

    #[test]
    fn the_newest_are_kept_and_masters_longer() {
        let master = Peer::Master(Name::parse("m.k8s.internal").unwrap());
        let mut known = Known::new(3, Vec::new());
        known.met(&master, Some(at(1)), 0);
        for number in 1..=1000 {
            known.met(&Peer::Node(format!("n{number}")), Some(at(2)), number);
        }
        let names: Vec<_> = known.list().iter().map(|c| c.peer.to_string()).collect();
        assert_eq!(names, ["master m.k8s.internal", "node n1000", "node n999"]);
        let again = Known::new(2, known.list());
        assert_eq!(again.list().len(), 2);
    }

    #[test]
    fn the_newest_address_is_the_first() {
        let peer = Peer::Node("n".into());
        let mut known = Known::new(3, Vec::new());
        for port in [1, 2, 3, 4, 5, 4] {
            known.met(&peer, Some(at(port)), 0);
        }
        known.met(&peer, None, 7);
        assert_eq!(known.addresses(&peer), [4, 5, 3, 2].map(at));
        let again = Known::new(3, known.list());
        assert_eq!(again.list(), known.list());
    }
}
