//! When a file is fought over.
//!
//! A surface that somebody else rewrites is repaired at once. Ten repairs within a minute mean that
//! another program wants the file to be different; then stayput says so and steps back, so that two
//! programs do not wear out a disk between them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Repairs within [`WINDOW`] that make a fight.
pub const LIMIT: usize = 10;
/// How far back repairs count, and how long stayput stays away from a contested file.
pub const WINDOW: Duration = Duration::from_mins(1);

/// The recent repairs of one surface.
#[derive(Debug, Default)]
pub struct Contest {
    repairs: VecDeque<Instant>,
    quiet_until: Option<Instant>,
}

impl Contest {
    /// Whether a repair may be made now.
    pub fn may_repair(&self, now: Instant) -> bool {
        self.quiet_until.is_none_or(|until| now >= until)
    }

    /// Notes that a foreign change was repaired.
    pub fn repaired(&mut self, now: Instant) {
        self.repairs.push_back(now);
        while self.repairs.front().is_some_and(|at| now - *at > WINDOW) {
            self.repairs.pop_front();
        }
        if self.repairs.len() >= LIMIT {
            self.repairs.clear();
            self.quiet_until = Some(now + WINDOW);
        }
    }

    /// When the next repair is due, while the file is contested.
    pub fn contested_until(&self, now: Instant) -> Option<Instant> {
        self.quiet_until.filter(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_back_after_ten_fights_in_a_minute_and_returns() {
        let start = Instant::now();
        let mut contest = Contest::default();
        for n in 0..10 {
            let now = start + Duration::from_secs(n);
            assert!(contest.may_repair(now), "fight {n}");
            contest.repaired(now);
        }
        assert!(!contest.may_repair(start + Duration::from_secs(10)));
        assert!(
            contest
                .contested_until(start + Duration::from_secs(10))
                .is_some()
        );
        assert!(contest.may_repair(start + Duration::from_secs(70)));
        assert!(
            contest
                .contested_until(start + Duration::from_secs(70))
                .is_none()
        );
    }

    #[test]
    fn rare_repairs_are_no_fight() {
        let start = Instant::now();
        let mut contest = Contest::default();
        for n in 0..100 {
            let now = start + Duration::from_secs(7 * n);
            assert!(contest.may_repair(now));
            contest.repaired(now);
        }
    }
}
