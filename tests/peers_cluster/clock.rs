//! Nodes come up with a dead clock, in 1970, until a time service sets it.

use std::time::{Instant, SystemTime};

use crate::lab::{Lab, Member, NO_MULTICAST, WORKERS, one_at_a_time, possible};
use crate::support::{here, until};

/// Where a clock without a battery begins, in Unix time, and some minutes.
const DEAD: u64 = 180;

impl Member {
    /// Its clock begins at [`DEAD`] now.
    fn clock_is_dead(&self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let behind = now.unwrap().as_secs() - DEAD;
        self.node.write("etc/faketimerc", &format!("-{behind}\n"));
    }

    /// A time service sets its clock.
    fn clock_is_set(&self) {
        self.node.write("etc/faketimerc", "+0\n");
    }

    /// It is turned on, and its processes live in 1970.
    fn comes_back_in_1970(&mut self) {
        self.clock_is_dead();
        self.comes_back();
        let status = self.status();
        let since = status["agent"]["since"].as_str().unwrap();
        assert!(since.starts_with("1970-01-01T00:0"), "{since}");
        let log = self.peers.as_ref().unwrap().log();
        assert!(log.contains("1970-01-01T00:0"), "{log}");
    }

    /// Whether this master says so.
    fn clock_is_wrong(&self) -> bool {
        let problems = self.node.stayput(&["peers"]).good();
        problems.contains("after this node's clock")
    }

    /// The version of a master's record by the book of this node.
    fn version_of(&self, master: &str) -> u64 {
        let status = self.status();
        let mut masters = status["masters"].as_array().unwrap().iter();
        let name = format!("{master}.");
        let of = masters.find(|it| it["name"].as_str().unwrap().starts_with(&name));
        of.unwrap()["record"]["version"].as_u64().unwrap()
    }
}

#[test]
fn a_node_comes_up_with_a_dead_clock() {
    if !possible() || !here(false, &["faketime"]) {
        return;
    }
    let _turn = one_at_a_time();
    // Nothing comes but from others that are verified.
    let mut lab = Lab::with(NO_MULTICAST, WORKERS);
    for member in &lab.members {
        member.knows_all();
    }
    // A worker is off while masters move.
    lab.members[6].fails();
    lab.moves(&[(0, 31), (1, 32)]);
    lab.books_say(&[0, 1, 2, 3, 4, 5], &lab.truth(), "while a worker is off");
    let begun = Instant::now();
    lab.members[6].comes_back_in_1970();
    lab.all_books_are_true("a worker comes up with a dead clock", begun);
    let begun = lab.moves(&[(0, 51)]);
    lab.all_books_are_true("a master moves, a worker has a dead clock", begun);

    // A master is off while another moves, and is moved itself.
    let before = lab.members[3].version_of("master-1");
    lab.members[0].fails();
    lab.moves(&[(0, 61), (1, 62)]);
    let begun = Instant::now();
    lab.members[0].comes_back_in_1970();
    lab.all_books_are_true("a master comes up elsewhere with a dead clock", begun);
    assert!(lab.members[0].clock_is_wrong());
    let come = lab.members[3].version_of("master-1");
    let begun = lab.moves(&[(0, 71), (1, 72)]);
    lab.all_books_are_true("it moves, and another", begun);
    let moved = lab.members[3].version_of("master-1");
    assert!(before < come && come < moved, "{before} {come} {moved}");

    // Another one has lost all that it knew besides.
    lab.members[1].fails();
    std::fs::remove_dir_all(lab.members[1].node.path("var/lib/stayput")).unwrap();
    lab.moves(&[(1, 82)]);
    let begun = Instant::now();
    lab.members[1].comes_back_in_1970();
    lab.all_books_are_true("a master comes up with a dead clock and no records", begun);
    // It has no disk to know the workers from, and without multicast nothing else leads to it.
    lab.members[1].has_met_all();

    // The clocks are right again: of those that run, and at the next start.
    for node in [0, 1, 6] {
        lab.members[node].clock_is_set();
    }
    for node in [0, 1] {
        until("the clock is right", || !lab.members[node].clock_is_wrong());
    }
    let begun = lab.moves(&[(0, 91), (1, 92), (2, 93)]);
    lab.all_books_are_true("all masters move, and clocks were set", begun);
    for node in [0, 6] {
        lab.members[node].fails();
    }
    let begun = Instant::now();
    for node in [0, 6] {
        lab.members[node].comes_back();
    }
    lab.all_books_are_true("they start with a right clock", begun);
    assert!(lab.members[3].version_of("master-1") > moved);

    // No clock is right.
    for member in &lab.members {
        member.knows_all();
        member.clock_is_dead();
    }
    lab.comes_back(&[(0, 101), (1, 102), (2, 103)]);
    let begun = Instant::now();
    lab.all_books_are_true("all masters come back elsewhere, no clock is right", begun);
}
