//! A member with a good certificate that lies, floods, or speaks for others.

use std::collections::BTreeMap;
use std::time::Duration;

use foca::{Member, Message, State};

use super::world::ledger::record;
use super::world::{self, World};
use super::{gossip, identity, invented, packet, seconds, settled, total};
use crate::peers::gossip::gate::LEAP;
use crate::peers::gossip::wire::{Digests, Frame, Items, PACKET};
use crate::peers::gossip::{FRAME, Identity, Input, Ledger, MEMBERS, Output, Refusal, Who, sender};

#[test]
fn invented_members_stay_few_and_go() {
    let mut world = settled(10, 15);
    world.keep(4);
    for round in 0..100 {
        for some in 0..10 {
            let told: Vec<_> = (0..100)
                .map(|number| Member::alive(invented(round * 1_000 + some * 100 + number, 1)))
                .collect();
            let (from, to) = (identity(&world, 9), identity(&world, 4));
            let lie = gossip(&from, &to, &told[..]);
            assert!(lie.len() <= PACKET);
            world.arrives(9, 4, &lie);
        }
        world.pass(Duration::from_millis(100));
    }
    // 100,000 were told of in ten seconds: the burst, and four a second.
    let most = 10 + 512 + 4 * 11;
    for node in &world.nodes {
        assert!(total(&node.gossip) <= most, "{}", total(&node.gossip));
        assert!(node.gossip.foca.updates_backlog() <= most);
        assert!(node.gossip.timers.len() <= 2 * most);
    }
    let why = Refusal::Talker;
    let from = identity(&world, 9).who().clone();
    let named = Output::Refused { from, why };
    assert!(world.nodes[4].saw.contains(&named));
    // A change is not held up by them, and in time they are gone.
    world.moves(0);
    world.signs(0);
    assert!(world.until(seconds(2), World::agree).is_some());
    let took = world.until(Duration::from_hours(2), World::all_know_all);
    assert!(took.is_some());
}

#[test]
fn whoever_signs_as_fast_as_it_can_is_passed_on_at_a_pace() {
    let mut world = settled(10, 16);
    let from = identity(&world, 0);
    let mut told_to = 0;
    for version in 0..2_000 {
        let at = "192.0.2.1:8442".parse().unwrap();
        let said = record(0, 1_000_000 + version, at);
        let mut items = Vec::new();
        Items::push(&mut items, &said);
        let frame = Frame::Records(Items::over(&items)).encode();
        let node = &mut world.nodes[4];
        let input = Input::Frame {
            from: from.who(),
            bytes: &frame,
        };
        let out = node.gossip.handle(input, &mut node.ledger, world.now);
        let sent = out.iter().filter(|it| matches!(it, Output::Send { .. }));
        told_to += sent.count();
        assert!(out.iter().any(|it| matches!(it, Output::News { .. })));
    }
    // The burst, to four; it was all in one moment.
    assert!((4 * 32..=4 * 64).contains(&told_to), "{told_to}");
    // The last word arrives everywhere all the same.
    let all = |world: &World| {
        let mut others = world.nodes.iter().skip(1);
        others.all(|node| node.ledger.version(0) == 1_001_999)
    };
    assert!(world.until(seconds(2), all).is_some());
}

#[test]
fn a_full_membership_has_room_for_who_speaks() {
    let mut world = settled(5, 16);
    world.keep(0);
    let told = (0..MEMBERS + 500).map(|number| invented(number, 1));
    world.input(0, Input::Known(told.collect()));
    assert_eq!(total(&world.nodes[0].gossip), MEMBERS);
    // Somebody tells of one more: no room.
    let one_more = invented(MEMBERS + 501, 1);
    let (from, to) = (identity(&world, 3), identity(&world, 0));
    let lie = gossip(&from, &to, &[Member::alive(one_more.clone())]);
    world.arrives(3, 0, &lie);
    assert!(world.nodes[0].gossip.held(one_more.tag()).is_none());
    // It speaks itself: one of the others goes, and none of those who spoke.
    let speaks = packet(&one_more, &to, Message::Announce, &[], &[]);
    let node = &mut world.nodes[0];
    let who = one_more.who().clone();
    let input = Input::Frame {
        from: &who,
        bytes: &speaks,
    };
    node.gossip.handle(input, &mut node.ledger, world.now);
    assert_eq!(total(&world.nodes[0].gossip), MEMBERS);
    assert!(world.nodes[0].gossip.held(one_more.tag()).is_some());
    for number in 1..5 {
        let tag = identity(&world, number).tag();
        assert!(world.nodes[0].gossip.held(tag).is_some(), "{number}");
    }
}

#[test]
fn a_master_that_a_liar_declares_down_is_talked_to_and_comes_back() {
    let mut world = settled(10, 17);
    let master = identity(&world, 0);
    for number in 1..9 {
        let (from, to) = (identity(&world, 9), identity(&world, number));
        let lie = gossip(&from, &to, &[Member::down(master.clone())]);
        world.arrives(9, number, &lie);
    }
    let tag = master.tag();
    let state = |world: &World, number: usize| {
        let gossip = &world.nodes[number].gossip;
        gossip.held(tag).map(Member::state)
    };
    assert_eq!(state(&world, 4), Some(State::Down));
    // It is still among those that ledgers are compared with, and that a master's record goes to.
    let others = world.nodes[4].gossip.other_masters();
    assert!(others.contains(master.who()));
    let record = record(1, 7, world.nodes[1].at);
    let node = &mut world.nodes[1];
    let tell = Input::Tell(&record);
    let sent = node.gossip.handle(tell, &mut node.ledger, world.now);
    let to_the_master = |output: &Output| match output {
        Output::Send { to, addresses, .. } => to == master.who() && !addresses.is_empty(),
        _ => false,
    };
    assert!(sent.iter().any(to_the_master));
    let took = world.until(seconds(120), World::all_know_all);
    assert!(took.is_some());
    assert!(identity(&world, 0).generation() > master.generation());
}

#[test]
fn nobody_is_locked_out_by_an_invented_generation() {
    for ahead in [1, 1_000_000, LEAP, LEAP + 1, u64::MAX - 1_000] {
        for state in [State::Alive, State::Down] {
            let mut world = settled(10, 18);
            let master = identity(&world, 0);
            let evil = "192.0.2.66:8442".parse().unwrap();
            let generation = master.generation() + ahead;
            let later = Identity::new(master.who().clone(), generation, vec![evil]).unwrap();
            for number in 0..9 {
                let (from, to) = (identity(&world, 9), identity(&world, number));
                let told = Member::new(later.clone(), 3, state);
                let lie = gossip(&from, &to, &[told]);
                world.arrives(9, number, &lie);
            }
            // Wherever that was believed the true address is dialled too.
            let addresses = world.nodes[4].gossip.addresses(master.who());
            assert!(addresses.contains(&world.nodes[0].at), "{addresses:?}");
            world.pass(seconds(180));
            assert!(world.all_know_all(), "{ahead} {state:?}");
            let own = identity(&world, 0);
            for number in 1..10 {
                let held = world.nodes[number].gossip.held(master.tag()).unwrap();
                assert_eq!(held.id(), &own, "{ahead} {state:?} at {number}");
                assert_eq!(held.id().addresses(), own.addresses());
            }
        }
    }
}

#[test]
fn a_name_that_nobody_knew_is_not_taken_away_from_who_has_it() {
    let mut world = settled(6, 19);
    // Told of in the last generation of all, before it ever spoke.
    let last = invented(1, u64::MAX);
    for number in 0..5 {
        let (from, to) = (identity(&world, 5), identity(&world, number));
        let lie = gossip(&from, &to, &[Member::alive(last.clone())]);
        world.arrives(5, number, &lie);
    }
    let true_one = invented(1, 1_000);
    let to = identity(&world, 2);
    let speaks = packet(&true_one, &to, Message::Announce, &[], &[]);
    let node = &mut world.nodes[2];
    let input = Input::Frame {
        from: last.who(),
        bytes: &speaks,
    };
    node.gossip.handle(input, &mut node.ledger, world.now);
    let held = world.nodes[2].gossip.held(last.tag()).unwrap();
    assert_eq!(held.id(), &true_one);
}

#[test]
fn alarms_about_a_node_do_not_make_it_talk_at_the_speed_of_the_network() {
    let mut world = settled(6, 20);
    world.frames = 0;
    let start = identity(&world, 0).generation();
    for round in 0..1_000 {
        let (from, to) = (identity(&world, 5), identity(&world, 0));
        let told = match round % 3 {
            0 => Member::down(to.clone()),
            1 => Member::new(to.clone(), 60_000, State::Suspect),
            _ => Member::alive(to.at_generation(to.generation() + 1)),
        };
        let lie = gossip(&from, &to, &[told]);
        world.arrives(5, 0, &lie);
        let (from, to) = (identity(&world, 5), identity(&world, 0));
        let alarm = packet(&from, &to, Message::TurnUndead, &[], &[]);
        world.arrives(5, 0, &alarm);
        let outbid = Frame::Outbid(identity(&world, 0).generation() + 1).encode();
        world.arrives(5, 0, &outbid);
    }
    assert!(identity(&world, 0).generation() <= start + 2 * 8);
    assert!(world.frames < 200, "{} frames", world.frames);
    let took = world.until(seconds(120), World::all_know_all);
    assert!(took.is_some());
}

#[test]
fn a_liar_is_named_and_not_listened_to() {
    let mut world = settled(6, 21);
    world.keep(0);
    let (from, to) = (identity(&world, 5), identity(&world, 0));
    let judged = world.nodes[0].ledger.judged;
    for _ in 0..100 {
        let lie = packet(&from, &to, Message::Gossip, &[], &[&[0xff; 900][..]]);
        world.arrives(5, 0, &lie);
    }
    let refused = |why: &Refusal| {
        let from = from.who().clone();
        let why = why.clone();
        let one = Output::Refused { from, why };
        let saw = &world.nodes[0].saw;
        saw.iter().filter(|output| **output == one).count()
    };
    assert_eq!(refused(&Refusal::Record("not a record".to_owned())), 16);
    assert_eq!(refused(&Refusal::Liar), 84);
    assert_eq!(world.nodes[0].ledger.judged, judged + 16);
    // Not believed, not passed on; others are heard.
    world.moves(1);
    world.signs(1);
    assert!(world.until(seconds(2), World::agree).is_some());
}

#[test]
fn nobody_speaks_for_another() {
    let mut world = settled(6, 22);
    world.keep(0);
    let (liar, other, to) = (
        identity(&world, 5),
        identity(&world, 1),
        identity(&world, 0),
    );
    let node = &world.nodes[1];
    let hello = node.gossip.hello(&node.ledger);
    for frame in [packet(&other, &to, Message::Announce, &[], &[]), hello] {
        assert_eq!(sender(&frame).as_ref(), Some(other.who()));
        world.arrives(5, 0, &frame);
        let why = Refusal::Impostor(other.who().clone());
        let from = liar.who().clone();
        assert_eq!(
            world.nodes[0].saw.pop(),
            Some(Output::Refused { from, why })
        );
    }
    let own = packet(&to, &to, Message::Announce, &[], &[]);
    world.arrives(0, 0, &own);
    let twin = world.nodes[0].saw.pop().unwrap();
    assert!(matches!(
        twin,
        Output::Refused {
            why: Refusal::Twin,
            ..
        }
    ));
}

#[test]
fn a_node_dials_nobody_because_a_member_names_an_address() {
    let world = settled(6, 23);
    let (from, to) = (identity(&world, 5), identity(&world, 0));
    let mut world = world;
    let stranger = invented(1, 1);
    let evil = vec!["192.0.2.66:8442".parse().unwrap()];
    let known = identity(&world, 3);
    let moved = Identity::new(known.who().clone(), known.generation(), evil.clone()).unwrap();
    for (target, dialled) in [(stranger, 0), (moved, 1)] {
        for message in [
            Message::PingReq {
                target: target.clone(),
                probe_number: 1,
            },
            Message::IndirectAck {
                target: target.clone(),
                probe_number: 1,
            },
        ] {
            let bytes = packet(&from, &to, message, &[], &[]);
            let node = &mut world.nodes[0];
            let who = from.who().clone();
            let input = Input::Frame {
                from: &who,
                bytes: &bytes,
            };
            let out = node.gossip.handle(input, &mut node.ledger, world.now);
            let sent: Vec<_> = out
                .iter()
                .filter_map(|output| match output {
                    Output::Send { to, addresses, .. } => Some((to, addresses)),
                    _ => None,
                })
                .collect();
            assert_eq!(sent.len(), dialled, "{out:?}");
            assert!(
                sent.iter()
                    .all(|(to, at)| *to == target.who() && **at != evil)
            );
        }
    }
}

#[test]
fn answers_to_one_peer_are_limited() {
    let mut world = settled(6, 24);
    let (from, to) = (identity(&world, 5), identity(&world, 0));
    let held = world.nodes[0].ledger.held();
    let wants: Vec<_> = held.iter().cycle().take(200).copied().collect();
    let want = Frame::Want(Digests::over(wants.as_flattened())).encode();
    let mut answered = 0;
    for _ in 0..100 {
        let node = &mut world.nodes[0];
        let input = Input::Frame {
            from: from.who(),
            bytes: &want,
        };
        for output in node.gossip.handle(input, &mut node.ledger, world.now) {
            if let Output::Send { to, frame, .. } = output {
                assert_eq!(&to, from.who());
                assert!(frame.len() <= FRAME);
                answered += frame.len();
            }
        }
    }
    assert!(to != from && answered > 0);
    assert!(answered <= 1 << 20, "{answered} bytes");
}

#[test]
fn masters_are_those_with_records_or_certificates() {
    let mut world = settled(6, 27);
    let name = |who: &Who| match who {
        Who::Master(name) => name.clone(),
        Who::Worker(name) => panic!("{name:?}"),
    };
    // Told of as a master, by somebody else.
    let invented = Identity::new(world::who(2_000, 3_000), 1, Vec::new()).unwrap();
    let (from, to) = (identity(&world, 5), identity(&world, 0));
    let lie = gossip(&from, &to, &[Member::alive(invented.clone())]);
    world.arrives(5, 0, &lie);
    assert!(world.nodes[0].gossip.held(invented.tag()).is_none());
    let others = world.nodes[0].gossip.other_masters();
    assert_eq!(others, [world.who(1), world.who(2)].into());
    // By its record.
    let masters = BTreeMap::from([(name(invented.who()), Vec::new())]);
    world.input(0, Input::Masters(masters));
    assert!(
        world.nodes[0]
            .gossip
            .other_masters()
            .contains(invented.who())
    );
}

#[test]
fn invented_masters_are_none() {
    let mut world = settled(6, 31);
    let name = |number: usize| format!("master-{number}.prod.k8s.internal");
    let invented: Vec<_> = (50..100)
        .map(|number| {
            let who = Who::Master(crate::name::Name::parse(&name(number)).unwrap());
            let at = vec!["192.0.2.1:8442".parse().unwrap()];
            Member::alive(Identity::new(who, 1, at).unwrap())
        })
        .collect();
    let (from, to) = (identity(&world, 5), identity(&world, 0));
    let before = total(&world.nodes[0].gossip);
    world.arrives(5, 0, &gossip(&from, &to, &invented));
    assert_eq!(total(&world.nodes[0].gossip), before);
    // One that speaks is believed: its certificate says so.
    let speaks = packet(invented[0].id(), &to, Message::Announce, &[], &[]);
    let node = &mut world.nodes[0];
    let input = Input::Frame {
        from: invented[0].id().who(),
        bytes: &speaks,
    };
    node.gossip.handle(input, &mut node.ledger, world.now);
    assert_eq!(total(&world.nodes[0].gossip), before + 1);
}

#[test]
fn nobody_has_a_node_probe_others_without_end() {
    let mut world = settled(6, 32);
    let (from, to) = (identity(&world, 5), identity(&world, 0));
    let target = identity(&world, 3);
    let mut sent = 0;
    for _ in 0..500 {
        let message = Message::PingReq {
            target: target.clone(),
            probe_number: 1,
        };
        let asks = packet(&from, &to, message, &[], &[]);
        let node = &mut world.nodes[0];
        let input = Input::Frame {
            from: from.who(),
            bytes: &asks,
        };
        let outputs = node.gossip.handle(input, &mut node.ledger, world.now);
        let to_it =
            |output: &&Output| matches!(output, Output::Send { to, .. } if to == target.who());
        sent += outputs.iter().filter(to_it).count();
    }
    assert!((1..=64).contains(&sent), "{sent}");
}

#[test]
fn who_says_that_it_is_on_this_machine_is_not_heard() {
    let mut world = settled(6, 33);
    let to = identity(&world, 0);
    for at in [
        "127.0.0.1:22",
        "[::1]:22",
        "169.254.169.254:80",
        "[fe80::1]:1",
    ] {
        let own = identity(&world, 5);
        let at = vec![at.parse().unwrap()];
        let astray = Identity::new(own.who().clone(), own.generation() + 1, at.clone()).unwrap();
        let digest = [0; 32];
        let compare = Frame::Compare {
            me: astray.clone(),
            digest,
        };
        for frame in [
            compare.encode(),
            packet(&astray, &to, Message::Announce, &[], &[]),
        ] {
            let node = &mut world.nodes[0];
            let input = Input::Frame {
                from: own.who(),
                bytes: &frame,
            };
            let outputs = node.gossip.handle(input, &mut node.ledger, world.now);
            assert!(
                matches!(
                    outputs[..],
                    [Output::Refused {
                        why: Refusal::Identity(_),
                        ..
                    }]
                ),
                "{outputs:?}"
            );
            assert!(!node.gossip.addresses(own.who()).contains(&at[0]));
        }
    }
}

#[test]
fn packets_that_are_longer_than_any_are_refused() {
    let mut world = settled(6, 34);
    let told: Vec<_> = (0..250)
        .map(|number| Member::alive(invented(number, 1)))
        .collect();
    let (from, to) = (identity(&world, 5), identity(&world, 0));
    let lie = gossip(&from, &to, &told);
    assert!(lie.len() > PACKET && lie.len() <= FRAME, "{}", lie.len());
    let before = total(&world.nodes[0].gossip);
    world.keep(0);
    world.arrives(5, 0, &lie);
    assert_eq!(total(&world.nodes[0].gossip), before);
    let refused = |output: &Output| {
        matches!(
            output,
            Output::Refused {
                why: Refusal::Packet(_),
                ..
            }
        )
    };
    assert!(world.nodes[0].saw.iter().any(refused));
}
