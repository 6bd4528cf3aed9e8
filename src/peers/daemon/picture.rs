//! What the process shows of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::command::{Counts, Member, Own, Picture, State, Traffic};
use super::life::Daemon;
use super::names;
use crate::clock;
use crate::peers::changes;
use crate::peers::gossip::{Identity, Who};
use crate::peers::sign::CERTIFICATE;
use crate::peers::store;
use crate::peers::transport::{Counters, Failure};
use crate::pki::moment::TOLERANCE;

impl Daemon {
    /// What is known at this moment.
    pub(super) fn picture(&self) -> Picture {
        Picture {
            own: Own {
                who: self.handle.own().as_ref().and_then(names::who),
                addresses: self.own_sockets(),
                listening: self.handle.listening().to_vec(),
                multicast: self.multicast.names(),
                agent: self.agent,
                lonely: self.is_lonely(),
            },
            members: self.everybody(),
            ledger: self.records.ledger().clone(),
            problems: self.problems(),
            counts: Counts {
                taken: self.records.version(),
                refused: self.records.refused(),
                multicast_dropped: self.multicast.dropped(),
                told_agent: self.link.told(),
                save_failures: self.disk.failures(),
                ..self.counts
            },
            traffic: traffic(self.handle.counters(), self.handle.connections().len()),
        }
    }

    fn everybody(&self) -> Vec<Member> {
        let Some(gossip) = &self.gossip else {
            return Vec::new();
        };
        let now = self.now();
        let connections = self.handle.connections();
        let connected: BTreeSet<Who> = connections
            .iter()
            .filter_map(|connection| names::who(&connection.peer))
            .collect();
        let up: BTreeSet<&Who> = gossip.members().map(Identity::who).collect();
        let masters = self.masters();
        let mut told: BTreeMap<Who, Vec<_>> = masters
            .clone()
            .into_iter()
            .map(|(name, at)| (Who::Master(name), at))
            .collect();
        for identity in gossip.known() {
            let at = told.entry(identity.who().clone()).or_default();
            let more = identity.addresses().iter();
            let more: Vec<_> = more.filter(|it| !at.contains(it)).copied().collect();
            at.extend(more);
        }
        told.remove(gossip.identity().who());
        let (digest, instant) = (self.records.ledger().digest(), Instant::now());
        let counts = |who: &Who| matches!(who, Who::Master(name) if masters.contains_key(name));
        let member = |(who, addresses)| Member {
            state: match up.contains(&who) {
                true => State::Up,
                false if counts(&who) || !self.others.is_gone(&who, instant) => State::Down,
                false => State::Gone,
            },
            connected: connected.contains(&who),
            heard: gossip.last_contact(&who).map(|at| now.saturating_sub(at)),
            digest: self.others.digest(&who, digest, instant),
            who,
            addresses,
        };
        told.into_iter().map(member).collect()
    }

    /// What a person should know.
    fn problems(&self) -> Vec<String> {
        let mut problems = self.key_problems.clone();
        problems.extend(self.voice.problem.clone());
        if let Some(signer) = self.voice.signer() {
            let own = &signer.certificate().certificate;
            let clock = i64::try_from(clock::unix_now()).unwrap_or(i64::MAX);
            problems.extend(out_of_time(own.not_before, own.not_after, clock));
        }
        if !self.records.can_judge() {
            problems.push(
                "the cluster's authority (/etc/kubernetes/pki/ca.crt) is not there yet: no record can be believed".into(),
            );
        }
        if self.handle.own().is_none() {
            problems.push(
                "no valid certificate to take part with (a master's pki/stayput, or the kubelet's): records are only pulled".into(),
            );
        }
        if !self.files.are_watched() {
            problems.push(changes::UNWATCHED.to_owned());
        }
        if self.disk.is_failing() {
            problems.push(format!("{} cannot be written; see the log", store::PATH));
        }
        if self.hold.is_lost() {
            problems.push(
                "saved records were lost: the agent keeps what it knows until another node has shown its records".into(),
            );
        }
        if self.disk.is_spared() {
            problems.push(format!("{} cannot be read; see the log", store::PATH));
        }
        problems
    }
}

/// What is wrong with the time of the certificate to speak with; Unix times.
fn out_of_time(not_before: i64, not_after: i64, clock: i64) -> Option<String> {
    if clock > not_after {
        return Some(format!(
            "{CERTIFICATE} has ended: this node takes part as no master; `stayput certs renew --force stayput`"
        ));
    }
    let ahead = not_before.saturating_sub(clock);
    (ahead > TOLERANCE).then(|| {
        format!(
            "{CERTIFICATE} begins {ahead} s after this node's clock: the clock is wrong, or the one by which it was issued was; set the clock, else `stayput certs renew --force stayput`"
        )
    })
}

fn traffic(counters: &Counters, connections: usize) -> Traffic {
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let failures = Failure::ALL.iter();
    Traffic {
        connections: connections as u64,
        accepted: of(&counters.accepted),
        dialled: of(&counters.dialled),
        unreachable: of(&counters.unreachable),
        frames_in: of(&counters.frames_in),
        frames_out: of(&counters.frames_out),
        bytes_in: of(&counters.bytes_in),
        bytes_out: of(&counters.bytes_out),
        dropped: of(&counters.dropped),
        pulls: of(&counters.pulls),
        failures: failures
            .map(|failure| (failure.label(), counters.failures(*failure)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_out_of_its_time_is_a_problem() {
        let cases = [
            (1_000, None),
            (2_000, None),
            (2_001, Some("has ended")),
            (1_000 - TOLERANCE, None),
            (999 - TOLERANCE, Some("after this node's clock")),
        ];
        for (clock, wanted) in cases {
            let problem = out_of_time(1_000, 2_000, clock);
            assert_eq!(problem.is_some(), wanted.is_some(), "{clock}: {problem:?}");
            if let (Some(problem), Some(wanted)) = (problem, wanted) {
                assert!(problem.contains(wanted), "{clock}: {problem}");
            }
        }
    }
}
