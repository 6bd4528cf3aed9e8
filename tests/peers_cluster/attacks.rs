//! What others try: nothing moves, and it is told once.

use std::process::Command;
use std::time::Instant;

use crate::lab::{CLUSTER, Lab, Member, NAMES, one_at_a_time, possible};
use crate::node::Node;
use crate::support::{here, run, until};

#[test]
fn garbage_on_the_link_moves_nothing_and_is_told_once() {
    if !here(true, &["ip", "unshare", "setpriv", "haproxy", "socat"]) {
        return;
    }
    let _turn = one_at_a_time();
    let mut lab = Lab::start();
    let stranger = lab.bridge.node("stranger", "10.77.0.99");
    let garbage = lab.members[0].node.path("garbage");
    // A thousand datagrams, each other bytes.
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|it| (it / 7 % 251) as u8).collect();
    std::fs::write(&garbage, bytes).unwrap();
    let mut socat = Command::new("ip");
    socat.args([
        "netns",
        "exec",
        stranger.name(),
        "socat",
        "-u",
        "-b",
        "1000",
    ]);
    socat.arg(format!("OPEN:{}", garbage.display()));
    socat.arg("UDP4-DATAGRAM:239.255.84.42:8442,ip-multicast-if=10.77.0.99");
    run(&mut socat).good();
    let begun = lab.moves(&[(0, 31), (1, 32)]);
    lab.all_books_are_true("two masters move, after a thousand lies", begun);
    for member in &lab.members {
        let log = member.peers.as_ref().unwrap().log();
        let told = log.matches("10.77.0.99 sends what is not taken").count();
        assert_eq!(told, 1, "{}: {log}", member.node.name);
    }
}

/// A clone of a master is started beside it, with the same keys.
#[test]
fn two_machines_of_one_name_speak_ever_more_rarely() {
    if !possible() {
        return;
    }
    let _turn = one_at_a_time();
    let mut lab = Lab::start();
    let namespace = lab.bridge.node("twin", "10.77.0.99");
    let folder = lab.folder.path().join("twin");
    let mut node = Node::new(&folder, NAMES[0], namespace, CLUSTER);
    for file in ["ca.crt", "stayput.crt", "stayput.key"] {
        let file = format!("etc/kubernetes/pki/{file}");
        std::fs::copy(lab.members[0].node.path(&file), node.path(&file)).unwrap();
    }
    node.start_agent();
    let mut twin = Member {
        peers: None,
        node,
        at: 99,
    };
    twin.start_peers();
    let log = |member: &Member| member.peers.as_ref().unwrap().log();
    until("one of them says that there are two", || {
        let logs = [log(&lab.members[0]), log(&twin)];
        logs.iter()
            .any(|log| log.contains("another machine speaks as"))
    });
    for member in [&lab.members[0], &twin] {
        let log = log(member);
        // At first, and then after 1 s, 2 s, 4 s and so on.
        let signed = log.matches("signed: ").count();
        assert!((1..20).contains(&signed), "{log}");
    }
    drop(twin);
    lab.all_books_are_true("a clone is turned off", Instant::now());
}
