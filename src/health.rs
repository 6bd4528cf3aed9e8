//! How a surface is doing, and when it is tried again.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::clock;
use crate::contest::Contest;
use crate::report::{SurfaceReport, SurfaceResult};
use crate::status::{Condition, SurfaceStatus};

/// The first pause after a failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// How many notices are logged and shown one by one. Foreign files have a say in how many there are.
const MOST_NOTICES: usize = 20;

/// What is known of one surface.
#[derive(Debug, Default)]
pub struct Health {
    /// Its last report and when that was, in Unix time.
    last: Option<(SurfaceReport, u64)>,
    /// The last error, also after it was overcome.
    last_error: Option<String>,
    failures: u32,
    retry_at: Option<Instant>,
    /// Repairs of foreign changes.
    pub contest: Contest,
    /// What the last repair of a foreign change has done.
    pub fought: String,
    /// Notices that stay until the next start.
    pub notices: Vec<String>,
}

impl Health {
    /// Takes in a report; logs what is new in it.
    pub fn note(&mut self, report: &SurfaceReport, now: Instant) {
        let surface = report.surface.as_str();
        if report.result == SurfaceResult::Failed {
            if self.last_error.as_ref() != Some(&report.detail) || self.failures == 0 {
                warn!(surface, "{}", report.detail);
            }
            self.last_error = Some(report.detail.clone());
            self.retry_at = Some(now + pause(self.failures));
            self.failures = self.failures.saturating_add(1);
        } else {
            if self.failures > 0 {
                info!(surface, "works again after {} failures", self.failures);
            }
            let was = self.last.as_ref().map(|(last, _)| last.result);
            if was == Some(SurfaceResult::Absent) && report.result != SurfaceResult::Absent {
                info!(surface, "is there now: {}", report.detail);
            }
            self.failures = 0;
            self.retry_at = None;
        }
        let notices = bounded(&report.notices);
        for notice in self.unknown(&notices) {
            warn!(surface, "{notice}");
        }
        let report = SurfaceReport {
            notices,
            detail: report.detail.clone(),
            ..*report
        };
        self.last = Some((report, clock::unix_now()));
    }

    /// The notices that the last report did not have.
    fn unknown<'a>(&self, notices: &'a [String]) -> Vec<&'a str> {
        let last = self.last.iter().flat_map(|(last, _)| &last.notices);
        let known: HashSet<&str> = last.map(String::as_str).collect();
        let notices = notices.iter().map(String::as_str);
        notices.filter(|notice| !known.contains(notice)).collect()
    }

    /// Notes that it is being tried: there is no other try until it has reported.
    pub fn begun(&mut self) {
        self.retry_at = None;
    }

    /// When it is tried again, if it failed.
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether it failed and its pause is not over yet.
    pub fn waits(&self, now: Instant) -> bool {
        self.retry_at.is_some_and(|at| at > now)
    }

    /// Whether its pause after a failure is over.
    pub fn due(&self, now: Instant) -> bool {
        self.retry_at.is_some_and(|at| at <= now)
    }

    /// What status shows of it.
    pub fn status(&self, surface: crate::report::Surface, now: Instant) -> SurfaceStatus {
        let last = self.last.as_ref().map(|(report, _)| report);
        let contested = self.contest.contested_until(now).is_some();
        let condition = match last.map(|report| report.result) {
            None => Condition::Unknown,
            Some(SurfaceResult::Failed) => Condition::Failed,
            Some(_) if contested => Condition::Contested,
            Some(SurfaceResult::Absent) => Condition::Absent,
            Some(SurfaceResult::Unchanged | SurfaceResult::Updated) => Condition::Ok,
        };
        SurfaceStatus {
            surface,
            condition,
            detail: match last {
                Some(_) if condition == Condition::Contested && !self.fought.is_empty() => {
                    self.fought.clone()
                }
                last => last.map_or_else(String::new, |report| report.detail.clone()),
            },
            at: self.last.as_ref().map(|(_, at)| clock::rfc3339(*at)),
            last_error: self.last_error.clone(),
            notices: last.map_or_else(Vec::new, |report| report.notices.clone()),
        }
    }
}

/// The first notices, and how many there are behind them.
fn bounded(notices: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = notices.iter().take(MOST_NOTICES).cloned().collect();
    if let more @ 1.. = notices.len() - kept.len() {
        kept.push(format!("and {more} more"));
    }
    kept
}

fn pause(failures: u32) -> Duration {
    FIRST_PAUSE
        .saturating_mul(1 << failures.min(10))
        .min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Surface;

    #[test]
    fn a_failure_is_tried_again_with_growing_pauses() {
        let start = Instant::now();
        let mut health = Health::default();
        let failed = SurfaceReport::failed(Surface::Hosts, "disk full".into(), Duration::ZERO);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            health.note(&failed, start);
            pauses.push((health.retry_at().unwrap() - start).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        let status = health.status(Surface::Hosts, start);
        assert_eq!(status.condition, Condition::Failed);
        assert_eq!(status.last_error.as_deref(), Some("disk full"));
    }

    #[test]
    fn notices_without_end_are_counted() {
        let now = Instant::now();
        let mut health = Health::default();
        let report = |notices: Vec<String>| SurfaceReport {
            result: SurfaceResult::Unchanged,
            notices,
            ..SurfaceReport::failed(Surface::Pods, String::new(), Duration::ZERO)
        };
        let notices: Vec<String> = (0..200_000).map(|n| format!("line {n}")).collect();
        health.note(&report(notices.clone()), now);
        let shown = health.status(Surface::Pods, now).notices;
        assert_eq!(shown.len(), 21);
        assert_eq!(
            (shown[19].as_str(), shown[20].as_str()),
            ("line 19", "and 199980 more")
        );
        assert_eq!(health.unknown(&bounded(&notices)), [""; 0], "none is news");
        let other = ["line 3".to_owned(), "line x".to_owned()];
        assert_eq!(health.unknown(&other), ["line x"]);
        health.note(&report(notices[..20].to_vec()), now);
        assert_eq!(health.status(Surface::Pods, now).notices, notices[..20]);
    }

    #[test]
    fn an_overcome_error_stays_visible_and_asks_for_nothing() {
        let now = Instant::now();
        let mut health = Health::default();
        health.note(
            &SurfaceReport::failed(Surface::Dns, "in use".into(), Duration::ZERO),
            now,
        );
        let good = SurfaceReport {
            result: SurfaceResult::Updated,
            ..SurfaceReport::failed(Surface::Dns, "serial 7".into(), Duration::ZERO)
        };
        health.note(&good, now);
        assert!(!health.due(now + LONGEST_PAUSE));
        let status = health.status(Surface::Dns, now);
        assert_eq!(status.condition, Condition::Ok);
        assert_eq!(status.last_error.as_deref(), Some("in use"));
    }
}
