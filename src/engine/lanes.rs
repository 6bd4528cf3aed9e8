//! The surfaces that have a lane: hosts file, pods' copies of it, HAProxy, routes.

use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;

use super::lane::{Lane, News, Seen, Shows};
use crate::config::node::APISERVER_MANIFEST;
use crate::report::Surface;
use crate::root::Root;
use crate::surface::haproxy::{self, Haproxy};
use crate::surface::routes::Routes;
use crate::surface::{Applied, hosts, pods};
use crate::view::View;
use crate::writer::Writer;

/// How long one pass over files may take.
pub(super) const FILE_PATIENCE: Duration = Duration::from_secs(5);
/// How long one pass over addresses and routes may take. The kernel answers at once; a neighbour that
/// may have an address is waited for.
const KERNEL_PATIENCE: Duration = Duration::from_secs(10);
/// How long work in progress is waited for at the end.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// All lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    pub(super) hosts: Lane,
    pub(super) haproxy: Lane,
    pub(super) pods: Lane,
    pub(super) routes: Lane,
}

impl Lanes {
    /// Starts the tasks on the current runtime.
    pub(super) fn start(root: &Root, writer: &Writer, news: &mpsc::UnboundedSender<News>) -> Self {
        let files = || Files {
            root: root.clone(),
            writer: writer.clone(),
        };
        let local = LocalHaproxy {
            haproxy: Haproxy::new(root.clone(), writer.clone()),
            files: files(),
        };
        let hosts = HostsFile(files());
        let pods = PodCopies(files());
        let routes = HostRoutes(Routes::new(root.clone()));
        Self {
            hosts: Lane::start(Surface::Hosts, FILE_PATIENCE, hosts, news.clone()),
            haproxy: Lane::start(Surface::Haproxy, haproxy::PATIENCE, local, news.clone()),
            pods: Lane::start(Surface::Pods, FILE_PATIENCE, pods, news.clone()),
            routes: Lane::start(Surface::Routes, KERNEL_PATIENCE, routes, news.clone()),
        }
    }

    /// Finishes what was handed over.
    pub(super) async fn close(self) {
        tokio::join!(
            self.hosts.close(CLOSE_PATIENCE),
            self.haproxy.close(CLOSE_PATIENCE),
            self.pods.close(CLOSE_PATIENCE),
            self.routes.close(CLOSE_PATIENCE),
        );
    }
}

/// Where files are and who touches them.
struct Files {
    root: Root,
    writer: Writer,
}

struct HostsFile(Files);
struct PodCopies(Files);
struct HostRoutes(Routes);
struct LocalHaproxy {
    haproxy: Haproxy,
    files: Files,
}

impl Shows for HostsFile {
    async fn show(&mut self, view: &View) -> Result<Applied, String> {
        let (root, view) = (self.0.root.clone(), view.clone());
        on_writer(&self.0.writer, move || hosts::apply(&root, &view)).await
    }
}

impl Shows for PodCopies {
    async fn show(&mut self, view: &View) -> Result<Applied, String> {
        let (root, view) = (self.0.root.clone(), view.clone());
        on_writer(&self.0.writer, move || pods::apply(&root, &view)).await
    }
}

impl Shows for HostRoutes {
    async fn show(&mut self, view: &View) -> Result<Applied, String> {
        let applied = self.0.apply(view).await;
        applied.map_err(|error| error.to_string())
    }
}

impl Shows for LocalHaproxy {
    async fn show(&mut self, view: &View) -> Result<Applied, String> {
        let applied = self.haproxy.apply(view).await;
        applied.map_err(|error| error.to_string())
    }

    async fn look(&mut self, view: &View) -> Option<Seen> {
        let observation = self.haproxy.observe(view).await;
        let root = self.files.root.clone();
        let exists = move || root.exists(Path::new(APISERVER_MANIFEST));
        let manifest = match self.files.writer.run(exists).await {
            Ok(Ok(exists)) => Some(exists),
            Ok(Err(error)) => {
                // Not known is not gone.
                tracing::debug!("cannot look for {APISERVER_MANIFEST}: {error}");
                None
            }
            Err(_) => None,
        };
        Some(Seen {
            observation,
            manifest,
        })
    }
}

/// Runs file work on the writing thread.
pub(super) async fn on_writer<E: std::fmt::Display + Send + 'static>(
    writer: &Writer,
    job: impl FnOnce() -> Result<Applied, E> + Send + 'static,
) -> Result<Applied, String> {
    match writer.run(job).await {
        Ok(Ok(applied)) => Ok(applied),
        Ok(Err(error)) => Err(error.to_string()),
        Err(interrupted) => Err(interrupted.to_string()),
    }
}
