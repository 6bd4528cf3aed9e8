//! Machines change their addresses, and nobody runs a command.

use std::time::{Duration, Instant};

use crate::lab::{EVERYBODY_ELSEWHERE, Lab, NO_MULTICAST, WORKERS, one_at_a_time, possible};
use crate::support::until;

#[test]
fn one_two_or_all_masters_move() {
    if !possible() {
        return;
    }
    let _turn = one_at_a_time();
    // By multicast it would be easier.
    let mut lab = Lab::with(NO_MULTICAST, WORKERS);
    let begun = lab.moves(&[(0, 31)]);
    lab.all_books_are_true("one master moves", begun);
    let begun = lab.moves(&[(1, 32), (2, 33)]);
    lab.all_books_are_true("two masters move", begun);
    let begun = lab.moves(&[(0, 41), (1, 42), (2, 43)]);
    lab.all_books_are_true("all masters move at once, and no worker", begun);
    let begun = lab.moves(&[(0, 42), (1, 41)]);
    lab.all_books_are_true("two masters swap their addresses", begun);
}

#[test]
fn everybody_moves_at_once() {
    if !possible() {
        return;
    }
    let _turn = one_at_a_time();
    let mut lab = Lab::start();
    // Nobody is where anybody knows: only multicast is left.
    let begun = lab.moves(&EVERYBODY_ELSEWHERE);
    lab.all_books_are_true("all seven nodes move at once", begun);
    let again = EVERYBODY_ELSEWHERE.map(|(node, at)| (node, at + 20));
    let begun = lab.moves(&again);
    lab.all_books_are_true("all seven nodes move at once, again", begun);
}

#[test]
fn one_master_moves_ten_times_in_ten_seconds() {
    if !possible() {
        return;
    }
    let _turn = one_at_a_time();
    let mut lab = Lab::start();
    let begun = Instant::now();
    let mut last = begun;
    for turn in 0..10 {
        until("the next second", || {
            begun.elapsed() >= Duration::from_secs(turn)
        });
        last = lab.moves(&[(0, 100 + u8::try_from(turn).unwrap())]);
    }
    lab.all_books_are_true("after the last of ten moves in ten seconds", last);
}
