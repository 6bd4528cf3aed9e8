//! Who may pull: of each source a few, and of all together not many.

use std::collections::HashMap;
use std::net::IpAddr;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::bucket::Bucket;
use super::gate::{Answer, Gate, Place};
use super::limits::Limits;

/// Pulls that are being answered, by the rules of [`Gate`]: the oldest of the source that has most makes room.
#[derive(Debug)]
pub(super) struct Pulls {
    gate: Gate,
    /// Of all sources together.
    rate: Bucket,
    going: HashMap<Place, oneshot::Sender<()>>,
}

/// One that may pull.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) place: Place,
    /// It has to make room for another.
    pub(super) lost: oneshot::Receiver<()>,
}

impl Pulls {
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        Self {
            gate: Gate::new(limits.pulls, limits.pulls_of_one, limits.pulls_of_one_rate),
            rate: Bucket::new(limits.pulls_rate, now),
            going: HashMap::new(),
        }
    }

    /// Somebody wants to pull; `Err` says why it may not.
    pub(super) fn begin(&mut self, source: IpAddr, now: Instant) -> Result<Begun, &'static str> {
        // Whoever comes too often himself takes nothing from others.
        let Answer::Come { place, loses } = self.gate.ask(source, now) else {
            return Err("it pulls too often");
        };
        if let Some(end) = loses.and_then(|loses| self.going.remove(&loses)) {
            // It may have ended by itself.
            let _ = end.send(());
        }
        if !self.rate.try_take(now) {
            self.gate.leave(place);
            return Err("too many pull");
        }
        let (end, lost) = oneshot::channel();
        self.going.insert(place, end);
        Ok(Begun { place, lost })
    }

    /// A pull is over.
    pub(super) fn end(&mut self, place: Place) {
        self.gate.leave(place);
        self.going.remove(&place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn pulls(now: Instant) -> Pulls {
        let limits = Limits {
            pulls: 3,
            pulls_of_one: 2,
            pulls_of_one_rate: (1, 4),
            pulls_rate: (10, 20),
            ..Limits::default()
        };
        Pulls::new(&limits, now)
    }

    #[test]
    fn one_source_uses_up_nothing_but_its_own() {
        let now = Instant::now();
        let mut pulls = pulls(now);
        let begun: Vec<_> = (0..1000)
            .filter_map(|_| pulls.begin(ip(1), now).ok())
            .collect();
        assert_eq!(begun.len(), 2);
        for begun in begun {
            pulls.end(begun.place);
        }
        let more = (0..1000).filter_map(|_| pulls.begin(ip(1), now).ok());
        let places: Vec<_> = more.map(|begun| begun.place).collect();
        assert_eq!(places.len(), 2, "its rate");
        assert!(pulls.begin(ip(2), now).is_ok());
    }

    #[test]
    fn the_oldest_of_the_greediest_makes_room() {
        let now = Instant::now();
        let mut pulls = pulls(now);
        let mut greedy = pulls.begin(ip(1), now).unwrap();
        let mut second = pulls.begin(ip(1), now).unwrap();
        let mut other = pulls.begin(ip(2), now).unwrap();
        let last = pulls.begin(ip(3), now).unwrap();
        assert!(greedy.lost.try_recv().is_ok());
        assert!(second.lost.try_recv().is_err() && other.lost.try_recv().is_err());
        for begun in [second, other, last] {
            pulls.end(begun.place);
        }
        assert!(pulls.going.is_empty());
    }

    #[test]
    fn all_together_have_a_rate_too() {
        let now = Instant::now();
        let mut pulls = pulls(now);
        let begun = (0..100).filter_map(|source| {
            let begun = pulls.begin(ip(source), now).ok()?;
            pulls.end(begun.place);
            Some(())
        });
        assert_eq!(begun.count(), 20);
    }
}
