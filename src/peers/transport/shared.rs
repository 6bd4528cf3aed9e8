//! What all tasks of a transport share.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::counters::{Counters, Failure};
use super::dial;
use super::gate::Gate;
use super::identity::Own;
use super::known::Known;
use super::limits::Limits;
use super::notes::{Note, Notes, shown};
use super::pool::{Key, Pool};
use super::pulls::Pulls;
use super::tls::Tls;
use super::verifier::Clock;
use super::{Incoming, Peer};

/// Who may be dialled at the same time, beside masters.
#[derive(Debug)]
pub(super) struct Dials {
    /// Peers that were met.
    pub(super) met: Semaphore,
    /// Peers that others told of.
    pub(super) told: Semaphore,
    /// Addresses at which somebody may be: the caller's choice, who names a few at a time.
    pub(super) addresses: Semaphore,
}

impl Default for Dials {
    fn default() -> Self {
        Self {
            met: Semaphore::new(32),
            told: Semaphore::new(16),
            addresses: Semaphore::new(128),
        }
    }
}

/// See the module. No lock is held while anything is waited for.
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) clock: Clock,
    pub(super) own: Arc<Own>,
    pub(super) tls: Tls,
    pub(super) pool: Mutex<Pool>,
    pub(super) known: Mutex<Known>,
    pub(super) gate: Mutex<Gate>,
    pub(super) notes: Mutex<Notes>,
    pub(super) pulls: Mutex<Pulls>,
    pub(super) dials: Dials,
    pub(super) counters: Arc<Counters>,
    pub(super) incoming: mpsc::Sender<Incoming>,
    /// Where this node takes connections; said in its hello.
    pub(super) port: AtomicU16,
    pub(super) ended: watch::Sender<bool>,
    pub(super) runtime: tokio::runtime::Handle,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

/// A lock whose holder panicked holds values that are whole: nobody waits while holding one.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Runs a task until it, or the transport, ends.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut ended = self.ended.subscribe();
        let task = self.runtime.spawn(async move {
            tokio::select! {
                _ = ended.wait_for(|ended| *ended) => {}
                () = work => {}
            }
        });
        task.abort_handle()
    }

    /// Dials in a task of its own.
    pub(super) fn dial(self: &Arc<Self>, key: Key) {
        self.spawn(dial::run(self.clone(), key));
    }

    /// A handshake with a member is finished.
    pub(super) fn met(&self, peer: &Peer, at: Option<SocketAddr>) {
        lock(&self.known).met(peer, at, (self.clock)().clock);
    }

    /// Counts what somebody did, and says once who it was. A connection that breaks off is no news.
    pub(super) fn fail(&self, source: SocketAddr, failure: Failure, words: &str) {
        self.counters.failed(failure);
        let source = source.ip().to_canonical();
        let words = shown(words);
        if failure == Failure::Broken {
            tracing::debug!("no connection with {source}: {words}");
            return;
        }
        match lock(&self.notes).note(source, failure, Instant::now()) {
            Note::Say { before: 0 } => tracing::warn!("no connection with {source}: {words}"),
            Note::Say { before } => {
                tracing::warn!("no connection with {source}: {words} ({before} times before)");
            }
            Note::Crowd => tracing::warn!(
                "no connection with {source}: {words}; so many others are refused that they are not named"
            ),
            Note::Silent => tracing::trace!("no connection with {source}: {words}"),
        }
    }
}
