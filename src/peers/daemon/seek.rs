//! Looks for others: for anybody while nobody answers, and for each master that is not heard.
//!
//! Gossip searches too, among those whom it knows by name. Here are the addresses: of the book, of earlier
//! runs, of seeds; whoever is there now, is told hello. And multicast, when all of that leads nowhere.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use rand::RngExt;
use rand::seq::SliceRandom;
use tokio::time::Instant;

use super::life::Daemon;
use super::names;
use super::places::{Places, Sources};
use crate::peers::gossip::{Identity, Who};
use crate::peers::transport::{Peer, To};

/// How often anybody is looked for while nobody answers, give or take a quarter.
const SEARCH: Duration = Duration::from_secs(2);
/// Nobody spoke for so long: that is nobody.
const SILENCE: Duration = Duration::from_secs(15);
/// How often a master looks for each other one that is silent, and any other node does. Two halves of a
/// network that was cut find each other by this, whatever gossip says of the others' health.
const MASTERS: Duration = Duration::from_secs(5);
const MASTERS_BY_OTHERS: Duration = Duration::from_secs(30);
/// Silent masters that are dialled at a time.
const FEW: usize = 8;
/// Seeds that are dialled with them.
const FEW_SEEDS: usize = 3;
/// How often the own record may be shown by multicast, and how often where only some master is silent.
pub(super) const SHOW: Duration = Duration::from_secs(2);
const SHOW_RARELY: Duration = Duration::from_secs(30);

/// When something was done last.
#[derive(Debug, Default)]
pub(super) struct Last {
    masters: Option<Instant>,
    shown: Option<Instant>,
}

impl Daemon {
    /// Whether nobody has spoken for a while.
    pub(super) fn is_lonely(&self) -> bool {
        self.heard.is_none_or(|heard| heard.elapsed() >= SILENCE)
    }

    /// Dials a few addresses, and tells when to do so again.
    pub(super) fn search(&mut self) -> Instant {
        if self.is_lonely() {
            for at in self.turn.next(&self.places()).concat() {
                self.hello(To::Address(at));
            }
        }
        self.look_for_masters();
        self.pull();
        let pause = SEARCH.mul_f64(self.rng.random_range(0.75..1.25));
        Instant::now() + pause
    }

    /// Says hello to one who may have moved, or was never spoken to.
    pub(super) fn greet(&mut self, peer: Peer, at: Vec<SocketAddr>) {
        self.hello(To::Peer(peer, at));
    }

    fn hello(&mut self, to: To) {
        if let Some(gossip) = &self.gossip {
            self.handle.send(to, gossip.hello(&self.records));
        }
    }

    /// Everywhere that somebody may be.
    pub(super) fn places(&self) -> Places {
        let mut sources = Sources {
            masters: self.masters().into_values().flatten().collect(),
            seeds: self.seeds.now(),
            ..Sources::default()
        };
        for contact in self.handle.known() {
            match contact.peer {
                Peer::Master(_) => sources.masters.extend(contact.addresses),
                Peer::Node(_) => sources.met.extend(contact.addresses),
            }
        }
        let members = match &self.gossip {
            Some(gossip) => gossip.known(),
            None => self.members.told.clone(),
        };
        let told = members.iter().flat_map(Identity::addresses);
        sources.told.extend(told);
        Places::new(sources, &self.own_sockets())
    }

    /// Masters that have not spoken to this node for a while.
    fn silent_masters(&self) -> Vec<(Peer, Vec<SocketAddr>)> {
        let Some(gossip) = &self.gossip else {
            return Vec::new();
        };
        let now = self.now();
        let masters = self.masters().into_iter().filter_map(|(name, at)| {
            let who = Who::Master(name);
            let heard = gossip.last_contact(&who);
            let silent = heard.is_none_or(|heard| now.saturating_sub(heard) >= SILENCE);
            let other = *gossip.identity().who() != who;
            (silent && other).then(|| (names::peer(&who), at))
        });
        masters.collect()
    }

    /// Where this node is, and those with whom it has a connection.
    fn near(&self) -> Vec<SocketAddr> {
        let connections = self.handle.connections();
        let connected: BTreeSet<&Peer> = connections.iter().map(|each| &each.peer).collect();
        let known = self.handle.known();
        let met = known
            .iter()
            .filter(|contact| connected.contains(&contact.peer));
        // The newest comes first; elsewhere somebody else may be by now.
        let met = met.filter_map(|contact| contact.addresses.first().copied());
        let dialled = connections.iter().map(|each| each.at);
        self.own_sockets()
            .into_iter()
            .chain(dialled)
            .chain(met)
            .collect()
    }

    fn look_for_masters(&mut self) {
        let is_master = self.voice.signer().is_some();
        let pause = if is_master {
            MASTERS
        } else {
            MASTERS_BY_OTHERS
        };
        if self.last.masters.is_some_and(|last| last.elapsed() < pause) {
            return;
        }
        self.last.masters = Some(Instant::now());
        let mut silent = self.silent_masters();
        if silent.is_empty() {
            return;
        }
        // Where it is now nobody here may know: the two halves of a network that was cut, each of which
        // has moved, meet again where both look.
        let mut seeds = others(self.seeds.now(), &self.near());
        seeds.shuffle(&mut self.rng);
        for seed in seeds.into_iter().take(FEW_SEEDS) {
            self.hello(To::Address(seed));
        }
        silent.shuffle(&mut self.rng);
        for (peer, at) in silent.into_iter().take(FEW) {
            self.greet(peer, at);
        }
    }

    /// Shows the own record to everybody on the links, while nobody answers or not everybody knows it.
    pub(super) fn show(&mut self) {
        let soon = self.voice.is_shown() || self.is_lonely();
        let rarely = || {
            let last = self.last.shown;
            last.is_none_or(|last| last.elapsed() >= SHOW_RARELY)
                && !self.silent_masters().is_empty()
        };
        if !soon && !rarely() {
            return;
        }
        if let Some(record) = self.own_record() {
            self.last.shown = Some(Instant::now());
            self.counts.multicast_sent += self.multicast.send(&record);
        }
    }
}

/// Seeds at which nobody is known to be already, each once.
fn others(seeds: Vec<SocketAddr>, near: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut others = Vec::new();
    for seed in seeds {
        if !near.contains(&seed) && !others.contains(&seed) {
            others.push(seed);
        }
    }
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_there_already_is_no_seed() {
        let [a, b, own] = ["10.0.0.1:8442", "10.0.0.2:8442", "10.0.0.3:8442"]
            .map(|at| at.parse::<SocketAddr>().unwrap());
        assert_eq!(others(vec![a, own, b, a], &[own]), [a, b]);
        assert_eq!(others(vec![own], &[own]), []);
        assert_eq!(others(vec![a], &[]), [a]);
    }
}
