//! What may go into the membership: every packet is taken apart before foca sees it.
//!
//! A peer proves by its certificate who it is itself; of others it can tell anything. So what is told
//! is judged one by one, members that only exist in somebody's words are few and make room for those
//! that speak, and records are taken off for the ledger.

use foca::{Header, Member, Message, State};

use super::identity::{Identity, Who};
use super::wire::Items;

/// A generation that is further ahead than this of what is known of a node is not believed. A node can
/// outbid it 2^32 times.
pub(super) const LEAP: u64 = 1 << 32;

/// A packet in its parts.
pub(super) struct Packet<'a> {
    pub(super) header: Header<Identity>,
    /// The header's bytes.
    head: &'a [u8],
    /// Each member that is told of, with its bytes.
    pub(super) told: Vec<(Member<Identity>, &'a [u8])>,
    /// The records behind.
    pub(super) records: Items<'a>,
}

impl<'a> Packet<'a> {
    /// Takes a packet apart as `foca::Foca::handle_data` does (its layout is in `foca::Header`). `None`
    /// where that would refuse it.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, mut rest): (Header<Identity>, &[u8]) =
            postcard::take_from_bytes(bytes).ok()?;
        let head = bytes.get(..bytes.len() - rest.len())?;
        if header.message == Message::Announce && !rest.is_empty() {
            return None;
        }
        let mut told = Vec::new();
        if header.message != Message::Broadcast && !rest.is_empty() {
            let (count, behind) = rest.split_first_chunk()?;
            rest = behind;
            for _ in 0..u16::from_be_bytes(*count) {
                let (member, behind) = postcard::take_from_bytes(rest).ok()?;
                told.push((member, rest.get(..rest.len() - behind.len())?));
                rest = behind;
            }
        }
        Some(Self {
            header,
            head,
            told,
            records: Items::over(rest),
        })
    }

    /// The packet with those members that pass, and without records.
    pub(super) fn only(&self, mut passes: impl FnMut(&Member<Identity>) -> bool) -> Vec<u8> {
        let mut bytes = self.head.to_vec();
        if matches!(self.header.message, Message::Announce | Message::Broadcast) {
            return bytes;
        }
        let mut members = Vec::new();
        let mut count: u16 = 0;
        for (member, encoded) in &self.told {
            if passes(member) {
                members.extend_from_slice(encoded);
                count += 1;
            }
        }
        if count > 0 {
            bytes.extend(count.to_be_bytes());
            bytes.extend(members);
        }
        bytes
    }

    /// The node that this packet asks to dial, beside its sender.
    pub(super) fn sends_to(&self) -> Option<&Identity> {
        match &self.header.message {
            Message::PingReq { target, .. } | Message::IndirectAck { target, .. } => Some(target),
            _ => None,
        }
    }
}

/// What becomes of a member that was told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Nothing new.
    Nothing,
    /// It changes something: allowed, as long as its teller has not told too much.
    Change,
    /// It adds somebody, if there is room too.
    Addition,
    /// It says that this node is suspected or down.
    OfUs,
    /// It says that this node is in a later generation: to be outbid.
    Outbids(u64),
    /// It is not believed, or of no use.
    Dropped,
}

/// Judges what is told of a member by what is held of it. `is_known`: whether a master of that name is known
/// by its record, the cluster file, or its certificate; masters are dialled without limit, so none is invented.
pub(super) fn judge(
    told: &Member<Identity>,
    own: &Identity,
    held: Option<&Member<Identity>>,
    is_known: impl FnOnce() -> bool,
) -> Judgement {
    let generation = told.id().generation();
    if told.id().tag() == own.tag() {
        return match generation.checked_sub(own.generation()) {
            Some(0) if told.state() == State::Alive => Judgement::Nothing,
            Some(0) => Judgement::OfUs,
            Some(ahead) if ahead <= LEAP => Judgement::Outbids(generation),
            None | Some(_) => Judgement::Dropped,
        };
    }
    if told.id().astray(own).is_some() {
        return Judgement::Dropped;
    }
    let Some(held) = held else {
        if matches!(told.id().who(), Who::Master(_)) && !is_known() {
            return Judgement::Dropped;
        }
        // Who is down and unknown need not be known.
        return match told.state() {
            State::Down => Judgement::Dropped,
            State::Alive | State::Suspect => Judgement::Addition,
        };
    };
    match generation.checked_sub(held.id().generation()) {
        None => Judgement::Nothing,
        Some(0) if told.state() == held.state() && told.incarnation() <= held.incarnation() => {
            Judgement::Nothing
        }
        Some(ahead) if ahead <= LEAP => Judgement::Change,
        Some(_) => Judgement::Dropped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;
    use crate::peers::gossip::identity::{NodeName, Who};

    fn node(name: &str, generation: u64) -> Identity {
        let who = Who::Worker(NodeName::parse(name).unwrap());
        Identity::new(who, generation, vec!["10.0.0.1:1".parse().unwrap()]).unwrap()
    }

    #[test]
    fn judges_each_member() {
        use Judgement::{Addition, Change, Dropped, Nothing, OfUs, Outbids};
        use State::{Alive, Down, Suspect};
        let own = node("own", 100);
        let held = |state| Member::new(node("other", 100), 3, state);
        for (name, generation, incarnation, state, of, want) in [
            // Of this node.
            ("own", 100, 0, Alive, None, Nothing),
            ("own", 100, 0, Suspect, None, OfUs),
            ("own", 100, 0, Down, None, OfUs),
            ("own", 99, 9, Down, None, Dropped),
            ("own", 101, 0, Alive, None, Outbids(101)),
            ("own", 100 + LEAP, 0, Down, None, Outbids(100 + LEAP)),
            ("own", u64::MAX, 0, Alive, None, Dropped),
            // Of somebody unknown.
            ("other", 1, 0, Alive, None, Addition),
            ("other", u64::MAX, 0, Suspect, None, Addition),
            ("other", 1, 0, Down, None, Dropped),
            // Of somebody known.
            ("other", 99, 9, Down, Some(Alive), Nothing),
            ("other", 100, 3, Alive, Some(Alive), Nothing),
            ("other", 100, 2, Suspect, Some(Suspect), Nothing),
            ("other", 100, 4, Alive, Some(Alive), Change),
            ("other", 100, 3, Suspect, Some(Alive), Change),
            ("other", 100, 0, Down, Some(Alive), Change),
            ("other", 101, 0, Alive, Some(Down), Change),
            ("other", u64::MAX, 0, Alive, Some(Alive), Dropped),
        ] {
            let told = Member::new(node(name, generation), incarnation, state);
            let held = of.map(held);
            let judged = judge(&told, &own, held.as_ref(), || false);
            assert_eq!(judged, want, "{told:?} {held:?}");
        }
    }

    #[test]
    fn nobody_invents_a_master() {
        let own = node("own", 100);
        let who = Who::Master(Name::parse("m.k8s.internal").unwrap());
        let at = vec!["10.0.0.1:1".parse().unwrap()];
        let master = Member::alive(Identity::new(who, 1, at).unwrap());
        let worker = Member::alive(node("other", 1));
        let judged = |told, held, known| judge(told, &own, held, || known);
        assert_eq!(judged(&master, None, false), Judgement::Dropped);
        assert_eq!(judged(&master, None, true), Judgement::Addition);
        assert_eq!(judged(&worker, None, false), Judgement::Addition);
        assert_eq!(judged(&master, Some(&master), false), Judgement::Nothing);
    }

    #[test]
    fn nobody_is_sent_to_itself() {
        let at = |name: &str, at: &str| {
            let who = Who::Worker(NodeName::parse(name).unwrap());
            let at = at.split_whitespace().map(|at| at.parse().unwrap());
            Identity::new(who, 1, at.collect()).unwrap()
        };
        let judged = |own, told| {
            let told = Member::alive(at("other", told));
            judge(&told, &at("own", own), None, || false)
        };
        for (own, told, want) in [
            ("10.0.0.1:1", "10.0.0.2:1", Judgement::Addition),
            ("10.0.0.1:1", "", Judgement::Addition),
            ("10.0.0.1:1", "10.0.0.2:1 127.0.0.1:22", Judgement::Dropped),
            ("10.0.0.1:1", "[::1]:22", Judgement::Dropped),
            ("10.0.0.1:1", "[::ffff:127.0.0.1]:22", Judgement::Dropped),
            ("10.0.0.1:1 127.0.0.1:1", "127.0.0.2:1", Judgement::Dropped),
            ("10.0.0.1:1", "169.254.169.254:80", Judgement::Dropped),
            ("10.0.0.1:1", "[fe80::1]:8442", Judgement::Dropped),
            // A sandbox; and a node that does not know yet where it is.
            ("127.0.0.1:1", "127.0.0.2:1", Judgement::Addition),
            ("", "127.0.0.2:1", Judgement::Addition),
            ("127.0.0.1:1", "169.254.169.254:80", Judgement::Dropped),
        ] {
            assert_eq!(judged(own, told), want, "{own:?} {told:?}");
        }
    }

    #[test]
    fn takes_packets_apart_and_puts_them_together_again() {
        let encode = |message: Message<Identity>| {
            let header = Header {
                src: node("a", 1),
                src_incarnation: 2,
                dst: node("b", 3),
                message,
            };
            postcard::to_allocvec(&header).unwrap()
        };
        let member = |name| postcard::to_allocvec(&Member::alive(node(name, 1))).unwrap();
        let members = [&[0, 2][..], &member("c"), &member("d")].concat();
        let record = [&[0, 3][..], b"abc"].concat();

        let head = encode(Message::Gossip);
        let bytes = [&head[..], &members, &record].concat();
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.told.len(), 2);
        assert_eq!(packet.records.iter().collect::<Vec<_>>(), [b"abc"]);
        assert_eq!(packet.only(|_| true), [&head[..], &members].concat());
        assert_eq!(packet.only(|_| false), head);
        let one = packet.only(|member| member.id().who().to_string() == "d");
        assert_eq!(one, [&head[..], &[0, 1], &member("d")].concat());

        let head = encode(Message::Broadcast);
        let bytes = [&head[..], &record].concat();
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.records.iter().collect::<Vec<_>>(), [b"abc"]);
        assert_eq!(packet.only(|_| true), head);

        for broken in [
            &[encode(Message::Announce), vec![0]].concat()[..],
            &[encode(Message::Gossip), vec![0]].concat(),
            &[encode(Message::Gossip), vec![0xff, 0xff]].concat(),
            &[encode(Message::Gossip), vec![0, 1, 9]].concat(),
            &[],
        ] {
            assert!(Packet::parse(broken).is_none(), "{broken:?}");
        }
    }

    #[test]
    fn a_packet_may_ask_to_dial_a_third_node() {
        let master = Who::Master(Name::parse("m.k8s.internal").unwrap());
        let target = Identity::new(master, 1, Vec::new()).unwrap();
        let asks = |message| {
            let header = Header {
                src: node("a", 1),
                src_incarnation: 0,
                dst: node("b", 1),
                message,
            };
            let bytes = postcard::to_allocvec(&header).unwrap();
            let packet = Packet::parse(&bytes).unwrap();
            packet.sends_to().is_some()
        };
        let probe_number = 1;
        let (target, origin) = (target.clone(), target);
        assert!(asks(Message::PingReq {
            target: target.clone(),
            probe_number
        }));
        assert!(asks(Message::IndirectAck {
            target,
            probe_number
        }));
        assert!(!asks(Message::IndirectPing {
            origin,
            probe_number
        }));
        assert!(!asks(Message::Ping(1)));
    }
}
