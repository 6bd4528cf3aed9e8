//! When the agent may be told what counts. What it is told takes the place of all that it knows from
//! records, so it is not told while this node may have lost some: a master that is known only by its
//! record would vanish, and one that was removed come back.

use std::collections::BTreeSet;

use super::life::Daemon;
use crate::book::Origin;
use crate::control::published::Watched;
use crate::peers::gossip;
use crate::peers::record::Digest;
use crate::peers::store::Loaded;

/// Whether this node holds all records that it held before, as far as it can know.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Hold {
    /// Nothing was read yet, or there was nothing to read: the agent's book says whether there was ever
    /// a record.
    #[default]
    Fresh,
    /// Records were lost. What another node showed and is still to come.
    Lost(Option<BTreeSet<gossip::Digest>>),
    /// It does.
    Whole,
}

impl Hold {
    /// The saved records were read.
    pub(super) fn read(&mut self, loaded: &Loaded) {
        match loaded {
            Loaded::Good { .. } => *self = Self::Whole,
            Loaded::Fresh => {}
            Loaded::Damaged { .. } | Loaded::Unreadable(_) => {
                if *self == Self::Fresh {
                    *self = Self::Lost(None);
                }
            }
        }
    }

    /// Whether the agent may be told, given its book; `None` before it has answered.
    pub(super) fn may_tell(&mut self, book: Option<&Watched>) -> bool {
        if let (Self::Fresh, Some(book)) = (&self, book) {
            let mut places = book.masters.values();
            *self = if places.any(|place| place.origin == Origin::Record) {
                Self::Lost(None)
            } else {
                Self::Whole
            };
        }
        *self == Self::Whole
    }

    /// Whether records were lost, and no other node was compared with since.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }

    /// Another node has told all its records.
    pub(super) fn compared(&mut self) {
        if self.is_lost() {
            *self = Self::Whole;
        }
    }

    /// A frame of another node was handled; `ours` is the digest of all that is held here now, and `held`
    /// says whether one record is.
    pub(super) fn heard(
        &mut self,
        frame: &[u8],
        ours: gossip::Digest,
        held: impl Fn(&gossip::Digest) -> bool,
    ) {
        let Self::Lost(awaited) = self else {
            return;
        };
        if gossip::digest(frame) == Some(ours) {
            return self.compared();
        }
        // Who has nothing has lost it too, or is new.
        if let Some(shown) = gossip::shown(frame).filter(|shown| !shown.is_empty()) {
            *awaited = Some(shown.into_iter().filter(|one| !held(one)).collect());
        }
        // Whatever became of one that came: it was judged.
        if let Some(awaited) = awaited {
            for record in gossip::brought(frame) {
                awaited.remove(&Digest::of(record).0);
            }
            awaited.retain(|one| !held(one));
            if awaited.is_empty() {
                self.compared();
            }
        }
    }
}

impl Daemon {
    /// Another node may have shown all that it has.
    pub(super) fn look_whether_whole(&mut self, frame: &[u8]) {
        use gossip::Ledger as _;
        if !self.hold.is_lost() {
            return;
        }
        let records = &self.records;
        let held = |digest: &gossip::Digest| records.get(digest).is_some();
        self.hold.heard(frame, records.digest(), held);
        self.tell_agent_if_whole();
    }

    /// Another node was compared with.
    pub(super) fn compared(&mut self) {
        if self.hold.is_lost() {
            self.hold.compared();
            self.tell_agent_if_whole();
        }
    }

    fn tell_agent_if_whole(&mut self) {
        if !self.hold.is_lost() {
            tracing::info!("compared with another node: the agent is told what counts");
            self.tell_agent();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::control::published::Place;
    use crate::peers::sample::master;

    fn book(origin: Origin) -> Watched {
        let place = Place {
            addresses: vec!["10.0.0.1".parse().unwrap()],
            origin,
            version: 1,
        };
        Watched {
            generation: 1,
            own: None,
            masters: BTreeMap::from([(master("m1"), place)]),
        }
    }

    fn damaged() -> Loaded {
        Loaded::Damaged {
            reason: "nonsense".into(),
            set_aside: None,
        }
    }

    #[test]
    fn a_fresh_node_tells_at_once_where_there_was_no_record() {
        let mut hold = Hold::default();
        hold.read(&Loaded::Fresh);
        assert!(!hold.may_tell(None));
        assert!(hold.may_tell(Some(&book(Origin::Interface))));
        // Its own words are in the book by now.
        assert!(hold.may_tell(Some(&book(Origin::Record))));
    }

    #[test]
    fn what_was_lost_is_waited_for() {
        let mut fresh = Hold::default();
        assert!(!fresh.may_tell(Some(&book(Origin::Record))));
        let mut lost = Hold::default();
        lost.read(&damaged());
        assert!(!lost.may_tell(Some(&book(Origin::Interface))));
        for mut hold in [fresh, lost] {
            assert!(hold.is_lost());
            hold.compared();
            assert!(hold.may_tell(Some(&book(Origin::Record))));
        }
    }

    #[test]
    fn a_store_that_can_be_read_at_last_is_enough() {
        let mut hold = Hold::default();
        hold.read(&damaged());
        hold.read(&Loaded::Good {
            ledger: crate::peers::ledger::Ledger::default(),
            refused: Vec::new(),
        });
        assert!(hold.may_tell(None));
    }

    #[test]
    fn one_comparison_is_enough_whatever_became_of_what_came() {
        let (one, two) = (b"one".to_vec(), b"two".to_vec());
        let [first, second] = [&one, &two].map(|record| Digest::of(record).0);
        let page = gossip::page(&[first, second]);
        let nothing = |_: &gossip::Digest| false;
        let ours = [9; 32];
        let mut hold = Hold::Lost(None);
        hold.heard(&gossip::bringing(&one), ours, nothing);
        assert!(hold.is_lost(), "nobody has shown all it has");
        hold.heard(&page, ours, nothing);
        assert!(hold.is_lost(), "two are to come");
        hold.heard(&gossip::bringing(&one), ours, nothing);
        assert!(hold.is_lost(), "one is to come");
        hold.heard(&gossip::bringing(&two), ours, nothing);
        assert_eq!(hold, Hold::Whole);
        let mut empty = Hold::Lost(None);
        empty.heard(&gossip::page(&[]), ours, nothing);
        assert!(empty.is_lost(), "who has nothing shows nothing");
        let mut equal = Hold::Lost(None);
        equal.heard(&page, ours, |_| true);
        assert_eq!(equal, Hold::Whole);
    }
}
