//! `stayput peers run`: ties records, gossip and connections together, on every node beside the agent.
//!
//! ```text
//! agent: GET /v1/watch ─▶ own addresses ─▶ duty ─▶ sign ─┐
//! other nodes ─▶ transport ─▶ gossip ─▶ records ◀────────┤
//! multicast, pulls, control socket ──────▶   │           └─▶ disk ─▶ gossip ─▶ transport, multicast
//!                                            └─▶ what counts ─▶ agent: POST /v1/records
//! ```
//!
//! One task (`life`) owns the records and the gossip; what blocks or waits is at its edges: the transport,
//! the link to the agent, files, the disk, multicast. It is a process of its own because it has a key and
//! speaks to the network, and the agent has and does neither.
//!
//! - An own record is saved before anybody is told of it (`disk`). Where the disk refuses, it is told
//!   all the same.
//! - Nothing is forgotten because something is missing: without an agent, an authority or a certificate
//!   it waits for them and does what it can. Without a certificate that is to pull records (`pull`).
//! - Nobody to talk to: it dials whoever was ever known, masters first (`places`), and masters show their
//!   own record to everybody on the link ([`multicast`]).

mod agent;
pub mod command;
mod disk;
mod files;
mod hear;
mod hold;
mod identity;
mod life;
mod members;
pub mod multicast;
mod names;
mod notes;
mod others;
mod picture;
mod places;
mod pull;
mod records;
mod seeds;
mod seek;
mod speak;
mod spread;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::NodeSettings;
use crate::config::peers::Mode;
use crate::config::{self, Cluster, Node};
use crate::lock;
use crate::peers::changes::Changes;
use crate::peers::control::{self, Server};
use crate::peers::transport;
use crate::root::Root;
use crate::writer::{Interrupted, Writer};
use life::{Daemon, End};

pub use members::PATH as MEMBERS_PATH;

/// How long another one is waited for at the start.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
/// Commands that wait for the task; more wait at the control socket.
const WAITING: usize = 16;

/// Where the process finds things.
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

/// Why the process does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A bad cluster file or node file.
    #[error(transparent)]
    Configuration(#[from] config::Error),
    /// Another one is at work.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// Nobody can ask it.
    #[error(transparent)]
    Control(#[from] control::Error),
    /// It cannot listen.
    #[error(transparent)]
    Transport(#[from] transport::Error),
    /// Files cannot be read.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The operating system refuses.
    #[error("cannot {doing}: {source}")]
    Os {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// Runs until SIGTERM or SIGINT. Another cluster file or node file begins it anew.
pub async fn run(settings: Settings) -> Result<(), Error> {
    let os = |doing| move |source| Error::Os { doing, source };
    let mut halted = halted().map_err(os("listen to signals"))?;
    let writer = Writer::start().map_err(os("start the writing thread"))?;
    // Watched before they are read: no change falls between.
    let mut watch = Changes::start(&writer, &settings.root, files::settings(&settings)).await;
    let mut present = files::load(&settings)?;
    loop {
        let end = match present.0.peers.mode {
            Mode::Off => {
                tracing::info!("peers.mode is off in the cluster file: nothing to do");
                tell(&[NotifyState::Ready]);
                idle(&mut halted, &mut watch, &settings, &writer, &present).await?
            }
            Mode::Auto => {
                // Held only here: where it is off a command takes records in.
                let _lock = lock::take(&settings.root, lock::PEERS, LOCK_PATIENCE)?;
                let (cluster, node) = present.clone();
                let server = Server::open(&settings.root, cluster.peers.metrics).await?;
                let (asked, mut commands) = mpsc::channel(WAITING);
                let (stop, stopped) = oneshot::channel();
                let mut daemon = Daemon::start(&settings, &writer, cluster, node).await?;
                let serving = tokio::spawn(server.serve(asked, stopped));
                tell(&[NotifyState::Ready]);
                let end = tokio::select! {
                    end = daemon.live(&mut commands, halted.clone()) => end,
                    changed = changed(&mut watch, &settings, &writer, &present) => End::Changed(changed?),
                };
                if matches!(end, End::Halted) {
                    tell(&[NotifyState::Stopping]);
                }
                // Who still waits for an answer is told that there is none.
                drop((stop, commands));
                daemon.close().await;
                // It has panicked, or is done.
                let _ = serving.await;
                end
            }
        };
        match end {
            End::Halted => break,
            End::Changed(now) => {
                tracing::info!("the cluster file or the node file has changed: beginning anew");
                present = *now;
            }
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// Nothing is to be done until the files say otherwise.
async fn idle(
    halted: &mut watch::Receiver<bool>,
    watch: &mut Changes,
    settings: &Settings,
    writer: &Writer,
    present: &(Cluster, Node),
) -> Result<End, Error> {
    let mut watchdog = watchdog();
    loop {
        tokio::select! {
            _ = halted.wait_for(|halt| *halt) => return Ok(End::Halted),
            changed = changed(watch, settings, writer, present) => return Ok(End::Changed(changed?)),
            _ = watchdog.tick() => tell(&[NotifyState::Watchdog]),
        }
    }
}

/// Waits for files that say something else. Bad ones leave the old in force, loudly. May be cancelled.
async fn changed(
    watch: &mut Changes,
    settings: &Settings,
    writer: &Writer,
    present: &(Cluster, Node),
) -> Result<Box<(Cluster, Node)>, Error> {
    let mut problem = String::new();
    loop {
        watch.next().await;
        let reading = settings.clone();
        match writer.run(move || files::load(&reading)).await? {
            Ok(now) if now != *present => return Ok(Box::new(now)),
            Ok(_) => problem.clear(),
            Err(error) => {
                let text = error.to_string();
                if text != problem {
                    tracing::error!("the old settings stay in force: {text}");
                    problem = text;
                }
            }
        }
    }
}

/// Becomes true when the process is asked to end.
fn halted() -> io::Result<watch::Receiver<bool>> {
    let mut int = signal(SignalKind::interrupt())?;
    let mut term = signal(SignalKind::terminate())?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
        sender.send_replace(true);
        // Receivers would take its end for one.
        sender.closed().await;
    });
    Ok(receiver)
}

/// How often systemd's watchdog is fed.
fn watchdog() -> tokio::time::Interval {
    let period = sd_notify::watchdog_enabled().map_or(Duration::from_secs(10), |limit| limit / 4);
    tokio::time::interval(period)
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("cannot notify systemd: {error}");
    }
}
