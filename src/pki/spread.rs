//! When in a period a node renews, so that the masters do not renew together.
//!
//! It follows from the node's name alone: no state, no messages, the same after every restart. A
//! random delay would now and then be the same on two masters, and one that follows from the
//! machine's id is the same on all clones of an image.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::record::Record;

/// The share of a turn by which 1, 2, 3, … are apart: the golden ratio's fraction, 2^64 / φ. Of all
/// steps round a circle it keeps any number of points farthest apart (the three-distance theorem).
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
const DAY: Duration = Duration::from_hours(24);
const FIRST_RETRY: Duration = Duration::from_mins(5);
const LONGEST_RETRY: Duration = Duration::from_hours(1);

/// The node's moment within `period`, from 0 up to, not including, `period`.
///
/// Names that differ only in the last number of their first label, as in `master-1`, `master-2`,
/// `master-3`, are apart by construction: three in a row by at least 0.23 of the period (over its end
/// to the next one's beginning too), five by 0.14. All other names are spread as by dice.
pub fn jitter(name: &str, period: Duration) -> Duration {
    let (stem, number) = numbered(name);
    let turn = digest(&stem).wrapping_add(number.wrapping_mul(GOLDEN));
    let nanoseconds = (period.as_nanos() * u128::from(turn)) >> 64;
    // Less than the period, which fitted.
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

/// How long until the node's time of day, which follows from its name, in UTC. `unix` is now; at that
/// very second it is a whole day.
pub fn until_daily(name: &str, unix: u64) -> Duration {
    let slot = jitter(name, DAY).as_secs();
    let (day, since_midnight) = (DAY.as_secs(), unix % DAY.as_secs());
    match (slot + day - since_midnight) % day {
        0 => DAY,
        wait => Duration::from_secs(wait),
    }
}

/// How long until the next try after so many failed ones in a row: 5 minutes, then 10, 20, 40, then an
/// hour, and up to half as much again by the node's name.
pub fn until_retry(name: &str, failures: u32) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(10));
    let pause = doubled.min(LONGEST_RETRY);
    pause + jitter(name, pause / 2)
}

/// How long a run that a timer starts waits first, so that the masters' runs are spread over `period`.
/// One that follows a failed one does not: it is a retry, at a time of its own.
pub fn before_run(last: Option<&Record>, name: &str, period: Duration) -> Duration {
    match last.and_then(|record| record.failure.as_ref()) {
        Some(_) => Duration::ZERO,
        None => jitter(name, period),
    }
}

/// `master-12.prod.internal` as `master-#.prod.internal` and 12; 0 where there is no number.
fn numbered(name: &str) -> (String, u64) {
    let (label, domain) = name.split_at(name.find('.').unwrap_or(name.len()));
    let is_digit = |c: char| c.is_ascii_digit();
    let Some(last) = label.rfind(is_digit) else {
        return (name.to_owned(), 0);
    };
    let first = label[..=last].trim_end_matches(is_digit).len();
    match label[first..=last].parse() {
        Ok(number) => {
            let stem = format!("{}#{}{domain}", &label[..first], &label[last + 1..]);
            (stem, number)
        }
        Err(_) => (name.to_owned(), 0),
    }
}

fn digest(stem: &str) -> u64 {
    let digest = Sha256::digest(stem.as_bytes());
    digest[..8]
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(name: &str) -> f64 {
        jitter(name, DAY).as_secs_f64() / DAY.as_secs_f64()
    }

    /// The smallest distance of any two on the circle.
    fn apart(names: &[String]) -> f64 {
        let mut shares: Vec<f64> = names.iter().map(|name| share(name)).collect();
        shares.sort_by(f64::total_cmp);
        let next = shares.iter().skip(1).copied().chain([shares[0] + 1.0]);
        let gaps = shares.iter().zip(next).map(|(one, next)| next - one);
        gaps.fold(1.0, f64::min)
    }

    #[test]
    fn it_never_changes() {
        // Another release must say the same: masters would meet during an upgrade.
        for (name, seconds) in [
            ("master-1.prod.k8s.internal", 2021),
            ("master-2.prod.k8s.internal", 55419),
            ("blue.prod.k8s.internal", 78301),
        ] {
            assert_eq!(jitter(name, DAY).as_secs(), seconds, "{name}");
        }
    }

    #[test]
    fn numbers_are_found() {
        for (name, stem, number) in [
            ("master-1.a7", "master-#.a7", 1),
            ("cp03b.x", "cp#b.x", 3),
            ("dc2-m11", "dc2-m#", 11),
            ("7", "#", 7),
            ("blue.m1", "blue.m1", 0),
            ("m99999999999999999999", "m99999999999999999999", 0),
            ("", "", 0),
        ] {
            assert_eq!(numbered(name), (stem.to_owned(), number), "{name}");
        }
    }

    proptest! {
        #[test]
        fn masters_in_a_row_are_apart(
            stem in "[a-z]{0,8}-?", domain in "(\\.[a-z0-9]{1,8}){0,3}", first in 0_u64..1_000,
        ) {
            let names = |count| (first..first + count).map(|n| format!("{stem}{n}{domain}"));
            prop_assert!(apart(&names(3).collect::<Vec<_>>()) > 0.23);
            prop_assert!(apart(&names(5).collect::<Vec<_>>()) > 0.14);
        }

        #[test]
        fn it_lies_within_the_period(name in ".{0,20}", seconds in 1_u64..100_000_000) {
            let period = Duration::from_secs(seconds);
            prop_assert!(jitter(&name, period) < period);
        }
    }

    #[test]
    fn the_time_of_day_comes_once_a_day() {
        let name = "master-1.prod.k8s.internal";
        let slot = jitter(name, DAY).as_secs();
        for (unix, want) in [(0, slot), (slot - 1, 1), (slot, 86_400), (slot + 1, 86_399)] {
            let wait = until_daily(name, 20_000 * 86_400 + unix);
            assert_eq!(wait.as_secs(), want, "{unix} seconds after midnight");
        }
    }

    #[test]
    fn retries_become_rarer() {
        let minutes = |failures| until_retry("blue", failures).as_secs() / 60;
        for (failures, from, to) in [
            (1, 5, 7),
            (2, 10, 15),
            (4, 40, 60),
            (5, 60, 90),
            (99, 60, 90),
        ] {
            let found = minutes(failures);
            assert!((from..=to).contains(&found), "{failures}: {found}");
        }
    }

    #[test]
    fn a_retry_does_not_wait() {
        let record = |failure| Record {
            failure,
            ..Record::default()
        };
        let failure = crate::pki::record::Failure {
            since: 0,
            last: 0,
            count: 1,
            message: String::new(),
        };
        let spread = jitter("m1", DAY);
        assert_eq!(before_run(None, "m1", DAY), spread);
        assert_eq!(before_run(Some(&record(None)), "m1", DAY), spread);
        assert_eq!(
            before_run(Some(&record(Some(failure))), "m1", DAY),
            Duration::ZERO
        );
    }

    #[test]
    fn other_names_are_spread_over_the_whole_period() {
        let mut quarters = [0; 4];
        for n in 0..400_u32 {
            let name = format!("node{}", char::from_u32(0x4E00 + n).unwrap());
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "0 to 3"
            )]
            let quarter = (share(&name) * 4.0) as usize;
            quarters[quarter] += 1;
        }
        assert!(
            quarters.iter().all(|count| (60..140).contains(count)),
            "{quarters:?}"
        );
    }
}
