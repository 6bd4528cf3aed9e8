//! Questions over TCP (RFC 7766): several per connection, answered in order.
//!
//! Limits: so many connections at a time, the next is closed at once; so long without a whole
//! request, then the connection is closed. One request is in work per connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::listener::{LAST_CALL, Stop, stopped};
use super::service::{Service, add_one};
use super::{MAX_REQUEST, Transport};

/// Accepts until it is told to stop; then its connections finish what they have begun.
pub(super) async fn serve(listener: TcpListener, service: Arc<Service>, mut stop: Stop) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, source)) => admit(stream, source, &service, &stop, &mut connections),
            Err(error) => {
                // Out of file descriptors, most likely. The connection stays in the kernel's queue.
                tracing::warn!(%error, "cannot accept a DNS connection; retrying");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    while let Ok(Ok((stream, source))) = timeout(LAST_CALL, listener.accept()).await {
        admit(stream, source, &service, &stop, &mut connections);
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Starts a connection, or closes it if there are too many.
fn admit(
    stream: TcpStream,
    source: SocketAddr,
    service: &Arc<Service>,
    stop: &Stop,
    connections: &mut JoinSet<()>,
) {
    let Ok(permit) = Arc::clone(&service.connections).try_acquire_owned() else {
        add_one(&service.counts.connections_refused);
        return;
    };
    let (service, stop) = (Arc::clone(service), stop.clone());
    connections.spawn(async move {
        if let Err(error) = converse(stream, source, &service, stop).await {
            tracing::debug!(%source, %error, "a DNS connection ended");
        }
        drop(permit);
    });
}

/// Answers one connection's requests until it ends, idles too long, or is told to stop.
async fn converse(
    mut stream: TcpStream,
    source: SocketAddr,
    service: &Service,
    mut stop: Stop,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let idle = service.limits.tcp_idle;
    let (mut request, mut reply) = (Vec::new(), Vec::new());
    loop {
        if !another(&stream, idle, &mut stop).await? {
            return Ok(());
        }
        timeout(idle, read_request(&mut stream, &mut request)).await??;
        service.reply(&request, source, Transport::Tcp, &mut reply);
        if !reply.is_empty() {
            timeout(idle, write_reply(&mut stream, &reply)).await??;
        }
    }
}

/// Waits for the first octet of another request, without taking it. When told to stop, only what has
/// come by then counts.
async fn another(stream: &TcpStream, idle: Duration, stop: &mut Stop) -> io::Result<bool> {
    let mut octet = [0];
    tokio::select! {
        biased;
        peeked = timeout(idle, stream.peek(&mut octet)) => peeked.map_or(Ok(false), |n| Ok(n? > 0)),
        () = stopped(stop) => {
            let peeked = timeout(LAST_CALL, stream.peek(&mut octet)).await;
            peeked.map_or(Ok(false), |n| Ok(n? > 0))
        }
    }
}

/// Reads one request: two octets of length, then the message (RFC 1035 section 4.2.2).
async fn read_request(stream: &mut TcpStream, request: &mut Vec<u8>) -> io::Result<()> {
    let length = usize::from(stream.read_u16().await?);
    if length > MAX_REQUEST {
        return Err(io::Error::other(
            "a request that is longer than any question",
        ));
    }
    request.resize(length, 0);
    stream.read_exact(request).await?;
    Ok(())
}

/// Writes one reply, length and message at once, so that they share a segment.
async fn write_reply(stream: &mut TcpStream, reply: &[u8]) -> io::Result<()> {
    let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
    let framed = [&length.to_be_bytes(), reply].concat();
    stream.write_all(&framed).await
}
