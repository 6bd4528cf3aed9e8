//! How often a master speaks against another of its own name.
//!
//! Two machines of one name would sign above each other as fast as the network carries it, and every node
//! would move with each word. So a master [contradicts](super::duty::Why::Contradicted) at once the first
//! time, then after 1 s, 2 s, 4 s and so on up to ten minutes. Once it was left in peace for twice as long as
//! it last waited, it begins anew. What it says for other reasons waits for nothing.

use std::time::Duration;

/// After the first contradiction.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// What it grows to.
pub const LONGEST: Duration = Duration::from_mins(10);

/// The pace of one master. Times are since any fixed moment of a clock that only goes forward.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pace {
    /// From when on it may contradict again.
    next: Duration,
    /// How long it waits after the last one.
    wait: Duration,
}

impl Pace {
    /// Whether it may contradict now: `None`, and the next time is later; else how long it has to wait.
    /// The caller asks again then, when what is to be said may be another thing, or nothing.
    pub fn contradict(&mut self, now: Duration) -> Option<Duration> {
        if let Some(left) = self.next.checked_sub(now).filter(|left| !left.is_zero()) {
            return Some(left);
        }
        let peace = now.saturating_sub(self.next) >= self.wait * 2;
        self.wait = if peace {
            SHORTEST
        } else {
            (self.wait * 2).min(LONGEST)
        };
        self.next = now.saturating_add(self.wait);
        None
    }

    /// Whether two machines seem to have this name: it has contradicted several times in a row. To be told to
    /// people.
    pub fn is_contested(&self) -> bool {
        self.wait >= SHORTEST * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_one_name_speak_ever_more_rarely() {
        let mut paces = [Pace::default(), Pace::default()];
        let mut now = Duration::from_secs(100);
        let mut words = 0;
        let hour = now + Duration::from_hours(1);
        // Each contradicts the other as soon as it may; the network takes a millisecond.
        while now < hour {
            for pace in &mut paces {
                match pace.contradict(now) {
                    None => words += 1,
                    Some(left) => assert!(left <= LONGEST && !left.is_zero()),
                }
            }
            now += Duration::from_millis(100);
        }
        // 10 doublings, then six in an hour, of each.
        assert!((20..40).contains(&words), "{words}");
        assert!(paces.iter().all(Pace::is_contested));
    }

    #[test]
    fn after_some_peace_it_begins_anew() {
        let mut pace = Pace::default();
        let seconds = Duration::from_secs;
        assert_eq!(pace.contradict(seconds(0)), None);
        assert_eq!(pace.contradict(seconds(0)), Some(seconds(1)));
        assert_eq!(pace.contradict(seconds(1)), None);
        assert_eq!(pace.contradict(seconds(1)), Some(seconds(2)));
        assert_eq!(pace.contradict(seconds(3)), None);
        assert!(!pace.is_contested());
        // Until 7, and then twice four.
        assert_eq!(pace.contradict(seconds(15)), None);
        assert_eq!(pace.contradict(seconds(15)), Some(seconds(1)));
    }
}
