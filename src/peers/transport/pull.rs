//! All records once, for one who cannot prove who it is: before its join, or off for longer than its
//! certificate lasted.
//!
//! It says that it pulls, is sent what there is, and the connection ends. Nothing that it sends after its
//! hello is read. It verifies the server as every member does, and every record by its signature.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::counters::{Counters, Failure};
use super::dial;
use super::frame::{self, Hello, Purpose};
use super::pulls::Begun;
use super::shared::{Shared, lock};
use super::stream::{self, Halves};
use super::{Incoming, Peer, tls};

/// One pull's answer. Whoever drops it ends the connection without an answer.
#[derive(Debug)]
pub struct Answer(oneshot::Sender<Vec<Vec<u8>>>);

impl Answer {
    /// Sends these frames, each of 1 to 64 KiB, and ends the connection.
    pub fn send(self, frames: Vec<Vec<u8>>) {
        // Who asked may have gone.
        let _ = self.0.send(frames);
    }
}

/// What was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Who answered.
    pub from: Peer,
    /// What it sent, complete.
    pub frames: Vec<Vec<u8>>,
}

/// Why nothing was pulled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// Nobody of the cluster is there, or it did not answer.
    #[error("cannot pull from {at}: {reason}")]
    Failed {
        /// The address.
        at: SocketAddr,
        /// Why not.
        reason: String,
    },
    /// More than is taken.
    #[error("cannot pull from {at}: it sends more than {limit} bytes")]
    TooMuch {
        /// The address.
        at: SocketAddr,
        /// What is taken.
        limit: usize,
    },
    /// It took too long.
    #[error("cannot pull from {at}: it took too long")]
    Slow {
        /// The address.
        at: SocketAddr,
    },
}

/// Answers one that pulls.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    mut halves: Halves,
    from: Option<Peer>,
    at: SocketAddr,
) {
    let begun = lock(&shared.pulls).begin(at.ip(), Instant::now());
    let Begun { place, lost } = match begun {
        Ok(begun) => begun,
        Err(why) => return shared.fail(at, Failure::TooMany, why),
    };
    let exchange = exchange(shared, &mut halves, from, at);
    let answered = tokio::select! {
        answered = timeout(shared.limits.pull, exchange) => answered,
        Ok(()) = lost => {
            // Its place is another's already.
            return shared.fail(at, Failure::Stalled, "it pulls, and others wait");
        }
    };
    lock(&shared.pulls).end(place);
    match answered {
        Ok(Ok(())) => Counters::one(&shared.counters.pulls),
        Ok(Err(error)) => shared.fail(at, error.failure(), &format!("it pulls: {error}")),
        Err(_) => shared.fail(at, Failure::Stalled, "it pulls, and takes too long"),
    }
}

async fn exchange(
    shared: &Shared,
    halves: &mut Halves,
    from: Option<Peer>,
    at: SocketAddr,
) -> Result<(), stream::Error> {
    let (sender, frames) = oneshot::channel();
    let answer = Answer(sender);
    let asked = shared.incoming.send(Incoming::Pull { from, at, answer });
    if asked.await.is_err() {
        return Ok(());
    }
    let Ok(frames) = frames.await else {
        return Ok(());
    };
    let limit = shared.limits.write;
    let hello = Hello {
        purpose: Purpose::Pull,
        port: shared.port.load(Ordering::Relaxed),
    };
    stream::write_frame(&mut halves.writer, &hello.encode(), limit).await?;
    for frame in frames {
        stream::write_frame(&mut halves.writer, &frame, limit).await?;
        Counters::one(&shared.counters.frames_out);
        Counters::more(&shared.counters.bytes_out, frame.len());
    }
    // The end is signed: what is cut off on its way is told from what is complete.
    halves.writer.shutdown().await?;
    Ok(())
}

/// Pulls from whoever of the cluster is at an address.
pub(super) async fn pull(shared: &Shared, at: SocketAddr) -> Result<Pulled, PullError> {
    let pulled = timeout(shared.limits.pull, ask(shared, at)).await;
    pulled.unwrap_or(Err(PullError::Slow { at }))
}

async fn ask(shared: &Shared, at: SocketAddr) -> Result<Pulled, PullError> {
    let failed = |reason: String| PullError::Failed { at, reason };
    let refused = |(_, words): (Failure, String)| failed(words);
    let limits = &shared.limits;
    let stream = dial::connect(shared, at).await.map_err(refused)?;
    let shaken = timeout(limits.handshake, shared.tls.pull(stream)).await;
    let stream = shaken
        .map_err(|_| failed("the handshake took too long".into()))?
        .map_err(|error| failed(tls::words(&error)))?;
    let from = dial::server(shared, &stream).map_err(refused)?;
    let mut halves = Halves::new(stream);
    let (purpose, port) = (Purpose::Pull, 0);
    let hello = dial::hello(shared, &mut halves, Hello { purpose, port });
    hello.await.map_err(refused)?;

    let (mut frames, mut bytes) = (Vec::new(), 0);
    loop {
        let next = halves.reader.next(limits.frame_bytes, limits.frame);
        let Some(frame) = next.await.map_err(|error| failed(error.to_string()))? else {
            break;
        };
        bytes += frame.len() + frame::HEAD;
        if bytes > limits.pull_bytes {
            let limit = limits.pull_bytes;
            return Err(PullError::TooMuch { at, limit });
        }
        Counters::one(&shared.counters.frames_in);
        Counters::more(&shared.counters.bytes_in, frame.len());
        frames.push(frame);
    }
    shared.met(&from, Some(at));
    Ok(Pulled { from, frames })
}
