//! Wall-clock time as it is stored and shown.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Seconds since the Unix epoch; 0 on a machine whose clock stands before it.
pub fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |duration| duration.as_secs())
}

/// A Unix time in RFC 3339, for JSON and logs.
pub fn rfc3339(unix: u64) -> String {
    i64::try_from(unix).map_or_else(|_| unix.to_string(), date)
}

/// A Unix time that may lie before 1970 in RFC 3339; the number itself where no calendar has it.
pub fn date(unix: i64) -> String {
    OffsetDateTime::from_unix_timestamp(unix)
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| unix.to_string())
}

/// A length of time in at most two units, as tables show ages: `4s`, `3m12s`, `2d5h`.
pub fn age(seconds: u64) -> String {
    let (minute, hour, day) = (60, 3600, 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / minute, seconds % minute),
        3600..86_400 => format!("{}h{}m", seconds / hour, seconds % hour / minute),
        _ => format!("{}d{}h", seconds / day, seconds % day / hour),
    }
}

/// A duration of work in a fitting unit: `0.4 ms`, `35 ms`, `2.1 s`.
pub fn took(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    if ms < 10.0 {
        format!("{ms:.1} ms")
    } else if ms < 1000.0 {
        format!("{ms:.0} ms")
    } else {
        format!("{:.1} s", ms / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(u64::MAX), u64::MAX.to_string());
        for (unix, want) in [
            (-631_152_000, "1950-01-01T00:00:00Z"),
            (0, "1970-01-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (i64::MAX, "9223372036854775807"),
        ] {
            assert_eq!(date(unix), want);
        }
        for (seconds, want) in [(4, "4s"), (192, "3m12s"), (7260, "2h1m"), (190_800, "2d5h")] {
            assert_eq!(age(seconds), want);
        }
        assert_eq!(took(Duration::from_micros(440)), "0.4 ms");
        assert_eq!(took(Duration::from_millis(35)), "35 ms");
        assert_eq!(took(Duration::from_millis(2100)), "2.1 s");
    }
}
