//! What is due when. One map; the caller needs only its first moment.

use std::collections::BTreeMap;
use std::time::Duration;

use foca::Timer;

use super::identity::{Identity, Tag};

/// Something to do at its time.
#[derive(Debug)]
pub(super) enum Due {
    /// foca's.
    Swim(Timer<Identity>),
    /// Our own.
    Round(Round),
}

/// What gossip does again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Round {
    /// Passes on records.
    News,
    /// Passes on who is there.
    Members,
    /// Compares ledgers.
    Exchange,
    /// Looks for anybody.
    Search,
    /// Asks for members.
    Ask,
}

/// Of these there is one at a time; a later one takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Round(Round),
    Forget(Tag),
}

/// All that is due, in order.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<(Duration, u64), Due>,
    single: BTreeMap<Key, (Duration, u64)>,
    next: u64,
}

impl Timers {
    pub(super) fn swim(&mut self, timer: Timer<Identity>, at: Duration) {
        let key = match &timer {
            // Each time that somebody goes down; without this they would pile up for a day.
            Timer::RemoveDown(identity) => Some(Key::Forget(identity.tag())),
            _ => None,
        };
        self.put(key, Due::Swim(timer), at);
    }

    pub(super) fn round(&mut self, round: Round, at: Duration) {
        self.put(Some(Key::Round(round)), Due::Round(round), at);
    }

    pub(super) fn is_set(&self, round: Round) -> bool {
        self.single.contains_key(&Key::Round(round))
    }

    /// Nobody needs to forget this node any more.
    pub(super) fn forgotten(&mut self, tag: Tag) {
        if let Some(place) = self.single.remove(&Key::Forget(tag)) {
            self.due.remove(&place);
        }
    }

    fn put(&mut self, key: Option<Key>, due: Due, at: Duration) {
        let place = (at, self.next);
        self.next += 1;
        if let Some(key) = key
            && let Some(before) = self.single.insert(key, place)
        {
            self.due.remove(&before);
        }
        self.due.insert(place, due);
    }

    /// When the next one is due.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next that is due by now.
    pub(super) fn pop(&mut self, now: Duration) -> Option<Due> {
        let entry = self
            .due
            .first_entry()
            .filter(|entry| entry.key().0 <= now)?;
        let (place, due) = entry.remove_entry();
        let key = match &due {
            Due::Round(round) => Some(Key::Round(*round)),
            Due::Swim(Timer::RemoveDown(identity)) => Some(Key::Forget(identity.tag())),
            Due::Swim(_) => None,
        };
        if let Some(key) = key
            && self.single.get(&key) == Some(&place)
        {
            self.single.remove(&key);
        }
        Some(due)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.due.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn in_order_and_one_of_each_round() {
        let mut timers = Timers::default();
        timers.round(Round::Search, at(9));
        timers.round(Round::Exchange, at(5));
        timers.swim(Timer::ProbeRandomMember(1), at(3));
        timers.round(Round::Search, at(4));
        assert_eq!(timers.len(), 3);
        assert_eq!(timers.deadline(), Some(at(3)));
        assert!(timers.pop(at(2)).is_none());
        let mut seen = Vec::new();
        while let Some(due) = timers.pop(at(4)) {
            seen.push(format!("{due:?}"));
        }
        assert_eq!(seen, ["Swim(ProbeRandomMember(1))", "Round(Search)"]);
        assert!(!timers.is_set(Round::Search) && timers.is_set(Round::Exchange));
    }
}
