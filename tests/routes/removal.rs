//! What is stayput's goes without a trace, and what is not stays.

use crate::lab::{BEFORE, Lab, STABLE, cluster, end_agent, ip, ours, possible, says};
use crate::node::Node;
use crate::support::until;

const DIRECT: &str = "routes: {mode: direct}\n";
const OFF: &str = "routes: {mode: off}\n";

/// Everything on a node, as people see it; but for what the kernel makes for itself, in its own time.
fn everything(node: &Node) -> Vec<String> {
    let shown = [
        "address show scope global",
        "route show table all",
        "-6 route show table all",
    ];
    let shown = shown.map(|line| ip(node, line)).concat();
    let lines = shown.lines().filter(|line| !line.contains("fe80::"));
    lines.map(str::to_owned).collect()
}

/// Addresses and routes of an operator, next to ours and like them.
fn foreign(node: &Node) {
    ip(node, "address add 10.254.0.77/32 dev lo");
    ip(node, "address add fd54::77/128 dev lo nodad");
    ip(node, "route add 10.254.0.78/32 via 10.77.0.12");
    ip(node, "route add 10.254.0.79/32 via 10.77.0.12 proto 146");
}

#[test]
fn off_takes_away_what_is_ours_and_nothing_else() {
    if !possible(&[]) {
        return;
    }
    let off = cluster(STABLE, OFF);
    let mut lab = Lab::new(&cluster(STABLE, DIRECT));
    let before: Vec<Vec<String>> = lab
        .nodes
        .iter()
        .map(|node| {
            foreign(node);
            everything(node)
        })
        .collect();
    for node in &mut lab.nodes {
        node.start_agent();
    }
    lab.has(STABLE, BEFORE);
    for (node, before) in lab.nodes.iter().zip(&before) {
        node.write("etc/stayput/cluster.yaml", &off);
        until("nothing of ours is left", || ours(node).is_empty());
        assert_eq!(everything(node), *before);
        says(node, "absent", "off");
    }
    // On again, and off while no agent runs.
    let worker = lab.worker();
    worker.write("etc/stayput/cluster.yaml", &cluster(STABLE, DIRECT));
    until("routes are back", || ours(worker).len() == 3);
    // Another mark: what has the old one is not left behind.
    worker.write(
        "etc/stayput/cluster.yaml",
        &cluster(STABLE, "routes: {mode: direct, protocol: 147}\n"),
    );
    until("the old mark is gone", || ours(worker).is_empty());
    assert_eq!(ip(worker, "route show proto 147").lines().count(), 3);
}

#[test]
fn remove_is_for_a_node_that_stayput_leaves() {
    if !possible(&[]) {
        return;
    }
    let mut lab = Lab::new(&cluster(STABLE, DIRECT));
    foreign(&lab.nodes[0]);
    let before = everything(&lab.nodes[0]);
    lab.nodes[0].start_agent();
    let node = &lab.nodes[0];
    until("it has its address and routes", || ours(node).len() == 3);
    let refused = node.stayput(&["routes", "remove"]).refused(75);
    assert!(refused.contains("would put them back"), "{refused}");
    assert_eq!(ours(node).len(), 3);

    let second = &lab.nodes[1];
    let applied = second.stayput(&["apply"]).good();
    assert!(
        applied.contains("1 address, 2 routes (protocol 145)"),
        "{applied}"
    );
    let again = second.stayput(&["apply", "-o", "json"]).good();
    assert!(again.contains("unchanged"), "{again}");
    let removed = second.stayput(&["routes", "remove"]).good();
    assert_eq!(removed.lines().count(), 3, "{removed}");
    assert!(ours(second).is_empty());
    let nothing = second.stayput(&["routes", "remove"]).good();
    assert_eq!(nothing, "nothing of stayput's is there\n");

    end_agent(node);
    assert_eq!(ours(node).len(), 3, "they outlive the agent");
    // Off while no agent runs: the next command that does the work cleans up.
    node.write("etc/stayput/cluster.yaml", &cluster(STABLE, OFF));
    node.stayput(&["apply"]).good();
    assert_eq!(everything(node), before);
}

#[test]
fn remove_leaves_what_belongs_to_others_alone() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::new(&cluster(STABLE, DIRECT));
    let node = &lab.nodes[0];
    foreign(node);
    // An administrator's, as `ip route add … proto static` marks it.
    ip(node, "route add 10.254.0.80/32 via 10.77.0.12 proto static");
    // With our mark, and not of our shape.
    ip(node, "route add 10.250.0.0/16 via 10.77.0.12 proto 145");
    ip(node, "route add blackhole 10.254.0.81/32 proto 145");
    ip(
        node,
        "route add 10.254.0.82/32 via 10.77.0.12 metric 50 proto 145",
    );
    ip(node, "address add 10.254.0.83/24 dev lo label lo:stayput");
    let before = everything(node);
    for number in ["2", "3", "4", "16", "186"] {
        for dry in [&[][..], &["--dry-run"]] {
            let words = [&["routes", "remove", "--protocol", number], dry].concat();
            let said = node.stayput(&words).refused(65);
            let want = format!("{number} belongs to others");
            assert!(said.contains(&want), "{said}");
        }
    }
    assert_eq!(everything(node), before);
    node.stayput(&["apply"]).good();
    let full = everything(node);
    let dry = node.stayput(&["routes", "remove", "--dry-run"]).good();
    assert!(dry.starts_with("nothing has been done"), "{dry}");
    assert!(dry.contains("remove 10.254.0.1 from lo\n"), "{dry}");
    assert_eq!(dry.lines().count(), 4, "{dry}");
    assert_eq!(everything(node), full);
    let json = node.stayput(&["routes", "remove", "--dry-run", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.good()).unwrap();
    assert_eq!(json["dryRun"], true);
    assert_eq!(json["removed"].as_array().unwrap().len(), 3);
    node.stayput(&["routes", "remove"]).good();
    assert_eq!(everything(node), before);
}
