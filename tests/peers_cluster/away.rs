//! Nodes that were away, cut off or without a certificate catch up.

use std::time::Instant;

use rustix::process::{Signal, kill_process};

use crate::lab::{
    EVERYBODY_ELSEWHERE, Lab, NAMES, NO_MULTICAST, NODES, WORKERS, one_at_a_time, possible,
};
use crate::support::until;

#[test]
fn a_network_that_is_cut_in_two_heals() {
    if !possible() {
        return;
    }
    let _turn = one_at_a_time();
    let mut lab = Lab::start();
    lab.router(&["link", "add", "other", "type", "bridge"]);
    lab.router(&["link", "set", "other", "up"]);
    let before = lab.truth();
    let (one, other) = ([0, 3, 4], [1, 2, 5, 6]);
    lab.plug(&one, "other");
    lab.moves(&[(0, 31), (1, 32)]);
    let moved = lab.truth();
    // Each half knows its own.
    let with = |name: &str| {
        let mut book = before.clone();
        book.insert(name.to_owned(), moved[name].clone());
        book
    };
    lab.books_say(&one, &with("master-1"), "one half");
    lab.books_say(&other, &with("master-2"), "the other half");
    lab.plug(&one, "bridge");
    lab.all_books_are_true("a cut network heals", Instant::now());
}

#[test]
fn a_node_sleeps_through_five_changes() {
    if !possible() {
        return;
    }
    let _turn = one_at_a_time();
    for sleeper in [4, 2] {
        let mut lab = Lab::start();
        let agent = lab.members[sleeper].pid();
        lab.members[sleeper].signal(agent, Signal::STOP);
        let awake: Vec<usize> = (0..NODES).filter(|node| *node != sleeper).collect();
        for turn in 0..5 {
            let at = 31 + u8::try_from(turn).unwrap();
            lab.moves(&[(turn % 2, at)]);
            lab.books_say(&awake, &lab.truth(), "while one sleeps");
        }
        lab.members[sleeper].signal(agent, Signal::CONT);
        let what = format!("{} wakes up after five changes", NAMES[sleeper]);
        lab.all_books_are_true(&what, Instant::now());
    }
}

#[test]
fn after_a_power_failure_all_come_back_elsewhere() {
    if !possible() {
        return;
    }
    let _turn = one_at_a_time();
    // All masters are elsewhere, and find the workers where they were.
    let mut lab = Lab::with(NO_MULTICAST, WORKERS);
    lab.comes_back(&[(0, 31), (1, 32), (2, 33)]);
    lab.all_books_are_true("all masters come back elsewhere", Instant::now());
    drop(lab);
    let mut lab = Lab::start();
    lab.comes_back(&EVERYBODY_ELSEWHERE);
    lab.all_books_are_true("all nodes come back elsewhere", Instant::now());
}

#[test]
fn what_was_away_or_damaged_catches_up() {
    if !possible() {
        return;
    }
    let _turn = one_at_a_time();
    let mut lab = Lab::start();
    // A node's agent is away while a master moves.
    let agent = lab.members[4].pid();
    kill_process(agent, Signal::TERM).unwrap();
    lab.moves(&[(0, 31)]);
    lab.books_say(&[0, 1, 2, 3, 5, 6], &lab.truth(), "where there is an agent");
    lab.members[4].node.start_agent();
    lab.all_books_are_true("an agent was away", Instant::now());
    // A node's records are damaged while its process is away.
    let member = &mut lab.members[3];
    let peers = member.peers.as_mut().unwrap();
    peers.signal(Signal::TERM);
    assert!(peers.end().success(), "{}", peers.log());
    let folder = "var/lib/stayput/peers";
    let known = member.node.read(&format!("{folder}/members"));
    assert!(known.contains("master-1.prod.k8s.internal"), "{known}");
    let records = member.node.path(folder).join("records");
    let good = std::fs::metadata(&records).unwrap().len();
    std::fs::write(&records, "stayput records 1\nnonsense").unwrap();
    member.start_peers();
    let damaged = member.node.path(folder).join("records.damaged");
    until("the file is set aside", || damaged.exists());
    until("the records are there again", || {
        std::fs::metadata(&records).is_ok_and(|file| file.len() == good)
    });
    let log = member.peers.as_ref().unwrap().log();
    assert!(log.contains("is damaged"), "{log}");
    let begun = lab.moves(&[(1, 32)]);
    lab.all_books_are_true("a master moves, after that", begun);
}

#[test]
fn a_worker_without_a_certificate_hears_and_is_not_heard() {
    if !possible() {
        return;
    }
    let _turn = one_at_a_time();
    let mut lab = Lab::with("", WORKERS - 1);
    let begun = lab.moves(&[(0, 31)]);
    lab.all_books_are_true("a worker has no certificate, and hears multicast", begun);
    drop(lab);
    // Without multicast it pulls.
    let mut lab = Lab::with(NO_MULTICAST, WORKERS - 1);
    let begun = lab.moves(&[(0, 31)]);
    lab.all_books_are_true("a worker has no certificate, and pulls", begun);
    let log = lab.members.last().unwrap().peers.as_ref().unwrap().log();
    assert!(log.contains("records are only pulled"), "{log}");
    assert!(!log.contains("taking part"), "{log}");
}
