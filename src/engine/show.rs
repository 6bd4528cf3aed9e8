//! How the book is saved and shown: the edge between one decision and many surfaces.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::lane::Awaited;
use super::lanes::{FILE_PATIENCE, on_writer};
use super::{Engine, Saved};
use crate::book::Book;
use crate::config::Cluster;
use crate::report::{Surface, SurfaceReport};
use crate::state::{self, Block, State};
use crate::surface::dns::{ListenerState, Responder, Zone};
use crate::surface::{Applied, Outcome, hosts};
use crate::view::View;

/// How long a change waits for the disk before it is shown all the same.
const SAVE_PATIENCE: Duration = Duration::from_secs(2);

impl Engine {
    pub(super) async fn save(&mut self) -> SurfaceReport {
        let started = Instant::now();
        if self.disk_hangs && self.health_of(Surface::State).waits(started) {
            self.saved = Saved::Refused;
            return SurfaceReport::failed(Surface::State, hangs(), started.elapsed());
        }
        let root = self.root.clone();
        let state = State {
            book: Book::clone(&self.book),
            provision: self.provision,
            block: self.block.clone(),
        };
        let saving = self.writer.run(move || state::save(&root, &state));
        let outcome = match timeout(SAVE_PATIENCE, saving).await {
            Ok(Ok(Ok(written))) => Ok(written),
            Ok(Ok(Err(error))) => Err(error.to_string()),
            Ok(Err(interrupted)) => Err(interrupted.to_string()),
            Err(_) => Err(hangs()),
        };
        self.disk_hangs = outcome.as_ref().is_err_and(|error| *error == hangs());
        self.saved = match outcome {
            Ok(_) => Saved::Yes,
            Err(_) => Saved::Refused,
        };
        match outcome {
            Ok(written) => {
                let applied = Applied {
                    outcome: if written {
                        Outcome::Updated
                    } else {
                        Outcome::Unchanged
                    },
                    detail: state::PATH.to_owned(),
                    notices: self.health_of(Surface::State).notices.clone(),
                };
                SurfaceReport::done(Surface::State, applied, started.elapsed())
            }
            Err(error) => {
                let error =
                    format!("{error}; the change is in force but would not survive a restart");
                SurfaceReport::failed(Surface::State, error, started.elapsed())
            }
        }
    }

    /// Takes our block out of a hosts file that is no longer ours, or that belonged to another domain.
    /// Gives what stays behind; it is tried again with the next change.
    pub(super) async fn leave_old_block(&mut self) -> Option<String> {
        let current = Block {
            path: self.cluster.hosts.path.clone(),
            domain: self.cluster.domain.clone(),
        };
        if self.block.as_ref() == Some(&current) {
            return None;
        }
        if let Some(old) = self.block.clone() {
            let mut cluster = Cluster::clone(&self.cluster);
            cluster.hosts.path.clone_from(&old.path);
            cluster.domain = old.domain.clone();
            let mut view = self.view();
            view.cluster = cluster.into();
            let root = self.root.clone();
            let job = on_writer(&self.writer, move || hosts::remove(&root, &view));
            let removed = timeout(FILE_PATIENCE, job).await;
            if let Err(why) = removed.unwrap_or_else(|_| Err("the disk hangs".to_owned())) {
                let (domain, path) = (old.domain, old.path.display());
                return Some(format!("the block of {domain} stays in {path}: {why}"));
            }
        }
        self.block = Some(current);
        self.saved = Saved::NotYet;
        None
    }

    /// Hands the view to the surfaces: DNS shows it at once, the others' reports are on their way.
    pub(super) fn show(&mut self, which: &[Surface]) -> (Option<SurfaceReport>, Vec<Awaited>) {
        let view = self.view();
        let dns = match &self.dns {
            Some(dns) if which.contains(&Surface::Dns) => Some(publish(dns, &view)),
            _ => None,
        };
        let lanes = [
            (Surface::Hosts, &self.lanes.hosts),
            (Surface::Haproxy, &self.lanes.haproxy),
            (Surface::Pods, &self.lanes.pods),
            (Surface::Routes, &self.lanes.routes),
        ];
        let wanted = lanes.iter().filter(|(surface, _)| which.contains(surface));
        (
            dns,
            wanted.map(|(_, lane)| lane.show(view.clone())).collect(),
        )
    }
}

fn hangs() -> String {
    format!("saving {} takes long: the disk hangs", state::PATH)
}

/// The responder's listeners that have no socket, one line each.
pub fn dns_troubles(dns: &Responder) -> Vec<String> {
    let states = dns.state().into_iter();
    let trouble = |listener: ListenerState| {
        let error = listener.error?;
        Some(format!(
            "{}/{}: {error}",
            listener.address, listener.transport
        ))
    };
    states.filter_map(trouble).collect()
}

fn publish(dns: &Responder, view: &View) -> SurfaceReport {
    let started = Instant::now();
    dns.publish(Zone::new(view));
    let troubles = dns_troubles(dns);
    if !troubles.is_empty() {
        let error = format!(
            "not all that was asked for is bound: {}",
            troubles.join("; ")
        );
        return SurfaceReport::failed(Surface::Dns, error, started.elapsed());
    }
    let applied = Applied {
        outcome: Outcome::Updated,
        detail: format!("serial {}", view.book.generation),
        notices: Vec::new(),
    };
    SurfaceReport::done(Surface::Dns, applied, started.elapsed())
}
