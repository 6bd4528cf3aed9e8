//! A master is switched off, and comes up at another address, where nobody else is: the kubelet starts
//! its static pods although no API server answers anywhere.

use std::time::Instant;

use crate::control_plane::{
    PATIENCE, Way, assert_same, certificates, end_pods, endpoints, founded, holders, pods_know,
    takes_writes,
};
use crate::lab::Lab;
use crate::measure::{measured, within};

const MASTERS: [(&str, &str); 1] = [("master-1", "10.77.0.11")];
const AFTER: &str = "10.77.0.31";

#[test]
fn by_names() {
    comes_up(Way::Names);
}

#[test]
fn with_stable_addresses() {
    comes_up(Way::Stable);
}

fn comes_up(way: Way) {
    let Some(lab) = Lab::start() else { return };
    let mut node = founded(&lab, way, &MASTERS);
    let issued = certificates(&node);
    node.stop("kubelet");
    node.stop("haproxy");
    node.stop("agent");
    end_pods(&node);
    node.readdress(AFTER);

    let began = Instant::now();
    node.start_agent();
    node.start_haproxy();
    let refused = node.kubectl(&["get", "nodes"]);
    assert!(refused.is_err(), "nobody is there to answer: {refused:?}");
    node.start_kubelet();
    takes_writes(&node, "up");
    measured(
        &format!("off, and on at another address ({way:?}): until a write"),
        began.elapsed(),
    );
    pods_know(&node, "master-1", AFTER);
    let advertised = match way {
        Way::Names => AFTER,
        Way::Stable => "10.254.0.1",
    };
    within("default/kubernetes is right", PATIENCE, || {
        let found = endpoints(&node)?;
        (found == advertised).then_some(()).ok_or(found)
    });
    measured(
        &format!("off, and on at another address ({way:?}): until default/kubernetes is right"),
        began.elapsed(),
    );
    takes_writes(&node, "settled");
    holders(&node);
    assert_same(&issued, &certificates(&node), &[]);
    node.must_run();
}
