//! Masters change their addresses.

use std::time::Instant;

use crate::etcd::{Etcd, Place, certificates};
use crate::lab::{BEFORE, Lab, possible};
use crate::node::Node;
use crate::support::eventually;

const AFTER: [&str; 3] = ["10.77.0.111", "10.77.0.112", "10.77.0.113"];

/// All three masters move at once; etcd goes on with the processes and certificates that it has.
fn all_masters_move(place: Place, tell: impl Fn(&Node, &str) -> bool + Sync) {
    if !possible() {
        return;
    }
    let mut lab = Lab::start();
    lab.workers_reach(&BEFORE);
    let mut etcd = Etcd::start(&lab.masters, &lab.workers[0], place);
    let pids = etcd.pids();
    let before: Vec<_> = lab.masters.iter().map(certificates).collect();

    let moved = Instant::now();
    lab.readdress(&AFTER);
    lab.tell(&AFTER, tell);
    let told = moved.elapsed();
    etcd.takes_writes(&lab.masters, &lab.workers[0], "second");
    println!(
        "etcd ({place:?}): all three addresses changed and told after {told:.1?}, a write taken after {:.1?}",
        moved.elapsed()
    );
    etcd.each_reads(&lab.masters, &lab.workers[0], "second");
    assert_eq!(etcd.pids(), pids);
    assert_eq!(
        lab.masters.iter().map(certificates).collect::<Vec<_>>(),
        before
    );

    lab.everyone_sees(&AFTER);
    lab.workers_reach(&AFTER);
    lab.must_run();
}

#[test]
fn all_masters_move_at_once_and_every_node_is_told() {
    all_masters_move(Place::Pod, |_, _| true);
}

#[test]
fn all_masters_move_at_once_and_each_notices_its_own_address() {
    all_masters_move(Place::Node, |node, master| node.name != master);
}

#[test]
fn two_masters_swap_their_addresses() {
    if !possible() {
        return;
    }
    let mut lab = Lab::start();
    let [first, second, third] = BEFORE;
    let swapped = [second, first, third];
    lab.readdress(&swapped);
    lab.tell(&swapped, |_, _| true);
    lab.everyone_sees(&swapped);
    lab.workers_reach(&swapped);
    lab.must_run();
}

#[test]
fn a_master_notices_its_own_address_without_a_command() {
    if !possible() {
        return;
    }
    let mut lab = Lab::start();
    let [_, second, third] = BEFORE;
    lab.readdress(&[AFTER[0], second, third]);
    let master = &lab.masters[0];
    let status = eventually("the master's agent sees its new address", || {
        let status = master.status();
        let own = &status["masters"][0];
        if own["addresses"][0] == AFTER[0] {
            Ok(status)
        } else {
            Err(own.to_string())
        }
    });
    assert_eq!(status["masters"][0]["origin"], "interface");
    assert!(
        master
            .read("etc/hosts")
            .contains("10.77.0.111 master-1.prod.k8s.internal master-1\n")
    );
    master.stayput(&["check"]).good();
    // The others hear of it from nobody yet: they keep what they know.
    assert_eq!(
        lab.workers[0].status()["masters"][0]["addresses"][0],
        BEFORE[0]
    );
    lab.must_run();
}
