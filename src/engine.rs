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
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use tracing::{debug, error, info, warn};

use crate::address::Loopback;
use crate::book::{self, Book, Event, Move, Origin, Rejection};
use crate::clock;
use crate::config::node::APISERVER_MANIFEST;
use crate::config::{Cluster, Node};
use crate::health::Health;
use crate::name::Name;
use crate::provision::{Facts, Provision};
use crate::report::{DoneBy, Report, Surface, milliseconds};
use crate::request::Refusal;
use crate::root::Root;
use crate::state::{self, Block, Loaded, State};
use crate::surface::dns::{Responder, Zone};
use crate::surface::haproxy::{self, Haproxy, Observation};
use crate::view::View;
use crate::writer::Writer;

pub use show::dns_troubles;

/// How long one look at HAProxy or at a manifest may take.
const OBSERVE_PATIENCE: Duration = Duration::from_secs(3);

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
    block: Option<Block>,
    saved: Saved,
    /// Moves that no report has told yet.
    moves: Vec<Move>,
    dns: Option<Responder>,
    haproxy: Haproxy,
    observation: Option<Result<Observation, haproxy::Error>>,
    health: BTreeMap<Surface, Health>,
}

/// Whether the book on disk is the one in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Saved {
    Yes,
    /// It has changed; it is saved before it is shown.
    NotYet,
    /// The disk refused; it is tried again after a pause.
    Refused,
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
        let mut health: BTreeMap<Surface, Health> = BTreeMap::new();
        health.entry(Surface::State).or_default().notices = notices;
        let event = declared(&cluster);
        let mut engine = Self {
            haproxy: Haproxy::new(root.clone(), writer.clone()),
            root,
            writer,
            done_by,
            cluster: Arc::new(cluster),
            node: Arc::new(node),
            saved: Saved::Yes,
            moves: Vec::new(),
            book: Arc::new(state.book),
            provision: state.provision,
            block: state.block,
            dns: None,
            observation: None,
            health,
        };
        engine.hear(&event)?;
        Ok(engine)
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
        self.hear(event)?;
        Ok(self.bring(&ALL, started).await)
    }

    /// Takes an event into the book alone; a later [`Self::repair`] saves and shows it.
    pub fn hear(&mut self, event: &Event) -> Result<(), Rejection> {
        let next = book::reduce(&self.book, event, clock::unix_now())?;
        self.replace_book(next);
        Ok(())
    }

    fn replace_book(&mut self, next: Book) {
        if next == *self.book {
            return;
        }
        for moved in next.moves_since(&self.book) {
            info!(name = %moved.name, before = ?moved.before, after = ?moved.after, "moved");
            self.moves.push(moved);
        }
        self.book = Arc::new(next);
        self.saved = Saved::NotYet;
    }

    /// Whether the book in force would be lost now.
    pub fn is_saved(&self) -> bool {
        self.saved == Saved::Yes
    }

    /// What upstream names said last of a master.
    pub fn said_upstream(&self, master: &Name) -> Vec<IpAddr> {
        let said = self.book.said.get(&Origin::Upstream);
        said.and_then(|said| said.get(master))
            .cloned()
            .unwrap_or_default()
    }

    /// Brings surfaces to the view as it is: at start, to repair, to try again.
    pub async fn repair(&mut self, which: &[Surface]) -> Report {
        self.bring(which, Instant::now()).await
    }

    /// Puts another cluster file in force.
    pub async fn reconfigure(&mut self, cluster: Cluster, node: Node) -> Result<Report, Rejection> {
        let started = Instant::now();
        let mut next = book::reduce(&self.book, &declared(&cluster), clock::unix_now())?;
        if cluster != *self.cluster && next.generation == self.book.generation {
            // Aliases and times to live are in the zone, too: its serial has to grow.
            next = next.renumbered(clock::unix_now());
        }
        self.replace_book(next);
        if node.role != self.node.role {
            self.set_provision(Provision::default());
        }
        self.cluster = Arc::new(cluster);
        self.node = Arc::new(node);
        if let Some(dns) = &self.dns {
            dns.set_listen(&self.cluster.dns.listen);
        }
        Ok(self.bring(&ALL, started).await)
    }

    /// The operator says that this master is complete, or no longer.
    pub async fn set_provisioned(&mut self, complete: bool) -> Report {
        let started = Instant::now();
        let next = if complete {
            self.provision.told(clock::unix_now())
        } else {
            self.provision.undone()
        };
        self.set_provision(next);
        self.bring(&[Surface::Haproxy], started).await
    }

    fn set_provision(&mut self, next: Provision) {
        if next != self.provision {
            self.provision = next;
            self.saved = Saved::NotYet;
        }
    }

    /// Looks at HAProxy and at the manifest, and follows what they say of this master.
    pub async fn observe(&mut self) -> Option<Report> {
        let view = self.view();
        let looking = timeout(OBSERVE_PATIENCE, self.haproxy.observe(&view));
        let Ok(observation) = looking.await else {
            warn!("looking at HAProxy takes long: the disk or HAProxy hangs");
            return None;
        };
        let ready = observation.as_ref().is_ok_and(Observation::local_ready);
        self.observation = Some(observation);
        self.node.master()?;
        let manifest = self.manifest_exists().await?;
        let facts = Facts { manifest, ready };
        let next = self.provision.seen(facts, clock::unix_now());
        if next == self.provision {
            return None;
        }
        if next.complete.is_some() != self.provision.complete.is_some() {
            info!(provisioned = next.complete.is_some(), "this master");
        }
        self.set_provision(next);
        Some(self.repair(&[Surface::Haproxy]).await)
    }

    /// `None` where that cannot be told now: not known is not gone.
    async fn manifest_exists(&self) -> Option<bool> {
        let root = self.root.clone();
        let look = move || root.exists(Path::new(APISERVER_MANIFEST));
        match timeout(OBSERVE_PATIENCE, self.writer.run(look)).await {
            Ok(Ok(Ok(exists))) => Some(exists),
            Ok(Ok(Err(error))) => {
                debug!("cannot look for {APISERVER_MANIFEST}: {error}");
                None
            }
            Ok(Err(_)) | Err(_) => None,
        }
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

    async fn bring(&mut self, which: &[Surface], started: Instant) -> Report {
        let mut reports = Vec::with_capacity(which.len() + 1);
        let leftover = if which.contains(&Surface::Hosts) {
            self.leave_old_block().await
        } else {
            None
        };
        if self.saved == Saved::NotYet || which.contains(&Surface::State) {
            reports.push(self.save().await);
        }
        reports.extend(self.show(which).await);
        let hosts = reports.iter_mut().find(|r| r.surface == Surface::Hosts);
        if let Some(hosts) = hosts {
            hosts.notices.extend(leftover);
        }
        let now = Instant::now();
        for report in &reports {
            self.health_of(report.surface).note(report, now);
        }
        Report {
            done_by: self.done_by,
            generation: self.book.generation,
            moves: std::mem::take(&mut self.moves),
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
