//! The edges of a real run: another run, a signal to end, the operator's programs, what is left on
//! record.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::kill::is_pair;
use crate::sandbox::{CLUSTER, Sandbox};
use crate::support::{Process, here, run, until};

pub(crate) const APISERVER: [&str; 4] = ["certs", "renew", "apiserver", "--force"];

/// A provisioned master with these steps after a renewal.
pub(crate) fn master(steps: &str) -> Sandbox {
    let cluster =
        format!("{CLUSTER}certificates: {{keyType: ecdsa-p256, afterRenew: [{steps}]}}\n");
    let node = Sandbox::new("master-1", &cluster);
    node.ok(&["certs", "init", "--new-cluster"]);
    node
}

/// A program of the node's. Another process writes it: one that a parallel test's fork still has
/// open for writing could not be started (ETXTBSY).
pub(crate) fn program(node: &Sandbox, name: &str, script: &str) {
    let text = format!("#!/bin/sh\ncd '{}'\n{script}\n", node.path("").display());
    node.write(&format!("usr/local/sbin/{name}.text"), text.as_bytes());
    let [from, to] = ["text", ""].map(|end| {
        let path = node.path("usr/local/sbin").join(name);
        path.with_extension(end)
    });
    let mut install = Command::new("install");
    run(install.args(["-m", "0755"]).arg(from).arg(to)).good();
}

pub(crate) fn text(node: &Sandbox, below: &str) -> String {
    let path = node.path(below);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{below}: {error}"))
}

fn certificate(node: &Sandbox) -> String {
    text(node, "etc/kubernetes/pki/apiserver.crt")
}

pub(crate) fn record(node: &Sandbox) -> Value {
    serde_json::from_str(&text(node, "var/lib/stayput/certificates.json")).unwrap()
}

/// A program that says that it has begun and ends when it is allowed to, or after its time limit.
const BLOCKS: &str = "touch begun; while [ ! -e go ]; do sleep 0.02; done";

/// A run that is in the middle of what follows a renewal.
fn blocked(node: &Sandbox) -> Process {
    program(node, "block", BLOCKS);
    let mut command = node.command(&APISERVER);
    let mut process = Process::start(&mut command, &node.path("renew.log"));
    until("the program has begun", || {
        process.must_run();
        node.path("begun").exists()
    });
    process
}

#[test]
fn one_run_at_a_time() {
    let node = master("{command: [/usr/local/sbin/block], timeout: 10m}");
    let mut first = blocked(&node);
    // Who only looks does not wait.
    node.ok(&["certs", "verify"]);
    node.ok(&["certs", "renew", "--dry-run"]);
    // Another one waits for a while, and says who is in its way.
    let other = run(&mut node.command(&["certs", "renew"])).refused(75);
    assert!(other.contains("another stayput is at work"), "{other}");
    assert!(other.contains("certs.lock"), "{other}");
    // One that waits goes on when the first one ends.
    let waiting = node
        .command(&["certs", "renew"])
        .stdout(Stdio::null())
        .spawn();
    node.write("go", b"");
    assert!(waiting.unwrap().wait().unwrap().success());
    assert_eq!(first.end().code(), Some(0), "{}", first.log());
}

#[test]
fn a_run_that_is_told_to_end_tells_what_it_left_undone() {
    if !here(false, &["openssl"]) {
        return;
    }
    let node = master(
        "{command: [/usr/local/sbin/block], timeout: 10m}, {command: [/usr/local/sbin/note]}",
    );
    program(&node, "note", "touch noted");
    let old = certificate(&node);
    let mut process = blocked(&node);
    process.signal(Signal::TERM);
    assert_eq!(process.end().code(), Some(1), "{}", process.log());
    let log = process.log();
    assert!(
        log.contains("block: failed: killed, because stayput was told to end"),
        "{log}"
    );
    assert!(
        log.contains("note: failed: left undone, because stayput was told to end"),
        "{log}"
    );
    assert!(!node.path("noted").exists());
    // The new pair was there before.
    let key = text(&node, "etc/kubernetes/pki/apiserver.key");
    assert!(certificate(&node) != old && is_pair(certificate(&node).as_bytes(), key.as_bytes()));
    // What it left undone the next run does, although nothing is due.
    node.write("go", b"");
    node.ok(&["certs", "renew"]);
    assert!(node.path("noted").exists());
    assert_eq!(record(&node)["failure"], Value::Null);
}

#[test]
fn what_a_run_did_not_live_to_do_is_done_by_the_next() {
    let node = master(
        "{command: [/usr/local/sbin/block], timeout: 10m}, {command: [/usr/local/sbin/note]}",
    );
    program(&node, "note", "echo \"$@\" >> noted");
    let mut process = blocked(&node);
    // It is at work: nothing is left undone.
    let (status, _) = node.json(&["certs", "status"]);
    assert_eq!(status["notices"], Value::Array(Vec::new()));
    let new = certificate(&node);
    process.signal(Signal::KILL);
    process.end();
    // The program itself lives on, as one does whose parent dies.
    node.write("go", b"");
    let said = node.fails(&["certs", "status"], 1);
    assert!(
        said.contains("/usr/local/sbin/note for apiserver"),
        "{said}"
    );
    let said = node.ok(&["certs", "renew"]);
    assert!(said.contains("earlier renewal"), "{said}");
    assert_eq!(text(&node, "noted"), "apiserver\n");
    assert_eq!(certificate(&node), new);
    node.ok(&["certs", "renew"]);
    assert_eq!(text(&node, "noted"), "apiserver\n");
}

#[test]
fn programs_hear_what_was_renewed_for_them() {
    let node = master(
        "{command: [/usr/local/sbin/note, all, \"$(touch shell)\"]}, \
         {command: [/usr/local/sbin/note, etcd], certificates: [etcd-server, etcd-peer]}, \
         {command: [/usr/local/sbin/note, admin], certificates: [admin.conf]}",
    );
    program(
        &node,
        "note",
        "printf '<%s>' \"$@\" >> noted; echo >> noted",
    );
    node.ok(&["certs", "renew", "etcd-peer", "apiserver", "--force"]);
    assert_eq!(
        text(&node, "noted"),
        "<all><$(touch shell)><apiserver><etcd-peer>\n<etcd><etcd-peer>\n"
    );
    // Nothing renewed, nobody told.
    node.ok(&["certs", "renew"]);
    assert_eq!(text(&node, "noted").lines().count(), 2);
}

#[test]
fn a_program_that_fails_holds_nothing_up() {
    let node = master(
        "{command: [/usr/local/sbin/fail]}, {command: [/usr/local/sbin/open]}, \
         {command: [/usr/local/sbin/missing]}, {command: [/usr/local/sbin/note]}",
    );
    program(&node, "fail", "echo no such load balancer >&2; exit 3");
    program(&node, "open", "touch opened");
    program(&node, "note", "touch noted");
    let open = std::fs::Permissions::from_mode(0o757);
    std::fs::set_permissions(node.path("usr/local/sbin/open"), open).unwrap();
    let old = certificate(&node);
    let (done, code) = node.json(&APISERVER);
    assert_eq!(code, 1, "{done}");
    assert_eq!(done["items"][0]["did"], "renewed");
    assert_ne!(certificate(&node), old);
    let after = done["after"].as_array().unwrap();
    for (row, (result, detail)) in after.iter().zip([
        ("failed", "no such load balancer"),
        ("failed", "is not started: "),
        ("failed", "cannot find /usr/local/sbin/missing"),
        ("done", ""),
    ]) {
        assert_eq!(row["result"], result, "{row}");
        let said = row["detail"].as_str().unwrap();
        assert!(said.contains(detail), "{row}");
    }
    assert_eq!(after.len(), 4);
    assert!(after[1]["detail"].to_string().contains("has mode 0757"));
    assert!(!node.path("opened").exists() && node.path("noted").exists());
    // The next run tries again, and what fails without anybody looking is on record.
    let (done, code) = node.json(&["certs", "renew"]);
    assert_eq!(code, 1, "{done}");
    let failure = &record(&node)["failure"];
    assert_eq!(failure["count"], 1, "{failure}");
    assert!(
        failure["message"]
            .to_string()
            .contains("no such load balancer")
    );
    for name in ["fail", "open", "missing"] {
        program(&node, name, &format!("echo \"$@\" >> {name}.said"));
    }
    node.ok(&["certs", "renew"]);
    node.ok(&["certs", "renew"]);
    for name in ["fail", "open", "missing"] {
        assert_eq!(text(&node, &format!("{name}.said")), "apiserver\n");
    }
    assert_eq!(record(&node)["failure"], Value::Null);
}

#[test]
fn a_run_leaves_a_record_without_secrets() {
    let node = master("staticPods");
    node.ok(&["certs", "renew"]);
    let record = record(&node);
    assert_eq!(record["failure"], Value::Null);
    assert!(record["lastRun"].is_i64());
    assert_eq!(record["lastRun"], record["lastSuccess"]);
    let items = record["items"].as_array().unwrap();
    let ids: Vec<&str> = items
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect();
    assert!(ids.contains(&"apiserver") && ids.contains(&"sa"), "{ids:?}");
    for item in items {
        assert_eq!(item["state"], "ok", "{item}");
        let has_end = item["notAfter"].is_i64();
        assert_eq!(has_end, item["id"] != "sa", "{item}");
    }
    assert!(!record.to_string().contains("PRIVATE"), "{record}");
}
