//! What all listeners share: the zone of the moment, the counts, each listener's state.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::answer::answer;
use super::zone::Zone;
use super::{Limits, ListenerState, Transport};

/// Shared by the listeners and the [`Responder`](super::Responder).
#[derive(Debug)]
pub(super) struct Service {
    zone: ArcSwap<Zone>,
    pub(super) limits: Limits,
    /// Permits for TCP connections, of all listeners together.
    pub(super) connections: Arc<Semaphore>,
    pub(super) counts: Counts,
    states: Mutex<BTreeMap<(SocketAddr, Transport), Option<String>>>,
}

/// What has happened since the start, as live counts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    udp: AtomicU64,
    tcp: AtomicU64,
    refused: AtomicU64,
    no_such_name: AtomicU64,
    faulty: AtomicU64,
    truncated: AtomicU64,
    pub(super) unanswered: AtomicU64,
    pub(super) connections_refused: AtomicU64,
}

/// What has happened since the responder started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Messages over UDP.
    pub udp: u64,
    /// Messages over TCP.
    pub tcp: u64,
    /// Replies with REFUSED: names that are not ours.
    pub refused: u64,
    /// Replies with NXDOMAIN.
    pub no_such_name: u64,
    /// Replies with FORMERR, NOTIMP, BADVERS or SERVFAIL.
    pub faulty: u64,
    /// Replies with TC, to be asked for again over TCP.
    pub truncated: u64,
    /// Messages that got no reply: no question, or the reply could not be sent.
    pub unanswered: u64,
    /// TCP connections that were closed at once because there were too many.
    pub connections_refused: u64,
}

impl Service {
    pub(super) fn new(zone: Zone, limits: Limits) -> Self {
        Self {
            zone: ArcSwap::from_pointee(zone),
            connections: Arc::new(Semaphore::new(limits.tcp_connections)),
            limits,
            counts: Counts::default(),
            states: Mutex::default(),
        }
    }

    /// Every message that is read after this returns is answered from the new zone.
    pub(super) fn publish(&self, zone: Zone) {
        self.zone.store(Arc::new(zone));
    }

    /// Writes the reply to a message; it is left empty where none is due.
    pub(super) fn reply(
        &self,
        request: &[u8],
        source: SocketAddr,
        transport: Transport,
        reply: &mut Vec<u8>,
    ) {
        add_one(match transport {
            Transport::Udp => &self.counts.udp,
            Transport::Tcp => &self.counts.tcp,
        });
        // Loaded anew for each message: one that came after `publish` must not meet the old zone.
        let zone = self.zone.load();
        let work = || answer(&zone, request, source, transport, reply);
        // A fault in the parser costs one reply, not the socket.
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            tracing::error!(%source, ?request, "a DNS message could not be worked on; please report this");
            reply.clear();
        }
        self.counts.note(reply);
    }

    pub(super) fn set_state(
        &self,
        address: SocketAddr,
        transport: Transport,
        state: Option<String>,
    ) {
        self.states().insert((address, transport), state);
    }

    pub(super) fn forget_state(&self, address: SocketAddr, transport: Transport) {
        self.states().remove(&(address, transport));
    }

    pub(super) fn listener_states(&self) -> Vec<ListenerState> {
        self.states()
            .iter()
            .map(|((address, transport), error)| ListenerState {
                address: *address,
                transport: *transport,
                error: error.clone(),
            })
            .collect()
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<(SocketAddr, Transport), Option<String>>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Counts a reply by what its header says.
    fn note(&self, reply: &[u8]) {
        let Some([_, _, flags, more_flags, ..]) = reply.first_chunk::<12>() else {
            add_one(&self.unanswered);
            return;
        };
        match more_flags & 0x0f {
            // 0 also stands for BADVERS, whose higher bits are in the OPT record: no SOA, no AA.
            0 if flags & 0x04 == 0 => add_one(&self.faulty),
            0 => {}
            3 => add_one(&self.no_such_name),
            5 => add_one(&self.refused),
            _ => add_one(&self.faulty),
        }
        if flags & 0x02 != 0 {
            add_one(&self.truncated);
        }
    }

    pub(super) fn read(&self) -> Counters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counters {
            udp: read(&self.udp),
            tcp: read(&self.tcp),
            refused: read(&self.refused),
            no_such_name: read(&self.no_such_name),
            faulty: read(&self.faulty),
            truncated: read(&self.truncated),
            unanswered: read(&self.unanswered),
            connections_refused: read(&self.connections_refused),
        }
    }
}

pub(super) fn add_one(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}
