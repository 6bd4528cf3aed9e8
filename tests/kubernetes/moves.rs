//! A master's address changes under a control plane at work.

use std::time::Instant;

use crate::control_plane::{
    PATIENCE, Way, assert_same, certificates, endpoints, founded, holders, pods_know, processes,
    takes_writes,
};
use crate::lab::Lab;
use crate::measure::{measured, within};

const MASTERS: [(&str, &str); 1] = [("master-1", "10.77.0.11")];
const AFTER: &str = "10.77.0.31";

#[test]
fn by_names_the_advertise_address_follows() {
    moves(Way::Names);
}

fn moves(way: Way) {
    let Some(lab) = Lab::start() else { return };
    let mut node = founded(&lab, way, &MASTERS);
    let (issued, before, held) = (certificates(&node), processes(&node), holders(&node));
    let (stable, advertised) = match way {
        Way::Names => (false, AFTER),
        Way::Stable => (true, "10.254.0.1"),
    };

    let began = Instant::now();
    node.readdress(AFTER);
    takes_writes(&node, "moved");
    measured(
        &format!("address changed ({way:?}): until a write"),
        began.elapsed(),
    );
    pods_know(&node, "master-1", AFTER);
    measured(
        &format!("address changed ({way:?}): until the pods know"),
        began.elapsed(),
    );
    within("default/kubernetes is right", PATIENCE, || {
        let found = endpoints(&node)?;
        (found == advertised).then_some(()).ok_or(found)
    });
    measured(
        &format!("address changed ({way:?}): until default/kubernetes is right"),
        began.elapsed(),
    );
    takes_writes(&node, "settled");
    let now = holders(&node);
    measured(
        &format!("address changed ({way:?}): until both leases are renewed"),
        began.elapsed(),
    );
    let after = processes(&node);

    assert_eq!(after["etcd"], before["etcd"]);
    if stable {
        assert_eq!(after, before, "nothing is restarted");
        assert_eq!(now, held, "the leases are kept");
    } else {
        assert_ne!(after["kube-apiserver"], before["kube-apiserver"]);
    }
    assert_same(&issued, &certificates(&node), &[]);
    node.stayput(&["check"]).good();
    node.must_run();
}

#[test]
fn with_stable_addresses_nothing_restarts() {
    moves(Way::Stable);
}
