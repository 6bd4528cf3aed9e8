//! One socket and its life: bound by itself, retried while it cannot be, served until it is told to
//! stop.

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

use super::service::Service;
use super::{Transport, tcp, udp};

/// How long a stopped listener looks for requests that had arrived before.
pub(super) const LAST_CALL: Duration = Duration::from_millis(50);

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// A bound socket.
#[derive(Debug)]
pub(super) enum Socket {
    Udp(UdpSocket),
    Tcp(TcpListener),
}

/// True once the listener is to stop.
pub(super) type Stop = watch::Receiver<bool>;

/// Returns once the listener is to stop.
pub(super) async fn stopped(stop: &mut Stop) {
    // An error means that the responder is gone, which is reason enough.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Binds one address. Must be called in the runtime that serves it.
pub(super) fn bind(address: SocketAddr, transport: Transport) -> io::Result<Socket> {
    if address.ip().is_unspecified() {
        // A reply would leave by whatever address the route says, not by the one that was asked.
        let kind = io::ErrorKind::InvalidInput;
        return Err(io::Error::new(
            kind,
            "list each address to listen on by itself",
        ));
    }
    match transport {
        Transport::Udp => {
            let socket = std::net::UdpSocket::bind(address)?;
            socket.set_nonblocking(true)?;
            UdpSocket::from_std(socket).map(Socket::Udp)
        }
        Transport::Tcp => {
            let socket = std::net::TcpListener::bind(address)?;
            socket.set_nonblocking(true)?;
            TcpListener::from_std(socket).map(Socket::Tcp)
        }
    }
}

/// Serves an address until it is told to stop. `bound` is what the first attempt to bind gave.
pub(super) async fn keep(
    address: SocketAddr,
    transport: Transport,
    mut bound: io::Result<Socket>,
    service: Arc<Service>,
    mut stop: Stop,
) {
    let mut wait = FIRST_RETRY;
    loop {
        match bound {
            Ok(socket) => {
                service.set_state(address, transport, None);
                tracing::info!(%address, %transport, "DNS listens");
                let serving = serve(socket, Arc::clone(&service), stop.clone());
                if AssertUnwindSafe(serving).catch_unwind().await.is_ok() {
                    return;
                }
                let state = "serving ended unexpectedly; please report this".to_owned();
                service.set_state(address, transport, Some(state));
                wait = FIRST_RETRY;
            }
            Err(error) => {
                let state = format!("cannot bind: {error}");
                if wait == FIRST_RETRY {
                    tracing::warn!(%address, %transport, %error, "DNS cannot listen; retrying");
                }
                service.set_state(address, transport, Some(state));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stopped(&mut stop) => return,
        }
        wait = (wait * 2).min(LAST_RETRY);
        bound = bind(address, transport);
    }
}

async fn serve(socket: Socket, service: Arc<Service>, stop: Stop) {
    match socket {
        Socket::Udp(socket) => udp::serve(&socket, &service, stop).await,
        Socket::Tcp(listener) => tcp::serve(listener, service, stop).await,
    }
}
