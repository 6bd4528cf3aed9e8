//! foca at work: packets pass the gate, and what it wants done becomes outputs.

use std::time::Duration;

use foca::{AccumulatingRuntime, Member, Message, OwnedNotification, State, Timer};

use super::gate::{Judgement, LEAP, Packet, judge};
use super::identity::{Identity, Tag, Who};
use super::pace::{REFUTES, RELAYS, TELLS};
use super::timers::Round;
use super::wire::{Frame, PACKET};
use super::{Gossip, Ledger, MEMBERS, Output, Refusal, refuse};

impl<L: Ledger> Gossip<L> {
    /// A membership packet from a peer that is who it says.
    pub(super) fn swim(
        &mut self,
        from: &Who,
        bytes: &[u8],
        ledger: &mut L,
        now: Duration,
        out: &mut Vec<Output>,
    ) {
        if bytes.len() > PACKET {
            let what = format!("{} bytes, and at most {PACKET} are sent", bytes.len());
            return refuse(out, from, Refusal::Packet(what));
        }
        let Some(packet) = Packet::parse(bytes) else {
            let what = "its parts do not fit".to_owned();
            return refuse(out, from, Refusal::Packet(what));
        };
        let sender = &packet.header.src;
        if !self.is_elsewhere(sender, out) {
            return;
        }
        self.contacts.prove(sender, now);
        self.take(from, packet.records, ledger, now, out);
        let dials_a_stranger = packet.sends_to().is_some_and(|third| {
            let held = self.held(third.tag());
            third.tag() != self.identity().tag() && held.is_none_or(|held| held.id() != third)
        });
        if packet.sends_to().is_some() {
            let teller = self.contacts.hear(from, now);
            if !teller.relays.take(1, RELAYS, now) {
                return;
            }
        }
        let alarm =
            packet.header.message == Message::TurnUndead && packet.header.dst == *self.identity();
        if dials_a_stranger || alarm && !self.refutes.take(1, REFUTES, now) {
            return;
        }
        if !self.admit(sender, now, out) {
            return;
        }
        let (passes, outbid, too_many) = self.judge_all(&packet, now);
        if too_many {
            refuse(out, from, Refusal::Talker);
        }
        let mut passes = passes.into_iter();
        let bytes = packet.only(|_| passes.next().unwrap_or(false));
        if let Err(error) = self.foca.handle_data(&bytes, &mut self.effects) {
            refuse(out, from, Refusal::Packet(error.to_string()));
        }
        self.reconnect();
        if let Some(generation) = outbid {
            self.outbid(generation, now, out);
        }
    }

    pub(super) fn swim_timer(&mut self, timer: Timer<Identity>) {
        // It fails only where the timer no longer fits what happened since.
        let _ = self.foca.handle_timer(timer, &mut self.effects);
        self.reconnect();
    }

    /// What is held of a node, down or not.
    pub(super) fn held(&self, tag: Tag) -> Option<&Member<Identity>> {
        let mut members = self.foca.iter_membership_state();
        members.find(|member| member.id().tag() == tag)
    }

    /// Lets who speaks into the membership. Its word about itself outweighs that of others: where they
    /// have told of a later generation it is asked to go above that, or, if it never could, what they
    /// told is dropped. Who speaks takes the place of somebody who never did.
    fn admit(&mut self, sender: &Identity, now: Duration, out: &mut Vec<Output>) -> bool {
        if self.was_later(sender, out) {
            return false;
        }
        let proven = self.contacts.proven(sender.who());
        let proven = proven.map_or(0, Identity::generation);
        match self.held(sender.tag()).map(|held| held.id().clone()) {
            Some(held) if held.generation() > proven => {
                if held.generation() - proven <= LEAP {
                    let outbid = Frame::Outbid(held.generation());
                    out.push(self.send(sender.who(), &outbid));
                    return false;
                }
                self.evict(&held, out);
                true
            }
            Some(_) => true,
            None => self.is_room(1) || self.make_room(now, out),
        }
    }

    /// Whether a peer has proved itself in a later generation before. It may have forgotten that, with
    /// its disk or while its clock is wrong: it is asked to go above. A packet that comes late asks in vain.
    pub(super) fn was_later(&self, peer: &Identity, out: &mut Vec<Output>) -> bool {
        let proven = self.contacts.proven(peer.who());
        let later = proven.map(Identity::generation);
        let later = later.filter(|later| *later > peer.generation());
        if let Some(generation) = later {
            out.push(self.send(peer.who(), &Frame::Outbid(generation)));
        }
        later.is_some()
    }

    /// Which of the members in a packet may pass, the generation that this node has to outbid, and whether
    /// some were passed over because their teller has told of too many.
    fn judge_all(&mut self, packet: &Packet<'_>, now: Duration) -> (Vec<bool>, Option<u64>, bool) {
        let mut outbid = None;
        let mut too_many = false;
        let mut passes = Vec::with_capacity(packet.told.len());
        let mut added = 1;
        let teller = packet.header.src.who();
        for (member, _) in &packet.told {
            // What it costs to look at them is allowed as they are. Of this node itself it costs nothing.
            let may_tell = self.contacts.hear(teller, now).tells.left(1, TELLS, now);
            if !may_tell && member.id().tag() != self.identity().tag() {
                passes.push(false);
                too_many = true;
                continue;
            }
            let held = self.held(member.id().tag());
            let who = member.id().who();
            let judgement = judge(member, self.identity(), held, || self.is_master(who));
            let room = judgement != Judgement::Addition || self.is_room(added + 1);
            let teller = self.contacts.hear(teller, now);
            passes.push(match judgement {
                Judgement::Change => teller.tells.take(1, TELLS, now),
                Judgement::Addition => {
                    let passes = room && teller.tells.take(1, TELLS, now);
                    added += usize::from(passes);
                    passes
                }
                Judgement::OfUs => self.refutes.take(1, REFUTES, now),
                Judgement::Outbids(generation) => {
                    outbid = outbid.max(Some(generation));
                    false
                }
                Judgement::Nothing | Judgement::Dropped => false,
            });
        }
        (passes, outbid, too_many)
    }

    /// Whether its record, the cluster file, or a certificate that it has shown says that this is a master.
    fn is_master(&self, who: &Who) -> bool {
        let signed = matches!(who, Who::Master(name) if self.masters.contains_key(name));
        signed || matches!(who, Who::Master(_)) && self.contacts.get(who).is_some()
    }

    fn is_room(&self, many: usize) -> bool {
        self.foca.iter_membership_state().len() + many <= MEMBERS
    }

    /// Forgets one who is down, or who never spoke to this node and is no master by its records.
    fn make_room(&mut self, now: Duration, out: &mut Vec<Output>) -> bool {
        let members = self.foca.iter_membership_state();
        let least = members
            .filter_map(|member| {
                let who = member.id().who();
                let silent = self
                    .last_contact(who)
                    .map_or(now, |heard| now.saturating_sub(heard));
                let master = matches!(who, Who::Master(name) if self.masters.contains_key(name));
                let down = member.state() == State::Down;
                let never = self.contacts.get(who).is_none() && !master;
                (down || never).then_some(((down, never, silent), member.id()))
            })
            .max_by_key(|(rank, _)| *rank)
            .map(|(_, identity)| identity.clone());
        let found = least.is_some();
        if let Some(identity) = least {
            self.evict(&identity, out);
        }
        found
    }

    /// Drops a member, as if it had never been told of. Nobody else hears of it.
    fn evict(&mut self, identity: &Identity, out: &mut Vec<Output>) {
        let was_there = self
            .held(identity.tag())
            .is_some_and(|held| held.state() != State::Down);
        let mut nobody = AccumulatingRuntime::new();
        let down = Member::down(identity.clone());
        // Neither fails: the first encodes nothing where nothing is broadcast, the second never does.
        let _ = self.foca.apply_many([down].into_iter(), false, &mut nobody);
        let removal = Timer::RemoveDown(identity.clone());
        let _ = self.foca.handle_timer(removal, &mut nobody);
        self.timers.forgotten(identity.tag());
        if was_there {
            out.push(Output::Down(identity.clone()));
        }
    }

    /// Goes above a generation that others have heard of.
    pub(super) fn outbid(&mut self, generation: u64, now: Duration, out: &mut Vec<Output>) {
        let own = self.identity();
        let ahead = generation.saturating_sub(own.generation());
        let Some(next) = generation.checked_add(1) else {
            return;
        };
        if (1..=LEAP).contains(&ahead) && self.refutes.take(1, REFUTES, now) {
            let next = self.identity().at_generation(next);
            self.become_next(next, now, out);
        }
    }

    /// Takes a later identity, and tells some.
    pub(super) fn become_next(&mut self, next: Identity, now: Duration, out: &mut Vec<Output>) {
        // It fails only where the identity is the same.
        if self
            .foca
            .change_identity(next.clone(), &mut self.effects)
            .is_ok()
        {
            self.reconnect();
            self.timers.round(Round::Exchange, now);
            out.push(Output::Renewed(next));
        }
    }

    /// foca stops probing when it takes another identity, until the next update: this is one.
    fn reconnect(&mut self) {
        let nothing = std::iter::empty();
        let _ = self.foca.apply_many(nothing, false, &mut self.effects);
    }

    /// Turns what foca wants done into outputs and timers.
    pub(super) fn settle(&mut self, now: Duration, out: &mut Vec<Output>) {
        while let Some((after, timer)) = self.effects.to_schedule() {
            self.timers.swim(timer, now + after);
        }
        while let Some((to, packet)) = self.effects.to_send() {
            out.push(self.send(to.who(), &Frame::Swim(&packet)));
        }
        while let Some(notification) = self.effects.to_notify() {
            match notification {
                OwnedNotification::MemberUp(identity) | OwnedNotification::Rename(_, identity) => {
                    out.push(Output::Up(identity));
                }
                OwnedNotification::MemberDown(identity) => out.push(Output::Down(identity)),
                OwnedNotification::Rejoin(identity) => {
                    self.timers.round(Round::Exchange, now);
                    out.push(Output::Renewed(identity));
                }
                OwnedNotification::Active => {
                    self.ask = super::pace::ASK;
                    self.timers.round(Round::Ask, now + self.ask);
                }
                OwnedNotification::Idle => self.timers.round(Round::Search, now),
                OwnedNotification::Defunct => {}
            }
        }
        let members = self.foca.num_members();
        if members != self.sized {
            self.sized = members;
            // Only what may change while foca runs depends on the size.
            let _ = self.foca.set_config(self.pace.foca(members + 1));
        }
        let news = self.foca.custom_broadcast_backlog();
        let updates = self.foca.updates_backlog();
        for (round, backlog, pause) in [
            (Round::News, news, self.pace.gossip),
            (Round::Members, updates, self.pace.members),
        ] {
            if backlog > 0 && members > 0 && !self.timers.is_set(round) {
                let pause = self.jittered(pause, 4);
                self.timers.round(round, now + pause);
            }
        }
    }
}
