//! A second master joins with kubeadm, and leaves: etcd has as many voters as there are masters.

use std::process::Stdio;
use std::time::Instant;

use crate::control_plane::{
    IGNORED, PATIENCE, Way, cluster, configure, follow, founded, members, takes_writes,
};
use crate::lab::Lab;
use crate::measure::{measured, within};
use crate::node::Node;

const MASTERS: [(&str, &str); 2] = [("master-1", "10.77.0.11"), ("master-2", "10.77.0.12")];

#[test]
fn by_names() {
    joins_and_leaves(Way::Names);
}

#[test]
fn with_stable_addresses() {
    joins_and_leaves(Way::Stable);
}

fn joins_and_leaves(way: Way) {
    let Some(lab) = Lab::start() else { return };
    let mut first = founded(&lab, way, &MASTERS);
    let (name, address) = MASTERS[1];
    let mut second = lab.node(name, address, &cluster(way, &MASTERS));
    second.start_agent();
    second.start_haproxy();
    second.start_kubelet();
    let token = first.kubeadm(&["token", "create"]).good();

    let began = Instant::now();
    hand_over(&first, &second);
    for step in configure(&second, &["--join", "--token", token.trim()]) {
        if !step.starts_with("ssh ") {
            follow(&second, &step);
        }
    }
    measured(&format!("a master joins ({way:?})"), began.elapsed());
    let both = ["master-1", "master-2"];
    for node in [&first, &second] {
        within("both members vote", PATIENCE, || voters(node, &both));
        takes_writes(node, &node.name);
        within("nothing pins", PATIENCE, || {
            node.ok("stayput", &["kubeadm", "audit"])
        });
    }
    let nodes = second.kubectl(&["get", "nodes", "-o", "name"]).unwrap();
    assert_eq!(nodes.lines().count(), 2, "{nodes}");

    let began = Instant::now();
    match way {
        // kubeadm looks for its member by an address.
        Way::Names => {
            second.stayput(&["kubeadm", "leave-etcd"]).good();
            second.stop("kubelet");
            let reset = [
                "reset",
                "--force",
                "--skip-phases=remove-etcd-member",
                IGNORED,
            ];
            second.kubeadm(&reset).good();
        }
        Way::Stable => {
            second.stop("kubelet");
            second.kubeadm(&["reset", "--force", IGNORED]).good();
        }
    }
    within("one member is left", PATIENCE, || {
        voters(&first, &both[..1])
    });
    takes_writes(&first, "alone");
    measured(
        &format!("a master leaves ({way:?}): until a write"),
        began.elapsed(),
    );
    first.must_run();
}

/// `ssh master-1 stayput certs bundle | stayput certs unbundle`.
pub(crate) fn hand_over(from: &Node, to: &Node) {
    let mut bundle = from.command("stayput");
    let mut bundle = bundle
        .args(["certs", "bundle"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut unbundle = to.command("stayput");
    unbundle
        .args(["certs", "unbundle"])
        .stdin(bundle.stdout.take().unwrap());
    let output = unbundle.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(bundle.wait().unwrap().success());
}

/// Exactly these masters have a member in etcd, started and with a vote.
fn voters(node: &Node, masters: &[&str]) -> Result<(), String> {
    let said = members(node)?;
    let members = said
        .lines()
        .map(|line| line.split(", ").collect::<Vec<_>>());
    let mut voters: Vec<&str> = members
        .clone()
        .filter(|member| member[1] == "started" && member[5] == "false")
        .map(|member| member[2])
        .collect();
    voters.sort_unstable();
    let all = members.count() == masters.len() && voters == masters;
    all.then_some(()).ok_or(said)
}
