//! What goes out: to the members, to the agent, and to the disk.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

use super::life::{After, Daemon};
use super::members::Members;
use super::names;
use crate::name::Name;
use crate::peers::gossip::{Input, Output, Refusal};
use crate::peers::ledger::Word;
use crate::peers::transport::{Peer, To};

/// Who is known is saved at most this often, but for the first time after the start: a young node that loses
/// its power has to know whom to ask.
const MEMBERS: Duration = Duration::from_mins(1);

/// The kind of what is said of a record that is refused.
const RECORD: &str = "record";

impl Daemon {
    /// Hands something to the gossip, and does what it wants done.
    pub(super) fn gossip(&mut self, input: Input<'_>) {
        let now = self.begun.elapsed();
        let Some(gossip) = &mut self.gossip else {
            return;
        };
        for output in gossip.handle(input, &mut self.records, now) {
            match output {
                Output::Send {
                    to,
                    addresses,
                    frame,
                } => self
                    .handle
                    .send(To::Peer(names::peer(&to), addresses), frame),
                Output::Renewed(identity) => self.members.generation = identity.generation(),
                Output::Refused { from, why } => {
                    if !matches!(why, Refusal::Record(_) | Refusal::Talker) {
                        self.counts.malformed += 1;
                    }
                    let (from, kind) = (from.to_string(), kind(&why));
                    if self.notes.is_new(&from, kind, std::time::Instant::now()) {
                        tracing::warn!("{from} sends what is not taken: {why}");
                    }
                }
                Output::Up(identity) => {
                    tracing::debug!("up: {identity:?}");
                    self.others.up(identity.who());
                }
                Output::Down(identity) => {
                    tracing::debug!("down: {identity:?}");
                    self.others.down(identity.who(), Instant::now());
                }
                // Who sent it is known by now; a search of its own goes on meanwhile.
                Output::News { .. } | Output::Lonely => {}
            }
        }
    }

    pub(super) fn refused(&mut self, from: &str, why: &str) {
        if self.notes.is_new(from, RECORD, std::time::Instant::now()) {
            tracing::warn!("{from} sends what is not taken: {why}");
        }
    }

    /// The same of a datagram. Whoever is on the link can send them under many addresses: that leaves room for
    /// what members do.
    pub(super) fn refused_on_link(&mut self, from: &str, why: &str) {
        let now = std::time::Instant::now();
        if self.link_notes.is_new(from, RECORD, now) {
            tracing::warn!("{from} sends what is not taken: {why}");
        }
    }

    /// Something was taken: everybody here hears of it.
    pub(super) fn spread(&mut self) {
        // What is said then may be news itself.
        while self.known != self.records.version() {
            self.known = self.records.version();
            self.others.changed(Instant::now());
            self.spread_masters();
            self.leave_old_places();
            self.tell_agent();
            self.speak();
        }
    }

    pub(super) fn tell_agent(&mut self) {
        let counting = self.records.counting();
        // Nothing known is no reason to forget what the agent knows.
        if self.hold.may_tell(self.book.as_ref()) && (!counting.is_empty() || self.told_agent) {
            self.told_agent = true;
            self.link.tell(counting);
        }
    }

    /// Connections to where a master was lead nowhere, or to somebody else.
    pub(super) fn leave_old_places(&self) {
        let effective = self.records.ledger().effective();
        for connection in self.handle.connections() {
            if let Peer::Master(name) = &connection.peer
                && let Some(Word::At(addresses)) = effective.get(name).map(|it| &it.word)
                && !addresses.contains(&connection.at.ip().to_canonical())
            {
                self.handle.moved(&connection.peer);
            }
        }
    }

    pub(super) fn saved(&mut self, done: Option<Vec<After>>) {
        let Some(done) = done else {
            let version = self.records.version();
            return self.disk.save(self.records.ledger(), version);
        };
        for after in done {
            match after {
                After::Tell(record) => self.gossip(Input::Tell(&record)),
                // Who asked may have gone.
                After::Answer(reply, verdicts) => drop(reply.send(verdicts)),
            }
        }
    }

    /// The masters that count, and where they listen: by signed records, else by the book, else by the
    /// cluster file.
    pub(super) fn masters(&self) -> BTreeMap<Name, Vec<SocketAddr>> {
        let effective = self.records.ledger().effective();
        let mut masters: BTreeMap<Name, Vec<IpAddr>> = BTreeMap::new();
        for (name, effective) in &effective {
            if let Word::At(addresses) = &effective.word {
                masters.insert(name.clone(), addresses.clone());
            }
        }
        let book = self.book.iter().flat_map(|book| &book.masters);
        let book = book.map(|(name, place)| (name, &place.addresses));
        let file = self
            .cluster
            .masters
            .iter()
            .map(|it| (&it.name, &it.addresses));
        for (name, addresses) in book.chain(file) {
            if effective
                .get(name)
                .is_none_or(|it| it.word != Word::Removed)
            {
                let known = masters.entry(name.clone()).or_default();
                known.extend(addresses.iter().filter(|_| !effective.contains_key(name)));
            }
        }
        let listening = |(name, addresses): (Name, Vec<IpAddr>)| {
            let mut at: Vec<SocketAddr> = Vec::new();
            for address in addresses {
                let address = self.listening(address);
                if !at.contains(&address) {
                    at.push(address);
                }
            }
            (name, at)
        };
        masters.into_iter().map(listening).collect()
    }

    pub(super) fn spread_masters(&mut self) {
        self.gossip(Input::Masters(self.masters()));
    }

    /// Saves who is known, now and then.
    pub(super) fn look_at_members(&mut self) {
        let young = self.now() < MEMBERS;
        let saved = self.members_saved;
        if young || saved.is_none_or(|saved| saved.elapsed() >= MEMBERS) {
            self.save_members();
        }
    }

    /// Saves who is known, if it is somebody else than before.
    pub(super) fn save_members(&mut self) {
        while self.saving.try_join_next().is_some() {}
        let now = Members {
            generation: self.members.generation,
            told: match &self.gossip {
                Some(gossip) => gossip.known(),
                None => self.members.told.clone(),
            },
            contacts: self.handle.known(),
        };
        let saved = self.saved_members.as_ref();
        if saved.is_some_and(|saved| now.says_the_same(saved)) {
            return;
        }
        self.saved_members = Some(now.clone());
        self.members_saved = Some(Instant::now());
        let (root, writer) = (self.root.clone(), self.writer.clone());
        self.saving.spawn(async move {
            let saved = writer.run(move || now.save(&root)).await;
            let saved = saved.map_err(|error| error.to_string());
            if let Err(why) = saved.and_then(|saved| saved.map_err(|error| error.to_string())) {
                tracing::warn!("who is known is not saved: {why}");
            }
        });
    }
}

/// Of the same kind something is said once, however it differs.
fn kind(why: &Refusal) -> &'static str {
    match why {
        Refusal::Malformed(_) => "frame",
        Refusal::Packet(_) => "packet",
        Refusal::Impostor(_) => "impostor",
        Refusal::Twin => "twin",
        Refusal::Record(_) => RECORD,
        Refusal::Liar => "liar",
        Refusal::Talker => "talker",
        Refusal::Identity(_) => "identity",
    }
}
