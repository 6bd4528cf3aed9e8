//! What people are shown of others: since when somebody is down, and which records it said that it holds.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::peers::gossip::{MEMBERS, Who};
use crate::peers::record::Digest;

/// Who is down for so long is gone, unless it is a master: a machine that was taken out of the cluster, as far
/// as anybody can tell.
const GONE: Duration = Duration::from_hours(1);
/// In this time after a change here others are expected to say that they have it too.
const SETTLING: Duration = Duration::from_mins(5);

/// See the module.
#[derive(Debug)]
pub(super) struct Others {
    begun: Instant,
    down: BTreeMap<Who, Instant>,
    digests: BTreeMap<Who, (Digest, Instant)>,
    /// When the records here changed last.
    changed: Instant,
}

impl Others {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            begun: now,
            down: BTreeMap::new(),
            digests: BTreeMap::new(),
            changed: now,
        }
    }

    /// The members say that somebody is there.
    pub(super) fn up(&mut self, who: &Who) {
        self.down.remove(who);
    }

    /// The members say that somebody is not.
    pub(super) fn down(&mut self, who: &Who, now: Instant) {
        if self.down.len() >= MEMBERS {
            let longest = self.down.iter().min_by_key(|(_, since)| **since);
            if let Some(who) = longest.map(|(who, _)| who.clone()) {
                self.down.remove(&who);
            }
        }
        self.down.entry(who.clone()).or_insert(now);
    }

    /// Somebody told the digest of all its records.
    pub(super) fn told(&mut self, who: &Who, digest: Digest, now: Instant) {
        if self.digests.len() < MEMBERS || self.digests.contains_key(who) {
            self.digests.insert(who.clone(), (digest, now));
        }
    }

    /// What is held here has changed.
    pub(super) fn changed(&mut self, now: Instant) {
        self.changed = now;
    }

    /// Whether somebody who is not up has been away for long.
    pub(super) fn is_gone(&self, who: &Who, now: Instant) -> bool {
        let since = self.down.get(who).copied().unwrap_or(self.begun);
        now.saturating_duration_since(since) >= GONE
    }

    /// The digest of somebody's records, unless it was told before a change here that it may have heard of
    /// meanwhile. `own`: of those that are held here.
    pub(super) fn digest(&self, who: &Who, own: Digest, now: Instant) -> Option<Digest> {
        let (digest, told) = *self.digests.get(who)?;
        let outdated = told < self.changed && now.duration_since(self.changed) < SETTLING;
        (digest == own || !outdated).then_some(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::gossip::NodeName;

    fn worker(name: &str) -> Who {
        Who::Worker(NodeName::parse(name).unwrap())
    }

    #[test]
    fn who_is_down_for_long_is_gone() {
        let begun = Instant::now();
        let mut others = Others::new(begun);
        let (a, b) = (worker("a"), worker("b"));
        let minutes = |minutes| begun + Duration::from_mins(minutes);
        others.down(&a, minutes(50));
        others.down(&a, minutes(80));
        let gone = |others: &Others, at| [&a, &b].map(|who| others.is_gone(who, minutes(at)));
        assert_eq!(gone(&others, 59), [false, false]);
        // Of whom nothing was heard since the start.
        assert_eq!(gone(&others, 60), [false, true]);
        assert_eq!(gone(&others, 110), [true, true]);
        others.up(&a);
        others.down(&a, minutes(120));
        assert_eq!(gone(&others, 121), [false, true]);
    }

    #[test]
    fn what_was_told_before_a_change_is_not_held_against_anybody_for_a_while() {
        let begun = Instant::now();
        let mut others = Others::new(begun);
        let (a, b) = (worker("a"), worker("b"));
        let [old, new] = [b"old", b"new"].map(|bytes| Digest::of(bytes));
        let seconds = |seconds| begun + Duration::from_secs(seconds);
        others.told(&a, old, seconds(10));
        others.told(&b, new, seconds(10));
        let shown = |others: &Others, own, at| {
            [&a, &b].map(|who| {
                others
                    .digest(who, own, seconds(at))
                    .map(|theirs| theirs == own)
            })
        };
        assert_eq!(shown(&others, old, 20), [Some(true), Some(false)]);
        others.changed(seconds(30));
        assert_eq!(shown(&others, new, 31), [None, Some(true)]);
        others.told(&a, old, seconds(40));
        assert_eq!(shown(&others, new, 41), [Some(false), Some(true)]);
        others.changed(seconds(50));
        let own = Digest::of(b"own");
        assert_eq!(shown(&others, own, 51), [None, None]);
        assert_eq!(shown(&others, own, 350), [Some(false), Some(false)]);
        assert_eq!(others.digest(&worker("c"), own, seconds(60)), None);
    }
}
