//! Questions over UDP.
//!
//! One loop per socket that takes a datagram, answers it and takes the next: nothing is ever queued
//! in the process, and what comes faster than it can be answered is dropped by the kernel.

use std::io;
use std::time::Duration;

use tokio::net::UdpSocket;

use super::listener::{LAST_CALL, Stop, stopped};
use super::service::{Service, add_one};
use super::{MAX_REQUEST, Transport};

/// How many datagrams are answered before other tasks get their turn.
const BATCH: usize = 64;

/// Answers until it is told to stop, and then what had arrived by then.
pub(super) async fn serve(socket: &UdpSocket, service: &Service, mut stop: Stop) {
    let mut request = vec![0; MAX_REQUEST];
    let mut reply = Vec::new();
    loop {
        tokio::select! {
            biased;
            ready = socket.readable() => {
                if let Err(error) = ready.and_then(|()| drain(socket, service, &mut request, &mut reply)) {
                    tracing::warn!(%error, "cannot receive DNS messages; retrying");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                // Others first: the TCP listener, timers, the order to stop.
                tokio::task::yield_now().await;
                if *stop.borrow() {
                    break;
                }
            }
            () = stopped(&mut stop) => break,
        }
    }
    // The sign to stop may be seen before the datagram that came earlier.
    if let Ok(Ok(())) = tokio::time::timeout(LAST_CALL, socket.readable()).await {
        let _ = drain(socket, service, &mut request, &mut reply);
    }
}

/// Answers what is there, up to a batch.
fn drain(
    socket: &UdpSocket,
    service: &Service,
    request: &mut [u8],
    reply: &mut Vec<u8>,
) -> io::Result<()> {
    for _ in 0..BATCH {
        let (length, source) = match socket.try_recv_from(request) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        service.reply(&request[..length], source, Transport::Udp, reply);
        // A client that cannot take its reply asks again. Waiting for it would hold up the others.
        if !reply.is_empty() && socket.try_send_to(reply, source).is_err() {
            add_one(&service.counts.unanswered);
        }
    }
    Ok(())
}
