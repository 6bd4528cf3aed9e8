//! One connection for each peer, whoever made it, and what waits until there is one.
//!
//! - A connection is used in both directions. Where two peers dial each other at the same moment, both
//!   sides keep the one that the peer with the smaller name made; else the newer one is kept, because
//!   nobody dials who has a connection that works.
//! - One that is ended for another, or for its age or silence, is ended gently: nothing more is written,
//!   and what the other side had written is still read.
//! - Decisions only. Sockets belong to [`connection`](super::connection) and [`dial`](super::dial).

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::To;
use super::bucket::Bucket;
use super::limits::Limits;
use super::queue::Queue;
use super::who::Peer;

/// Peers for which something waits or is remembered here.
const LINES: usize = 4096;
/// Addresses at which one peer is tried.
const ADDRESSES: usize = 8;
/// Two connections in opposite directions within this time were made for each other's sake.
const SAME_MOMENT: Duration = Duration::from_secs(5);

/// The number of a connection.
pub(super) type Id = u64;

/// For whom something waits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Peer(Peer),
    /// Whoever of the cluster is there.
    Address(SocketAddr),
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// What comes is still read for a while.
    Gently,
    Now,
}

/// What the tasks of a new connection need.
#[derive(Debug)]
pub(super) struct New {
    pub(super) id: Id,
    /// Something is there to be written.
    pub(super) wake: Arc<Notify>,
    pub(super) end: oneshot::Receiver<End>,
}

/// What came of a frame that is to be sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pushed {
    /// Frames that were dropped, perhaps this one.
    pub(super) dropped: usize,
    /// Has to be dialled.
    pub(super) dial: Option<Key>,
}

/// What a frame that came says of its sender.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Received {
    /// How long nothing more should be read.
    pub(super) wait: Duration,
    /// It has sent more than it may for too long.
    pub(super) floods: bool,
}

/// One connection as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// Who is there.
    pub peer: Peer,
    /// From where it comes, or where it was dialled.
    pub at: SocketAddr,
    /// Whether this node dialled.
    pub dialled: bool,
    /// For how long it has been there.
    pub age: Duration,
    /// For how long nothing was said.
    pub silent: Duration,
}

#[derive(Debug)]
struct Connection {
    peer: Peer,
    at: SocketAddr,
    dialled: bool,
    since: Instant,
    last: Instant,
    wake: Arc<Notify>,
    /// Until it was told to end.
    end: Option<oneshot::Sender<End>>,
}

/// Between this node and one other.
#[derive(Debug)]
struct Line {
    queue: Queue,
    addresses: Vec<SocketAddr>,
    dialling: bool,
    /// There are other addresses to dial.
    news: Arc<Notify>,
    /// The one that is written to.
    connection: Option<Id>,
    frames: Bucket,
    bytes: Bucket,
    /// Since when it has sent more than it may, without a rest between.
    owes_since: Option<Instant>,
    barred_until: Option<Instant>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pool {
    limits: Limits,
    lines: HashMap<Key, Line>,
    connections: BTreeMap<Id, Connection>,
    next: Id,
    /// In all queues.
    bytes: usize,
}

impl Pool {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            lines: HashMap::new(),
            connections: BTreeMap::new(),
            next: 0,
            bytes: 0,
        }
    }

    /// A frame is to be sent. Who is not `trusted`, because it is only told of, finds room while half of it is
    /// free.
    pub(super) fn push(&mut self, to: To, frame: Vec<u8>, trusted: bool, now: Instant) -> Pushed {
        let part = if trusted { 1 } else { 2 };
        let lost = Pushed {
            dropped: 1,
            dial: None,
        };
        let (key, addresses) = match to {
            To::Peer(peer, addresses) => (Key::Peer(peer), addresses),
            To::Address(at) => match self.dialled_at(at) {
                Some(peer) => (Key::Peer(peer), vec![]),
                None => (Key::Address(at), vec![at]),
            },
        };
        if !self.has_room_for(&key, LINES / part, now) {
            return lost;
        }
        let (limits, all) = (self.limits, self.bytes);
        let line = self.line(&key, now);
        let before = line.queue.bytes();
        let mut dropped = 0;
        while all - before + line.queue.bytes() + frame.len() > limits.queues_bytes / part {
            if !line.queue.drop_oldest() {
                return lost;
            }
            dropped += 1;
        }
        dropped += line.queue.push(frame, &limits);
        let after = line.queue.bytes();

        let mut addresses = addresses;
        addresses.truncate(ADDRESSES);
        let moved = !addresses.is_empty() && line.addresses != addresses;
        if moved {
            line.addresses = addresses;
        }
        let mut dial = None;
        if let Some(id) = line.connection {
            if let Some(connection) = self.connections.get(&id) {
                connection.wake.notify_one();
            }
        } else if line.dialling {
            if moved {
                line.news.notify_one();
            }
        } else if !line.queue.is_empty() {
            line.dialling = true;
            dial = Some(key);
        }
        self.bytes = all - before + after;
        Pushed { dropped, dial }
    }

    /// Where a dialler should try, and what wakes it when that changes; `None` where it should stop.
    pub(super) fn targets(&mut self, key: &Key) -> Option<(Vec<SocketAddr>, Arc<Notify>)> {
        let line = self.lines.get_mut(key)?;
        if line.connection.is_some() || line.queue.is_empty() {
            line.dialling = false;
            return None;
        }
        Some((line.addresses.clone(), line.news.clone()))
    }

    /// A dialler gives up; tells how many frames were dropped.
    pub(super) fn give_up(&mut self, key: &Key) -> usize {
        let Some(line) = self.lines.get_mut(key) else {
            return 0;
        };
        line.dialling = false;
        if line.connection.is_some() {
            return 0;
        }
        self.bytes -= line.queue.bytes();
        line.queue.drain().count()
    }

    /// A dialler reached this peer; what waited for whoever is there waits for it now. Tells how many
    /// frames were dropped.
    pub(super) fn reached(&mut self, key: &Key, peer: &Peer, now: Instant) -> usize {
        let Some(line) = self.lines.get_mut(key) else {
            return 0;
        };
        line.dialling = false;
        if matches!(key, Key::Peer(_)) {
            return 0;
        }
        let Some(mut line) = self.lines.remove(key) else {
            return 0;
        };
        let limits = self.limits;
        let of_peer = self.line(&Key::Peer(peer.clone()), now);
        let before = line.queue.bytes() + of_peer.queue.bytes();
        let dropped = line
            .queue
            .drain()
            .map(|frame| of_peer.queue.push(frame, &limits))
            .sum();
        let after = of_peer.queue.bytes();
        self.bytes = self.bytes - before + after;
        dropped
    }

    /// A handshake is finished. `own` is this node. `None` where the peer was cut off.
    pub(super) fn connected(
        &mut self,
        peer: &Peer,
        own: Option<&Peer>,
        at: SocketAddr,
        dialled: bool,
        now: Instant,
    ) -> Option<New> {
        let key = Key::Peer(peer.clone());
        let barred = self.line(&key, now).barred_until;
        if barred.is_some_and(|until| now < until) {
            return None;
        }
        let smaller_made_it = if dialled {
            own < Some(peer)
        } else {
            Some(peer) < own
        };
        let wins = |other: &Connection| {
            let crossed = other.dialled != dialled && now - other.since < SAME_MOMENT;
            !crossed || smaller_made_it
        };
        let others: Vec<(Id, bool)> = self
            .connections
            .iter()
            .filter(|(_, other)| other.peer == *peer && other.end.is_some())
            .map(|(id, other)| (*id, wins(other)))
            .collect();
        let used = others.iter().all(|(_, loses)| *loses);
        if used {
            for (id, _) in others {
                self.end(id, End::Gently);
            }
            self.make_room();
        }

        let (sender, end) = oneshot::channel();
        let wake = Arc::new(Notify::new());
        let id = self.next;
        self.next += 1;
        let connection = Connection {
            peer: peer.clone(),
            at,
            dialled,
            since: now,
            last: now,
            wake: wake.clone(),
            end: Some(sender),
        };
        self.connections.insert(id, connection);
        if used {
            self.line(&key, now).connection = Some(id);
            wake.notify_one();
        } else {
            self.end(id, End::Gently);
        }
        Some(New { id, wake, end })
    }

    /// Encodes what is to be written to a connection; tells how many frames it is.
    pub(super) fn take(&mut self, id: Id, now: Instant, into: &mut Vec<u8>) -> usize {
        let Some(connection) = self.connections.get_mut(&id) else {
            return 0;
        };
        let line = self.lines.get_mut(&Key::Peer(connection.peer.clone()));
        let Some(line) = line.filter(|line| line.connection == Some(id)) else {
            return 0;
        };
        let before = line.queue.bytes();
        let frames = line.queue.encode_next(into);
        self.bytes = self.bytes - before + line.queue.bytes();
        if frames > 0 {
            connection.last = now;
        }
        frames
    }

    /// A frame came; tells what is to be done about its sender. Where it owes, waits take longer than they
    /// should, and it may come back over a new connection; so it owes until it has rested.
    pub(super) fn received(&mut self, id: Id, bytes: usize, now: Instant) -> Received {
        let flood = self.limits.flood;
        let Some(connection) = self.connections.get_mut(&id) else {
            return Received::default();
        };
        connection.last = now;
        let key = Key::Peer(connection.peer.clone());
        let line = self.line(&key, now);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let wait = line.frames.take(1, now).max(line.bytes.take(bytes, now));
        if line.frames.is_rested() && line.bytes.is_rested() {
            line.owes_since = None;
        }
        if wait.is_zero() {
            return Received::default();
        }
        let since = *line.owes_since.get_or_insert(now);
        let floods = now.saturating_duration_since(since) >= flood;
        Received { wait, floods }
    }

    /// A peer floods: for a while it is not let in again.
    pub(super) fn bar(&mut self, peer: &Peer, now: Instant) {
        let until = now + self.limits.flood;
        let line = self.line(&Key::Peer(peer.clone()), now);
        (line.barred_until, line.owes_since) = (Some(until), None);
    }

    /// Nothing more comes over a connection, so nothing more is given to it.
    pub(super) fn finished(&mut self, id: Id) {
        self.end(id, End::Now);
    }

    /// A connection is gone. Tells what has to be dialled because of that.
    pub(super) fn closed(&mut self, id: Id) -> Option<Key> {
        let connection = self.connections.remove(&id)?;
        let key = Key::Peer(connection.peer);
        let line = self.lines.get_mut(&key)?;
        if line.connection == Some(id) {
            line.connection = None;
        }
        let wanted = line.connection.is_none() && !line.dialling && !line.queue.is_empty();
        line.dialling |= wanted;
        wanted.then_some(key)
    }

    /// A peer is elsewhere now: its connections lead nowhere.
    pub(super) fn moved(&mut self, peer: &Peer) {
        let of_it = |connection: &Connection| connection.peer == *peer;
        self.end_where(End::Now, of_it);
    }

    /// This node is elsewhere, or trusts others than before.
    pub(super) fn end_all(&mut self) {
        self.end_where(End::Now, |_| true);
    }

    /// Ends what was silent too long or is too old, and forgets what need not be remembered.
    pub(super) fn sweep(&mut self, now: Instant) {
        let (idle, age) = (self.limits.idle, self.limits.age);
        self.end_where(End::Gently, |connection| {
            now - connection.last >= idle || now - connection.since >= age
        });
        self.lines.retain(|_, line| line.matters(now));
    }

    /// All that are used.
    pub(super) fn list(&self, now: Instant) -> Vec<Connected> {
        let used = self.connections.values().filter(|each| each.end.is_some());
        used.map(|each| Connected {
            peer: each.peer.clone(),
            at: each.at,
            dialled: each.dialled,
            age: now - each.since,
            silent: now - each.last,
        })
        .collect()
    }

    fn end_where(&mut self, how: End, which: impl Fn(&Connection) -> bool) {
        let chosen: Vec<Id> = self
            .connections
            .iter()
            .filter(|(_, connection)| which(connection))
            .map(|(id, _)| *id)
            .collect();
        for id in chosen {
            self.end(id, how);
        }
    }

    fn end(&mut self, id: Id, how: End) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if let Some(end) = connection.end.take() {
            // It may have ended by itself.
            let _ = end.send(how);
        }
        let line = self.lines.get_mut(&Key::Peer(connection.peer.clone()));
        if let Some(line) = line.filter(|line| line.connection == Some(id)) {
            line.connection = None;
        }
    }

    /// Ends the one that was silent longest, where there are as many as may be.
    fn make_room(&mut self) {
        let used = self.connections.iter();
        let used: Vec<_> = used.filter(|(_, each)| each.end.is_some()).collect();
        if used.len() < self.limits.connections {
            return;
        }
        let longest = used.into_iter().min_by_key(|(_, each)| each.last);
        if let Some(id) = longest.map(|(id, _)| *id) {
            self.end(id, End::Gently);
        }
    }

    fn dialled_at(&self, at: SocketAddr) -> Option<Peer> {
        let mut there = self.connections.values();
        let there = there.find(|each| each.dialled && each.at == at && each.end.is_some());
        there.map(|each| each.peer.clone())
    }

    fn has_room_for(&mut self, key: &Key, most: usize, now: Instant) -> bool {
        if self.lines.contains_key(key) || self.lines.len() < most {
            return true;
        }
        self.lines.retain(|_, line| line.matters(now));
        self.lines.len() < most
    }

    fn line(&mut self, key: &Key, now: Instant) -> &mut Line {
        let limits = &self.limits;
        self.lines.entry(key.clone()).or_insert_with(|| Line {
            queue: Queue::default(),
            addresses: Vec::new(),
            dialling: false,
            news: Arc::new(Notify::new()),
            connection: None,
            frames: Bucket::new(limits.frames_rate, now),
            bytes: Bucket::new(limits.bytes_rate, now),
            owes_since: None,
            barred_until: None,
        })
    }
}

impl Line {
    /// Whether forgetting it would change anything.
    fn matters(&mut self, now: Instant) -> bool {
        self.dialling
            || self.connection.is_some()
            || !self.queue.is_empty()
            || self.barred_until.is_some_and(|until| now < until)
            || !self.frames.is_full(now)
            || !self.bytes.is_full(now)
    }
}

#[cfg(test)]
mod tests;
