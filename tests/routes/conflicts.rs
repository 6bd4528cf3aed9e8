//! What stands against a stable address is told, and the rest is done.

use crate::lab::{AFTER, BEFORE, Lab, STABLE, cluster, ip, ours, possible, says};
use crate::support::until;

const DIRECT: &str = "routes: {mode: direct}\n";

#[test]
fn a_foreign_route_is_told_and_left_alone() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::new(&cluster(STABLE, DIRECT));
    let worker = lab.worker();
    ip(worker, "route add 10.254.0.2/32 via 10.77.0.13");
    let applied = worker.stayput(&["apply"]);
    assert_eq!(applied.code, 1, "{applied:?}");
    assert!(applied.out.contains("not stayput's"), "{applied:?}");
    let others = ["10.254.0.1 via 10.77.0.11", "10.254.0.3 via 10.77.0.13"].map(str::to_owned);
    assert_eq!(ours(worker), others.into());
    let shown = worker.stayput(&["routes", "show"]);
    assert_eq!(shown.code, 1);
    assert!(shown.out.contains("ip route del 10.254.0.2"), "{shown:?}");
    let checked = worker.stayput(&["check"]);
    assert!(
        checked
            .out
            .contains("routes: there is a route to master-2's"),
        "{checked:?}"
    );
    // The way is cleared.
    ip(worker, "route del 10.254.0.2/32");
    worker.stayput(&["apply"]).good();
    assert_eq!(ours(worker).len(), 3);
    worker.stayput(&["routes", "show"]).good();
}

#[test]
fn what_is_over_gives_no_advice() {
    if !possible(&[]) {
        return;
    }
    let mut lab = Lab::new(&cluster(STABLE, DIRECT));
    ip(lab.worker(), "route add 10.254.0.2/32 via 10.77.0.13");
    lab.nodes[3].start_agent();
    let worker = lab.worker();
    says(worker, "failed", "ip route del 10.254.0.2");
    ip(worker, "route del 10.254.0.2/32");
    says(worker, "ok", "3 routes");
    let shown = worker.stayput(&["status"]).out;
    let over = "routes: overcome: there is a route to master-2's 10.254.0.2 already";
    assert!(shown.contains(over), "{shown}");
    // It is stayput's own by now.
    assert!(!shown.contains("route del"), "{shown}");
}

#[test]
fn an_agent_tells_what_is_in_the_way_and_goes_on_when_it_is_gone() {
    if !possible(&[]) {
        return;
    }
    // Inside the link's own network, where somebody else has it.
    let stable = ["10.77.0.201", "10.77.0.202", "10.77.0.203"];
    let mut lab = Lab::new(&cluster(stable, DIRECT));
    let stranger = lab.bridge.node("stranger", "10.77.0.201");
    for node in &mut lab.nodes {
        node.start_agent();
    }
    let [first, second, ..] = &lab.nodes[..] else {
        unreachable!()
    };
    says(first, "failed", "10.77.0.201 is in use: ");
    says(first, "failed", "answers for it");
    assert!(ours(first).is_empty(), "{:?}", ours(first));
    says(second, "ok", "1 address, 2 routes");
    stranger.readdress("10.77.0.99");
    lab.has(stable, BEFORE);
    lab.works(stable);

    // Where a master is said to be is behind a router.
    lab.tell(["10.88.0.11", "", ""]);
    let worker = lab.worker();
    says(
        worker,
        "failed",
        "not on a link of this node but behind 10.77.0.1",
    );
    assert_eq!(ours(worker).len(), 2, "{:?}", ours(worker));
    lab.tell([BEFORE[0], "", ""]);
    lab.has(stable, BEFORE);

    // A foreign address of another master's: packets would go nowhere.
    ip(worker, "address add 10.77.0.202/32 dev eth0");
    says(
        worker,
        "failed",
        "10.77.0.202, which is master-2's, is on this node's eth0 too",
    );
    ip(worker, "address del 10.77.0.202/32 dev eth0");
    lab.has(stable, BEFORE);
    says(worker, "ok", "3 routes");
}

#[test]
fn a_strict_filter_is_told_where_ways_there_and_back_differ() {
    if !possible(&[]) {
        return;
    }
    let mut lab = Lab::new(&cluster(STABLE, DIRECT));
    let first = &lab.nodes[0];
    // Another interface, whose network the second master moves to.
    ip(first, "link add eth1 type veth peer name eth2");
    ip(first, "link set eth2 up");
    ip(first, "address add 10.99.0.1/24 dev eth1");
    ip(first, "link set eth1 up");
    let strict = "echo 1 > /proc/sys/net/ipv4/conf/eth0/rp_filter";
    crate::support::run(first.command("sh").args(["-c", strict])).good();
    lab.nodes[0].start_agent();
    let first = &lab.nodes[0];
    until("all is well", || {
        crate::lab::status(first)["notices"] == serde_json::json!([])
    });
    first.stayput(&["event", "master-2", "10.99.0.12"]).good();
    says(first, "ok", "eth0 filters strictly (rp_filter 1)");
    first.stayput(&["event", "master-2", AFTER[1]]).good();
    until("all is well again", || {
        crate::lab::status(first)["notices"] == serde_json::json!([])
    });
}
