//! An established connection with a member: what comes is handed on, what waits is written.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::counters::{Counters, Failure};
use super::pool::{End, Id, Key, New};
use super::shared::{Shared, lock};
use super::stream::{self, Halves, Reader};
use super::tls::Stream;
use super::{Incoming, Peer};

/// With whom, and how.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) halves: Halves,
    pub(super) peer: Peer,
    /// From where it comes, or where it was dialled.
    pub(super) at: SocketAddr,
}

/// Why a connection is over.
enum Over {
    /// As it should be.
    Ended,
    /// The peer did something that it must not.
    Failed(Failure, String),
}

/// Uses a connection to its end.
pub(super) async fn run(shared: &Arc<Shared>, open: Open, dialled: bool) {
    let Open { halves, peer, at } = open;
    let now = Instant::now();
    let own = shared.own.peer();
    let new = {
        let mut pool = lock(&shared.pool);
        let new = pool.connected(&peer, own.as_ref(), at, dialled, now);
        new.ok_or_else(|| pool.give_up(&Key::Peer(peer.clone())))
    };
    let New { id, wake, end } = match new {
        Ok(new) => new,
        // It is cut off, and what waits for it would wait for nothing.
        Err(dropped) => return Counters::more(&shared.counters.dropped, dropped),
    };
    Counters::one(if dialled {
        &shared.counters.dialled
    } else {
        &shared.counters.accepted
    });
    tracing::debug!("connected with {peer} at {at}");
    let Halves { reader, writer } = halves;
    let over = {
        let finished = Notify::new();
        let mut reading = pin!(reading(shared, reader, id, &peer, at));
        let mut writing = pin!(writing(shared, writer, id, &wake, end, &finished));
        tokio::select! {
            over = &mut reading => match over {
                // The other side says nothing more, and may still listen: what is being written is.
                Over::Ended => {
                    lock(&shared.pool).finished(id);
                    finished.notify_one();
                    writing.await
                }
                failed @ Over::Failed(..) => failed,
            },
            over = &mut writing => over,
        }
    };
    let again = lock(&shared.pool).closed(id);
    match over {
        Over::Ended => tracing::debug!("the connection with {peer} at {at} is over"),
        Over::Failed(failure, reason) => shared.fail(at, failure, &format!("{peer}: {reason}")),
    }
    if let Some(key) = again {
        shared.dial(key);
    }
}

async fn reading(
    shared: &Shared,
    mut reader: Reader<ReadHalf<Stream>>,
    id: Id,
    peer: &Peer,
    at: SocketAddr,
) -> Over {
    let limits = &shared.limits;
    loop {
        let bytes = match reader.next(limits.frame_bytes, limits.frame).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Over::Ended,
            Err(error) => return Over::Failed(error.failure(), error.to_string()),
        };
        let now = Instant::now();
        let received = lock(&shared.pool).received(id, bytes.len(), now);
        Counters::one(&shared.counters.frames_in);
        Counters::more(&shared.counters.bytes_in, bytes.len());
        let frame = Incoming::Frame {
            peer: peer.clone(),
            bytes,
            at,
        };
        if shared.incoming.send(frame).await.is_err() {
            return Over::Ended;
        }
        if received.floods {
            lock(&shared.pool).bar(peer, now);
            let words = "it floods this node with frames, and is cut off for a while";
            return Over::Failed(Failure::Flood, words.into());
        }
        // What is not read is held back by TCP.
        if !received.wait.is_zero() {
            sleep(received.wait).await;
        }
    }
}

async fn writing(
    shared: &Shared,
    mut writer: WriteHalf<Stream>,
    id: Id,
    wake: &Notify,
    mut end: oneshot::Receiver<End>,
    finished: &Notify,
) -> Over {
    let limits = &shared.limits;
    let mut bytes = Vec::new();
    let how = loop {
        bytes.clear();
        let frames = lock(&shared.pool).take(id, Instant::now(), &mut bytes);
        if frames == 0 {
            tokio::select! {
                () = wake.notified() => continue,
                how = &mut end => break how.unwrap_or(End::Now),
            }
        }
        if let Err(error) = stream::write(&mut writer, &bytes, limits.write).await {
            Counters::more(&shared.counters.dropped, frames);
            return Over::Failed(error.failure(), error.to_string());
        }
        Counters::more(&shared.counters.frames_out, frames);
        Counters::more(&shared.counters.bytes_out, bytes.len());
    };
    if how == End::Gently {
        // Whoever does not take this either is not waited for.
        let _ = timeout(limits.write, writer.shutdown()).await;
        tokio::select! {
            () = sleep(limits.linger) => {}
            () = finished.notified() => {}
        }
    }
    Over::Ended
}
