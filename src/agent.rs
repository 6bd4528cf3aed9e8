//! The agent: one task owns the book; sources come in, surfaces go out.
//!
//! Everything that can change the book arrives here, one thing after the other. File work happens on
//! the writing thread and DNS on a thread of its own, so this task is free while they work.

mod certificates;
mod defence;
mod files;
mod hearing;
mod kubeadm;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use certificates::{Certificates, LOOK};
use defence::{Defences, defended};
use files::{UNWATCHED, follow, load, watch_files, watch_routes};
use kubeadm::Kubeadm;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{debug, info, warn};

use crate::book::Event;
use crate::config;
use crate::config::NodeSettings;
use crate::control::published::Publisher;
use crate::control::server::{Command, Error as OrderError, Order, Server};
use crate::engine::{EVERYTHING, Engine, OpenError, Pending};
use crate::lock;
use crate::name::Name;
use crate::own;
use crate::picture;
use crate::process;
use crate::report::{DoneBy, Report, Surface, SurfaceResult};
use crate::request::{self, Records};
use crate::root::Root;
use crate::source::interface::Snapshot;
use crate::source::netlink;
use crate::source::upstream::Upstream;
use crate::source::watch::Watch;
use crate::writer::Writer;

pub use certificates::Renewal;

/// How often surfaces are verified without a reason, and HAProxy's servers looked at.
const VERIFY: Duration = Duration::from_secs(10);
const OBSERVE: Duration = Duration::from_secs(2);
/// How long work in progress may take when the agent is asked to stop; shorter than the service's own
/// limit together with what follows.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How long a command that works by itself is waited for at the start.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
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
    /// The command by which the agent renews certificates; `None` where a timer does.
    pub renewal: Option<Renewal>,
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
    /// The saved book cannot be read, or refuses the cluster file.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The operating system refuses.
    #[error("cannot {doing}: {source}")]
    Os {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// Renewals cannot be started.
    #[error("cannot start renewals: {0}")]
    Renewal(#[from] process::Error),
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(settings: Settings) -> Result<(), Error> {
    let mut hup = signal(SignalKind::hangup()).map_err(os("listen to signals"))?;
    let ended = ended().map_err(os("listen to signals"))?;
    let (cluster, node) = load(&settings)?;
    let _lock = lock::take(&settings.root, lock::BOOK, LOCK_PATIENCE)?;
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
    let serving = tokio::spawn(server.serve(sender, agent.published.readers(), stopped));
    let (halt, halted) = watch::channel(false);
    tokio::select! {
        () = agent.live(&mut hup, halted) => {}
        () = async {
            ended.await;
            let _ = halt.send(true);
            tokio::time::sleep(STOP_PATIENCE).await;
        } => warn!("work in progress did not end in time and is left to the next start"),
    }
    tell(&[NotifyState::Stopping]);
    drop(stop);
    // Orders still waiting are told that the agent is stopping.
    drop(agent.orders);
    agent.certificates.close().await;
    agent.kubeadm.close().await;
    agent.engine.close().await;
    let _ = tokio::time::timeout(Duration::from_secs(2), serving).await;
    info!("stopped");
    Ok(())
}

/// Ends when the agent is asked to.
fn ended() -> std::io::Result<impl Future<Output = ()>> {
    let mut int = signal(SignalKind::interrupt())?;
    let mut term = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
    })
}

struct Agent {
    settings: Settings,
    engine: Engine,
    orders: mpsc::Receiver<Order>,
    links: Option<netlink::Watch>,
    upstream: Upstream,
    upstream_errors: BTreeMap<Name, String>,
    /// `None` where the kernel has no watch left; then the files are read again and again.
    files: Option<Watch>,
    problems: Vec<String>,
    /// Signed records that are left out, and why.
    left_out: Vec<String>,
    /// Stable addresses and routes to them, where there are any.
    routes: Option<netlink::Hints>,
    /// Surfaces that are being repaired because somebody may have changed them.
    defences: Defences,
    certificates: Certificates,
    kubeadm: Kubeadm,
    since: u64,
    published: Publisher,
}

impl Agent {
    async fn new(
        settings: Settings,
        engine: Engine,
        orders: mpsc::Receiver<Order>,
    ) -> Result<Self, process::Error> {
        let since = crate::clock::unix_now();
        let view = engine.view();
        let files = watch_files(&settings, &engine).await;
        let status = picture::of(&picture::Input {
            view: &view,
            provision: engine.provision(),
            agent: Some((&engine, since)),
            problems: &[],
            left_out: &[],
            upstream_errors: &BTreeMap::new(),
            certificates: None,
            kubeadm: None,
        });
        let name = view.node.master().unwrap_or(&view.node.kubernetes_name);
        let certificates = Certificates::new(settings.renewal.as_ref(), name.as_str())?;
        Ok(Self {
            links: own::counts(&engine, &view.node).then(netlink::Watch::start),
            upstream: follow(&engine),
            upstream_errors: BTreeMap::new(),
            files,
            problems: Vec::new(),
            left_out: Vec::new(),
            routes: watch_routes(&engine),
            defences: Defences::default(),
            certificates,
            kubeadm: Kubeadm::default(),
            since,
            published: Publisher::new(status),
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
        // What was written since the files were read, and before they were watched, is not missed.
        let _ = self.reread().await;
        if self.links.is_some()
            && let Ok(snapshot) = netlink::snapshot().await
            && let Some(event) = own::event(&self.engine.view(), &snapshot)
            && let Err(error) = self.engine.hear(&event)
        {
            warn!("{error}");
        }
        let report = self.engine.repair(&EVERYTHING).await.finish().await;
        self.engine.look_now().await;
        self.engine.take_all_news().await;
        // What failed has been logged already.
        for surface in report
            .surfaces
            .iter()
            .filter(|s| s.result != SurfaceResult::Failed)
        {
            let (name, result) = (surface.surface.as_str(), surface.result.as_str());
            info!(surface = name, result, "{}", surface.detail);
        }
        self.begin_kubeadm().await;
        self.publish();
        tell(&[NotifyState::Ready]);
        info!("ready");
    }

    /// The whole life, until it is told to halt; what is in progress then is finished.
    async fn live(&mut self, hup: &mut Signal, mut halted: watch::Receiver<bool>) {
        self.start().await;
        let mut verify_files = every(VERIFY);
        let mut verify_rest = every(VERIFY);
        let mut observe = every(OBSERVE);
        let mut certificates = every(LOOK);
        let mut watchdog = Watchdog::new();
        loop {
            watchdog.feed();
            let retry = self.engine.next_retry();
            tokio::select! {
                _ = halted.wait_for(|halt| *halt) => return,
                Some((command, reply)) = self.orders.recv() => {
                    match self.obey(command).await {
                        Ok(pending) => answer(reply, pending),
                        // Who asked may have gone away.
                        Err(error) => drop(reply.send(Err(error))),
                    }
                }
                news = self.engine.news() => self.engine.take(news).await,
                (surface, report) = defended(&mut self.defences) => {
                    self.count_fight(surface, &report).await;
                }
                () = next_hint(&mut self.routes) => self.defend(Surface::Routes).await,
                snapshot = next_snapshot(&mut self.links) => self.own_address(snapshot).await,
                observation = self.upstream.next() => self.followed(observation).await,
                path = next_file(&mut self.files) => self.file_changed(&path).await,
                () = until(retry) => {
                    let due = self.engine.due(Instant::now());
                    drop(self.engine.repair(&due).await);
                }
                _ = verify_files.tick() => self.verify_files().await,
                _ = verify_rest.tick() => self.verify_rest().await,
                _ = observe.tick() => self.engine.look(),
                _ = certificates.tick() => self.look_at_certificates().await,
                () = self.certificates.turn() => self.look_at_certificates().await,
                () = self.kubeadm.turn() => self.kubeadm_ran().await,
                _ = watchdog.interval.tick() => {}
                _ = hup.recv() => {
                    info!("SIGHUP: reading the cluster file again");
                    // What is wrong is logged and shown by status.
                    let _ = self.reload().await;
                }
            }
            self.notice_kubeadm().await;
            self.publish();
        }
    }

    async fn obey(&mut self, command: Command) -> Result<Pending, OrderError> {
        match command {
            Command::Told(told) => {
                let event = request::told(&self.engine.view(), &told, self.engine.loopback())?;
                self.handle(&event).await
            }
            Command::Recorded(records) => self.recorded(&records).await,
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

    async fn handle(&mut self, event: &Event) -> Result<Pending, OrderError> {
        let report = self.engine.handle(event).await;
        report.map_err(|rejection| OrderError::Refused(rejection.into()))
    }

    /// Takes in what signed records say; they may add masters, and take some out.
    async fn recorded(&mut self, records: &Records) -> Result<Pending, OrderError> {
        let before = self.engine.view().cluster;
        let (event, left_out) =
            request::recorded(&self.engine.view(), records, self.engine.loopback())?;
        let mut pending = self.handle(&event).await?;
        // What is said again and again is logged once.
        for notice in left_out.iter().filter(|it| !self.left_out.contains(it)) {
            warn!("{notice}");
        }
        pending.notice(&left_out);
        self.left_out = left_out;
        if self.engine.view().cluster != before {
            self.follow_masters();
        }
        Ok(pending)
    }

    fn all_problems(&self) -> Vec<String> {
        let mut problems = self.problems.clone();
        if self.files.is_none() {
            problems.push(UNWATCHED.to_owned());
        }
        problems
    }

    fn publish(&mut self) {
        let status = picture::of(&picture::Input {
            view: &self.engine.view(),
            provision: self.engine.provision(),
            agent: Some((&self.engine, self.since)),
            problems: &self.all_problems(),
            left_out: &self.left_out,
            upstream_errors: &self.upstream_errors,
            certificates: self.certificates.status(),
            kubeadm: self.kubeadm.status(),
        });
        self.published.publish(status);
    }
}

/// Answers an order when all surfaces have reported; the agent goes on meanwhile.
fn answer(reply: oneshot::Sender<Result<Report, OrderError>>, pending: Pending) {
    tokio::spawn(async move {
        // Who asked may have gone away; the work is done all the same.
        let _ = reply.send(Ok(pending.finish().await));
    });
}

async fn next_snapshot(links: &mut Option<netlink::Watch>) -> Result<Snapshot, netlink::Error> {
    match links {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

async fn next_hint(routes: &mut Option<netlink::Hints>) {
    match routes {
        Some(hints) => hints.next().await,
        None => std::future::pending().await,
    }
}

async fn next_file(files: &mut Option<Watch>) -> PathBuf {
    match files {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

/// systemd's watchdog: fed whenever the loop comes round.
struct Watchdog {
    interval: Interval,
    fed: Option<Instant>,
    period: Duration,
}

impl Watchdog {
    fn new() -> Self {
        // Without a watchdog the loop comes round for nothing now and then.
        let period = sd_notify::watchdog_enabled().map_or(VERIFY, |limit| limit / 4);
        Self {
            interval: every(period),
            fed: None,
            period,
        }
    }

    fn feed(&mut self) {
        let now = Instant::now();
        if self.fed.is_none_or(|at| now - at >= self.period / 2) {
            tell(&[NotifyState::Watchdog]);
            self.fed = Some(now);
        }
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
