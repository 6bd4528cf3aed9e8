//! Whom a node talks to of its own accord, so that who slept or was cut off catches up.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use foca::{Member, State};
use rand::seq::IteratorRandom;

use super::identity::{Identity, Tag, Who};
use super::ledger::{Digest, Ledger};
use super::pace::{ASK, ASK_RARELY};
use super::timers::Round;
use super::{Gossip, MEMBERS, Output, exchange, refuse};

/// Masters, others who ever spoke, and others who were told of, that a search tries each time.
const TRIED: usize = 3;

impl<L: Ledger> Gossip<L> {
    /// Compares ledgers with a random master and a random peer, whatever is said of their health.
    pub(super) fn compare(&mut self, ledger: &L, now: Duration, out: &mut Vec<Output>) {
        let pause = self.jittered(self.pace.exchange, 5);
        self.timers.round(Round::Exchange, now + pause);
        for who in self.some(1, now) {
            out.push(self.greet(&who, ledger));
        }
        if self.is_lonely(now) && !self.timers.is_set(Round::Search) {
            self.timers.round(Round::Search, now);
        }
    }

    /// Tries masters and others that were ever known, as long as nobody speaks.
    pub(super) fn look_for_anybody(&mut self, ledger: &L, now: Duration, out: &mut Vec<Output>) {
        if !self.is_lonely(now) {
            self.search = self.pace.search;
            return;
        }
        out.push(Output::Lonely);
        for who in self.some(TRIED, now) {
            out.push(self.greet(&who, ledger));
            let told = self.held(Tag::from(&who)).map(Member::id);
            if let Some(identity) = self.contacts.proven(&who).or(told).cloned() {
                let _ = self.foca.announce(identity, &mut self.effects);
            }
        }
        let pause = self.jittered(self.search, 4);
        self.search = (self.search * 3 / 2).min(self.pace.search * 10);
        self.timers.round(Round::Search, now + pause);
    }

    /// Asks a random member for others: quickly while the answers bring many new ones, else rarely.
    pub(super) fn ask_for_members(&mut self, now: Duration) {
        let members = self.foca.num_members();
        let grew = members.saturating_sub(self.asked) * 20 >= members;
        self.asked = members;
        self.ask = if grew {
            ASK
        } else {
            (self.ask * 2).min(ASK_RARELY)
        };
        let one = self.foca.iter_members().map(Member::id);
        if let Some(one) = one.choose(&mut self.rng).cloned() {
            let _ = self.foca.announce(one, &mut self.effects);
            let pause = self.jittered(self.ask, 5);
            self.timers.round(Round::Ask, now + pause);
        }
    }

    /// A peer compares ledgers, and says who it is.
    pub(super) fn compared(
        &mut self,
        me: &Identity,
        digest: Digest,
        ledger: &L,
        now: Duration,
        out: &mut Vec<Output>,
    ) {
        if !self.is_elsewhere(me, out) {
            return;
        }
        self.contacts.prove(me, now);
        let was_later = self.was_later(me, out);
        let member = self.held(me.tag());
        let is_member = member.is_some_and(|held| held.id() == me && held.state() != State::Down);
        if !is_member && !was_later && self.may_ask(me.who(), 1, now) {
            // Announced to, it learns of us and we of it, or it learns that it was declared down.
            let _ = self.foca.announce(me.clone(), &mut self.effects);
        }
        if digest != ledger.digest() {
            for page in exchange::pages(&ledger.held()) {
                if self.may_ask(me.who(), page.len(), now) {
                    out.push(Output::Send {
                        to: me.who().clone(),
                        addresses: self.addresses(me.who()),
                        frame: page,
                    });
                }
            }
        }
    }

    /// This node listens elsewhere. Nobody can answer where it was: it looks for the others at once.
    pub(super) fn moved(
        &mut self,
        addresses: Vec<SocketAddr>,
        now: Duration,
        out: &mut Vec<Output>,
    ) {
        let own = self.identity();
        if own.addresses() == addresses {
            return;
        }
        let generation = own.generation().saturating_add(1);
        let who = own.who().clone();
        match Identity::new(who.clone(), generation, addresses) {
            Ok(next) => {
                self.become_next(next, now, out);
                self.heard = None;
                self.search = self.pace.search;
                self.timers.round(Round::Search, now);
            }
            Err(error) => refuse(out, &who, error.into()),
        }
    }

    /// Takes those who were known before the start for members until they do not answer.
    pub(super) fn restore(&mut self, known: Vec<Identity>, now: Duration) {
        let room = MEMBERS.saturating_sub(self.foca.iter_membership_state().len());
        let own = self.identity().tag();
        let known = known.into_iter().filter(|one| one.tag() != own);
        let members: Vec<_> = known.take(room).map(Member::alive).collect();
        let members = members.into_iter();
        // It encodes nothing where nothing is broadcast, so it cannot fail.
        let _ = self.foca.apply_many(members, false, &mut self.effects);
        self.timers.round(Round::Search, now);
    }

    /// All masters but this node: by their records, and those whose certificates said so. What others
    /// call a master is none.
    pub(super) fn other_masters(&self) -> BTreeSet<Who> {
        let signed = self.masters.keys().cloned().map(Who::Master);
        let spoke = self.contacts.iter().map(|(who, _)| who.clone());
        let mut masters: BTreeSet<Who> = signed.chain(spoke).collect();
        masters.retain(|who| matches!(who, Who::Master(_)) && who != self.identity().who());
        masters
    }

    /// So many random masters, and as many peers that ever spoke; and as many that were only told of
    /// where nobody speaks.
    fn some(&mut self, many: usize, now: Duration) -> BTreeSet<Who> {
        let masters = self.other_masters().into_iter();
        let mut some: BTreeSet<Who> = masters.sample(&mut self.rng, many).into_iter().collect();
        let spoke = self.contacts.iter().map(|(who, _)| who);
        some.extend(spoke.sample(&mut self.rng, many).into_iter().cloned());
        if self.is_lonely(now) {
            let told = self.foca.iter_membership_state();
            let told = told.map(|member| member.id().who());
            some.extend(told.sample(&mut self.rng, many).into_iter().cloned());
        }
        some
    }

    fn greet(&self, who: &Who, ledger: &L) -> Output {
        Output::Send {
            to: who.clone(),
            addresses: self.addresses(who),
            frame: self.hello(ledger),
        }
    }

    /// Whether nobody was heard for a while.
    fn is_lonely(&self, now: Duration) -> bool {
        self.heard
            .is_none_or(|heard| now.saturating_sub(heard) >= self.pace.silence)
    }
}
