//! How the book is saved and shown: the edge between one decision and many surfaces.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::timeout;

use super::{Engine, Saved};
use crate::book::Book;
use crate::config::Cluster;
use crate::report::{Surface, SurfaceReport};
use crate::state::{self, Block, State};
use crate::surface::dns::{ListenerState, Responder, Zone};
use crate::surface::{Applied, Outcome, hosts, pods};
use crate::view::View;
use crate::writer::Writer;

/// How long a change waits for the disk before it is shown all the same.
const SAVE_PATIENCE: Duration = Duration::from_secs(2);
/// How long files may take before they are reported as failed and the next event is taken.
const FILE_PATIENCE: Duration = Duration::from_secs(5);
/// The same for HAProxy, which may have to be reloaded; shorter than the service's watchdog.
const HAPROXY_PATIENCE: Duration = Duration::from_secs(15);

impl Engine {
    pub(super) async fn save(&mut self) -> SurfaceReport {
        let started = Instant::now();
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
            Err(_) => Err(format!("saving {} takes long: the disk hangs", state::PATH)),
        };
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

    /// Brings the surfaces to the view, all at the same time.
    pub(super) async fn show(&mut self, which: &[Surface]) -> Vec<SurfaceReport> {
        let view = self.view();
        let mut work: Vec<Pin<Box<dyn Future<Output = SurfaceReport> + '_>>> = Vec::new();
        if which.contains(&Surface::Dns)
            && let Some(dns) = &self.dns
        {
            // First: it takes microseconds and waits for nothing.
            let view = &view;
            work.push(Box::pin(timed(Surface::Dns, FILE_PATIENCE, async move {
                publish(dns, view)
            })));
        }
        if which.contains(&Surface::Hosts) {
            let (root, view) = (self.root.clone(), view.clone());
            let job = on_writer(&self.writer, move || hosts::apply(&root, &view));
            work.push(Box::pin(timed(Surface::Hosts, FILE_PATIENCE, job)));
        }
        if which.contains(&Surface::Haproxy) {
            let haproxy = &mut self.haproxy;
            let view = &view;
            let job = async move { haproxy.apply(view).await.map_err(|error| error.to_string()) };
            work.push(Box::pin(timed(Surface::Haproxy, HAPROXY_PATIENCE, job)));
        }
        if which.contains(&Surface::Pods) {
            let (root, view) = (self.root.clone(), view.clone());
            let job = on_writer(&self.writer, move || pods::apply(&root, &view));
            work.push(Box::pin(timed(Surface::Pods, FILE_PATIENCE, job)));
        }
        let mut reports = join_all(work).await;
        reports.sort_by_key(|report| report.surface);
        reports
    }
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

fn publish(dns: &Responder, view: &View) -> Result<Applied, String> {
    dns.publish(Zone::new(view));
    let troubles = dns_troubles(dns);
    if troubles.len() == dns.state().len() && !troubles.is_empty() {
        return Err(format!("nothing could be bound: {}", troubles.join("; ")));
    }
    Ok(Applied {
        outcome: Outcome::Updated,
        detail: format!("serial {}", view.book.generation),
        notices: troubles,
    })
}

async fn on_writer<E: std::fmt::Display + Send + 'static>(
    writer: &Writer,
    job: impl FnOnce() -> Result<Applied, E> + Send + 'static,
) -> Result<Applied, String> {
    match writer.run(job).await {
        Ok(Ok(applied)) => Ok(applied),
        Ok(Err(error)) => Err(error.to_string()),
        Err(interrupted) => Err(interrupted.to_string()),
    }
}

async fn timed(
    surface: Surface,
    patience: Duration,
    work: impl Future<Output = Result<Applied, String>>,
) -> SurfaceReport {
    let started = Instant::now();
    match timeout(patience, work).await {
        Ok(Ok(applied)) => SurfaceReport::done(surface, applied, started.elapsed()),
        Ok(Err(error)) => SurfaceReport::failed(surface, error, started.elapsed()),
        Err(_) => {
            let seconds = patience.as_secs();
            let error = format!("not done within {seconds} seconds; it is tried again");
            SurfaceReport::failed(surface, error, started.elapsed())
        }
    }
}
