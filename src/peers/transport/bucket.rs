//! A token bucket that may go into debt: whoever took too much waits until it is paid.

use std::time::Duration;

use tokio::time::Instant;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    rate: f64,
    most: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    /// A full one: `rate` each second, `most` at once.
    pub(super) fn new((rate, most): (u32, u32), now: Instant) -> Self {
        Self {
            rate: f64::from(rate),
            most: f64::from(most),
            level: f64::from(most),
            at: now,
        }
    }

    fn fill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + since * self.rate).min(self.most);
        self.at = now;
    }

    /// Takes `amount`, and tells how long to wait before the next is taken.
    pub(super) fn take(&mut self, amount: u32, now: Instant) -> Duration {
        self.fill(now);
        self.level -= f64::from(amount);
        if self.level >= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(-self.level / self.rate).unwrap_or(Duration::MAX)
    }

    /// Takes one if there is one.
    pub(super) fn try_take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let enough = self.level >= 1.0;
        if enough {
            self.level -= 1.0;
        }
        enough
    }

    /// Whether it was at least half full when it was last looked at: who takes as fast as it may leaves it
    /// empty.
    pub(super) fn is_rested(&self) -> bool {
        self.level >= self.most / 2.0
    }

    /// Whether it would be the same if it were forgotten.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.level >= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debts_are_paid_in_time() {
        let start = Instant::now();
        let mut bucket = Bucket::new((10, 20), start);
        assert_eq!(bucket.take(20, start), Duration::ZERO);
        assert_eq!(bucket.take(5, start), Duration::from_millis(500));
        assert!(!bucket.try_take(start + Duration::from_millis(500)));
        assert!(bucket.try_take(start + Duration::from_millis(700)));
        let later = start + Duration::from_mins(1);
        assert!(bucket.is_full(later));
        assert_eq!(
            bucket.take(21, later),
            Duration::from_millis(100),
            "no more than most"
        );
    }
}
