//! How often and how many: foca's settings for a cluster of a size, and our own.

use std::num::{NonZeroU8, NonZeroU32, NonZeroUsize};
use std::time::Duration;

use super::wire::PACKET;
use crate::peers::allowance::Rate;

/// Times and numbers of gossip. The defaults are what nodes use; tests choose others.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Ledgers are compared with a random peer and a random master this often (30 s, give or take a
    /// fifth).
    pub exchange: Duration,
    /// A new record is passed on again this often (200 ms, give or take a quarter), until it was sent
    /// often enough.
    pub gossip: Duration,
    /// Who came and went is passed on this often (1 s, give or take a quarter). Nothing waits for it, and
    /// where a network is cut in two it is much.
    pub members: Duration,
    /// Who gets what is new each time (4).
    pub fanout: usize,
    /// A node that hears of nobody looks for others this often (2 s, rising to ten times that).
    pub search: Duration,
    /// Nobody spoke for so long (15 s): that is nobody.
    pub silence: Duration,
    /// One random member is probed this often (5 s). Nothing urgent depends on it, and each probe may
    /// cost a TLS handshake.
    pub probe: Duration,
    /// A probe without an answer for so long (2 s) is tried through others.
    pub answer: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            exchange: Duration::from_secs(30),
            gossip: Duration::from_millis(200),
            members: Duration::from_secs(1),
            fanout: 4,
            search: Duration::from_secs(2),
            silence: Duration::from_secs(15),
            probe: Duration::from_secs(5),
            answer: Duration::from_secs(2),
        }
    }
}

/// New members are asked for first this often, then ever more rarely.
pub(super) const ASK: Duration = Duration::from_secs(1);
/// … up to this.
pub(super) const ASK_RARELY: Duration = Duration::from_mins(5);

/// What a peer may tell about others.
pub(super) const TELLS: Rate = Rate {
    burst: 512,
    every: Duration::from_millis(250),
};
/// How often this node answers what is said of itself by a new generation or an alarm. Two nodes with
/// one name, or a liar, would make it answer at the speed of the network.
pub(super) const REFUTES: Rate = Rate {
    burst: 8,
    every: Duration::from_secs(5),
};
/// Kilobytes of digests and records that a peer may ask for.
pub(super) const ASKS: Rate = Rate {
    burst: 1024,
    every: Duration::from_millis(16),
};
/// Probes for others, and the answers to them: one that is asked of this node takes another's probe that
/// failed.
pub(super) const RELAYS: Rate = Rate {
    burst: 64,
    every: Duration::from_millis(200),
};
/// News of others that is passed on in the moment in which it comes.
pub(super) const AT_ONCE: Rate = Rate {
    burst: 64,
    every: Duration::from_millis(100),
};
/// Records that were not to be believed: above this nothing of a peer's is judged any more.
pub(super) const LIES: Rate = Rate {
    burst: 16,
    every: Duration::from_secs(10),
};

impl Pace {
    /// foca's settings for a cluster of so many nodes.
    ///
    /// - An update or record is sent `6 log10(n + 1)` times, at least 6: 21 times for 5,000 nodes. That is
    ///   half as often again as memberlist does, so that all get it also where half of those who are
    ///   sent it have it already, as after a network was cut in two.
    /// - A suspect has `6 log10(n)` probes' time to speak up, at least 6: 30 s for 7 nodes, 111 s for 5,000.
    /// - Who is down is remembered for a day. That is longer than a node needs to probe 10,000 members
    ///   (14 h), so that nobody who missed the news tells of the dead as of the living afterwards.
    /// - Two members that are down are asked to come back every 65 s.
    pub(super) fn foca(&self, nodes: usize) -> foca::Config {
        let size = u32::try_from(nodes).unwrap_or(u32::MAX);
        let size = NonZeroU32::new(size).unwrap_or(NonZeroU32::MIN);
        let wan = foca::Config::new_wan(size);
        let transmissions = wan.max_transmissions.get();
        let transmissions = transmissions.saturating_add(transmissions / 2).max(6);
        let probes = wan.suspect_to_down_after.div_duration_f64(wan.probe_period);
        foca::Config {
            probe_period: self.probe,
            probe_rtt: self.answer,
            num_indirect_probes: NonZeroUsize::new(self.fanout).unwrap_or(NonZeroUsize::MIN),
            max_transmissions: NonZeroU8::new(transmissions).unwrap_or(NonZeroU8::MIN),
            suspect_to_down_after: self.probe.mul_f64(probes),
            remove_down_after: Some(Duration::from_hours(24)),
            max_packet_size: NonZeroUsize::new(PACKET).unwrap_or(NonZeroUsize::MIN),
            notify_down_members: true,
            // Asked for by a rule of our own (ASK).
            periodic_announce: None,
            periodic_announce_to_down_members: Some(foca::PeriodicParams {
                frequency: Duration::from_secs(65),
                num_members: NonZeroUsize::new(2).unwrap_or(NonZeroUsize::MIN),
            }),
            // Only while there is something to pass on, by a timer of our own.
            periodic_gossip: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_follow_the_size() {
        for (nodes, transmissions, suspect) in
            [(0, 6, 30), (7, 6, 30), (200, 13, 69), (5_000, 21, 110)]
        {
            let config = Pace::default().foca(nodes);
            assert_eq!(config.max_transmissions.get(), transmissions, "{nodes}");
            assert_eq!(config.suspect_to_down_after.as_secs(), suspect, "{nodes}");
        }
    }
}
