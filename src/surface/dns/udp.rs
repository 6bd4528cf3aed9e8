//! Questions over UDP.
//!
//! One loop per socket that takes what datagrams are there, up to a batch, answers each and sends
//! the replies by one system call: waking the clients one by one costs more than answering them.
//! Beyond the batch nothing is queued in the process; what comes faster than it can be answered is
//! dropped by the kernel.

use std::io::{self, IoSlice};
use std::time::Duration;

use rustix::net::addr::SocketAddrArg;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::listener::{LAST_CALL, Stop, stopped};
use super::service::{Service, add_one};
use super::{MAX_REQUEST, Transport};

/// How many datagrams are answered before their replies go out and other tasks get their turn.
const BATCH: usize = 32;
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// How many batches are answered after the sign to stop: more than a socket's queue holds.
const LAST_BATCHES: usize = 32;

/// Answers until it is told to stop, and then what had arrived by then.
pub(super) async fn serve(socket: &UdpSocket, service: &Service, mut stop: Stop) {
    let mut batch = Batch::new();
    loop {
        let ready = tokio::select! {
            biased;
            ready = socket.readable() => ready,
            () = stopped(&mut stop) => break,
        };
        let received = ready.and_then(|()| batch.receive(socket, service));
        batch.send(socket, service);
        if let Err(error) = received {
            tracing::warn!(%error, "cannot receive DNS messages; retrying");
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
        // Others first: the TCP listener, timers, the sign to stop.
        tokio::task::yield_now().await;
        if *stop.borrow() {
            break;
        }
    }
    // The sign may be seen before datagrams that came earlier.
    for _ in 0..LAST_BATCHES {
        let ready = timeout(LAST_CALL, socket.readable()).await;
        if !matches!(ready, Ok(Ok(()))) || batch.receive(socket, service).is_err() {
            return;
        }
        batch.send(socket, service);
    }
}

/// Replies that wait for the end of their batch, and the memory they are made in.
struct Batch {
    request: Vec<u8>,
    replies: Vec<Vec<u8>>,
    clients: Vec<SocketAddrAny>,
}

impl Batch {
    fn new() -> Self {
        Self {
            request: vec![0; MAX_REQUEST],
            replies: vec![Vec::new(); BATCH],
            clients: Vec::with_capacity(BATCH),
        }
    }

    /// Answers what is there, up to a batch, into memory.
    fn receive(&mut self, socket: &UdpSocket, service: &Service) -> io::Result<()> {
        // Counted by datagrams, not by replies: a flood of what needs none ends as well.
        for _ in 0..BATCH {
            let Some(reply) = self.replies.get_mut(self.clients.len()) else {
                break;
            };
            let (length, client) = match socket.try_recv_from(&mut self.request) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            service.reply(&self.request[..length], client, Transport::Udp, reply);
            if !reply.is_empty() {
                self.clients.push(client.as_any());
            }
        }
        Ok(())
    }

    /// Sends the batch. A reply that cannot be sent is dropped: its client asks again, and waiting
    /// for it would hold up the others.
    fn send(&mut self, socket: &UdpSocket, service: &Service) {
        let slices: Vec<[IoSlice<'_>; 1]> =
            self.replies.iter().map(|r| [IoSlice::new(r)]).collect();
        let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> = self
            .clients
            .iter()
            .map(|_| SendAncillaryBuffer::default())
            .collect();
        let mut messages: Vec<MMsgHdr<'_>> = std::iter::zip(&self.clients, &slices)
            .zip(&mut controls)
            .map(|((client, slice), control)| MMsgHdr::new_with_addr(client, slice, control))
            .collect();
        let mut rest = messages.as_mut_slice();
        while !rest.is_empty() {
            // The call ends at the first message that fails, and says why only if it is the first.
            let sent =
                rustix::net::sendmmsg(socket, rest, SendFlags::DONTWAIT).unwrap_or_else(|_| {
                    add_one(&service.counts.unanswered);
                    1
                });
            rest = rest.get_mut(sent.max(1)..).unwrap_or_default();
        }
        self.clients.clear();
    }
}
