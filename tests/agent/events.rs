//! `stayput event`, with and without an agent.

use serde_json::Value;

use crate::sandbox::{FOREIGN, MASTERS, Sandbox, surface};
use crate::support::{here, until};

#[test]
fn a_master_moves() {
    let sandbox = Sandbox::worker();
    let _agent = sandbox.agent();
    for (number, name) in [
        "master-2",
        "master-2.prod.k8s.internal",
        "MASTER-2",
        "Master-2.Prod.K8s.Internal.",
    ]
    .into_iter()
    .enumerate()
    {
        let address = format!("127.77.0.{}", 100 + number);
        let said = sandbox.stayput(&["event", name, &address]).good();
        assert!(said.contains(&format!("→ {address}\n")), "{said}");
        for surface in ["state", "hosts", "dns", "haproxy"] {
            let line = said.lines().find(|line| line.starts_with(surface)).unwrap();
            assert!(line.contains(" ms ") || line.contains(" s "), "{line}");
        }
        // The command has returned: every surface has it.
        let line = format!("{address} master-2.prod.k8s.internal master-2\n");
        assert!(sandbox.hosts().contains(&line), "{}", sandbox.hosts());
        assert!(sandbox.dns("master-2").contains(&address));
        let server = format!("server master-2 {address}:{}", sandbox.api_port());
        assert!(sandbox.read("srv/haproxy.cfg").contains(&server));
        assert!(
            sandbox
                .read("var/lib/stayput/state.json")
                .contains(&address)
        );
    }
    let said = sandbox
        .stayput(&["event", "master-2", "127.77.0.103"])
        .good();
    assert!(said.starts_with("no address has changed\n"), "{said}");
}

#[test]
fn several_addresses_of_both_families() {
    let sandbox = Sandbox::worker();
    let _agent = sandbox.agent();
    let event = [
        "event",
        "master-1",
        "127.77.0.21",
        "fd77::21",
        "--output",
        "json",
    ];
    let report: Value = serde_json::from_str(&sandbox.stayput(&event).good()).unwrap();
    assert_eq!(report["doneBy"], "agent");
    assert_eq!(report["moves"][0]["name"], "master-1.prod.k8s.internal");
    assert_eq!(
        report["moves"][0]["before"],
        serde_json::json!([MASTERS[0]])
    );
    let both = serde_json::json!(["127.77.0.21", "fd77::21"]);
    assert_eq!(report["moves"][0]["after"], both);
    assert!(report["surfaces"][0]["milliseconds"].is_number());
    assert!(sandbox.hosts().contains("fd77::21 master-1."));
    assert!(sandbox.dns("master-1").contains("fd77::21"));
}

/// Arguments and what the refusal says. Nothing may change.
const REFUSED: [(&[&str], &str); 8] = [
    (
        &["master-9", "127.77.0.9"],
        "'master-9' is not a master of this cluster; the masters are master-1, master-2, master-3",
    ),
    (
        &["master-9.prod.k8s.internal", "127.77.0.9"],
        "is not a master of this cluster",
    ),
    (
        &["api", "127.77.0.9"],
        "'api' is not a master of this cluster",
    ),
    (
        &["master-1.test.k8s.internal", "127.77.0.9"],
        "is not in the domain prod.k8s.internal",
    ),
    (&["master_1", "127.77.0.9"], "'master_1' is not a host name"),
    (&["master-1", "127.77.0"], "'127.77.0' is not an IP address"),
    (
        &["master-1", "127.77.0.9", "0.0.0.0"],
        "0.0.0.0 is the unspecified address",
    ),
    (
        &["master-1", "224.0.0.1"],
        "224.0.0.1 is a multicast address",
    ),
];

#[test]
fn a_bad_event_is_refused_and_changes_nothing() {
    let sandbox = Sandbox::worker();
    let agent = sandbox.agent();
    let refuse = |by: &str| {
        let before = sandbox.written();
        for (arguments, want) in REFUSED {
            let said = sandbox
                .stayput(&[&["event"], arguments].concat())
                .refused(65);
            assert!(said.contains(want), "{by}: {arguments:?}: {said}");
        }
        assert_eq!(sandbox.written(), before, "{by}");
    };
    refuse("the agent");
    assert_eq!(sandbox.addresses(1)[0], MASTERS[0]);
    drop(agent);
    refuse("the command alone");
    for arguments in [
        &["event"][..],
        &["event", "master-1"],
        &["event", "--interface", "eth0", "master-1", "127.77.0.9"],
    ] {
        sandbox.stayput(arguments).refused(2);
    }
}

#[test]
fn without_an_agent_the_command_does_the_work_and_says_so() {
    let sandbox = Sandbox::worker();
    let said = sandbox
        .stayput(&["event", "master-3", "127.77.0.33"])
        .good();
    assert!(
        said.starts_with("no agent runs on this node: done by this command"),
        "{said}"
    );
    assert!(said.contains("127.77.0.13 → 127.77.0.33"), "{said}");
    assert!(sandbox.hosts().contains("127.77.0.33 master-3."));
    // An agent that starts later knows it.
    let _agent = sandbox.agent();
    assert_eq!(sandbox.addresses(3)[0], "127.77.0.33");
}

#[test]
fn a_look_at_a_workers_interface_moves_nobody() {
    let sandbox = Sandbox::worker();
    let _agent = sandbox.agent();
    for arguments in [
        &["event", "--interface"][..],
        &["event", "--interface", "eth0"],
    ] {
        let said = sandbox.stayput(arguments).good();
        assert!(said.starts_with("no address has changed\n"), "{said}");
    }
}

#[test]
fn two_masters_swap_and_a_shared_address_is_a_conflict_meanwhile() {
    if !here(false, &["haproxy"]) {
        return;
    }
    let sandbox = Sandbox::worker();
    let _agent = sandbox.agent();
    let _haproxy = sandbox.haproxy();
    sandbox.stayput(&["event", "master-1", MASTERS[1]]).good();
    let status = sandbox.status();
    let conflict = status["conflicts"][0].to_string();
    assert!(
        conflict.contains("127.77.0.12 is held by master-1"),
        "{conflict}"
    );
    sandbox.stayput(&["event", "master-2", MASTERS[0]]).good();
    assert_eq!(sandbox.status()["conflicts"], serde_json::json!([]));
    sandbox.stayput(&["check"]).good();
}

#[test]
fn a_surface_that_fails_does_not_hold_the_others() {
    let sandbox = Sandbox::worker();
    let mut agent = sandbox.agent();
    std::fs::remove_file(sandbox.path("etc/hosts")).unwrap();
    // The agent repairs it, so that it may be there again at any moment.
    until("the hosts file is a folder", || {
        let _ = std::fs::remove_file(sandbox.path("etc/hosts"));
        std::fs::create_dir(sandbox.path("etc/hosts")).is_ok()
    });
    let said = sandbox.stayput(&["event", "master-1", "127.77.0.31"]);
    assert_eq!(said.code, 1, "{said:?}");
    let line = |name| said.out.lines().find(|l| l.starts_with(name)).unwrap();
    assert!(line("hosts").contains("failed"), "{}", said.out);
    assert!(line("hosts").contains("/etc/hosts"), "{}", said.out);
    assert!(line("dns").contains("updated"), "{}", said.out);
    assert!(sandbox.dns("master-1").contains("127.77.0.31"));
    assert!(sandbox.read("srv/haproxy.cfg").contains("127.77.0.31:"));
    let status = sandbox.status();
    assert_eq!(surface(&status, "hosts")["condition"], "failed");

    std::fs::remove_dir(sandbox.path("etc/hosts")).unwrap();
    sandbox.write("etc/hosts", FOREIGN);
    until("the hosts file follows", || {
        sandbox.hosts().contains("127.77.0.31 master-1.")
    });
    sandbox.shows("it is well", |status| {
        surface(status, "hosts")["condition"] == "ok"
    });
    agent.must_run();
}
