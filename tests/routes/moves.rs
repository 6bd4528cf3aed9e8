//! Stable addresses stay reachable while current ones change.

use std::process::Command;
use std::time::Instant;

use crate::lab::{AFTER, BEFORE, Lab, STABLE, cluster, ip, ours, possible, status};
use crate::support::{STAYPUT, eventually, run, until};

#[test]
fn stable_addresses_stay_while_masters_move() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::start(&cluster(STABLE, "routes: {mode: direct, names: stable}\n"));
    lab.has(STABLE, BEFORE);
    lab.works(STABLE);
    for node in &lab.nodes {
        // Names lead to what never changes, on every surface.
        let hosts = node.read("etc/hosts");
        assert!(
            hosts.contains("10.254.0.2 master-2.prod.k8s.internal"),
            "{hosts}"
        );
        let checked = node.stayput(&["check"]).good();
        assert!(checked.contains("10.254.0.3"), "{checked}");
        node.stayput(&["routes", "show"]).good();
    }

    // One; it notices by itself, the others are told.
    let one = [AFTER[0], BEFORE[1], BEFORE[2]];
    lab.readdress([AFTER[0], "", ""]);
    lab.tell([AFTER[0], "", ""]);
    lab.has(STABLE, one);
    lab.works(STABLE);

    // Two swap their addresses.
    let swapped = [AFTER[0], BEFORE[2], BEFORE[1]];
    lab.readdress(["", swapped[1], swapped[2]]);
    lab.tell(swapped);
    lab.has(STABLE, swapped);
    lab.works(STABLE);

    // All at once.
    lab.readdress(AFTER);
    let moved = Instant::now();
    lab.tell(AFTER);
    lab.has(STABLE, AFTER);
    println!(
        "all three moved: told and re-routed on four nodes after {:.1?}",
        moved.elapsed()
    );
    lab.works(STABLE);
    for node in &lab.nodes {
        assert_eq!(node.status()["degraded"], false, "{}", node.status());
        node.stayput(&["check"]).good();
    }
}

#[test]
fn ipv6_works_the_same() {
    if !possible(&[]) {
        return;
    }
    let before = ["fd77::11", "fd77::12", "fd77::13"];
    let stable = ["fd54::1", "fd54::2", "fd54::3"];
    let mut file = cluster(stable, "routes: {mode: direct}\n");
    for (old, new) in BEFORE.into_iter().zip(before) {
        file = file.replace(old, &format!("'{new}'"));
    }
    let mut lab = Lab::new(&file);
    for (node, address) in lab.nodes.iter().zip(before.into_iter().chain(["fd77::21"])) {
        ip(node, &format!("address add {address}/64 dev eth0 nodad"));
    }
    for node in &mut lab.nodes {
        node.start_agent();
    }
    lab.has(stable, before);
    lab.works(stable);
    let after = ["fd77::111", before[1], before[2]];
    ip(&lab.nodes[0], "address add fd77::111/64 dev eth0 nodad");
    ip(&lab.nodes[0], "address del fd77::11/64 dev eth0");
    lab.tell(["fd77::111", "", ""]);
    lab.has(stable, after);
    lab.works(stable);
}

#[test]
fn what_somebody_removes_is_back() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::start(&cluster(STABLE, "routes: {mode: direct}\n"));
    lab.has(STABLE, BEFORE);
    let master = &lab.nodes[0];
    let all = ours(master);
    for line in [
        "address del 10.254.0.1/32 dev lo",
        "route del 10.254.0.2",
        // As a routing daemon that is restarted, or a careless hand.
        "route flush proto 145",
    ] {
        ip(master, line);
        let removed = Instant::now();
        eventually("it is back", || {
            let found = ours(master);
            (found == all)
                .then_some(())
                .ok_or_else(|| format!("{line}: {found:?}"))
        });
        println!("{line}: back after {:.1?}", removed.elapsed());
    }
    // A link that goes takes its routes along.
    ip(master, "link set eth0 down");
    ip(master, "link set eth0 up");
    lab.has(STABLE, BEFORE);
}

#[test]
fn it_is_not_fought_for_ever() {
    if !possible(&[]) {
        return;
    }
    let mut lab = Lab::new(&cluster(STABLE, "routes: {mode: direct}\n"));
    lab.nodes[0].start_agent();
    let master = &lab.nodes[0];
    let mut removals = 0;
    until("the agent steps back", || {
        // Only what is there can be removed.
        let arguments = ["-n", master.namespace.name(), "route", "del", "10.254.0.2"];
        let removed = run(Command::new("ip").args(arguments));
        removals += u32::from(removed.code == 0);
        status(master)["condition"] == "contested"
    });
    assert!(removals >= 10, "after {removals}");
    let named = status(master)["detail"].to_string();
    assert!(
        named.contains("set the route 10.254.0.2 via 10.77.0.12"),
        "{named}"
    );
    // Less often than before, but still.
    until("it is back in the end", || {
        ours(master).contains("10.254.0.2 via 10.77.0.12 src 10.254.0.1")
    });
}

#[test]
fn the_rights_of_the_unit_are_enough() {
    if !possible(&[]) {
        return;
    }
    let lab = Lab::new(&cluster(STABLE, "routes: {mode: direct}\n"));
    let node = &lab.nodes[0];
    let rights = "+chown,+fowner,+dac_override,+net_bind_service";
    let limited = |rights: &str| {
        let mut command = node.command("setpriv");
        let bounds = format!("--bounding-set=-all,{rights}");
        run(command.args([&bounds, "--no-new-privs", "--", STAYPUT, "apply"]))
    };
    let without = limited(rights);
    assert_eq!(without.code, 1, "{without:?}");
    assert!(without.out.contains("needs CAP_NET_ADMIN"), "{without:?}");
    assert!(ours(node).is_empty());
    limited(&format!("{rights},+net_admin")).good();
    assert_eq!(ours(node).len(), 3);
}
