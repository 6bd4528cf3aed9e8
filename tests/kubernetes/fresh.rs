//! A new cluster: what stayput issues and writes is what kubeadm takes, and it works.

use std::time::Instant;

use crate::control_plane::{Way, founded, holders, takes_writes};
use crate::lab::Lab;
use crate::measure::measured;

const MASTERS: [(&str, &str); 1] = [("master-1", "10.77.0.11")];

#[test]
fn a_new_cluster_by_names() {
    is_made(Way::Names);
}

fn is_made(way: Way) {
    let Some(lab) = Lab::start() else { return };
    let began = Instant::now();
    let mut node = founded(&lab, way, &MASTERS);
    measured(
        &format!("a new cluster ({way:?}): from nothing to a write"),
        began.elapsed(),
    );
    holders(&node);
    takes_writes(&node, "second");

    // kubeadm knows each certificate and kubeconfig, and misses none.
    let said = node.kubeadm(&["certs", "check-expiration"]).good();
    for row in [
        "admin.conf",
        "apiserver ",
        "etcd-peer",
        "scheduler.conf",
        "front-proxy-ca",
    ] {
        assert!(said.contains(row), "{row}: {said}");
    }
    assert!(
        !said.contains("MISSING") && !said.contains("invalid"),
        "{said}"
    );
    node.stayput(&["certs", "verify", "--live"]).good();
    node.stayput(&["check"]).good();
    node.stayput(&["kubeadm", "audit"]).good();
    node.must_run();
}

#[test]
fn a_new_cluster_with_stable_addresses() {
    is_made(Way::Stable);
}
