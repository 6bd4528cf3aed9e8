//! Changes, cuts, sleepers, moves: all ledgers end equal, in virtual time.

use std::time::Duration;

use super::world::ledger::record;
use super::world::{self, World};
use super::{seconds, settled};
use crate::peers::gossip::{Gossip, Identity, Input, Ledger, Output, Pace};

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

#[test]
fn a_node_that_has_lost_its_generation_goes_above_it() {
    for forgets in [0, 6] {
        let mut world = settled(7, 15);
        let before = world.nodes[forgets].gossip.identity().generation();
        // With its disk, and by a clock that stands in 1970.
        let identity = Identity::new(world.who(forgets), 180, vec![world.nodes[forgets].at]);
        world.nodes[forgets].gossip =
            Gossip::new(identity.unwrap(), Pace::default(), world::rng(1), world.now);
        let masters = (0..3).map(|master| (master, world.nodes[master].at));
        let known = masters.filter(|(master, _)| *master != forgets);
        let known = known.map(|(master, at)| Identity::new(world.who(master), 1, vec![at]));
        let known = known.collect::<Result<_, _>>().unwrap();
        world.input(forgets, Input::Known(known));
        let took = world.until(seconds(10), |world| {
            let gossip = &world.nodes[forgets].gossip;
            gossip.identity().generation() > before && gossip.members().count() == 6
        });
        assert!(
            took.is_some(),
            "{:?}",
            world.nodes[forgets].gossip.identity()
        );
        let took = world.until(seconds(60), World::all_know_all);
        assert!(took.is_some());
    }
}

#[test]
fn many_records_travel_in_pages() {
    let mut world = settled(4, 25);
    let own = world.who(0);
    for number in 0..300 {
        let record = record(1_000 + number, 1, world.nodes[0].at);
        world.nodes[0].ledger.offer(&record, &own);
    }
    let took = world.until(seconds(80), World::agree);
    assert!(took.is_some());
    assert_eq!(world.nodes[3].ledger.held().len(), 303);
}
