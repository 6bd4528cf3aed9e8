//! Two stock masters, bound to each other's addresses, are mended at the same time; then both addresses
//! change at once.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::control_plane::{
    DOMAIN, IGNORED, PATIENCE, Way, cluster, endpoints, holders, knows_pods, members, pods_know,
    takes_writes,
};
use crate::joining::hand_over;
use crate::lab::Lab;
use crate::measure::{measured, within};
use crate::node::Node;
use crate::unpin::{RESTART, stock_of, unpin};

const BEFORE: [(&str, &str); 2] = [("master-1", "10.77.0.11"), ("master-2", "10.77.0.12")];
const AFTER: [(&str, &str); 2] = [("master-1", "10.77.0.31"), ("master-2", "10.77.0.32")];

#[test]
fn two_stock_masters_are_mended_in_their_order() {
    let Some(lab) = Lab::start() else { return };
    let mut first = stock_of(&lab, &BEFORE);
    let mut second = join(&lab, &first);
    for node in [&mut first, &mut second] {
        takes_writes(node, "stock");
        node.start_agent();
        node.start_haproxy();
    }
    for node in [&first, &second] {
        within("the surfaces show the book", PATIENCE, || {
            let said = unpin(node, &["--dry-run"]);
            let done = said.out.contains("agent         done");
            done.then_some(()).ok_or(said.out)
        });
    }

    // One alone begins, and ends where the other is next.
    let began = Instant::now();
    let said = unpin(&first, &["--yes"]);
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(said.out.contains("master-2"), "{said:#?}");
    // From here on each waits for the other.
    let mut runs = [&first, &second].map(mend);
    let limit = Duration::from_mins(40);
    for (run, node) in runs.iter_mut().zip([&first, &second]) {
        let (ended, _) = within("unpin ends", limit, || {
            run.try_wait().unwrap().ok_or_else(|| node.read(LOG))
        });
        assert!(ended.success(), "{ended:?}: {}", node.read(LOG));
        eprintln!("== {}\n{}", node.name, node.read(LOG));
    }
    measured("two stock masters are mended", began.elapsed());

    for node in [&first, &second] {
        let said = unpin(node, &["--dry-run"]);
        assert_eq!(said.code, 0, "{said:#?}");
        let members = members(node).unwrap();
        for (name, address) in BEFORE {
            let peer = format!("https://{name}.{DOMAIN}:2380");
            assert!(members.contains(&peer), "{members}");
            assert!(!members.contains(address), "{members}");
        }
        takes_writes(node, &node.name);
    }

    // That was the point of it. Each agent sees its own address; an operator tells it the other's.
    let began = Instant::now();
    for (node, (_, address)) in [&first, &second].into_iter().zip(AFTER) {
        node.readdress(address);
    }
    first.stayput(&["event", AFTER[1].0, AFTER[1].1]).good();
    second.stayput(&["event", AFTER[0].0, AFTER[0].1]).good();
    takes_writes(&first, "moved");
    measured(
        "two mended masters move at once: until a write",
        began.elapsed(),
    );
    takes_writes(&second, "moved, too");
    for (name, address) in AFTER {
        pods_know(&first, name, address);
        pods_know(&second, name, address);
    }
    let all = AFTER.map(|(_, address)| address).join(" ");
    within("default/kubernetes is right", PATIENCE, || {
        let found = endpoints(&first)?;
        (found == all).then_some(()).ok_or(found)
    });
    holders(&first);
    first.must_run();
    second.must_run();
}

/// Where a node's run says what it does.
const LOG: &str = "/root/unpin.log";

/// A run that waits for the other nodes.
fn mend(node: &Node) -> Child {
    let script =
        format!("exec stayput kubeadm unpin --yes --wait 35m --kubelet-restart \"$1\" >{LOG} 2>&1");
    node.write(LOG, "");
    let mut command = node.command("sh");
    command.args(["-c", &script, "sh", RESTART]);
    command.stdin(Stdio::null()).spawn().unwrap()
}

/// A second master, as kubeadm joins it.
fn join(lab: &Lab, first: &Node) -> Node {
    let [(name, address), (_, other)] = [BEFORE[1], BEFORE[0]];
    knows_pods(first);
    let mut node = lab.node(name, address, &cluster(Way::Names, &BEFORE));
    hand_over(first, &node);
    node.start_kubelet();
    let token = first.kubeadm(&["token", "create"]).good();
    node.kubeadm(&[
        "join",
        &format!("{other}:6443"),
        "--control-plane",
        &format!("--apiserver-advertise-address={address}"),
        "--cri-socket=/run/containerd/containerd.sock",
        "--token",
        token.trim(),
        "--discovery-token-unsafe-skip-ca-verification",
        IGNORED,
    ])
    .good();
    node
}
