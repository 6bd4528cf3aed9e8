//! Reaches a peer for which something waits: at all addresses that it may have, again and again for a while.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::SemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Peer;
use super::connection::{self, Open};
use super::counters::{Counters, Failure};
use super::frame::{HELLO_LIMIT, Hello, Purpose};
use super::listener::settle;
use super::pool::Key;
use super::shared::{Shared, lock};
use super::stream::{self, Halves};
use super::tls;

/// How long one address is tried before the next is tried beside it (RFC 8305, 5).
const STAGGER: Duration = Duration::from_millis(250);
/// Addresses of one peer that are tried.
const ADDRESSES: usize = 8;
/// The pause between two rounds grows up to so many times the first.
const LONGEST_PAUSE: u32 = 10;

/// Dials until the peer is reached, nothing waits any more, or the patience is at its end.
pub(super) async fn run(shared: Arc<Shared>, key: Key) {
    let limits = &shared.limits;
    let begun = Instant::now();
    let mut pause = limits.redial;
    loop {
        let Some((given, news)) = lock(&shared.pool).targets(&key) else {
            return;
        };
        let addresses = addresses(&shared, &key, given);
        // Nobody takes in one who shows nothing.
        if shared.own.peer().is_some()
            && let Some(permit) = permit(&shared, &key, begun + limits.patience).await
            && let Some(open) = first_of(&shared, &key, addresses, permit).await
        {
            let lost = lock(&shared.pool).reached(&key, &open.peer, Instant::now());
            Counters::more(&shared.counters.dropped, lost);
            connection::run(&shared, open, true).await;
            return;
        }
        Counters::one(&shared.counters.unreachable);
        if begun.elapsed() >= limits.patience {
            let lost = lock(&shared.pool).give_up(&key);
            Counters::more(&shared.counters.dropped, lost);
            return;
        }
        tokio::select! {
            () = news.notified() => {}
            () = sleep(pause) => pause = (pause * 2).min(limits.redial * LONGEST_PAUSE),
        }
    }
}

/// Those that were given, and behind them those where the peer was met.
fn addresses(shared: &Shared, key: &Key, given: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut all = given;
    if let Key::Peer(peer) = key {
        for met in lock(&shared.known).addresses(peer) {
            if !all.contains(met) {
                all.push(*met);
            }
        }
    }
    all.truncate(ADDRESSES);
    all
}

/// Waits until one more may be dialled, not for ever. However many nodes are away, masters do not wait for
/// them; and whoever was met does not wait for those that are only told of, whom anybody may invent.
async fn permit<'a>(
    shared: &'a Shared,
    key: &Key,
    until: Instant,
) -> Option<Option<SemaphorePermit<'a>>> {
    let dials = match key {
        Key::Peer(Peer::Master(_)) => return Some(None),
        Key::Peer(peer) if lock(&shared.known).has(peer) => &shared.dials.met,
        Key::Peer(_) => &shared.dials.told,
        Key::Address(_) => &shared.dials.addresses,
    };
    let permit = timeout_at(until, dials.acquire()).await;
    Some(Some(permit.ok()?.ok()?))
}

/// The first address at which the peer is.
async fn first_of(
    shared: &Arc<Shared>,
    key: &Key,
    addresses: Vec<SocketAddr>,
    _permit: Option<SemaphorePermit<'_>>,
) -> Option<Open> {
    let expected = match key {
        Key::Peer(peer) => Some(peer.clone()),
        Key::Address(_) => None,
    };
    let mut left = addresses.into_iter();
    let mut attempts = JoinSet::new();
    loop {
        if let Some(at) = left.next() {
            let (shared, expected) = (shared.clone(), expected.clone());
            attempts.spawn(async move {
                let tried = attempt(&shared, at, expected).await;
                tried.map_err(|(failure, words)| told(&shared, at, failure, &words))
            });
        }
        tokio::select! {
            done = attempts.join_next() => match done {
                Some(Ok(Ok(open))) => return Some(open),
                None if left.len() == 0 => return None,
                Some(_) | None => {}
            },
            () = sleep(STAGGER), if left.len() > 0 => {}
        }
    }
}

/// Somebody who is away is no news; somebody else in its place is.
fn told(shared: &Shared, at: SocketAddr, failure: Failure, words: &str) {
    if failure == Failure::Slow {
        shared.counters.failed(failure);
        tracing::debug!("cannot reach {at}: {words}");
    } else {
        shared.fail(at, failure, words);
    }
}

async fn attempt(
    shared: &Shared,
    at: SocketAddr,
    expected: Option<Peer>,
) -> Result<Open, (Failure, String)> {
    let limits = &shared.limits;
    let stream = connect(shared, at).await?;
    let slow = |what: &str| (Failure::Slow, format!("{what} took too long"));
    let shaken = timeout(limits.handshake, shared.tls.dial(stream)).await;
    let stream = shaken
        .map_err(|_| slow("the handshake"))?
        .map_err(|error| (tls::failure(&error), tls::words(&error)))?;
    let peer = server(shared, &stream)?;
    if expected.is_some_and(|expected| expected != peer) {
        let words = format!("it is {peer}, and somebody else was expected");
        return Err((Failure::Unexpected, words));
    }
    if shared.own.is(&peer) {
        let words = format!("it is {peer}, which is this node itself");
        return Err((Failure::Unexpected, words));
    }
    let mut halves = Halves::new(stream);
    let own = Hello {
        purpose: Purpose::Member,
        port: shared.port.load(Ordering::Relaxed),
    };
    hello(shared, &mut halves, own).await?;
    shared.met(&peer, Some(at));
    Ok(Open { halves, peer, at })
}

/// Connects over TCP.
pub(super) async fn connect(
    shared: &Shared,
    at: SocketAddr,
) -> Result<TcpStream, (Failure, String)> {
    let connected = timeout(shared.limits.connect, TcpStream::connect(at)).await;
    let stream = connected
        .map_err(|_| (Failure::Slow, "nobody answers".to_owned()))?
        .map_err(|error| (Failure::Broken, error.to_string()))?;
    settle(&stream).map_err(|error| (Failure::Broken, error.to_string()))?;
    Ok(stream)
}

/// Who was dialled.
pub(super) fn server(shared: &Shared, stream: &tls::Stream) -> Result<Peer, (Failure, String)> {
    if !tls::is_ours(stream) {
        let words = "it does not speak stayput's protocol (ALPN)";
        return Err((Failure::Protocol, words.into()));
    }
    match shared.tls.peer(tls::state(stream)) {
        Ok(Some(peer)) => Ok(peer),
        Ok(None) => Err((Failure::Certificate, "it shows no certificate".into())),
        Err(refused) => Err((Failure::Certificate, refused.to_string())),
    }
}

/// Says hello, and waits for the other's: in TLS 1.3 nobody knows sooner whether the other side has taken
/// one's certificate.
pub(super) async fn hello(
    shared: &Shared,
    halves: &mut Halves,
    own: Hello,
) -> Result<(), (Failure, String)> {
    let limits = &shared.limits;
    let exchange = async {
        stream::write_frame(&mut halves.writer, &own.encode(), limits.write).await?;
        let next = halves.reader.next(HELLO_LIMIT, limits.first_frame).await?;
        next.map(|frame| Hello::decode(&frame))
            .transpose()
            .map_err(stream::Error::from)
    };
    match timeout(limits.first_frame, exchange).await {
        Ok(Ok(Some(_))) => Ok(()),
        Ok(Ok(None)) => Err((Failure::Refused, "it ended the connection".into())),
        Ok(Err(error)) => Err((error.failure(), error.to_string())),
        Err(_) => Err((Failure::Slow, "its first frame took too long".into())),
    }
}
