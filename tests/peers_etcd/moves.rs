//! The masters change their addresses, running and switched off, and etcd goes on.

use std::sync::{Mutex, PoisonError};

use crate::lab::{Lab, possible};
use crate::way::Way;

fn goes_on(way: Way) {
    // Two such clusters at a time would be too much for a small machine.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if !possible() {
        return;
    }
    let mut lab = Lab::start(way);
    let moved = ["10.77.0.111", "10.77.0.112", "10.77.0.113"];
    lab.moves("all three masters move at once", moved);
    let elsewhere = ["10.77.0.121", "10.77.0.122", "10.77.0.123"];
    lab.comes_back("all three were off, and come back elsewhere", elsewhere);
}

#[test]
fn members_that_know_each_other_by_name_go_on() {
    goes_on(Way::Names);
}

#[test]
fn members_pinned_to_stable_addresses_go_on() {
    goes_on(Way::Stable);
}
