//! The agent: one task owns the book; sources come in, surfaces go out.
//!
//! Everything that can change the book arrives here, one thing after the other. File work happens on
//! the writing thread and DNS on a thread of its own, so this task is free while they work.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{debug, error, info, warn};

use crate::book::{Event, Origin};
use crate::config::node::{APISERVER_MANIFEST, NodeSettings};
use crate::config::{self, Cluster, Node};
use crate::control::server::{Command, Error as OrderError, Order, Server};
use crate::engine::{ALL, EVERYTHING, Engine};
use crate::lock;
use crate::name::Name;
use crate::own;
use crate::picture;
use crate::report::{DoneBy, Report, Result as Outcome, Surface};
use crate::request;
use crate::root::Root;
use crate::source::interface::Snapshot;
use crate::source::netlink;
use crate::source::upstream::{Look, Observation, Resolver, Upstream};
use crate::source::watch::Watch;
use crate::surface::haproxy::authority;
use crate::writer::Writer;

/// How often surfaces are verified without a reason, and HAProxy's servers looked at.
const VERIFY: Duration = Duration::from_secs(10);
const OBSERVE: Duration = Duration::from_secs(2);
/// Orders that wait for the task; more wait at the socket.
const WAITING_ORDERS: usize = 16;

/// Where the agent finds things.
#[derive(Debug, Clone)]
pub struct Settings {
    /// All paths hang below it.
    pub root: Root,
    /// The cluster file.
    pub config: PathBuf,
    /// The node file.
    pub node_config: PathBuf,
    /// What the command line says of this node.
    pub flags: NodeSettings,
}

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A bad cluster file or node file.
    #[error(transparent)]
    Configuration(#[from] config::Error),
    /// Another stayput is at work.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// The book refuses the cluster file.
    #[error(transparent)]
    Rejected(#[from] crate::book::Rejection),
    /// Files cannot be watched.
    #[error(transparent)]
    Watch(#[from] crate::source::watch::Error),
    /// The operating system refuses.
    #[error("cannot {doing}: {source}")]
    Os {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: std::io::Error,
    },
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(settings: Settings) -> Result<(), Error> {
    let mut signals = Signals::new().map_err(os("listen to signals"))?;
    let (cluster, node) = load(&settings)?;
    let _lock = lock::take(&settings.root, Duration::from_secs(10))?;
    let writer = Writer::start().map_err(os("start the writing thread"))?;
    let root = settings.root.clone();
    let mut engine = Engine::open(root, writer, DoneBy::Agent, cluster, node).await?;
    engine
        .start_dns()
        .map_err(os("start the responder's thread"))?;
    let server = Server::bind(&settings.root).map_err(os("bind the control socket"))?;
    let (sender, orders) = mpsc::channel(WAITING_ORDERS);
    let mut agent = Agent::new(settings, engine, orders).await?;
    let (stop, stopped) = oneshot::channel::<Infallible>();
    let serving = tokio::spawn(server.serve(sender, agent.status.clone(), stopped));
    agent.start().await;
    agent.work(&mut signals).await;
    tell(&[NotifyState::Stopping]);
    drop(stop);
    agent.finish().await;
    // Orders still waiting are told that the agent is stopping.
    drop(agent);
    let _ = tokio::time::timeout(Duration::from_secs(5), serving).await;
    info!("stopped");
    Ok(())
}

struct Agent {
    settings: Settings,
    engine: Engine,
    orders: mpsc::Receiver<Order>,
    links: Option<netlink::Watch>,
    upstream: Upstream,
    upstream_errors: BTreeMap<Name, String>,
    files: Watch,
    problems: Vec<String>,
    since: u64,
    status: Arc<ArcSwap<crate::status::Status>>,
}

struct Signals {
    hup: Signal,
    int: Signal,
    term: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hup: signal(SignalKind::hangup())?,
            int: signal(SignalKind::interrupt())?,
            term: signal(SignalKind::terminate())?,
        })
    }
}

impl Agent {
    async fn new(
        settings: Settings,
        engine: Engine,
        orders: mpsc::Receiver<Order>,
    ) -> Result<Self, Error> {
        let since = crate::clock::unix_now();
        let view = engine.view();
        let files = watch(&settings, &engine).await?;
        let status = picture::of(&picture::Input {
            view: &view,
            provision: engine.provision(),
            agent: Some((&engine, since)),
            problems: &[],
            upstream_errors: &BTreeMap::new(),
        });
        Ok(Self {
            links: own::counts(&engine, &view.node).then(netlink::Watch::start),
            upstream: follow(&engine),
            upstream_errors: BTreeMap::new(),
            files,
            problems: Vec::new(),
            since,
            status: Arc::new(ArcSwap::from_pointee(status)),
            settings,
            engine,
            orders,
        })
    }

    /// The first round over all surfaces; then the service counts as ready.
    async fn start(&mut self) {
        let view = self.engine.view();
        let role = view
            .node
            .master()
            .map_or("worker".to_owned(), |name| format!("master {name}"));
        info!(domain = %view.cluster.domain, %role, generation = view.book.generation, "starting");
        let own = if self.links.is_some() {
            let snapshot = netlink::snapshot().await.ok();
            snapshot.and_then(|snapshot| own::event(&view, &snapshot))
        } else {
            None
        };
        let report = match own {
            Some(event) => self.engine.handle(&event).await.ok(),
            None => None,
        };
        let report = match report {
            Some(report) => report,
            None => self.engine.repair(&EVERYTHING).await,
        };
        self.engine.observe().await;
        // What failed has been logged already.
        for surface in report
            .surfaces
            .iter()
            .filter(|s| s.result != Outcome::Failed)
        {
            let (name, result) = (surface.surface.as_str(), surface.result.as_str());
            info!(surface = name, result, "{}", surface.detail);
        }
        self.publish();
        tell(&[NotifyState::Ready]);
        info!("ready");
    }

    async fn work(&mut self, signals: &mut Signals) {
        let mut verify = every(VERIFY);
        let mut observe = every(OBSERVE);
        let mut watchdog = every(sd_notify::watchdog_enabled().map_or(VERIFY, |limit| limit / 3));
        loop {
            let retry = self.engine.next_retry();
            tokio::select! {
                Some((command, reply)) = self.orders.recv() => {
                    let outcome = self.obey(command).await;
                    // Who asked may have gone away; the work is done all the same.
                    let _ = reply.send(outcome);
                }
                snapshot = next_snapshot(&mut self.links) => self.own_address(snapshot).await,
                observation = self.upstream.next() => self.followed(observation).await,
                path = self.files.next() => self.file_changed(&path).await,
                () = until(retry) => {
                    let due = self.engine.due(Instant::now());
                    self.engine.repair(&due).await;
                }
                _ = verify.tick() => self.verify().await,
                _ = observe.tick() => { self.engine.observe().await; }
                _ = watchdog.tick() => tell(&[NotifyState::Watchdog]),
                _ = signals.hup.recv() => {
                    info!("SIGHUP: reading the cluster file again");
                    // What is wrong is logged and shown by status.
                    let _ = self.reload().await;
                }
                _ = signals.term.recv() => break,
                _ = signals.int.recv() => break,
            }
            self.publish();
        }
    }

    /// Queries in flight are answered; the book is saved once more if the disk refused before.
    async fn finish(&mut self) {
        let due = self.engine.due(Instant::now() + VERIFY);
        if due.contains(&Surface::State) {
            self.engine.repair(&[Surface::State]).await;
        }
        self.engine.stop_dns();
    }

    async fn obey(&mut self, command: Command) -> Result<Report, OrderError> {
        match command {
            Command::Told(told) => {
                let cluster = self.engine.view().cluster;
                let event = request::told(&cluster, &told, self.engine.loopback())?;
                self.handle(&event).await
            }
            Command::Look(look) => {
                let interface = look.interface.as_deref().unwrap_or("-");
                debug!(interface, "asked to look at this node's address");
                Ok(own::look(&mut self.engine).await?)
            }
            Command::Provisioned(wish) => {
                self.engine.must_be_master()?;
                Ok(self.engine.set_provisioned(wish.provisioned).await)
            }
            Command::Reload => self.reload().await.map_err(OrderError::Configuration),
        }
    }

    async fn handle(&mut self, event: &Event) -> Result<Report, OrderError> {
        let report = self.engine.handle(event).await;
        report.map_err(|rejection| OrderError::Refused(rejection.into()))
    }

    async fn own_address(&mut self, snapshot: Result<Snapshot, netlink::Error>) {
        match snapshot {
            Ok(snapshot) => {
                if let Some(event) = own::event(&self.engine.view(), &snapshot) {
                    self.hear(&event).await;
                }
            }
            Err(error) => warn!("cannot watch this node's interfaces: {error}"),
        }
    }

    async fn followed(&mut self, observation: Observation) {
        let Observation { master, look, .. } = observation;
        let Look {
            result, notices, ..
        } = look;
        for notice in notices {
            debug!(%master, "{notice}");
        }
        match result {
            Ok(addresses) => {
                self.upstream_errors.remove(&master);
                self.hear(&Event::Observed {
                    origin: Origin::Upstream,
                    name: master,
                    addresses,
                })
                .await;
            }
            Err(error) => {
                let text = error.to_string();
                if self.upstream_errors.get(&master) != Some(&text) {
                    warn!(%master, "{text}; its last known addresses stay");
                }
                self.upstream_errors.insert(master, text);
            }
        }
    }

    /// Takes what a source says to the surfaces, if it is news.
    async fn hear(&mut self, event: &Event) {
        if self.engine.knows(event) {
            return;
        }
        if let Err(error) = self.engine.handle(event).await {
            warn!("{error}");
        }
    }

    async fn file_changed(&mut self, path: &Path) {
        if path == self.settings.config || path == self.settings.node_config {
            // What is wrong is logged and shown by status.
            let _ = self.reload().await;
        } else if path == Path::new(authority::PATH) {
            self.engine.repair(&[Surface::Haproxy]).await;
        } else if path == Path::new(APISERVER_MANIFEST) {
            self.engine.observe().await;
        } else {
            self.defend_hosts().await;
        }
    }

    /// Repairs the hosts file after a foreign change, unless it is being fought over.
    async fn defend_hosts(&mut self) {
        let now = Instant::now();
        if !self
            .engine
            .health_of(Surface::Hosts)
            .contest
            .may_repair(now)
        {
            return;
        }
        let report = self.engine.repair(&[Surface::Hosts]).await;
        let repaired = |s: &crate::report::SurfaceReport| {
            s.surface == Surface::Hosts && s.result == Outcome::Updated
        };
        if !report.surfaces.iter().any(repaired) {
            return;
        }
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

    async fn verify(&mut self) {
        self.defend_hosts().await;
        let mut which = vec![Surface::Haproxy, Surface::Pods];
        if self.engine.dns_is_troubled() {
            which.push(Surface::Dns);
        }
        let now = Instant::now();
        which.retain(|surface| {
            self.engine
                .health_of(*surface)
                .retry_at()
                .is_none_or(|at| at <= now)
        });
        self.engine.repair(&which).await;
    }

    /// Reads the files again. A bad one leaves the old in force, loudly.
    async fn reload(&mut self) -> Result<Report, String> {
        match load(&self.settings) {
            Ok((cluster, node)) => {
                self.problems.clear();
                let before = self.engine.view();
                if *before.cluster == cluster && *before.node == node {
                    return Ok(self.engine.repair(&ALL).await);
                }
                let report = self.engine.reconfigure(cluster, node).await;
                let report = report.map_err(|rejection| rejection.to_string())?;
                let view = self.engine.view();
                info!(
                    generation = view.book.generation,
                    "a new cluster file is in force"
                );
                self.links = own::counts(&self.engine, &view.node).then(netlink::Watch::start);
                self.upstream = follow(&self.engine);
                self.upstream_errors.clear();
                match watch(&self.settings, &self.engine).await {
                    Ok(files) => self.files = files,
                    Err(error) => error!("the files of before are watched on: {error}"),
                }
                Ok(report)
            }
            Err(error) => {
                let text = error.to_string();
                self.problems = text.lines().map(str::to_owned).collect();
                for problem in &self.problems {
                    error!("the old cluster file stays in force: {problem}");
                }
                Err(text)
            }
        }
    }

    fn publish(&self) {
        let status = picture::of(&picture::Input {
            view: &self.engine.view(),
            provision: self.engine.provision(),
            agent: Some((&self.engine, self.since)),
            problems: &self.problems,
            upstream_errors: &self.upstream_errors,
        });
        self.status.store(Arc::new(status));
    }
}

fn load(settings: &Settings) -> Result<(Cluster, Node), config::Error> {
    let Settings {
        root,
        config,
        node_config,
        flags,
    } = settings;
    config::load(root, config, node_config, flags)
}

/// The files whose change means work.
fn watched(settings: &Settings, cluster: &Cluster) -> Vec<PathBuf> {
    vec![
        settings.config.clone(),
        settings.node_config.clone(),
        cluster.hosts.path.clone(),
        PathBuf::from(authority::PATH),
        PathBuf::from(APISERVER_MANIFEST),
    ]
}

async fn watch(settings: &Settings, engine: &Engine) -> Result<Watch, Error> {
    let paths = watched(settings, &engine.view().cluster);
    Ok(Watch::start(engine.writer(), &settings.root, paths).await?)
}

/// Starts to follow the upstream names of the cluster file.
fn follow(engine: &Engine) -> Upstream {
    let view = engine.view();
    let (root, writer) = (engine.root().clone(), engine.writer().clone());
    let resolver = Resolver::new(writer, root, &view.cluster, engine.loopback());
    let said = view.book.said.get(&Origin::Upstream);
    Upstream::start(&resolver, &view.cluster, |master| {
        let addresses = said.and_then(|said| said.get(master));
        addresses.cloned().unwrap_or_default()
    })
}

async fn next_snapshot(links: &mut Option<netlink::Watch>) -> Result<Snapshot, netlink::Error> {
    match links {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!("cannot notify systemd: {error}");
    }
}

fn os(doing: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |source| Error::Os { doing, source }
}
