//! Book and surfaces as one: an event goes in, a report comes out.
//!
//! The agent and the commands that work without one share this. Decisions are made elsewhere
//! ([`book::reduce`], [`Provision`]); this is their order:
//!
//! 1. The book is saved, fsynced, before anyone sees it. A full, read-only or hanging disk does not
//!    stop the change: it is applied, reported as degraded, and saved later.
//! 2. DNS shows the new view at once. The other surfaces get it at the same time, each on a task of
//!    its own (`engine/lane.rs`): one that fails or hangs holds neither the others nor the next event. It is
//!    tried again with growing pauses.

mod lane;
mod lanes;
mod news;
mod open;
mod pending;
mod show;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tracing::info;

use crate::address::Loopback;
use crate::book::{self, Book, Event, Move, Origin, Rejection};
use crate::clock;
use crate::config::peers::Mode;
use crate::config::{Cluster, Node};
use crate::health::Health;
use crate::masters;
use crate::name::Name;
use crate::provision::Provision;
use crate::report::{DoneBy, Report, Surface, SurfaceReport};
use crate::request::Refusal;
use crate::root::Root;
use crate::state::Block;
use crate::surface::dns::{Responder, Zone};
use crate::surface::haproxy::{self, Observation};
use crate::view::View;
use crate::writer::Writer;

pub use lane::{News, Seen};
pub use open::OpenError;
pub use pending::Pending;
pub use show::dns_troubles;

use lanes::Lanes;

/// Every surface, in the order of reports.
pub const ALL: [Surface; 5] = [
    Surface::Hosts,
    Surface::Dns,
    Surface::Haproxy,
    Surface::Pods,
    Surface::Routes,
];

/// The same and the saved book itself.
pub const EVERYTHING: [Surface; 6] = [
    Surface::State,
    Surface::Hosts,
    Surface::Dns,
    Surface::Haproxy,
    Surface::Pods,
    Surface::Routes,
];

/// Book, surfaces and what is known of their health.
#[derive(Debug)]
pub struct Engine {
    root: Root,
    writer: Writer,
    done_by: DoneBy,
    /// The cluster file.
    file: Arc<Cluster>,
    /// The same with the masters that count.
    cluster: Arc<Cluster>,
    node: Arc<Node>,
    book: Arc<Book>,
    provision: Provision,
    block: Option<Block>,
    saved: Saved,
    /// Moves that no report has told yet.
    moves: Vec<Move>,
    /// Notices that no report has told yet.
    notices: Vec<String>,
    dns: Option<Responder>,
    lanes: Lanes,
    news: mpsc::UnboundedReceiver<News>,
    /// The last save did not come back: the next one is not waited for until its pause is over.
    disk_hangs: bool,
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
    /// Starts the responder with the book as it is, before slower surfaces are brought up.
    pub fn start_dns(&mut self) -> std::io::Result<()> {
        let zone = Zone::new(&self.view());
        self.dns = Some(Responder::start(&self.cluster.dns.listen, zone)?);
        Ok(())
    }

    /// What the surfaces are to show.
    pub fn view(&self) -> View {
        // What it does to the cluster file is done already; doing it again changes nothing.
        View::new(
            self.cluster.clone(),
            self.node.clone(),
            self.book.clone(),
            self.provision.complete.is_some(),
        )
    }

    /// The cluster file that is in force, as it was read.
    pub fn file(&self) -> &Cluster {
        &self.file
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
    pub async fn handle(&mut self, event: &Event) -> Result<Pending, Rejection> {
        let started = Instant::now();
        self.hear(event)?;
        Ok(self.bring(&ALL, started).await)
    }

    /// Takes an event into the book alone; a later [`Self::repair`] saves and shows it.
    pub fn hear(&mut self, event: &Event) -> Result<(), Rejection> {
        let next = book::reduce(&self.book, event, clock::unix_now())?;
        self.take_over(next)?;
        if let Event::Told { name, .. } = event {
            self.notices.extend(masters::overridden(&self.book, name));
        }
        Ok(())
    }

    /// Puts a book in force that comes from the one in force.
    fn take_over(&mut self, next: Book) -> Result<(), Rejection> {
        masters::must_remain(&self.file, &next)?;
        self.replace_book(next);
        Ok(())
    }

    fn replace_book(&mut self, next: Book) {
        if next == *self.book {
            return;
        }
        let moves = next.moves_since(&self.book);
        self.book = Arc::new(next);
        let before = self.cluster.clone();
        self.cluster = masters::effective(&self.file, &self.book);
        let counts = |name: &Name| {
            [&before, &self.cluster]
                .iter()
                .any(|it| it.master(name).is_some())
        };
        for moved in moves.into_iter().filter(|moved| counts(&moved.name)) {
            info!(name = %moved.name, before = ?moved.before, after = ?moved.after, "moved");
            self.moves.push(moved);
        }
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
    pub async fn repair(&mut self, which: &[Surface]) -> Pending {
        self.bring(which, Instant::now()).await
    }

    /// Puts another cluster file in force.
    pub async fn reconfigure(
        &mut self,
        cluster: Cluster,
        node: Node,
    ) -> Result<Pending, Rejection> {
        let started = Instant::now();
        let mut next = declare(&self.book, &cluster, clock::unix_now())?;
        let cluster = Arc::new(cluster);
        masters::must_remain(&cluster, &next)?;
        if cluster != self.file && next.generation == self.book.generation {
            // Aliases and times to live are in the zone, too: its serial has to grow.
            next = next.renumbered(clock::unix_now());
        }
        self.file = cluster;
        self.replace_book(next);
        // Also where the book stays as it is.
        self.cluster = masters::effective(&self.file, &self.book);
        if node.role != self.node.role {
            self.set_provision(Provision::default());
        }
        self.node = Arc::new(node);
        if let Some(dns) = &self.dns {
            dns.set_listen(&self.cluster.dns.listen);
        }
        Ok(self.bring(&ALL, started).await)
    }

    /// The operator says that this master is complete, or no longer.
    pub async fn set_provisioned(&mut self, complete: bool) -> Pending {
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
        if next == self.provision {
            return;
        }
        if next.complete.is_some() != self.provision.complete.is_some() {
            info!(provisioned = next.complete.is_some(), "this master");
        }
        self.provision = next;
        self.saved = Saved::NotYet;
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

    fn note(&mut self, report: &SurfaceReport) {
        self.health_of(report.surface).note(report, Instant::now());
    }

    async fn bring(&mut self, which: &[Surface], started: Instant) -> Pending {
        let mut reports = Vec::with_capacity(2);
        let mut notices = std::mem::take(&mut self.notices);
        if which.contains(&Surface::Hosts) {
            notices.extend(self.leave_old_block().await);
        }
        if self.saved == Saved::NotYet || which.contains(&Surface::State) {
            reports.push(self.save().await);
        }
        for surface in which {
            // It is on its way: no other try until it has reported.
            self.health_of(*surface).begun();
        }
        let (dns, awaited) = self.show(which);
        reports.extend(dns);
        for report in &reports {
            self.note(report);
        }
        let moves = std::mem::take(&mut self.moves);
        let is_new = |name: &Name| moves.iter().any(|moved| moved.name == *name);
        for (address, owners) in self.book.shared_addresses() {
            if owners.iter().any(is_new) {
                notices.push(shared(address, &owners));
            }
        }
        Pending {
            report: Report {
                done_by: self.done_by,
                generation: self.book.generation,
                moves,
                notices,
                surfaces: reports,
                milliseconds: 0.0,
            },
            started,
            awaited,
        }
    }

    /// Ends the surfaces' tasks when they have done what they were given, saves the book if the disk
    /// refused before, and answers the queries in flight.
    pub async fn close(mut self) {
        if !self.is_saved() {
            self.save().await;
        }
        self.lanes.close().await;
        if let Some(dns) = self.dns {
            dns.shutdown();
        }
    }
}

/// That several masters have the same address.
pub fn shared(address: IpAddr, owners: &[Name]) -> String {
    let owners: Vec<&str> = owners.iter().map(Name::as_str).collect();
    format!("{address} is held by {}", owners.join(" and "))
}

/// The book after the cluster file was read, as it was read: not what records have made of it. Where the
/// file turns [`peers`](crate::config::peers) off, no record counts any more; who is where stays.
pub fn declare(book: &Book, file: &Cluster, now: u64) -> Result<Book, Rejection> {
    let mut book = Cow::Borrowed(book);
    if file.peers.mode == Mode::Off && !book.signed.is_empty() {
        let nothing = Event::Recorded {
            records: BTreeMap::new(),
            own: None,
        };
        book = Cow::Owned(book::reduce(&book, &nothing, now)?);
    }
    book::reduce(&book, &declared(file), now)
}

/// What the cluster file says of the masters, as an event.
pub fn declared(file: &Cluster) -> Event {
    let masters = file.masters.iter();
    Event::Declared(
        masters
            .map(|master| (master.name.clone(), master.addresses.clone()))
            .collect(),
    )
}
