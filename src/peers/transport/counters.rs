//! What is counted for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a connection came to nothing, or ended against this node's will.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Failure {
    /// Too many handshakes of one source, or too often.
    TooMany,
    /// The handshake or the first frame took too long.
    Slow,
    /// What came is no TLS.
    Garbage,
    /// TLS, but not 1.3, or not this protocol.
    Protocol,
    /// A certificate that is not of this cluster, or not valid now.
    Certificate,
    /// The other side did not take this node's certificate, or had no place for it.
    Refused,
    /// The connection broke off during the handshake.
    Broken,
    /// A frame that is none, or a first one that is no hello.
    Frame,
    /// No certificate, and more was wanted than to pull.
    Stranger,
    /// Somebody else than who was expected.
    Unexpected,
    /// More frames or bytes than one may send.
    Flood,
    /// What was sent was not taken.
    Stalled,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::TooMany,
        Self::Slow,
        Self::Garbage,
        Self::Protocol,
        Self::Certificate,
        Self::Refused,
        Self::Broken,
        Self::Frame,
        Self::Stranger,
        Self::Unexpected,
        Self::Flood,
        Self::Stalled,
    ];

    /// The value of the label `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Self::TooMany => "too_many",
            Self::Slow => "slow",
            Self::Garbage => "garbage",
            Self::Protocol => "protocol",
            Self::Certificate => "certificate",
            Self::Refused => "refused",
            Self::Broken => "broken",
            Self::Frame => "frame",
            Self::Stranger => "stranger",
            Self::Unexpected => "unexpected",
            Self::Flood => "flood",
            Self::Stalled => "stalled",
        }
    }
}

/// Counters that only grow, from the start of the program.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that others made and that were finished.
    pub accepted: AtomicU64,
    /// Connections that this node made and that were finished.
    pub dialled: AtomicU64,
    /// Attempts to dial that failed, for whatever reason.
    pub unreachable: AtomicU64,
    /// Frames that came.
    pub frames_in: AtomicU64,
    /// Frames that were written.
    pub frames_out: AtomicU64,
    /// Their bytes.
    pub bytes_in: AtomicU64,
    /// Their bytes.
    pub bytes_out: AtomicU64,
    /// Frames that were never written: queues were full, or nobody was reached.
    pub dropped: AtomicU64,
    /// Pulls that were answered.
    pub pulls: AtomicU64,
    failures: [AtomicU64; Failure::ALL.len()],
}

impl Counters {
    /// One more.
    pub(super) fn one(counter: &AtomicU64) {
        Self::more(counter, 1);
    }

    /// More of them.
    pub(super) fn more(counter: &AtomicU64, amount: usize) {
        counter.fetch_add(amount as u64, Ordering::Relaxed);
    }

    /// One failure.
    pub(super) fn failed(&self, failure: Failure) {
        let place = Failure::ALL.iter().position(|each| *each == failure);
        if let Some(counter) = place.and_then(|place| self.failures.get(place)) {
            Self::one(counter);
        }
    }

    /// How often there was this failure.
    pub fn failures(&self, failure: Failure) -> u64 {
        let mut pairs = Failure::ALL.iter().zip(&self.failures);
        let found = pairs.find(|(each, _)| **each == failure);
        found.map_or(0, |(_, counter)| counter.load(Ordering::Relaxed))
    }
}
