//! Carries frames between the nodes of a cluster, and knows for certain who is at the other end.
//!
//! ```text
//! send ─▶ queue of the peer ─▶ its connection ───────▶ frames ─▶ Incoming::Frame { peer, … }
//!             │ none yet                ▲   mutual TLS 1.3, one port
//!             └─▶ dial ─▶ handshake ────┘
//!         others ─▶ gate ─▶ handshake ─▶ hello ─▶ member, or one that pulls all records once
//! ```
//!
//! - Both sides show a certificate of the cluster's authority: a master the one by which it speaks, every
//!   other node its kubelet's ([`identity`]). The [`verifier`] is the same on both sides, and tells who it
//!   is ([`who`]). No connection is resumed; each is verified anew.
//! - What the frames say is of no concern here. Nothing of one that did not prove itself is handed on, but
//!   that it wants to pull all records once ([`Handle::pull`]).
//! - [`Handle::send`] never waits. What cannot be sent soon is dropped and counted, the oldest first.
//! - Everything that others can make grow has a limit ([`Limits`]), and the log says once who it was.

mod bucket;
mod connection;
mod counters;
mod dial;
mod follow;
pub mod frame;
mod gate;
pub mod identity;
mod known;
pub mod limits;
mod listener;
mod notes;
mod pool;
mod pull;
mod pulls;
mod queue;
mod rates;
mod settings;
mod shared;
mod stream;
mod tls;
pub mod trust;
pub mod verifier;
pub mod who;

use std::net::SocketAddr;
use std::sync::atomic::AtomicU16;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use self::follow::Files;
use self::gate::Gate;
use self::identity::Own;
use self::known::Known;
use self::notes::Notes;
use self::pool::Pool;
use self::pulls::Pulls;
use self::shared::{Dials, Shared, lock};
use self::tls::Tls;
use self::verifier::Verifier;
use crate::peers::changes::Changes;

pub use self::counters::{Counters, Failure};
pub use self::known::Contact;
pub use self::limits::Limits;
pub use self::pool::Connected;
pub use self::pull::{Answer, PullError, Pulled};
pub use self::settings::Settings;
pub use self::tls::PROTOCOL;
pub use self::verifier::Clock;
pub use self::who::Peer;

/// Frames and pulls that wait to be looked at; whoever sends more waits.
const WAITING: usize = 256;

/// What comes from others.
#[derive(Debug)]
pub enum Incoming {
    /// A frame of a member.
    Frame {
        /// Who sent it, for certain.
        peer: Peer,
        /// What it says; never empty.
        bytes: Vec<u8>,
        /// From where it came, or where it was dialled.
        at: SocketAddr,
    },
    /// Somebody wants all records, once.
    Pull {
        /// Who, if it proved that.
        from: Option<Peer>,
        /// From where.
        at: SocketAddr,
        /// What it is sent.
        answer: Answer,
    },
}

/// To whom something is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// To this peer and nobody else. Where there is no connection it is dialled at these addresses (at
    /// most eight), and where it was met.
    Peer(Peer, Vec<SocketAddr>),
    /// To whoever of the cluster is there.
    Address(SocketAddr),
}

/// Why a transport cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No port.
    #[error(
        "cannot listen at port {port} for other nodes: {source}; another program may have it (see `ss -ltnp`)"
    )]
    Listen {
        /// The port.
        port: u16,
        /// Why not.
        source: std::io::Error,
    },
    /// The library of handshakes does not take its configuration.
    #[error("cannot prepare TLS: {0}; please report this")]
    Tls(#[from] rustls::Error),
    /// Certificates cannot be read.
    #[error("cannot read certificates: {0}")]
    Interrupted(#[from] crate::writer::Interrupted),
}

/// Starts to listen, within a tokio runtime. It ends when the receiver is dropped.
pub async fn start(
    settings: Settings,
    clock: Clock,
) -> Result<(Handle, mpsc::Receiver<Incoming>), Error> {
    let Settings {
        root,
        writer,
        domain,
        port,
        listen,
        known,
        limits,
    } = settings;
    let provider = Arc::new(aws_lc_rs::default_provider());
    // Watched before they are read: no change falls between.
    let watch = Changes::start(&writer, &root, follow::paths()).await;
    let files = Files::new(root, domain, provider.clone());
    let files = follow::read(&writer, files).await?;
    let own = Arc::new(Own::new(clock.clone()));
    own.set(files.credentials());
    let trust = Arc::new(ArcSwap::from_pointee(files.trust()));
    let verifier = Verifier::new(trust.clone(), clock.clone(), provider.clone());
    let tls = Tls::new(verifier, own.clone(), &provider)?;

    let failed = |source| Error::Listen { port, source };
    let listeners = listener::listen(&listen, port).map_err(failed)?;
    let addresses = listeners.iter().map(tokio::net::TcpListener::local_addr);
    let addresses: Vec<SocketAddr> = addresses.collect::<Result<_, _>>().map_err(failed)?;
    let port = addresses.first().map_or(0, SocketAddr::port);

    let (incoming, receiver) = mpsc::channel(WAITING);
    let (peer, own_peer) = watch::channel(own.peer());
    let shared = Arc::new(Shared {
        limits,
        clock,
        own,
        tls,
        pool: Mutex::new(Pool::new(&limits)),
        known: Mutex::new(Known::new(limits.known, known)),
        gate: Mutex::new(Gate::new(
            limits.handshakes,
            limits.handshakes_of_one,
            limits.handshakes_rate,
        )),
        notes: Mutex::new(Notes::new(limits.note)),
        pulls: Mutex::new(Pulls::new(&limits, Instant::now())),
        dials: Dials::default(),
        counters: Arc::default(),
        incoming,
        port: AtomicU16::new(port),
        ended: watch::Sender::new(false),
        runtime: tokio::runtime::Handle::current(),
    });
    let going = Arc::default();
    for listener in listeners {
        shared.spawn(listener::run(shared.clone(), listener, Arc::clone(&going)));
    }
    shared.spawn(follow::run(
        shared.clone(),
        writer,
        watch,
        files,
        trust,
        peer,
    ));
    shared.spawn(sweep(shared.clone()));
    let last = shared.clone();
    tokio::spawn(async move {
        last.incoming.closed().await;
        last.ended.send_replace(true);
    });
    let handle = Handle {
        shared,
        addresses,
        own: own_peer,
    };
    Ok((handle, receiver))
}

/// Ends what is idle or old.
async fn sweep(shared: Arc<Shared>) {
    let pause = shared.limits.idle.min(Duration::from_secs(4)) / 4;
    loop {
        sleep(pause).await;
        lock(&shared.pool).sweep(Instant::now());
    }
}

/// What a transport is used by. Clones are the same transport.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    own: watch::Receiver<Option<Peer>>,
}

impl Handle {
    /// Sends a frame of 1 byte to 64 KiB, soon and in the order of sending, or not at all. Never waits.
    pub fn send(&self, to: To, frame: Vec<u8>) {
        let trusted = match &to {
            To::Peer(Peer::Master(_), _) | To::Address(_) => true,
            To::Peer(peer, _) => lock(&self.shared.known).has(peer),
        };
        let pushed = lock(&self.shared.pool).push(to, frame, trusted, Instant::now());
        Counters::more(&self.shared.counters.dropped, pushed.dropped);
        if let Some(key) = pushed.dial {
            self.shared.dial(key);
        }
    }

    /// All records of whoever of the cluster is at an address. Needs no certificate of one's own. Takes
    /// at most 30 s.
    pub async fn pull(&self, at: SocketAddr) -> Result<Pulled, PullError> {
        pull::pull(&self.shared, at).await
    }

    /// A peer is somewhere else now: what is sent next is dialled anew.
    pub fn moved(&self, peer: &Peer) {
        lock(&self.shared.pool).moved(peer);
    }

    /// This node is somewhere else now: all connections are made anew.
    pub fn moved_itself(&self) {
        lock(&self.shared.pool).end_all();
    }

    /// Everybody that was met, masters first, to be kept for the next start.
    pub fn known(&self) -> Vec<Contact> {
        lock(&self.shared.known).list()
    }

    /// The connections that are there now.
    pub fn connections(&self) -> Vec<Connected> {
        lock(&self.shared.pool).list(Instant::now())
    }

    /// Who this node is to others now; `None` without a certificate that has not ended. Then nothing is
    /// sent, and all that is left is to pull.
    pub fn own(&self) -> Option<Peer> {
        self.shared.own.peer()
    }

    /// The same as it changes with the files. That a certificate ends is not told.
    pub fn follow_own(&self) -> watch::Receiver<Option<Peer>> {
        self.own.clone()
    }

    /// Where it listens.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What is counted.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }
}
