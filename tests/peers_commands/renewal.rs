//! Certificates change while the process runs.

use serde_json::{Value, json};
use stayput::clock;

use crate::masters::{json, master};
use crate::process::{Running, two};
use crate::support::{here, until};

/// The version of a master's record as this node has it; 0 without one.
fn version(node: &Running, number: usize) -> u64 {
    let status = node.node.status();
    let masters = status["masters"].as_array().unwrap();
    let name = master(number);
    let shown = masters.iter().find(|it| it["name"] == name.as_str());
    shown.map_or(0, |it| it["record"]["version"].as_u64().unwrap_or(0))
}

/// Whether the other master is up, as this one sees it.
fn sees_up(node: &Running, number: usize) {
    let name = master(number);
    let up = |listed: &Value| {
        let members = listed["peers"]["members"].as_array().unwrap();
        let mut members = members.iter();
        members.any(|it| it["name"] == name.as_str() && it["state"] == "up")
    };
    node.lists("the other master up", up);
}

/// A new certificate, which began later than the one before: its times are whole seconds.
fn renew(node: &Running) {
    let now = clock::unix_now();
    until("a second is over", || clock::unix_now() > now + 1);
    node.node
        .stayput(&["certs", "renew", "--force", "stayput"])
        .good();
}

#[test]
fn who_has_a_new_certificate_says_it_all_again_and_is_heard() {
    if !here(false, &[]) {
        return;
    }
    let [first, second] = two();
    until("the agent has heard", || version(&second, 1) > 0);
    let before = version(&second, 1);
    renew(&first);
    until("the other has what the new certificate says", || {
        version(&second, 1) > before
    });
    let log = first.peers.as_ref().unwrap().log();
    assert!(log.contains("why=Renewed"), "{log}");
    sees_up(&first, 2);
    sees_up(&second, 1);

    // Replaced, it is silent, whatever it had; under a certificate of later it speaks.
    let (said, code) = json(&second.node, &["replace", "master-1"]);
    assert_eq!((code, &said["takenBy"]), (0, &json!("process")), "{said}");
    until("its words count nowhere", || {
        [&first, &second].iter().all(|node| version(node, 1) == 0)
    });
    until("it says why it is silent", || {
        let log = first.peers.as_ref().unwrap().log();
        log.contains("replaced")
    });
    renew(&first);
    until("it is heard again", || version(&second, 1) > 0);
}
