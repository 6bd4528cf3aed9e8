//! The DNS responder: authoritative for the cluster's domain and for the reverse names of its
//! masters' addresses, over UDP and TCP on loopback.
//!
//! From the inside out:
//!
//! - `zone`: an immutable value, built from a [`View`](crate::view::View) and swapped whole.
//! - `lookup`, `answer`: pure functions from a question to records, from bytes to bytes.
//! - `short`: the same bytes for the common question, encoded before.
//! - `udp`, `tcp`, `listener`: sockets, each bound, retried and served by itself.
//! - [`Responder`]: a thread with a runtime of its own, so that nothing else the agent does delays
//!   an answer.
//!
//! hickory reads requests and encodes replies. Its server loop is not used: it starts a task for
//! each datagram without a limit, has none for TCP connections, and aborts requests in work when it
//! shuts down.

mod answer;
mod listener;
mod lookup;
mod service;
mod short;
mod tcp;
mod udp;
mod zone;

#[cfg(test)]
#[path = "../../../tests/dns_support/mod.rs"]
mod dns_support;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc as sync_mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use answer::{answer, answer_in_full};
pub use service::Counters;
use service::Service;
pub use zone::Zone;

/// The longest message that is read, in octets. A question with every EDNS option in use has a
/// few hundred.
const MAX_REQUEST: usize = 4096;

/// How a question comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Connections.
    Tcp,
}

/// What is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// TCP connections at a time, over all listeners.
    pub tcp_connections: usize,
    /// How long a TCP connection may take for its next whole request, and for taking a reply.
    pub tcp_idle: Duration,
    /// How long requests in work may take when the responder shuts down.
    pub grace: Duration,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerState {
    /// Where it listens.
    pub address: SocketAddr,
    /// To what.
    pub transport: Transport,
    /// Why it does not, if it does not. It goes on trying.
    pub error: Option<String>,
}

/// The responder at work. It stops when it is dropped; [`Responder::shutdown`] also waits for it.
#[derive(Debug)]
pub struct Responder {
    service: Arc<Service>,
    orders: mpsc::UnboundedSender<Order>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
enum Order {
    Listen(Vec<SocketAddr>, sync_mpsc::Sender<()>),
    Stop,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tcp_connections: 64,
            tcp_idle: Duration::from_secs(10),
            grace: Duration::from_secs(2),
        }
    }
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        })
    }
}

impl Responder {
    /// Starts the thread and tries to bind each address, over UDP and TCP. An address that cannot
    /// be bound is no error here: [`Responder::state`] shows it and it is tried again.
    pub fn start(listen: &[SocketAddr], zone: Zone) -> io::Result<Self> {
        Self::start_with(listen, zone, Limits::default())
    }

    /// The same with other limits.
    pub fn start_with(listen: &[SocketAddr], zone: Zone, limits: Limits) -> io::Result<Self> {
        let service = Arc::new(Service::new(zone, limits));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let (orders, received) = mpsc::unbounded_channel();
        let shared = Arc::clone(&service);
        let thread = std::thread::Builder::new()
            .name("dns".into())
            .spawn(move || runtime.block_on(run(shared, received)))?;
        let responder = Self {
            service,
            orders,
            thread,
        };
        responder.set_listen(listen);
        Ok(responder)
    }

    /// Swaps the zone. Every message that is read after this returns is answered from the new one.
    pub fn publish(&self, zone: Zone) {
        self.service.publish(zone);
    }

    /// Changes the addresses to listen on. Sockets of addresses that stay are not touched. Returns
    /// when binding the new ones was tried.
    pub fn set_listen(&self, listen: &[SocketAddr]) {
        let (done, tried) = sync_mpsc::channel();
        if self
            .orders
            .send(Order::Listen(listen.to_vec(), done))
            .is_ok()
        {
            // An error means that the thread has ended; `state` says so.
            let _ = tried.recv();
        }
    }

    /// Each listener, by address.
    pub fn state(&self) -> Vec<ListenerState> {
        let mut states = self.service.listener_states();
        if self.thread.is_finished() {
            for state in &mut states {
                state.error =
                    Some("the DNS thread has ended; restart stayput and report this".into());
            }
        }
        states
    }

    /// What has happened since the start.
    pub fn counters(&self) -> Counters {
        self.service.counts.read()
    }

    /// Finishes the requests in work, within [`Limits::grace`], and closes the sockets. Blocks for
    /// that long.
    pub fn shutdown(self) {
        // The thread has ended before: nothing to stop.
        let _ = self.orders.send(Order::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the DNS thread ended by a panic; please report this");
        }
    }
}

/// Carries orders out until the last one.
async fn run(service: Arc<Service>, mut orders: mpsc::UnboundedReceiver<Order>) {
    let mut listeners = BTreeMap::new();
    let mut tasks = JoinSet::new();
    while let Some(Order::Listen(addresses, done)) = orders.recv().await {
        while tasks.try_join_next().is_some() {}
        listen(&addresses, &service, &mut listeners, &mut tasks);
        // Nobody waits any more: done all the same.
        let _ = done.send(());
    }
    for stop in listeners.values() {
        stop.send_replace(true);
    }
    let finished = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(service.limits.grace, finished)
        .await
        .is_err()
    {
        tracing::warn!("DNS requests were still in work when their time was over");
    }
}

/// Stops the listeners that are not wanted any more and starts those that are new.
fn listen(
    addresses: &[SocketAddr],
    service: &Arc<Service>,
    listeners: &mut BTreeMap<(SocketAddr, Transport), watch::Sender<bool>>,
    tasks: &mut JoinSet<()>,
) {
    listeners.retain(|(address, transport), stop| {
        let wanted = addresses.contains(address);
        if !wanted {
            stop.send_replace(true);
            service.forget_state(*address, *transport);
        }
        wanted
    });
    for address in addresses {
        for transport in [Transport::Udp, Transport::Tcp] {
            if let Entry::Vacant(vacant) = listeners.entry((*address, transport)) {
                let stop = vacant.insert(watch::Sender::new(false)).subscribe();
                let bound = listener::bind(*address, transport);
                let state = bound
                    .as_ref()
                    .err()
                    .map(|error| format!("cannot bind: {error}"));
                service.set_state(*address, transport, state);
                let service = Arc::clone(service);
                tasks.spawn(listener::keep(*address, transport, bound, service, stop));
            }
        }
    }
}
