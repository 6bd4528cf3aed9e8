//! Says once what others may repeat as often as they like.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The same is said again after this.
const AGAIN: Duration = Duration::from_hours(1);
/// Different things in that time; more are not said.
const MOST: usize = 256;
/// And different things of one source, so that others are named too.
const OF_ONE: usize = 16;

/// What was said, and when.
#[derive(Debug, Default)]
pub(super) struct Notes(BTreeMap<(String, String), Instant>);

impl Notes {
    /// Whether to say now that `source` did something of this kind.
    pub(super) fn is_new(&mut self, source: &str, kind: &str, now: Instant) -> bool {
        self.0
            .retain(|_, said| now.saturating_duration_since(*said) < AGAIN);
        let key = (source.to_owned(), kind.to_owned());
        let of_it = self.0.keys().filter(|(of, _)| of == source).count();
        if self.0.contains_key(&key) || of_it >= OF_ONE || self.0.len() >= MOST {
            return false;
        }
        self.0.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_an_hour_and_not_for_ever_more() {
        let mut notes = Notes::default();
        let now = Instant::now();
        assert!(notes.is_new("m1", "forged", now));
        assert!(!notes.is_new("m1", "forged", now + AGAIN / 2));
        assert!(notes.is_new("m2", "forged", now));
        assert!(notes.is_new("m1", "old", now));
        assert!(notes.is_new("m1", "forged", now + AGAIN));
        let later = now + AGAIN * 3;
        let said = (0..1000).filter(|n| notes.is_new(&n.to_string(), "forged", later));
        assert_eq!(said.count(), MOST);
        let next = later + AGAIN;
        let said = (0..1000).filter(|n| notes.is_new("m1", &n.to_string(), next));
        assert_eq!(said.count(), OF_ONE);
        assert!(notes.is_new("m2", "forged", next));
    }
}
