//! Anything at all from a peer.

use foca::{Member, Message, State};
use proptest::prelude::*;

use super::world::ledger::record;
use super::{identity, invented, packet, seconds, settled, total};
use crate::peers::gossip::Input;

/// A node among others, and what it may receive from one of them: frames of its own kind with bytes
/// changed, and anything else.
fn mutated() -> impl Strategy<Value = (usize, Vec<(usize, u8)>, usize)> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let changes = changes.prop_map(|all| {
        let all = all.into_iter();
        all.map(|(at, byte)| (at.index(400), byte)).collect()
    });
    (0_usize..9, changes, 0_usize..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever arrives, a node goes on, and nothing grows.
    #[test]
    fn whatever_arrives_a_node_goes_on(
        mutations in prop::collection::vec(mutated(), 1..20),
        garbage in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let world = settled(3, 26);
        let (from, to) = (identity(&world, 1), identity(&world, 0));
        let third = identity(&world, 2);
        let mut node = world.nodes.into_iter().next().unwrap();
        let told = [
            Member::new(third.clone(), 1, State::Suspect),
            Member::alive(invented(1, 1)),
            Member::down(to.clone()),
        ];
        let record = record(0, 3, node.at);
        let probe_number = 1;
        let target = third.clone();
        let messages = [
            Message::Ping(1), Message::Ack(1), Message::Announce, Message::Feed, Message::Gossip,
            Message::Broadcast, Message::TurnUndead, Message::PingReq { target, probe_number },
            Message::IndirectPing { origin: third, probe_number },
        ];
        let mut now = world.now;
        for (message, changes, cut) in mutations {
            let message = messages[message].clone();
            let plain = message != Message::Announce && message != Message::Broadcast;
            let told = if plain { &told[..] } else { &[] };
            let mut frame = packet(&from, &to, message, told, &[&record]);
            for (at, byte) in changes {
                if let Some(place) = frame.get_mut(at) {
                    *place = byte;
                }
            }
            frame.truncate(frame.len() - cut);
            for bytes in [&frame, &garbage] {
                let input = Input::Frame { from: from.who(), bytes };
                node.gossip.handle(input, &mut node.ledger, now);
            }
            now += seconds(3);
            node.gossip.handle(Input::Tick, &mut node.ledger, now);
        }
        prop_assert!(total(&node.gossip) <= 20);
        prop_assert!(node.gossip.contacts.len() <= 2);
        prop_assert!(node.gossip.timers.len() <= 100);
    }
}
