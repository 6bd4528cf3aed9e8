//! A node's part in the gossip: who is there, what is new, and who lacks what.
//!
//! [`Gossip`] is a state machine without sockets, clock or chance: the caller hands in frames, the time
//! and a seeded generator, and does what the [`Output`]s say. So thousands of them run in virtual time
//! (`benches/gossip.rs`), and the same bytes lead to the same end.
//!
//! - **Who is there** is [foca]'s SWIM: one random member is probed at a time, directly and through
//!   others. What is told of somebody else is judged first (`gate`), for a member can tell anything;
//!   what a peer says of itself stands behind its certificate and outweighs that. Nothing but what is
//!   shown, and whom news is passed on to, depends on it: **a master is talked to whatever the members
//!   say of it**, at the addresses of its signed record ([`Input::Masters`]).
//! - **What is new** is passed on at once, by whoever takes it for the first time, to a few that spoke
//!   lately (not where there is ever more of it, as from a key that was stolen); then it travels as foca's broadcast, to a few random members every 200 ms until it was sent
//!   often enough. A master's own record goes to all masters at once.
//! - **Who lacks what**: every 30 s ledgers are compared with a random master and a random peer that ever
//!   spoke, by digest, then by pages of digests; then only what is missing travels, both ways.
//!
//! A node that hears of nobody loses nothing: it looks for all that it ever knew, and says
//! [`Output::Lonely`] so that the caller tries what else there is.
//!
//! Everything is bounded: [`MEMBERS`], frames ([`FRAME`]), what one peer may tell, ask for, and lie.

mod contacts;
mod events;
mod exchange;
mod gate;
mod identity;
mod ledger;
mod meet;
mod pace;
mod spread;
mod swim;
mod timers;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use foca::{AccumulatingRuntime, Foca, PostcardCodec};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::name::Name;
use crate::peers::allowance::Allowance;
use contacts::Contacts;
use spread::Stamps;
use timers::{Due, Round, Timers};
use wire::Frame;

pub use events::{Input, Output, Refusal};
pub use identity::{ADDRESSES, Identity, IdentityError, NodeName, Tag, Who};
pub use ledger::{Digest, Ledger, RECORD, Stamp, Verdict};
pub use pace::Pace;
pub use wire::{FRAME, Malformed};

/// Members that are remembered, down or not: at most these.
pub const MEMBERS: usize = 10_000;

/// Addresses that one [`Output::Send`] names: at most these.
const DIALLED: usize = 12;

/// A node's part in the gossip. Time is a [`Duration`] since any moment that the caller fixes.
pub struct Gossip<L: Ledger> {
    foca: Foca<Identity, PostcardCodec, SmallRng, Stamps<L>>,
    effects: AccumulatingRuntime<Identity>,
    rng: SmallRng,
    pace: Pace,
    contacts: Contacts,
    masters: BTreeMap<Name, Vec<SocketAddr>>,
    timers: Timers,
    refutes: Allowance,
    at_once: Allowance,
    /// When anybody spoke last; `None` after a start or a move.
    heard: Option<Duration>,
    /// The present pause between two searches, and between two questions for members.
    search: Duration,
    ask: Duration,
    /// Members at the last question, and at the last look at foca's settings.
    asked: usize,
    sized: usize,
}

impl<L: Ledger> Gossip<L> {
    /// A node that knows nobody yet. Its first search is due at once.
    pub fn new(identity: Identity, pace: Pace, mut rng: SmallRng, now: Duration) -> Self {
        let config = pace.foca(0);
        let foca = Foca::with_custom_broadcast(
            identity,
            config,
            SmallRng::from_rng(&mut rng),
            PostcardCodec,
            Stamps::default(),
        );
        let mut gossip = Self {
            foca,
            effects: AccumulatingRuntime::new(),
            rng,
            search: pace.search,
            pace,
            contacts: Contacts::default(),
            masters: BTreeMap::new(),
            timers: Timers::default(),
            refutes: Allowance::default(),
            at_once: Allowance::default(),
            heard: None,
            ask: pace::ASK,
            asked: 0,
            sized: 0,
        };
        let first = gossip.jittered(gossip.pace.exchange, 5);
        gossip.timers.round(Round::Exchange, now + first);
        gossip.timers.round(Round::Search, now);
        gossip
    }

    /// Takes what happens, and says what is to be done, in this order.
    pub fn handle(&mut self, input: Input<'_>, ledger: &mut L, now: Duration) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Frame { from, bytes } => self.frame(from, bytes, ledger, now, &mut out),
            Input::Tick => self.tick(ledger, now, &mut out),
            Input::Tell(record) => self.tell(record, now, &mut out),
            Input::Moved(addresses) => self.moved(addresses, now, &mut out),
            Input::Masters(masters) => self.masters = masters,
            Input::Known(known) => self.restore(known, now),
        }
        self.settle(now, &mut out);
        out
    }

    /// When [`Input::Tick`] is due; it may be past. Ask again after each `handle`.
    pub fn deadline(&self) -> Option<Duration> {
        self.timers.deadline()
    }

    /// This node.
    pub fn identity(&self) -> &Identity {
        self.foca.identity()
    }

    /// Members that are there as far as is known, without this node.
    pub fn members(&self) -> impl Iterator<Item = &Identity> {
        self.foca.iter_members().map(foca::Member::id)
    }

    /// When a peer last spoke to this node itself.
    pub fn last_contact(&self, who: &Who) -> Option<Duration> {
        self.contacts.get(who).map(|contact| contact.heard)
    }

    /// Everybody who is worth looking for after a restart: first who spoke to this node itself, masters
    /// before others, the latest first; then who is only known from others. At most 2 × [`MEMBERS`].
    pub fn known(&self) -> Vec<Identity> {
        let mut spoke: Vec<_> = self
            .contacts
            .iter()
            .filter_map(|(who, contact)| Some((who, contact, contact.identity.as_ref()?)))
            .collect();
        spoke.sort_by_key(|(who, contact, _)| {
            let worker = matches!(who, Who::Worker(_));
            (worker, std::cmp::Reverse(contact.heard))
        });
        let mut seen = BTreeSet::new();
        let spoke = spoke.into_iter().map(|(_, _, identity)| identity);
        let told = self.foca.iter_membership_state().map(foca::Member::id);
        let all = spoke.chain(told).filter(|one| seen.insert(one.tag()));
        all.cloned().collect()
    }

    /// A frame for somebody who is known by address only: who takes it gets in touch.
    pub fn hello(&self, ledger: &L) -> Vec<u8> {
        let me = self.identity().clone();
        let digest = ledger.digest();
        Frame::Compare { me, digest }.encode()
    }

    fn frame(
        &mut self,
        from: &Who,
        bytes: &[u8],
        ledger: &mut L,
        now: Duration,
        out: &mut Vec<Output>,
    ) {
        if from == self.identity().who() {
            return refuse(out, from, Refusal::Twin);
        }
        let frame = match Frame::decode(bytes) {
            Ok(frame) => frame,
            Err(malformed) => return refuse(out, from, malformed.into()),
        };
        if let Some(claimed) = claimed(&frame).filter(|claimed| claimed != from) {
            return refuse(out, from, Refusal::Impostor(claimed));
        }
        self.heard = Some(now);
        self.contacts.hear(from, now);
        match frame {
            Frame::Swim(packet) => self.swim(from, packet, ledger, now, out),
            Frame::Compare { me, digest } => self.compared(&me, digest, ledger, now, out),
            Frame::Summary { after, to, held } => {
                let theirs = held.iter();
                let difference = exchange::compare(after, to, theirs, &ledger.held());
                self.want(from, &difference.wanted, out);
                self.give(from, difference.missed.into_iter(), ledger, now, out);
            }
            Frame::Want(digests) => self.give(from, digests.iter(), ledger, now, out),
            Frame::Records(records) => self.take(from, records, ledger, now, out),
            Frame::Outbid(generation) => self.outbid(generation, now, out),
        }
    }

    fn tick(&mut self, ledger: &mut L, now: Duration, out: &mut Vec<Output>) {
        while let Some(due) = self.timers.pop(now) {
            match due {
                Due::Swim(timer) => self.swim_timer(timer),
                Due::Round(Round::News) => self.pass_on(),
                Due::Round(Round::Members) => self.pass_on_members(),
                Due::Round(Round::Exchange) => self.compare(ledger, now, out),
                Due::Round(Round::Search) => self.look_for_anybody(ledger, now, out),
                Due::Round(Round::Ask) => self.ask_for_members(now),
            }
            self.settle(now, out);
        }
    }

    /// A frame for a peer, with all the addresses that it may have.
    fn send(&self, to: &Who, frame: &Frame<'_>) -> Output {
        Output::Send {
            to: to.clone(),
            addresses: self.addresses(to),
            frame: frame.encode(),
        }
    }

    /// Where a peer may listen: by signed records; then as it said itself and as others say, the newer
    /// generation first.
    fn addresses(&self, who: &Who) -> Vec<SocketAddr> {
        let signed = match who {
            Who::Master(name) => self.masters.get(name).map(Vec::as_slice),
            Who::Worker(_) => None,
        };
        let proven = self.contacts.proven(who);
        let told = self.held(Tag::from(who)).map(foca::Member::id);
        let mut said = [proven, told];
        said.sort_by_key(|one| one.map(|one| std::cmp::Reverse(one.generation())));
        let said = said.into_iter().flatten();
        let all = signed
            .into_iter()
            .chain(said.map(Identity::addresses))
            .flatten();
        let mut addresses = Vec::new();
        for address in all {
            if addresses.len() < DIALLED && !addresses.contains(address) {
                addresses.push(*address);
            }
        }
        addresses
    }

    /// Whether a peer says of itself that it is where somebody else can be.
    fn is_elsewhere(&self, peer: &Identity, out: &mut Vec<Output>) -> bool {
        let astray = peer.astray(self.identity());
        if let Some(address) = astray {
            let error = IdentityError::Address(address);
            refuse(out, peer.who(), error.into());
        }
        astray.is_none()
    }

    /// A time that differs from node to node and from round to round, by up to a part of it.
    fn jittered(&mut self, time: Duration, part: u32) -> Duration {
        let off = time / part;
        time.saturating_sub(off) + off.mul_f64(self.rng.random_range(0.0..2.0))
    }
}

/// Who a frame says that it is from; `None` where it does not say, or is no frame. It is for the caller
/// to know before anything is decided by it; [`Gossip::handle`] refuses one that is not from there.
pub fn sender(frame: &[u8]) -> Option<Who> {
    claimed(&Frame::decode(frame).ok()?)
}

/// The digest of all records of whoever sent a frame, where it tells.
pub fn digest(frame: &[u8]) -> Option<Digest> {
    match Frame::decode(frame).ok()? {
        Frame::Compare { digest, .. } => Some(digest),
        _ => None,
    }
}

/// The digests of all records of whoever sent a frame, where it is a page that leaves nothing out.
pub fn shown(frame: &[u8]) -> Option<Vec<Digest>> {
    match Frame::decode(frame).ok()? {
        Frame::Summary {
            after: None,
            to: None,
            held,
        } => Some(held.iter().collect()),
        _ => None,
    }
}

/// The records that a frame brings because they were asked for or are missed.
pub fn brought(frame: &[u8]) -> Vec<&[u8]> {
    match Frame::decode(frame) {
        Ok(Frame::Records(records)) => records.iter().collect(),
        _ => Vec::new(),
    }
}

/// What a node sends that holds only this.
#[cfg(test)]
pub(crate) fn page(held: &[Digest]) -> Vec<u8> {
    exchange::pages(held).remove(0)
}

/// What a node sends that was asked for this record.
#[cfg(test)]
pub(crate) fn bringing(record: &[u8]) -> Vec<u8> {
    let mut items = Vec::new();
    wire::Items::push(&mut items, record);
    Frame::Records(wire::Items::over(&items)).encode()
}

fn claimed(frame: &Frame<'_>) -> Option<Who> {
    match frame {
        Frame::Swim(packet) => {
            let header: foca::Header<Identity> = postcard::take_from_bytes(packet).ok()?.0;
            Some(header.src.who().clone())
        }
        Frame::Compare { me, .. } => Some(me.who().clone()),
        Frame::Summary { .. } | Frame::Want(_) | Frame::Records(_) | Frame::Outbid(_) => None,
    }
}

fn refuse(out: &mut Vec<Output>, from: &Who, why: Refusal) {
    out.push(Output::Refused {
        from: from.clone(),
        why,
    });
}
