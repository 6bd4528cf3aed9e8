//! Whole clusters in virtual time; and one node against a member that lies.

use std::collections::BTreeMap;
use std::time::Duration;

use foca::{Header, Member, Message, State};
use proptest::prelude::*;

use super::gate::LEAP;
use super::wire::{Frame, Items};
use super::{FRAME, Gossip, Identity, Input, Ledger, MEMBERS, Output, Pace, Refusal, Who};
use world::World;
use world::ledger::{Toy, record};

#[path = "../../../tests/gossip/mod.rs"]
mod world;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// So many nodes that have settled.
fn settled(nodes: usize, seed: u64) -> World {
    let mut world = World::new(nodes, 3, seed);
    world.pass(seconds(20));
    world
}

#[test]
fn a_change_reaches_all_within_two_seconds() {
    for (nodes, loss, seed) in [(200, 10, 1), (50, 0, 2), (50, 100, 3)] {
        let mut world = settled(nodes, seed);
        world.loss = loss;
        for master in 0..3 {
            world.moves(master);
            world.signs(master);
            let took = world.until(seconds(2), World::agree);
            let reached = world.reached.len();
            assert!(took.is_some(), "{loss} of 1,000 lost: {reached} of {nodes}");
        }
    }
}

#[test]
fn equal_seeds_lead_to_equal_runs() {
    let run = |seed| {
        let mut world = settled(20, seed);
        world.loss = 50;
        world.moves(1);
        world.signs(1);
        world.pass(seconds(40));
        (world.frames, world.bytes, world.reached)
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn little_is_said_at_rest() {
    let mut world = World::new(50, 3, 4);
    world.pass(seconds(600));
    (world.frames, world.bytes) = (0, 0);
    world.pass(seconds(300));
    let each = 50 * 300;
    assert!(world.frames * 10 < each * 6, "{} frames", world.frames);
    assert!(world.bytes < each * 100, "{} bytes", world.bytes);
}

#[test]
fn halves_that_were_cut_come_together() {
    for (minutes, seed) in [(1, 7), (90, 8)] {
        let mut world = settled(30, seed);
        world.cut = true;
        world.pass(seconds(20));
        // Both halves move a master, and have all of their own.
        for master in [0, 1] {
            world.moves(master);
            world.signs(master);
            world.pass(seconds(5));
            let half = world.reached.len();
            assert_eq!(half, 15, "cut for {minutes} min");
        }
        world.pass(seconds(minutes * 60));
        assert!(!world.agree());
        world.cut = false;
        // A round of comparisons, and what it starts.
        let took = world.until(seconds(40), World::agree);
        assert!(took.is_some(), "cut for {minutes} min");
        let took = world.until(seconds(600), World::all_know_all);
        assert!(took.is_some(), "cut for {minutes} min");
    }
}

#[test]
fn who_slept_through_five_changes_catches_up() {
    let mut world = settled(10, 9);
    world.sleeps(2);
    world.sleeps(7);
    for change in 0..5 {
        world.moves(change % 2);
        world.signs(change % 2);
        world.pass(seconds(70));
    }
    // A master and a worker; nobody is where they knew them, but for the other workers.
    for number in [2, 7] {
        assert_eq!(world.nodes[number].ledger.version(0), 1);
        world.wakes_up(number);
    }
    let took = world.until(seconds(40), World::agree);
    assert!(took.is_some());
    assert_eq!(world.nodes[7].ledger.version(0), 4);
    assert_eq!(world.nodes[7].ledger.version(1), 3);
    let took = world.until(seconds(300), World::all_know_all);
    assert!(took.is_some());
}

#[test]
fn when_all_masters_move_at_once_the_workers_bring_them_together() {
    let mut world = settled(7, 10);
    world.move_at_once(0..3);
    for master in 0..3 {
        world.signs(master);
    }
    let took = world.until(seconds(5), World::agree);
    assert!(took.is_some());
    for master in 0..3 {
        assert_eq!(world.nodes[6].ledger.version(master), 2);
    }
}

#[test]
fn ten_moves_in_ten_seconds_end_at_the_last() {
    let mut world = settled(20, 11);
    world.loss = 10;
    for _ in 0..10 {
        world.moves(0);
        world.signs(0);
        world.pass(seconds(1));
        // The last outdoes those before it, on its way too.
        let backlog = |node: &world::Node| node.gossip.foca.custom_broadcast_backlog();
        assert!(world.nodes.iter().all(|node| backlog(node) <= 1));
    }
    let took = world.until(seconds(2), World::agree);
    assert!(took.is_some());
    assert!(world.nodes.iter().all(|node| node.ledger.version(0) == 11));
}

#[test]
fn strangers_who_know_only_the_masters_find_everybody() {
    let mut world = World::of_strangers(60, 3, 12);
    let took = world.until(seconds(120), World::all_know_all);
    assert!(took.is_some());
}

#[test]
fn everybody_moves_at_once_and_hello_brings_them_together() {
    let mut world = settled(7, 13);
    (0..7).for_each(|number| world.keep(number));
    world.move_at_once(0..7);
    for master in 0..3 {
        world.signs(master);
    }
    world.pass(seconds(60));
    assert!(!world.agree());
    let lonely = |node: &world::Node| node.saw.contains(&Output::Lonely);
    assert!(world.nodes.iter().all(lonely));
    // The caller knows an address of master-1: by multicast or from a DNS server.
    for number in 1..7 {
        let node = &world.nodes[number];
        let hello = node.gossip.hello(&node.ledger);
        world.arrives(number, 0, &hello);
    }
    let took = world.until(seconds(10), World::agree);
    assert!(took.is_some());
    let took = world.until(seconds(120), World::all_know_all);
    assert!(took.is_some());
}

#[test]
fn a_node_that_hears_of_nobody_forgets_nobody() {
    let mut world = settled(7, 14);
    for number in 1..7 {
        world.sleeps(number);
    }
    world.pass(Duration::from_hours(3));
    let known = world.nodes[0].gossip.known();
    assert_eq!(known.len(), 6);
    // After a restart it finds them by that.
    for number in 1..7 {
        world.wakes_up(number);
    }
    let identity = Identity::new(world.who(0), 2_000, vec![world.nodes[0].at]).unwrap();
    world.nodes[0].gossip = Gossip::new(identity, Pace::default(), world::rng(1), world.now);
    world.input(0, Input::Known(known));
    let took = world.until(seconds(300), World::all_know_all);
    assert!(took.is_some());
}

/// A packet that a member makes up.
fn packet(
    from: &Identity,
    to: &Identity,
    message: Message<Identity>,
    told: &[Member<Identity>],
    records: &[&[u8]],
) -> Vec<u8> {
    let plain = message != Message::Broadcast && message != Message::Announce;
    let header = Header {
        src: from.clone(),
        src_incarnation: 0,
        dst: to.clone(),
        message,
    };
    let mut bytes = postcard::to_allocvec(&header).unwrap();
    if plain {
        bytes.extend(u16::try_from(told.len()).unwrap().to_be_bytes());
    }
    for member in told {
        bytes.extend(postcard::to_allocvec(member).unwrap());
    }
    for record in records {
        Items::push(&mut bytes, record);
    }
    Frame::Swim(&bytes).encode()
}

fn gossip(from: &Identity, to: &Identity, told: &[Member<Identity>]) -> Vec<u8> {
    packet(from, to, Message::Gossip, told, &[])
}

fn invented(number: usize, generation: u64) -> Identity {
    let address = "192.0.2.1:8442".parse().unwrap();
    Identity::new(world::who(number + 100_000, 0), generation, vec![address]).unwrap()
}

fn identity(world: &World, number: usize) -> Identity {
    world.nodes[number].gossip.identity().clone()
}

fn total(gossip: &Gossip<Toy>) -> usize {
    gossip.foca.iter_membership_state().len()
}

#[test]
fn invented_members_stay_few_and_go() {
    let mut world = settled(10, 15);
    for round in 0..100 {
        for some in 0..10 {
            let told: Vec<_> = (0..100)
                .map(|number| Member::alive(invented(round * 1_000 + some * 100 + number, 1)))
                .collect();
            let (from, to) = (identity(&world, 9), identity(&world, 4));
            let lie = gossip(&from, &to, &told[..]);
            assert!(lie.len() <= FRAME);
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
    // A change is not held up by them, and in time they are gone.
    world.moves(0);
    world.signs(0);
    assert!(world.until(seconds(2), World::agree).is_some());
    let took = world.until(Duration::from_hours(2), World::all_know_all);
    assert!(took.is_some());
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
        assert_eq!(super::sender(&frame).as_ref(), Some(other.who()));
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
    let want = Frame::Want(super::wire::Digests::over(wants.as_flattened())).encode();
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
fn many_records_travel_in_pages() {
    let mut world = settled(4, 25);
    let own = world.who(0);
    for number in 0..400 {
        let record = record(1_000 + number, 1, world.nodes[0].at);
        world.nodes[0].ledger.offer(&record, &own);
    }
    let took = world.until(seconds(80), World::agree);
    assert!(took.is_some());
    assert_eq!(world.nodes[3].ledger.held().len(), 403);
}

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
    assert!(world.nodes[0].gossip.held(invented.tag()).is_some());
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
