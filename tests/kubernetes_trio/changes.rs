//! Masters change their addresses: one, two, all at once, all while they are off, two with each other.

use crate::components::possible;
use crate::lab::Lab;
use crate::one_at_a_time;
use crate::way::{BEFORE, Way};

fn go_on_through_every_change(way: Way) {
    let _turn = one_at_a_time();
    if !possible() {
        return;
    }
    let mut lab = Lab::start(way, true);
    lab.must_run();

    let [_, second, third] = BEFORE;
    lab.moves("one moves", &["10.77.0.111", second, third]);
    lab.moves(
        "two move at once",
        &["10.77.0.111", "10.77.0.112", "10.77.0.113"],
    );
    lab.moves(
        "two swap their addresses",
        &["10.77.0.112", "10.77.0.111", "10.77.0.113"],
    );
    lab.moves(
        "all three move at once",
        &["10.77.0.121", "10.77.0.122", "10.77.0.123"],
    );
    lab.comes_back(
        "all three are off and come back elsewhere",
        &["10.77.0.131", "10.77.0.132", "10.77.0.133"],
    );
}

#[test]
fn masters_bound_to_names_go_on_through_every_change() {
    go_on_through_every_change(Way::Names);
}

#[test]
fn masters_bound_to_stable_addresses_go_on_through_every_change() {
    go_on_through_every_change(Way::Stable);
}
