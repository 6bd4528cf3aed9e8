//! Pulls: what a node does that has no certificate, and what others answer it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::command::Verdict;
use super::life::Daemon;
use super::records::Records;
use crate::peers::transport::{Handle, PullError, Pulled};

/// After one that brought something, and after one that did not.
const PAUSE: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_secs(5);
/// All records in one answer, in bytes: less than anybody takes.
const ANSWER: usize = 7 << 20;

/// What is being pulled.
#[derive(Debug, Default)]
pub(super) struct Pulling {
    task: JoinSet<Option<Pulled>>,
    next: Option<Instant>,
}

impl Pulling {
    /// What was pulled, if anybody answered. May be cancelled.
    pub(super) async fn next(&mut self) -> Option<Pulled> {
        match self.task.join_next().await {
            Some(pulled) => pulled.ok().flatten(),
            None => std::future::pending().await,
        }
    }
}

/// One record in each frame; those that count come with the others.
pub(super) fn answer(records: &Records) -> Vec<Vec<u8>> {
    let mut size = 0;
    let all = records.ledger().records().map(|held| held.verified.bytes());
    let fitting = all.take_while(|bytes| {
        size += bytes.len() + 8;
        size <= ANSWER
    });
    fitting.map(<[u8]>::to_vec).collect()
}

impl Daemon {
    /// Begins a pull, if this node can do no better and it is time.
    pub(super) fn pull(&mut self) {
        let due = self.pulling.next.is_none_or(|next| next <= Instant::now());
        let idle = self.pulling.task.is_empty();
        if self.handle.own().is_some() || !self.records.can_judge() || !due || !idle {
            return;
        }
        let places = self.turn.next(&self.places());
        self.pulling.next = Some(Instant::now() + RETRY);
        if !places.is_empty() {
            self.pulling
                .task
                .spawn(first_of(self.handle.clone(), places));
        }
    }

    /// Takes what was pulled.
    pub(super) fn pulled(&mut self, pulled: Option<Pulled>) {
        let Some(Pulled { from, frames }) = pulled else {
            return;
        };
        self.pulling.next = Some(Instant::now() + PAUSE);
        self.counts.pulled += 1;
        let mut taken = 0;
        for record in frames {
            match self.records.take(&record) {
                Verdict::News => taken += 1,
                Verdict::Refused(why) => self.refused(&from.to_string(), &why),
                Verdict::Known | Verdict::Outdone => {}
            }
        }
        self.compared();
        if taken > 0 {
            tracing::info!("pulled {taken} new records from {from}");
        }
    }
}

/// The first answer. Kinds are tried beside each other: none waits for another that takes its time.
async fn first_of(handle: Handle, kinds: Vec<Vec<SocketAddr>>) -> Option<Pulled> {
    let mut trying = JoinSet::new();
    for places in kinds {
        trying.spawn(first_of_kind(handle.clone(), places));
    }
    while let Some(tried) = trying.join_next().await {
        if let Ok(Some(pulled)) = tried {
            return Some(pulled);
        }
    }
    None
}

async fn first_of_kind(handle: Handle, places: Vec<SocketAddr>) -> Option<Pulled> {
    for at in places {
        match handle.pull(at).await {
            Ok(pulled) => return Some(pulled),
            Err(error @ (PullError::Failed { .. } | PullError::Slow { .. })) => {
                tracing::debug!("{error}");
            }
            Err(error @ PullError::TooMuch { .. }) => tracing::warn!("{error}"),
        }
    }
    None
}
