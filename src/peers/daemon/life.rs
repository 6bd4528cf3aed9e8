//! The task that owns records and gossip: everything that happens arrives here, one thing after the other.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use sd_notify::NotifyState;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::agent::Link;
use super::command::{Command, Counts, Verdict};
use super::disk::Disk;
use super::files::{self, Keys};
use super::hold::Hold;
use super::members::Members;
use super::multicast::Multicast;
use super::notes::Notes;
use super::others::Others;
use super::places::Turn;
use super::pull::Pulling;
use super::records::{Records, moment};
use super::seeds::Seeds;
use super::seek::Last;
use super::speak::Voice;
use super::{Error, Settings, tell, watchdog};
use crate::config::{Cluster, Node};
use crate::control::published::Watched;
use crate::own;
use crate::peers::changes::Changes;
use crate::peers::gossip::{Gossip, Input};
use crate::peers::transport::{self, Handle, Incoming, Limits, Peer};
use crate::pki::certificate::Certificate;
use crate::root::Root;
use crate::source::interface::Snapshot;
use crate::source::netlink;
use crate::writer::{Interrupted, Writer};

/// How often it is looked whether others are known than those on disk.
const MEMBERS: Duration = Duration::from_secs(5);
/// How often what was waited for in vain is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// Why a life ends.
pub(super) enum End {
    /// Somebody asked for it.
    Halted,
    /// The files say something else now.
    Changed(Box<(Cluster, Node)>),
}

/// What is done once all that is held is saved.
#[derive(Debug)]
pub(super) enum After {
    /// Others are told of a record.
    Tell(Vec<u8>),
    /// Whoever offered records is answered.
    Answer(oneshot::Sender<Vec<Verdict>>, Vec<Verdict>),
}

/// See the module.
pub(super) struct Daemon {
    pub(super) root: Root,
    pub(super) writer: Writer,
    pub(super) cluster: Cluster,
    pub(super) node: Node,
    pub(super) handle: Handle,
    pub(super) incoming: mpsc::Receiver<Incoming>,
    pub(super) own: watch::Receiver<Option<Peer>>,
    /// Once there is a certificate.
    pub(super) gossip: Option<Gossip<Records>>,
    pub(super) records: Records,
    /// The version that everybody here knows.
    pub(super) known: u64,
    pub(super) authorities: Option<Vec<Certificate>>,
    pub(super) loaded: bool,
    pub(super) voice: Voice,
    pub(super) link: Link,
    pub(super) book: Option<Watched>,
    pub(super) agent: bool,
    pub(super) told_agent: bool,
    /// Whether it may be told.
    pub(super) hold: Hold,
    /// This node's addresses.
    pub(super) here: Vec<IpAddr>,
    pub(super) interfaces: Option<netlink::Watch>,
    pub(super) multicast: Multicast,
    pub(super) datagrams: mpsc::Receiver<(Vec<u8>, SocketAddr)>,
    pub(super) disk: Disk<After>,
    pub(super) files: Changes,
    pub(super) seeds: Seeds,
    pub(super) turn: Turn,
    pub(super) pulling: Pulling,
    /// Of earlier runs, with this run's generation.
    pub(super) members: Members,
    pub(super) saved_members: Option<Members>,
    pub(super) members_saved: Option<Instant>,
    pub(super) saving: JoinSet<()>,
    pub(super) begun: Instant,
    /// When anybody spoke last, since the start or a move.
    pub(super) heard: Option<Instant>,
    pub(super) others: Others,
    pub(super) counts: Counts,
    pub(super) key_problems: Vec<String>,
    pub(super) notes: Notes,
    /// Of datagrams, whose senders are not known for certain.
    pub(super) link_notes: Notes,
    pub(super) last: Last,
    pub(super) rng: SmallRng,
}

impl Daemon {
    /// Reads what is on disk, listens, and follows what there is to follow.
    pub(super) async fn start(
        settings: &Settings,
        writer: &Writer,
        cluster: Cluster,
        node: Node,
    ) -> Result<Self, Error> {
        let (root, writer) = (settings.root.clone(), writer.clone());
        let files = Changes::start(&writer, &root, files::keys()).await;
        let reading = root.clone();
        let members = writer.run(move || Members::load(&reading)).await?;
        let transport = transport::Settings {
            root: root.clone(),
            writer: writer.clone(),
            domain: cluster.domain.clone(),
            port: cluster.peers.port,
            listen: cluster.peers.listen.clone(),
            known: members.contacts.clone(),
            limits: Limits::default(),
        };
        let newest = read_keys(&writer, &root, &cluster).await?.seen;
        let clock = move || moment(newest);
        let (handle, incoming) = transport::start(transport, std::sync::Arc::new(clock)).await?;
        let ours = own::are_ours(&root, &node);
        let snapshot = if ours {
            netlink::snapshot().await.ok()
        } else {
            None
        };
        let (multicast, datagrams) = Multicast::new(cluster.peers.port);
        let mut seed = [0; 32];
        // Without chance everything works, and at the same moment as elsewhere.
        let _ = aws_lc_rs::rand::fill(&mut seed);
        let mut daemon = Self {
            own: handle.follow_own(),
            handle,
            incoming,
            gossip: None,
            records: Records::new(),
            known: 0,
            authorities: None,
            loaded: false,
            voice: Voice::default(),
            link: Link::start(&root),
            book: None,
            agent: false,
            told_agent: false,
            hold: Hold::default(),
            here: Vec::new(),
            interfaces: ours.then(netlink::Watch::start),
            multicast,
            datagrams,
            disk: Disk::new(root.clone(), writer.clone()),
            files,
            seeds: Seeds::new(&root, &writer, &cluster),
            turn: Turn::default(),
            pulling: Pulling::default(),
            members,
            saved_members: None,
            members_saved: None,
            saving: JoinSet::new(),
            begun: Instant::now(),
            heard: None,
            others: Others::new(Instant::now()),
            counts: Counts::default(),
            key_problems: Vec::new(),
            notes: Notes::default(),
            link_notes: Notes::default(),
            last: Last::default(),
            rng: SmallRng::from_seed(seed),
            root,
            writer,
            cluster,
            node,
        };
        if let Some(snapshot) = snapshot {
            daemon.looked(&snapshot);
        }
        daemon.read_keys().await?;
        daemon.be_somebody();
        if daemon.gossip.is_none() {
            tracing::info!(
                "no certificate to take part with yet (a master's pki/stayput, or the kubelet's): records are only pulled"
            );
        }
        Ok(daemon)
    }

    /// Until it is told to end. May be cancelled.
    pub(super) async fn live(
        &mut self,
        commands: &mut mpsc::Receiver<Command>,
        mut halted: watch::Receiver<bool>,
    ) -> End {
        let mut watchdog = watchdog();
        let mut members = every(MEMBERS);
        let mut again = every(AGAIN);
        let mut seek = Instant::now();
        let mut show = every(super::seek::SHOW);
        let mut commanded = true;
        tracing::info!("ready");
        loop {
            self.spread();
            let deadline = self.gossip.as_ref().and_then(Gossip::deadline);
            let deadline = deadline.map(|after| self.begun + after);
            tokio::select! {
                biased;
                _ = halted.wait_for(|halt| *halt) => return End::Halted,
                done = self.disk.turn(self.records.version()) => self.saved(done),
                command = commands.recv(), if commanded => match command {
                    Some(command) => self.obey(command),
                    None => commanded = false,
                },
                news = self.link.next() => self.agent_says(news),
                snapshot = next_snapshot(&mut self.interfaces) => match snapshot {
                    Ok(snapshot) => self.looked(&snapshot),
                    Err(error) => tracing::warn!("this node's addresses are not known: {error}"),
                },
                () = self.files.next() => self.keys_changed().await,
                _ = self.own.changed() => self.be_somebody(),
                _ = watchdog.tick() => tell(&[NotifyState::Watchdog]),
                () = until(deadline) => self.gossip(Input::Tick),
                () = until(self.voice.again()) => self.speak(),
                () = sleep_until(seek) => seek = self.search(),
                _ = show.tick() => self.show(),
                _ = members.tick() => self.look_at_members(),
                _ = again.tick() => self.try_again().await,
                pulled = self.pulling.next() => self.pulled(pulled),
                Some((bytes, from)) = self.datagrams.recv() => self.overheard(&bytes, from),
                Some(incoming) = self.incoming.recv() => self.received(incoming),
            }
        }
    }

    /// Saves what there is to save.
    pub(super) async fn close(mut self) {
        let version = self.records.version();
        self.disk.close(self.records.ledger(), version).await;
        self.save_members();
        while self.saving.join_next().await.is_some() {}
    }

    pub(super) fn now(&self) -> Duration {
        self.begun.elapsed()
    }
}

pub(super) async fn read_keys(
    writer: &Writer,
    root: &Root,
    cluster: &Cluster,
) -> Result<Keys, Interrupted> {
    let (root, cluster) = (root.clone(), cluster.clone());
    writer.run(move || Keys::load(&root, &cluster)).await
}

async fn next_snapshot(watch: &mut Option<netlink::Watch>) -> Result<Snapshot, netlink::Error> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
