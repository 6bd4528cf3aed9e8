//! What the process is asked, by its control socket: records to take in, and what it knows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::peers::gossip::Who;
use crate::peers::ledger::Ledger;
use crate::peers::record::Digest;

/// Work for the task that owns the records. Who asked may go away; the work is done all the same.
#[derive(Debug)]
pub enum Command {
    /// Take these records in, save them and tell others. One verdict for each, in their order, after all of
    /// them are saved.
    Offer {
        /// Records, encoded.
        records: Vec<Vec<u8>>,
        /// Where the verdicts go.
        reply: oneshot::Sender<Vec<Verdict>>,
    },
    /// Tell what is known.
    Look(oneshot::Sender<Picture>),
}

/// What became of a record that was offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken.
    News,
    /// It is held already.
    Known,
    /// What is held is newer.
    Outdone,
    /// It is not taken, and why.
    Refused(String),
}

/// What the process knows at a moment.
#[derive(Debug, Clone)]
pub struct Picture {
    /// This node.
    pub own: Own,
    /// Everybody else that is known, by name.
    pub members: Vec<Member>,
    /// All records that are held.
    pub ledger: Ledger,
    /// What a person should know, one line each; empty where all is well.
    pub problems: Vec<String>,
    /// What was counted since the start.
    pub counts: Counts,
    /// What the connections counted since the start.
    pub traffic: Traffic,
}

/// This node, as it takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// By which name; `None` without a certificate that is valid, when records are only pulled.
    pub who: Option<Who>,
    /// Where others are told to dial it.
    pub addresses: Vec<SocketAddr>,
    /// Where it listens.
    pub listening: Vec<SocketAddr>,
    /// The links on which multicast is heard, by name; empty where it is off.
    pub multicast: Vec<String>,
    /// Whether the agent answers.
    pub agent: bool,
    /// Whether somebody has spoken lately.
    pub lonely: bool,
}

/// Somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// By its certificate, or as others tell.
    pub who: Who,
    /// Where it may listen, the preferred address first.
    pub addresses: Vec<SocketAddr>,
    /// Whether it is there as far as the members know. Nothing depends on it.
    pub state: State,
    /// Whether there is a connection now.
    pub connected: bool,
    /// How long ago it spoke to this node itself, since the start.
    pub heard: Option<Duration>,
    /// The digest of all its records, as it said last; none where that was before a change here of which it
    /// may have heard meanwhile.
    pub digest: Option<Digest>,
}

/// Whether somebody is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is.
    Up,
    /// It does not answer.
    Down,
    /// It did not for an hour, and is no master.
    Gone,
}

/// Counters that only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that were taken, own ones too.
    pub taken: u64,
    /// Records that were refused.
    pub refused: u64,
    /// Frames that were not to be taken, records aside.
    pub malformed: u64,
    /// Records that this node has signed.
    pub signed: u64,
    /// Datagrams of multicast that were sent.
    pub multicast_sent: u64,
    /// Datagrams of multicast that were heard.
    pub multicast_heard: u64,
    /// Those of them that were too many.
    pub multicast_dropped: u64,
    /// Pulls that brought something.
    pub pulled: u64,
    /// Times that the agent was told what counts.
    pub told_agent: u64,
    /// Saves of the records that failed.
    pub save_failures: u64,
}

/// What the connections counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections now.
    pub connections: u64,
    /// Connections that others made.
    pub accepted: u64,
    /// Connections that this node made.
    pub dialled: u64,
    /// Attempts to dial that failed.
    pub unreachable: u64,
    /// Frames that came.
    pub frames_in: u64,
    /// Frames that were written.
    pub frames_out: u64,
    /// Bytes that came.
    pub bytes_in: u64,
    /// Bytes that were written.
    pub bytes_out: u64,
    /// Frames that were never written.
    pub dropped: u64,
    /// Pulls that were answered.
    pub pulls: u64,
    /// Connections that came to nothing, by reason.
    pub failures: BTreeMap<&'static str, u64>,
}
