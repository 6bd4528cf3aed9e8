//! A report that is not complete yet.

use std::time::Instant;

use futures_util::future::join_all;

use super::lane::Awaited;
use crate::report::{Report, SurfaceReport, milliseconds};

/// What has been done about an event so far, and what is on its way.
#[derive(Debug)]
#[must_use = "drop it where nobody wants to know"]
pub struct Pending {
    pub(super) report: Report,
    pub(super) started: Instant,
    pub(super) awaited: Vec<Awaited>,
}

impl Pending {
    /// Adds sentences that the report is to tell.
    pub fn notice(&mut self, notices: &[String]) {
        self.report.notices.extend_from_slice(notices);
    }

    /// Waits for all surfaces. Every one of them has a time limit.
    pub async fn finish(self) -> Report {
        let mut report = self.report;
        let awaited = join_all(self.awaited.into_iter().map(Awaited::report));
        report.surfaces.extend(awaited.await);
        report
            .surfaces
            .sort_by_key(|surface: &SurfaceReport| surface.surface);
        report.milliseconds = milliseconds(self.started.elapsed());
        report
    }
}
