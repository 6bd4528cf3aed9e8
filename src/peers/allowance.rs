//! How often something may be done: so many at once, then one in a while.

use std::time::Duration;

/// What is left for one thing. Time is the caller's, counted from any fixed moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::peers) struct Allowance {
    /// When all of it is there again.
    full: Duration,
}

/// A rule for [`Allowance`].
#[derive(Debug, Clone, Copy)]
pub(in crate::peers) struct Rate {
    /// At most these at once.
    pub(in crate::peers) burst: u32,
    /// One more after this time.
    pub(in crate::peers) every: Duration,
}

impl Allowance {
    /// Whether so many are allowed now.
    pub(in crate::peers) fn left(&self, many: u32, rate: Rate, now: Duration) -> bool {
        self.after(many, rate, now).saturating_sub(now) <= rate.every.saturating_mul(rate.burst)
    }

    /// Whether so many are allowed now; if so they are used up.
    pub(in crate::peers) fn take(&mut self, many: u32, rate: Rate, now: Duration) -> bool {
        let allowed = self.left(many, rate, now);
        if allowed {
            self.full = self.after(many, rate, now);
        }
        allowed
    }

    /// How long until one more is allowed.
    pub(in crate::peers) fn wait(&self, rate: Rate, now: Duration) -> Duration {
        let over = self.after(1, rate, now).saturating_sub(now);
        over.saturating_sub(rate.every.saturating_mul(rate.burst))
    }

    fn after(&self, many: u32, rate: Rate, now: Duration) -> Duration {
        let used = rate.every.saturating_mul(many);
        self.full.max(now).saturating_add(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_by_one() {
        let rate = Rate {
            burst: 3,
            every: Duration::from_secs(2),
        };
        let mut left = Allowance::default();
        let mut at = |seconds, many| left.take(many, rate, Duration::from_secs(seconds));
        assert!(at(10, 2) && at(10, 1) && !at(10, 1));
        assert!(!at(11, 1));
        assert!(at(12, 1) && !at(12, 1));
        assert!(!at(100, 4) && at(100, 3));
        let wait = |seconds| left.wait(rate, Duration::from_secs(seconds));
        assert_eq!(
            [100, 101, 102].map(wait),
            [2, 1, 0].map(Duration::from_secs)
        );
    }
}
