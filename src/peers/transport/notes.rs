//! What the log is told of others: each thing once, with who it was.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::counters::Failure;
use super::gate::network;

/// Of so many sources it is remembered what was said. Of more of them nothing is said until some are forgotten.
const SOURCES: usize = 1024;
/// The longest text of somebody else's that is repeated, in characters.
const LONGEST: usize = 300;

/// See the module.
#[derive(Debug)]
pub(super) struct Notes {
    again: Duration,
    said: HashMap<(IpAddr, Failure), Said>,
    /// Said once while there is no room.
    full: bool,
}

#[derive(Debug)]
struct Said {
    at: Instant,
    since: u64,
}

/// What to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// It happened, and so often since it was last said.
    Say { before: u64 },
    /// Too many do something for each to be named.
    Crowd,
    /// Nothing.
    Silent,
}

impl Notes {
    pub(super) fn new(again: Duration) -> Self {
        Self {
            again,
            said: HashMap::new(),
            full: false,
        }
    }

    /// Something that a source did.
    pub(super) fn note(&mut self, source: IpAddr, failure: Failure, now: Instant) -> Note {
        let key = (network(source), failure);
        if let Some(said) = self.said.get_mut(&key) {
            if now.saturating_duration_since(said.at) < self.again {
                said.since += 1;
                return Note::Silent;
            }
            let before = std::mem::take(&mut said.since);
            said.at = now;
            return Note::Say { before };
        }
        if self.said.len() >= SOURCES {
            let again = self.again;
            let recent = |said: &Said| now.saturating_duration_since(said.at) < again;
            self.said.retain(|_, said| recent(said));
        }
        if self.said.len() >= SOURCES {
            let first = !std::mem::replace(&mut self.full, true);
            return if first { Note::Crowd } else { Note::Silent };
        }
        self.full = false;
        self.said.insert(key, Said { at: now, since: 0 });
        Note::Say { before: 0 }
    }
}

/// A stranger's words as they may stand in a log: on one line and not long.
pub(super) fn shown(text: &str) -> String {
    let safe = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut short: String = text.chars().take(LONGEST).map(safe).collect();
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_in_a_time() {
        let (mut notes, now) = (Notes::new(Duration::from_mins(1)), Instant::now());
        let ip = IpAddr::from([10, 0, 0, 1]);
        let mut note = |failure, at: u64| notes.note(ip, failure, now + Duration::from_secs(at));
        assert_eq!(note(Failure::Garbage, 0), Note::Say { before: 0 });
        for at in 1..60 {
            assert_eq!(note(Failure::Garbage, at), Note::Silent);
        }
        assert_eq!(note(Failure::Certificate, 59), Note::Say { before: 0 });
        assert_eq!(note(Failure::Garbage, 60), Note::Say { before: 59 });
    }

    #[test]
    fn a_crowd_is_told_of_once_and_remembered_within_bounds() {
        let (mut notes, now) = (Notes::new(Duration::from_mins(1)), Instant::now());
        let all: Vec<Note> = (0..5000_u32)
            .map(|number| notes.note(IpAddr::V4(number.into()), Failure::Garbage, now))
            .collect();
        let said = all.iter().filter(|note| **note != Note::Silent).count();
        assert_eq!(said, SOURCES + 1);
        assert_eq!(notes.said.len(), SOURCES);
    }

    #[test]
    fn words_stay_on_one_line() {
        assert_eq!(shown("a\nb"), "a\u{fffd}b");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), LONGEST + 1);
    }
}
