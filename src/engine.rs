//! Book and surfaces as one: an event goes in, a report comes out.
//!
//! The agent and the commands that work without one share this. Decisions are made elsewhere
//! ([`book::reduce`](crate::book::reduce), [`Provision`]); this is their order:
//!
//! 1. The book is saved, fsynced, before anyone sees it. A full, read-only or hanging disk does not
//!    stop the change: it is applied, reported as degraded, and saved later.
//! 2. All surfaces are brought to the new view at the same time. One that fails or hangs does not
//!    hold the others; it is tried again with growing pauses.

mod show;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tracing::{debug, error, info, warn};

use crate::address::Loopback;
use crate::book::{self, Book, Event, Move, Rejection};
use crate::clock;
use crate::config::node::APISERVER_MANIFEST;
use crate::config::{Cluster, Node};
use crate::health::Health;
use crate::provision::{Facts, Provision};
use crate::report::{DoneBy, Report, Surface, milliseconds};
use crate::request::Refusal;
use crate::root::Root;
use crate::state::{self, Loaded, State};
use crate::surface::dns::{Responder, Zone};
use crate::surface::haproxy::{self, Haproxy, Observation};
use crate::surface::hosts;
use crate::view::View;
use crate::writer::Writer;

pub use show::dns_troubles;

/// Every surface, in the order of reports.
pub const ALL: [Surface; 4] = [
    Surface::Hosts,
    Surface::Dns,
    Surface::Haproxy,
    Surface::Pods,
];

/// The same and the saved book itself.
pub const EVERYTHING: [Surface; 5] = [
    Surface::State,
    Surface::Hosts,
    Surface::Dns,
    Surface::Haproxy,
    Surface::Pods,
];

/// Why there is no engine. Nothing has been written.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The saved book cannot be read.
    #[error(transparent)]
    State(#[from] state::Unreadable),
    /// The book refuses the cluster file.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

/// Book, surfaces and what is known of their health.
#[derive(Debug)]
pub struct Engine {
    root: Root,
    writer: Writer,
    done_by: DoneBy,
    cluster: Arc<Cluster>,
    node: Arc<Node>,
    book: Arc<Book>,
    provision: Provision,
    saved: bool,
    dns: Option<Responder>,
    haproxy: Haproxy,
    observation: Option<Result<Observation, haproxy::Error>>,
    health: BTreeMap<Surface, Health>,
}

impl Engine {
    /// Loads the last known good book and hears what the cluster file says now. Nothing is written
    /// yet but a damaged state file, which is set aside.
    pub async fn open(
        root: Root,
        writer: Writer,
        done_by: DoneBy,
        cluster: Cluster,
        node: Node,
    ) -> Result<Self, OpenError> {
        let loading = root.clone();
        let loaded = writer.run(move || state::load(&loading)).await;
        let mut notices = Vec::new();
        let state = match loaded {
            Ok(Loaded::Good(state)) => state,
            Ok(Loaded::Fresh) => State::default(),
            Ok(Loaded::Damaged { reason, set_aside }) => {
                notices.push(damaged(&reason, set_aside.as_deref()));
                State::default()
            }
            Ok(Loaded::Unreadable(unreadable)) => return Err(unreadable.into()),
            Err(interrupted) => return Err(state::Unreadable(interrupted.to_string()).into()),
        };
        for notice in &notices {
            error!("{notice}");
        }
        let book = book::reduce(&state.book, &declared(&cluster), clock::unix_now())?;
        let mut health: BTreeMap<Surface, Health> = BTreeMap::new();
        health.entry(Surface::State).or_default().notices = notices;
        Ok(Self {
            haproxy: Haproxy::new(root.clone(), writer.clone()),
            root,
            writer,
            done_by,
            cluster: Arc::new(cluster),
            node: Arc::new(node),
            saved: book == state.book,
            book: Arc::new(book),
            provision: state.provision,
            dns: None,
            observation: None,
            health,
        })
    }

    /// Starts the responder with the book as it is, before slower surfaces are brought up.
    pub fn start_dns(&mut self) -> std::io::Result<()> {
        let zone = Zone::new(&self.view());
        self.dns = Some(Responder::start(&self.cluster.dns.listen, zone)?);
        Ok(())
    }

    /// Ends the responder; queries in flight are answered.
    pub fn stop_dns(&mut self) {
        if let Some(dns) = self.dns.take() {
            dns.shutdown();
        }
    }

    /// What the surfaces are to show.
    pub fn view(&self) -> View {
        View {
            cluster: self.cluster.clone(),
            node: self.node.clone(),
            book: self.book.clone(),
            provisioned: self.provision.complete.is_some(),
        }
    }

    /// The thread for file work.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Where all paths hang.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Which addresses a master may have here.
    pub fn loopback(&self) -> Loopback {
        self.root.loopback()
    }

    /// Who does the work.
    pub fn done_by(&self) -> DoneBy {
        self.done_by
    }

    /// Refuses what only a master can be asked for.
    pub fn must_be_master(&self) -> Result<(), Refusal> {
        let name = || Refusal::NotAMaster(self.node.kubernetes_name.clone());
        self.node.master().map(|_| ()).ok_or_else(name)
    }

    /// Whether an event would change nothing at all, so that surfaces need not be looked at.
    pub fn knows(&self, event: &Event) -> bool {
        let next = book::reduce(&self.book, event, clock::unix_now());
        next.is_ok_and(|next| next == *self.book)
    }

    /// Whether a listener of the responder has no socket, or the surface failed.
    pub fn dns_is_troubled(&self) -> bool {
        self.dns
            .as_ref()
            .is_some_and(|dns| !dns_troubles(dns).is_empty())
    }

    /// The surfaces' health, for status.
    pub fn health(&self) -> &BTreeMap<Surface, Health> {
        &self.health
    }

    /// Whether this master is complete.
    pub fn provision(&self) -> Provision {
        self.provision
    }

    /// HAProxy's servers as last seen.
    pub fn observation(&self) -> Option<&Observation> {
        self.observation.as_ref()?.as_ref().ok()
    }

    /// The responder, while one runs.
    pub fn dns(&self) -> Option<&Responder> {
        self.dns.as_ref()
    }

    /// Takes an event to all surfaces. A rejected one changes nothing.
    pub async fn handle(&mut self, event: &Event) -> Result<Report, Rejection> {
        let started = Instant::now();
        let moves = self.hear(event)?;
        Ok(self.bring(&ALL, moves, started).await)
    }

    /// Takes an event into the book alone; a later [`Self::repair`] saves and shows it.
    pub fn hear(&mut self, event: &Event) -> Result<Vec<Move>, Rejection> {
        let next = book::reduce(&self.book, event, clock::unix_now())?;
        let moves = next.moves_since(&self.book);
        for Move {
            name,
            before,
            after,
        } in &moves
        {
            info!(%name, ?before, ?after, "moved");
        }
        self.saved &= next == *self.book;
        self.book = Arc::new(next);
        Ok(moves)
    }

    /// Brings surfaces to the view as it is: at start, to repair, to try again.
    pub async fn repair(&mut self, which: &[Surface]) -> Report {
        self.bring(which, Vec::new(), Instant::now()).await
    }

    /// Puts another cluster file in force.
    pub async fn reconfigure(&mut self, cluster: Cluster, node: Node) -> Result<Report, Rejection> {
        let started = Instant::now();
        let before = self.view();
        let moves = self.hear(&declared(&cluster))?;
        self.cluster = Arc::new(cluster);
        self.node = Arc::new(node);
        self.leave_hosts(before).await;
        if let Some(dns) = &self.dns {
            dns.set_listen(&self.cluster.dns.listen);
        }
        Ok(self.bring(&ALL, moves, started).await)
    }

    /// Takes our block out of a hosts file that is no longer ours, or that belonged to another domain.
    async fn leave_hosts(&mut self, before: View) {
        let same_file = before.cluster.hosts.path == self.cluster.hosts.path;
        if same_file && before.cluster.domain == self.cluster.domain {
            return;
        }
        let root = self.root.clone();
        let removed = self.writer.run(move || hosts::remove(&root, &before)).await;
        if let Ok(Err(error)) = removed {
            warn!("the old hosts block stays: {error}");
        }
    }

    /// The operator says that this master is complete, or no longer.
    pub async fn set_provisioned(&mut self, complete: bool) -> Report {
        let started = Instant::now();
        let next = if complete {
            self.provision.told(clock::unix_now())
        } else {
            self.provision.undone()
        };
        self.saved &= next == self.provision;
        self.provision = next;
        self.bring(&[Surface::Haproxy], Vec::new(), started).await
    }

    /// Looks at HAProxy and at the manifest, and follows what they say of this master.
    pub async fn observe(&mut self) -> Option<Report> {
        let view = self.view();
        let observation = self.haproxy.observe(&view).await;
        let ready = observation.as_ref().is_ok_and(Observation::local_ready);
        self.observation = Some(observation);
        self.node.master()?;
        let manifest = match self.root.exists(Path::new(APISERVER_MANIFEST)) {
            Ok(manifest) => manifest,
            Err(error) => {
                // Not known is not gone: what was known of this master stays.
                debug!("cannot look for {APISERVER_MANIFEST}: {error}");
                return None;
            }
        };
        let facts = Facts { manifest, ready };
        let next = self.provision.seen(facts, clock::unix_now());
        if next == self.provision {
            return None;
        }
        let changed = next.complete.is_some() != self.provision.complete.is_some();
        self.saved = false;
        self.provision = next;
        if changed {
            info!(provisioned = next.complete.is_some(), "this master");
        }
        Some(self.repair(&[Surface::Haproxy]).await)
    }

    /// Surfaces that failed and whose pause is over.
    pub fn due(&self, now: Instant) -> Vec<Surface> {
        let due = self.health.iter().filter(|(_, health)| health.due(now));
        due.map(|(surface, _)| *surface).collect()
    }

    /// When the next failed surface is tried again.
    pub fn next_retry(&self) -> Option<Instant> {
        self.health.values().filter_map(Health::retry_at).min()
    }

    /// What is known of a surface, to note a fight or to ask whether it is contested.
    pub fn health_of(&mut self, surface: Surface) -> &mut Health {
        self.health.entry(surface).or_default()
    }

    async fn bring(&mut self, which: &[Surface], moves: Vec<Move>, started: Instant) -> Report {
        let mut reports = Vec::with_capacity(which.len() + 1);
        if !self.saved || which.contains(&Surface::State) {
            reports.push(self.save().await);
        }
        reports.extend(self.show(which).await);
        let now = Instant::now();
        for report in &reports {
            self.health_of(report.surface).note(report, now);
        }
        Report {
            done_by: self.done_by,
            generation: self.book.generation,
            moves,
            surfaces: reports,
            milliseconds: milliseconds(started.elapsed()),
        }
    }
}

/// What the cluster file says of the masters, as an event.
pub fn declared(cluster: &Cluster) -> Event {
    let masters = cluster.masters.iter();
    Event::Declared(
        masters
            .map(|master| (master.name.clone(), master.addresses.clone()))
            .collect(),
    )
}

fn damaged(reason: &str, set_aside: Option<&Path>) -> String {
    let whereto = set_aside.map_or("it could not be set aside".to_owned(), |path| {
        format!("it lies in {} now", path.display())
    });
    format!(
        "{} was damaged ({reason}); {whereto}, and the book was rebuilt from the cluster file",
        state::PATH
    )
}
