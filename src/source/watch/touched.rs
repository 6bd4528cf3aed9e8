//! What a burst of events touches, and how long it is waited for.

use std::collections::BTreeSet;
use std::time::Duration;

use inotify::EventMask;
use tokio::time::Instant;

use super::ways::At;

/// Events that follow each other this closely are reported as one.
const QUIET: Duration = Duration::from_millis(5);
/// A burst is reported after this time even if it goes on.
const BURST: Duration = Duration::from_millis(50);
/// A writer that has not closed the file by then is not waited for.
const WRITING: Duration = Duration::from_millis(500);

/// What a burst of events touches.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) all: BTreeSet<At>,
    /// Those of which a file was opened to be written and not closed yet.
    unfinished: BTreeSet<At>,
}

impl Touched {
    pub(super) fn note(&mut self, at: At, mask: EventMask) {
        let begun = EventMask::CREATE | EventMask::MODIFY;
        self.all.insert(at);
        if mask.intersects(begun) && !mask.contains(EventMask::ISDIR) {
            self.unfinished.insert(at);
        } else if !mask.contains(EventMask::ATTRIB) {
            // Closed, or replaced, or gone.
            self.unfinished.remove(&at);
        }
    }

    /// When it is to be reported if nothing else happens, in a burst that began at `start`.
    pub(super) fn wait_until(&self, start: Instant, now: Instant) -> Instant {
        if self.unfinished.is_empty() {
            (start + BURST).min(now + QUIET)
        } else {
            start + WRITING
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_waited_for_until_it_closes_the_file() {
        let begun = [
            EventMask::MODIFY,
            EventMask::CREATE,
            // Whoever changes the mode meanwhile goes on.
            EventMask::ATTRIB,
        ];
        let done = [
            EventMask::CLOSE_WRITE,
            EventMask::MOVED_TO,
            EventMask::DELETE,
        ];
        let start = Instant::now();
        for end in done {
            let mut touched = Touched::default();
            for mask in begun {
                touched.note(0, mask);
                assert_eq!(
                    touched.wait_until(start, start),
                    start + WRITING,
                    "{mask:?}"
                );
            }
            touched.note(0, end);
            assert_eq!(touched.wait_until(start, start), start + QUIET, "{end:?}");
        }
    }

    #[test]
    fn what_is_no_writing_is_not_waited_for() {
        let start = Instant::now();
        let mut touched = Touched::default();
        touched.note(0, EventMask::CREATE | EventMask::ISDIR);
        touched.note(0, EventMask::ATTRIB);
        touched.note(1, EventMask::MOVED_TO);
        let late = start + BURST;
        assert_eq!(touched.wait_until(start, late), late);
        assert_eq!(touched.all.len(), 2);
    }
}
