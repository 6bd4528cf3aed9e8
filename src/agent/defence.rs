//! The hosts file after a foreign change: it is repaired, unless it is being fought over.

use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use tracing::{error, info};

use super::Agent;
use crate::report::{Report, Surface, SurfaceResult};

/// A repair on its way.
pub(super) struct Defence {
    report: Pin<Box<dyn Future<Output = Report>>>,
    /// The book's generation when it began: what an event has changed meanwhile is no fight.
    generation: u64,
    /// What our own failure has left to be done is no fight either.
    own_failure: bool,
    /// The file was changed once more since.
    again: bool,
}

/// The report of a repair, when there is one; waits for ever otherwise. May be cancelled.
pub(super) async fn defended(defence: &mut Option<Defence>) -> Report {
    match defence {
        Some(defence) => defence.report.as_mut().await,
        None => std::future::pending().await,
    }
}

impl Agent {
    /// Repairs the hosts file if somebody else has changed it.
    pub(super) async fn defend_hosts(&mut self) {
        if let Some(defence) = &mut self.defence {
            defence.again = true;
            return;
        }
        let now = Instant::now();
        let health = self.engine.health_of(Surface::Hosts);
        if !health.contest.may_repair(now) || health.waits(now) {
            return;
        }
        let own_failure = health.retry_at().is_some();
        let pending = self.engine.repair(&[Surface::Hosts]).await;
        self.defence = Some(Defence {
            report: Box::pin(pending.finish()),
            generation: self.engine.view().book.generation,
            own_failure,
            again: false,
        });
    }

    /// Takes in how a repair ended.
    pub(super) async fn count_fight(&mut self, report: &Report) {
        let Some(defence) = self.defence.take() else {
            return;
        };
        let hosts = report.surfaces.iter().find(|s| s.surface == Surface::Hosts);
        let repaired = hosts.is_some_and(|hosts| hosts.result == SurfaceResult::Updated);
        let same_book = self.engine.view().book.generation == defence.generation;
        if repaired && same_book && !defence.own_failure {
            self.note_fight();
        }
        if defence.again {
            self.defend_hosts().await;
        }
    }

    fn note_fight(&mut self) {
        let now = Instant::now();
        let contest = &mut self.engine.health_of(Surface::Hosts).contest;
        contest.repaired(now);
        if contest.contested_until(now).is_some() {
            error!(
                "the hosts file is contested: another program rewrites it again and again; stepping back for a minute"
            );
        } else {
            info!("the hosts file was changed by somebody else and is repaired");
        }
    }
}
