//! When a certificate is due, and from when to when a new one is valid: arithmetic on Unix times.
//!
//! Nothing here overflows: others' certificates may end in 9999 or have begun in 1950.

use super::certificate::Certificate;
use super::issue::{BACKDATED, Validity};
use crate::clock;

pub use crate::clock::date;

/// 9999-12-31T23:59:59Z, the last moment that a certificate can name (RFC 5280, 4.1.2.5).
pub const LAST_SECOND: i64 = 253_402_300_799;

/// Where a moment lies in a certificate's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before its first second.
    NotYetValid,
    /// Valid, and its end is not near.
    Valid,
    /// Valid, and its end is near: less than the window remains.
    Due,
    /// After its last second.
    Expired,
}

impl Validity {
    /// From when to when a certificate is valid.
    pub fn of(certificate: &Certificate) -> Self {
        Self {
            not_before: certificate.not_before,
            not_after: certificate.not_after,
        }
    }

    /// Of a certificate that is made `now` for that many seconds.
    pub fn starting(now: i64, seconds: u64) -> Self {
        let latest = |time: i64| time.min(LAST_SECOND);
        Self {
            not_before: latest(now.saturating_sub(BACKDATED)),
            not_after: latest(now.saturating_add(signed(seconds))),
        }
    }

    /// As much of it as lies within the authority's: a leaf never outlives its authority.
    #[must_use]
    pub fn within(self, authority: Self) -> Self {
        Self {
            not_before: self.not_before.max(authority.not_before),
            not_after: self.not_after.min(authority.not_after),
        }
    }

    /// How long before its end it is due, in seconds: `renew_before`, at most half of its lifetime.
    pub fn window(self, renew_before: u64) -> i64 {
        self.part(2).min(signed(renew_before))
    }

    /// The `n`th part of its lifetime, in seconds; 0 where it ends before it begins.
    pub fn part(self, n: i64) -> i64 {
        self.not_after.saturating_sub(self.not_before).max(0) / n.max(1)
    }

    /// Where `now` lies in it, with a window of that many seconds before its end.
    pub fn phase(self, window: i64, now: i64) -> Phase {
        if now > self.not_after {
            Phase::Expired
        } else if now < self.not_before {
            Phase::NotYetValid
        } else if self.not_after.saturating_sub(now) < window {
            Phase::Due
        } else {
            Phase::Valid
        }
    }
}

/// Seconds that may be more than an `i64` holds.
fn signed(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// How long it is from one moment to the other, whichever is first, as in `12d5h`.
pub fn between(a: i64, b: i64) -> String {
    clock::age(a.abs_diff(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;

    fn validity(not_before: i64, not_after: i64) -> Validity {
        Validity {
            not_before,
            not_after,
        }
    }

    #[test]
    fn the_window_is_at_most_half_of_the_lifetime() {
        let month = 30 * 86_400;
        for (lifetime, renew_before, want) in [
            (365 * DAY, month, 30 * DAY),
            (60 * DAY, month, 30 * DAY),
            (59 * DAY, month, 59 * DAY / 2),
            (24 * HOUR, month, 12 * HOUR),
            (24 * HOUR, 3600, HOUR),
            (1, month, 0),
            (0, month, 0),
            (-DAY, month, 0),
            (365 * DAY, u64::MAX, 365 * DAY / 2),
        ] {
            let got = validity(1_000, 1_000 + lifetime).window(renew_before);
            assert_eq!(got, want, "lifetime {lifetime}, renewBefore {renew_before}");
        }
    }

    #[test]
    fn a_certificate_is_valid_from_its_first_to_its_last_second() {
        let (valid, window) = (validity(1_000, 2_000), 100);
        for (now, want) in [
            (999, Phase::NotYetValid),
            (1_000, Phase::Valid),
            (1_900, Phase::Valid),
            (1_901, Phase::Due),
            (2_000, Phase::Due),
            (2_001, Phase::Expired),
        ] {
            assert_eq!(valid.phase(window, now), want, "at {now}");
        }
        assert_eq!(validity(2_000, 1_000).phase(0, 1_500), Phase::Expired);
        assert_eq!(validity(2_000, 1_000).phase(0, 500), Phase::NotYetValid);
    }

    #[test]
    fn a_new_certificate_lies_within_its_authority() {
        let year = Validity::starting(10_000, 1_000);
        assert_eq!(year, validity(9_700, 11_000));
        assert_eq!(year.within(validity(0, 99_999)), year);
        assert_eq!(
            year.within(validity(9_900, 10_500)),
            validity(9_900, 10_500)
        );
    }

    #[test]
    fn extremes_do_not_overflow() {
        let all = validity(i64::MIN, i64::MAX);
        assert_eq!(all.window(u64::MAX), i64::MAX / 2);
        assert_eq!(all.phase(i64::MAX, 0), Phase::Valid);
        assert_eq!(all.phase(1, i64::MAX), Phase::Due);
        assert_eq!(Validity::starting(0, u64::MAX).not_after, LAST_SECOND);
        assert_eq!(
            Validity::starting(i64::MAX, 1),
            validity(LAST_SECOND, LAST_SECOND)
        );
        assert_eq!(
            Validity::starting(i64::MIN, 0),
            validity(i64::MIN, i64::MIN)
        );
        assert_eq!(between(i64::MIN, i64::MAX), "213503982334601d7h");
    }
}
