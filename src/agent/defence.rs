//! A surface after a foreign change: it is repaired, unless it is being fought over.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

use tracing::{error, info};

use super::Agent;
use crate::report::{Report, Surface, SurfaceResult};

/// The repairs on their way, at most one for each surface.
pub(super) type Defences = BTreeMap<Surface, Defence>;

/// A repair on its way.
pub(super) struct Defence {
    report: Pin<Box<dyn Future<Output = Report>>>,
    /// The book's generation when it began: what an event has changed meanwhile is no fight.
    generation: u64,
    /// What our own failure has left to be done is no fight either.
    own_failure: bool,
    /// It was changed once more since.
    again: bool,
}

/// The report of a repair, when there is one; waits for ever otherwise. May be cancelled.
pub(super) async fn defended(defences: &mut Defences) -> (Surface, Report) {
    poll_fn(|context| {
        for (surface, defence) in &mut *defences {
            if let Poll::Ready(report) = defence.report.as_mut().poll(context) {
                return Poll::Ready((*surface, report));
            }
        }
        Poll::Pending
    })
    .await
}

impl Agent {
    /// Repairs a surface if somebody else has changed it.
    pub(super) async fn defend(&mut self, surface: Surface) {
        if let Some(defence) = self.defences.get_mut(&surface) {
            defence.again = true;
            return;
        }
        let now = Instant::now();
        let health = self.engine.health_of(surface);
        // What stood in the way of a route may just have gone: to look again costs next to nothing.
        let waits = surface != Surface::Routes && health.waits(now);
        if !health.contest.may_repair(now) || waits {
            return;
        }
        let own_failure = health.retry_at().is_some();
        let pending = self.engine.repair(&[surface]).await;
        let defence = Defence {
            report: Box::pin(pending.finish()),
            generation: self.engine.view().book.generation,
            own_failure,
            again: false,
        };
        self.defences.insert(surface, defence);
    }

    /// Takes in how a repair ended.
    pub(super) async fn count_fight(&mut self, surface: Surface, report: &Report) {
        let Some(defence) = self.defences.remove(&surface) else {
            return;
        };
        let one = report.surfaces.iter().find(|s| s.surface == surface);
        let repaired = one.is_some_and(|one| one.result == SurfaceResult::Updated);
        let same_book = self.engine.view().book.generation == defence.generation;
        if repaired && same_book && !defence.own_failure {
            let detail = one.map_or("", |one| &one.detail);
            self.note_fight(surface, detail);
        }
        if defence.again {
            self.defend(surface).await;
        }
    }

    fn note_fight(&mut self, surface: Surface, detail: &str) {
        let now = Instant::now();
        let what = match surface {
            Surface::Routes => "a stable address or a route to one",
            _ => "the hosts file",
        };
        let health = self.engine.health_of(surface);
        detail.clone_into(&mut health.fought);
        let contest = &mut health.contest;
        contest.repaired(now);
        if contest.contested_until(now).is_some() {
            error!(
                "{what} is contested: another program rewrites it again and again; stepping back for a minute ({detail})"
            );
        } else {
            info!("{what} was changed by somebody else and is repaired ({detail})");
        }
    }
}
