//! Takes connections: past the gate, the handshake, and the hello.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use super::connection::{self, Open};
use super::counters::Failure;
use super::frame::{HELLO_LIMIT, Hello, Purpose};
use super::gate::{Answer, Place};
use super::shared::{Shared, lock};
use super::stream::{self, Halves};
use super::{Peer, pull, tls};

/// Connections that the kernel keeps until they are taken.
const BACKLOG: u32 = 1024;
/// After an error that is not a connection's: no more files may be open, no memory.
const RETRY: Duration = Duration::from_millis(100);

/// Listens at a port of these addresses; of all, IPv6 and IPv4, where there are none. With port 0 the
/// first gets any that is free, and the others the same.
pub(super) fn listen(addresses: &[IpAddr], port: u16) -> io::Result<Vec<TcpListener>> {
    if addresses.is_empty() {
        // A machine without IPv6 has IPv4.
        let everywhere = bind((Ipv6Addr::UNSPECIFIED, port).into());
        let listener = everywhere.or_else(|_| bind((Ipv4Addr::UNSPECIFIED, port).into()))?;
        return Ok(vec![listener]);
    }
    let mut port = port;
    let mut all = Vec::new();
    for address in addresses {
        let listener = bind((*address, port).into())?;
        port = listener.local_addr()?.port();
        all.push(listener);
    }
    Ok(all)
}

fn bind(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = match at {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    // An address that is not there may come, or come back.
    match at {
        SocketAddr::V4(_) => sockopt::set_ip_freebind(&socket, true)?,
        SocketAddr::V6(v6) => {
            sockopt::set_ipv6_v6only(&socket, !v6.ip().is_unspecified())?;
            sockopt::set_ipv6_freebind(&socket, true)?;
        }
    }
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

/// Handshakes that are going on, so that they can lose their place.
type Going = Arc<Mutex<HashMap<Place, AbortHandle>>>;

/// Takes connections for ever.
pub(super) async fn run(shared: Arc<Shared>, listener: TcpListener, going: Going) {
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::debug!("cannot take a connection: {error}");
                if !is_of_the_connection(&error) {
                    sleep(RETRY).await;
                }
                continue;
            }
        };
        let from = canonical(from);
        let answer = lock(&shared.gate).ask(from.ip(), Instant::now());
        let Answer::Come { place, loses } = answer else {
            let words = "it begins too many connections";
            shared.fail(from, Failure::TooMany, words);
            continue;
        };
        if let Some(task) = loses.and_then(|loses| lock(&going).remove(&loses)) {
            shared.counters.failed(Failure::Slow);
            task.abort();
        }
        let (own, others) = (shared.clone(), going.clone());
        // Held until the handle is in the table: a task that is over takes it out again.
        let mut table = lock(&going);
        let task = shared.spawn(async move {
            let greeted = greet(&own, stream, from).await;
            lock(&own.gate).leave(place);
            lock(&others).remove(&place);
            match greeted {
                Ok(Guest::Member(open)) => connection::run(&own, open, false).await,
                Ok(Guest::Pulls(open, peer)) => pull::answer(&own, open, peer, from).await,
                Err((failure, words)) => own.fail(from, failure, &words),
            }
        });
        table.insert(place, task);
    }
}

/// An IPv4 address that came by a socket of both families is one; an IPv6 address keeps its link.
fn canonical(from: SocketAddr) -> SocketAddr {
    match from.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, from.port()),
        IpAddr::V6(_) => from,
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

/// One that came in.
enum Guest {
    Member(Open),
    Pulls(Halves, Option<Peer>),
}

type Refusal = (Failure, String);

/// The handshake and both hellos.
async fn greet(shared: &Shared, stream: TcpStream, from: SocketAddr) -> Result<Guest, Refusal> {
    let limits = &shared.limits;
    settle(&stream).map_err(|error| (Failure::Broken, error.to_string()))?;
    let slow = |what: &str| (Failure::Slow, format!("{what} took too long"));
    let shaken = timeout(limits.handshake, shared.tls.accept(stream)).await;
    let stream = shaken
        .map_err(|_| slow("the handshake"))?
        .map_err(|error| (tls::failure(&error), tls::words(&error)))?;
    if !tls::is_ours(&stream) {
        let words = "it does not ask for stayput's protocol (ALPN)";
        return Err((Failure::Protocol, words.into()));
    }
    let peer = shared.tls.peer(tls::state(&stream));
    let peer = peer.map_err(|refused| (Failure::Certificate, refused.to_string()))?;

    let mut halves = Halves::new(stream);
    let first = halves.reader.next(HELLO_LIMIT, limits.first_frame);
    let first = timeout(limits.first_frame, first).await;
    let first = first
        .map_err(|_| slow("its first frame"))?
        .map_err(|error| (error.failure(), error.to_string()))?;
    let broken = || (Failure::Broken, "it went without a word".to_owned());
    let hello = Hello::decode(&first.ok_or_else(broken)?);
    let hello = hello.map_err(|error| (Failure::Frame, error.to_string()))?;
    let peer = match (hello.purpose, peer) {
        (Purpose::Pull, peer) => return Ok(Guest::Pulls(halves, peer)),
        (Purpose::Member, Some(peer)) => peer,
        (Purpose::Member, None) => {
            let words = "it shows no certificate, and wants more than to pull";
            return Err((Failure::Stranger, words.into()));
        }
    };
    if shared.own.is(&peer) {
        let words = format!("it says to be {peer}, which is this node itself");
        return Err((Failure::Unexpected, words));
    }
    let own = Hello {
        purpose: Purpose::Member,
        port: shared.port.load(Ordering::Relaxed),
    };
    stream::write_frame(&mut halves.writer, &own.encode(), limits.write)
        .await
        .map_err(|error| (error.failure(), error.to_string()))?;
    let mut at = from;
    at.set_port(hello.port);
    shared.met(&peer, (hello.port != 0).then_some(at));
    Ok(Guest::Member(Open {
        halves,
        peer,
        at: from,
    }))
}

/// A connection whose other end is gone is noticed soon: within 5 s where something was sent, within 25
/// s where nothing was (tcp(7)).
pub(super) fn settle(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_tcp_user_timeout(stream, 5000)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(15))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(5))?;
    sockopt::set_tcp_keepcnt(stream, 2)?;
    sockopt::set_socket_keepalive(stream, true)?;
    Ok(())
}
