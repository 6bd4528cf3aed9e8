//! How much anybody may take of this node: connections, time, bytes and memory.

use std::time::Duration;

/// All limits. The numbers are what the program runs with; tests have shorter times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections to members in all; the one that was silent longest makes room.
    pub connections: usize,
    /// Handshakes of others at the same time; the oldest makes room.
    pub handshakes: usize,
    /// Handshakes of one source at the same time (IPv6: of its /64).
    pub handshakes_of_one: usize,
    /// Handshakes of one source each second, and how many may come at once.
    pub handshakes_rate: (u32, u32),
    /// Connecting over TCP.
    pub connect: Duration,
    /// The TLS handshake.
    pub handshake: Duration,
    /// From the handshake to the first frame.
    pub first_frame: Duration,
    /// From a frame's first byte to its last.
    pub frame: Duration,
    /// A write that the other side does not take.
    pub write: Duration,
    /// Without a frame in either direction a connection ends.
    pub idle: Duration,
    /// The age at which a connection ends, so that certificates are looked at again.
    pub age: Duration,
    /// How long the rest is read from a connection that was ended.
    pub linger: Duration,
    /// How long frames wait for a peer that cannot be reached.
    pub patience: Duration,
    /// The pause before a peer is dialled again; doubled up to ten times that.
    pub redial: Duration,
    /// The largest frame, in bytes.
    pub frame_bytes: usize,
    /// Frames of one peer each second, and how many may come at once.
    pub frames_rate: (u32, u32),
    /// Bytes of one peer each second, and how many may come at once.
    pub bytes_rate: (u32, u32),
    /// A peer that sends more for this long is cut off for as long again.
    pub flood: Duration,
    /// Frames that wait for one peer; the oldest makes room.
    pub queue_frames: usize,
    /// Bytes that wait for one peer.
    pub queue_bytes: usize,
    /// Bytes that wait for all peers.
    pub queues_bytes: usize,
    /// Peers that are remembered.
    pub known: usize,
    /// Strangers that pull at the same time; the oldest of the greediest source makes room.
    pub pulls: usize,
    /// Those of one source at the same time (IPv6: of its /64).
    pub pulls_of_one: usize,
    /// Pulls each second, and how many may come at once.
    pub pulls_rate: (u32, u32),
    /// Those of one source.
    pub pulls_of_one_rate: (u32, u32),
    /// The largest answer to a pull, in bytes.
    pub pull_bytes: usize,
    /// A whole pull.
    pub pull: Duration,
    /// The same is said of the same source once in this time.
    pub note: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            handshakes: 32,
            handshakes_of_one: 8,
            handshakes_rate: (8, 64),
            connect: Duration::from_secs(3),
            handshake: Duration::from_secs(5),
            first_frame: Duration::from_secs(5),
            frame: Duration::from_secs(10),
            write: Duration::from_secs(5),
            idle: Duration::from_mins(1),
            age: Duration::from_hours(1),
            linger: Duration::from_secs(2),
            patience: Duration::from_secs(8),
            redial: Duration::from_millis(200),
            frame_bytes: 64 << 10,
            frames_rate: (200, 1000),
            bytes_rate: (1 << 20, 4 << 20),
            flood: Duration::from_secs(10),
            queue_frames: 64,
            queue_bytes: 1 << 20,
            queues_bytes: 16 << 20,
            known: 10_000,
            pulls: 4,
            pulls_of_one: 2,
            pulls_rate: (8, 64),
            pulls_of_one_rate: (2, 16),
            pull_bytes: 8 << 20,
            pull: Duration::from_secs(30),
            note: Duration::from_hours(1),
        }
    }
}
