//! Records on their way: taken once, passed on a few times.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::time::Duration;

use foca::{BroadcastHandler, Invalidates};
use rand::seq::IteratorRandom;

use super::identity::{Identity, Who};
use super::ledger::{Digest, Ledger, RECORD, Stamp, Verdict};
use super::pace::{ASKS, AT_ONCE, LIES};
use super::wire::{DIGESTS, Digests, FRAME, Frame, Items};
use super::{Gossip, Output, Refusal, refuse};

/// Records that fill a frame, with what stands around them.
const FILLED: usize = FRAME - 16;
/// Who spoke in this time is most likely still there.
const LATELY: Duration = Duration::from_mins(10);

/// Tells foca which of two records takes the other's place among those that are passed on.
pub(super) struct Stamps<L>(PhantomData<fn() -> L>);

impl<L> Default for Stamps<L> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl Invalidates for Stamp {
    fn invalidates(&self, other: &Self) -> bool {
        self.key == other.key && self.version >= other.version
    }
}

impl<L: Ledger> BroadcastHandler<Identity> for Stamps<L> {
    type Key = Stamp;
    type Error = Infallible;

    fn receive_item(
        &mut self,
        record: &[u8],
        sender: Option<&Identity>,
    ) -> Result<Option<Stamp>, Infallible> {
        // What others send was taken off at the gate, and comes here as our own once the ledger has it.
        Ok(match sender {
            None => L::stamp(record),
            Some(_) => None,
        })
    }
}

impl<L: Ledger> Gossip<L> {
    /// Offers a peer's records to the ledger, and passes on those that are news.
    pub(super) fn take(
        &mut self,
        from: &Who,
        records: Items<'_>,
        ledger: &mut L,
        now: Duration,
        out: &mut Vec<Output>,
    ) {
        let mut news = Vec::new();
        for record in records.iter() {
            if !self.contacts.hear(from, now).lies.left(1, LIES, now) {
                refuse(out, from, Refusal::Liar);
                break;
            }
            let verdict = if record.len() > RECORD {
                Verdict::Refused(format!("{} bytes", record.len()))
            } else {
                ledger.offer(record, from)
            };
            match verdict {
                Verdict::News => {
                    Items::push(&mut news, record);
                    self.broadcast(record);
                    out.push(Output::News {
                        record: record.to_vec(),
                        from: from.clone(),
                    });
                }
                Verdict::Known | Verdict::Outdone => {}
                Verdict::Refused(why) => {
                    self.contacts.hear(from, now).lies.take(1, LIES, now);
                    refuse(out, from, Refusal::Record(why));
                }
            }
        }
        // Of what is signed faster than that the newest goes out with the next packets.
        if !news.is_empty() && self.at_once.take(1, AT_ONCE, now) {
            let few = self.few_who_spoke(self.pace.fanout, now);
            self.send_at_once(few.iter().filter(|who| *who != from), &news, out);
        }
    }

    /// A record of this node: at once to all masters and a few others, and to everybody by and by.
    pub(super) fn tell(&mut self, record: &[u8], now: Duration, out: &mut Vec<Output>) {
        if record.len() > RECORD {
            return;
        }
        self.broadcast(record);
        let mut items = Vec::new();
        Items::push(&mut items, record);
        let mut to = self.other_masters();
        to.extend(self.few_who_spoke(self.pace.fanout, now));
        self.send_at_once(to.iter(), &items, out);
        self.pass_on();
    }

    /// Peers that spoke to this node itself, lately if there are such. What others tell of is not among
    /// them: invented members do not hold up what is new.
    pub(super) fn few_who_spoke(&mut self, many: usize, now: Duration) -> Vec<Who> {
        let heard = |lately: bool| {
            let since = now.saturating_sub(LATELY);
            let all = self.contacts.iter();
            let all = all.filter(move |(_, contact)| !lately || contact.heard >= since);
            all.map(|(who, _)| who)
        };
        let lately = heard(true).next().is_some();
        let few = heard(lately).sample(&mut self.rng, many);
        few.into_iter().cloned().collect()
    }

    fn send_at_once<'a>(
        &self,
        to: impl Iterator<Item = &'a Who>,
        items: &[u8],
        out: &mut Vec<Output>,
    ) {
        let frame = Frame::Records(Items::over(items));
        out.extend(to.map(|who| self.send(who, &frame)));
    }

    fn broadcast(&mut self, record: &[u8]) {
        // Refused where it has no stamp: then the ledger would not have taken it.
        let _ = self.foca.add_broadcast(record);
    }

    /// Sends what is new to a few members: records in packets of their own, which no number of membership
    /// updates can crowd out.
    pub(super) fn pass_on(&mut self) {
        // It fails only by encoding an identity that was encoded before.
        let _ = self.foca.broadcast(&mut self.effects);
    }

    /// Tells a few members who came and went.
    pub(super) fn pass_on_members(&mut self) {
        // As above.
        let _ = self.foca.gossip(&mut self.effects);
    }

    /// Asks for records.
    pub(super) fn want(&self, from: &Who, wanted: &[Digest], out: &mut Vec<Output>) {
        for some in wanted.chunks(DIGESTS) {
            let frame = Frame::Want(Digests::over(some.as_flattened()));
            out.push(self.send(from, &frame));
        }
    }

    /// Sends records that a peer lacks, as many as it may still ask for.
    pub(super) fn give(
        &mut self,
        to: &Who,
        digests: impl Iterator<Item = Digest>,
        ledger: &L,
        now: Duration,
        out: &mut Vec<Output>,
    ) {
        let mut items = Vec::new();
        for record in digests.filter_map(|digest| ledger.get(&digest)) {
            if !self.may_ask(to, record.len(), now) {
                break;
            }
            if items.len() + 2 + record.len() > FILLED {
                out.push(self.send(to, &Frame::Records(Items::over(&items))));
                items.clear();
            }
            Items::push(&mut items, &record);
        }
        if !items.is_empty() {
            out.push(self.send(to, &Frame::Records(Items::over(&items))));
        }
    }

    /// Whether a peer may have so many bytes more of answers.
    pub(super) fn may_ask(&mut self, who: &Who, bytes: usize, now: Duration) -> bool {
        let kilobytes = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let contact = self.contacts.hear(who, now);
        contact.asks.take(kilobytes, ASKS, now)
    }
}
