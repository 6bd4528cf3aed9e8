//! kube-apiserver's address follows this master's, by the program that the agent starts.

use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use crate::sandbox::{MASTERS, Sandbox};
use crate::support::{STAYPUT, until};

const MANIFEST: &str = "etc/kubernetes/manifests/kube-apiserver.yaml";
const NEW: &str = "127.77.0.99";

/// A manifest whose program nobody runs, with what nobody may touch.
fn manifest(address: &str) -> String {
    format!(
        "# ours; \u{fc}\r\nmetadata:\n  annotations: {{kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint: '{address}:7443'}}\n\
         spec:\n  hostNetwork: true\n  containers:\n  - command:\n    - no-such-apiserver # quoted below\n    - \"--advertise-address={address}\"\n    - --v=2\n"
    )
}

/// Master 1, where this is run when there is a reason to. `masters` are the cluster file's lines.
fn master(masters: &[&str; 3], follow: &str) -> Sandbox {
    let sandbox = Sandbox::new("master-1");
    let more = format!("kubeadm: {{follow: {follow}}}\n");
    sandbox.write_cluster(&sandbox.cluster(masters, &more));
    sandbox.write(MANIFEST, &manifest(MASTERS[0]));
    sandbox
}

/// The command that notes each start in the file `runs`, and does the work.
fn noted() -> Sandbox {
    let sandbox = master(&MASTERS, "[]");
    let (runs, root) = (sandbox.path("runs"), sandbox.folder().display());
    let script = format!(
        "echo >> {}; exec {STAYPUT} --root {root} kubeadm follow",
        runs.display()
    );
    let more = format!("kubeadm: {{follow: [/bin/sh, -c, {script:?}]}}\n");
    sandbox.write_cluster(&sandbox.cluster(&MASTERS, &more));
    sandbox
}

fn runs(sandbox: &Sandbox) -> usize {
    let runs = std::fs::read_to_string(sandbox.path("runs"));
    runs.unwrap_or_default().lines().count()
}

/// Waits until there is no reason for a run any more.
fn settled(sandbox: &Sandbox) -> Value {
    let status = sandbox.shows("all runs are over", |status| {
        let runs = &status["kubeadm"]["runs"];
        runs["running"] == false && runs["next"].is_null()
    });
    status["kubeadm"].clone()
}

fn moved(sandbox: &Sandbox, address: &str) {
    sandbox.stayput(&["event", "master-1", address]).good();
}

#[test]
fn each_change_is_followed_once() {
    let sandbox = noted();
    let agent = sandbox.agent();
    // The agent's start is a reason to look, and not to change anything.
    until("the first run", || runs(&sandbox) == 1);
    let status = settled(&sandbox);
    assert_eq!(status["advertise"], "current");
    assert_eq!(status["advertises"], MASTERS[0]);
    assert!(status["audited"].is_string(), "{status}");
    assert_eq!(sandbox.read(MANIFEST), manifest(MASTERS[0]));

    moved(&sandbox, NEW);
    until("the manifest has it", || {
        sandbox.path(MANIFEST).exists() && sandbox.read(MANIFEST) == manifest(NEW)
    });
    let status = settled(&sandbox);
    assert_eq!(
        (&status["advertise"], &status["advertises"]),
        (&json!("current"), &json!(NEW))
    );
    assert_eq!(status["runs"]["failures"], 0);
    let inode = sandbox.path(MANIFEST).metadata().unwrap().ino();

    // The same once more is no change, and neither is another master's.
    moved(&sandbox, NEW);
    sandbox
        .stayput(&["event", "master-2", "127.77.0.98"])
        .good();
    // Two at once end at the last one.
    moved(&sandbox, "127.77.0.50");
    moved(&sandbox, "127.77.0.51");
    // So soon after the last change it has to wait; an agent that starts knows of none.
    let status = sandbox.shows("the next change waits", |status| {
        !status["kubeadm"]["runs"]["next"].is_null()
    });
    assert_eq!(status["kubeadm"]["advertise"], "behind");
    assert_eq!(sandbox.read(MANIFEST), manifest(NEW));
    drop(agent);
    let _agent = sandbox.agent();
    until("the manifest has the last one", || {
        sandbox.path(MANIFEST).exists() && sandbox.read(MANIFEST) == manifest("127.77.0.51")
    });
    settled(&sandbox);
    assert_eq!(sandbox.read(MANIFEST), manifest("127.77.0.51"));
    assert_ne!(sandbox.path(MANIFEST).metadata().unwrap().ino(), inode);
    assert!(!sandbox.path("etc/kubernetes/.stayput-restart").exists());

    // The same address again restarts nothing, and neither does the run that a file is the reason for.
    let (before, inode) = (
        runs(&sandbox),
        sandbox.path(MANIFEST).metadata().unwrap().ino(),
    );
    moved(&sandbox, "127.77.0.51");
    sandbox.write("etc/kubernetes/manifests/etcd.yaml", "kind: Pod\n");
    until("a changed manifest is looked at", || {
        runs(&sandbox) > before
    });
    settled(&sandbox);
    let before = runs(&sandbox);
    sandbox.write("etc/kubernetes/kubelet.conf", "kind: Config\n");
    until("a changed kubelet.conf is looked at", || {
        runs(&sandbox) > before
    });
    settled(&sandbox);
    assert_eq!(sandbox.path(MANIFEST).metadata().unwrap().ino(), inode);
}

#[test]
fn what_changed_while_no_agent_ran_is_followed_at_its_start() {
    let sandbox = noted();
    sandbox.write(MANIFEST, &manifest("127.77.0.40"));
    // A run that died between the two.
    let folder = "etc/kubernetes/.stayput-restart";
    sandbox.write(&format!("{folder}/kube-scheduler.yaml"), "a scheduler's");
    assert_eq!(sandbox.status()["kubeadm"]["advertise"], "behind");
    let _agent = sandbox.agent();
    until("the manifest is right", || {
        sandbox.path(MANIFEST).exists() && sandbox.read(MANIFEST) == manifest(MASTERS[0])
    });
    settled(&sandbox);
    assert_eq!(
        sandbox.read("etc/kubernetes/manifests/kube-scheduler.yaml"),
        "a scheduler's"
    );
    assert!(!sandbox.path(folder).exists());
}

#[test]
fn a_run_that_fails_is_seen_and_the_manifest_stays() {
    let sandbox = master(&MASTERS, "[/bin/sh, -c, 'echo no kubelet; exit 3']");
    let agent = sandbox.agent();
    let failed = |status: &Value| status["kubeadm"]["runs"]["failures"] != 0;
    sandbox.shows("the first run has failed", failed);
    moved(&sandbox, NEW);
    let status = sandbox.shows("it fails again", |status| {
        let kubeadm = &status["kubeadm"];
        kubeadm["runs"]["failures"].as_u64() > Some(1) && kubeadm["advertise"] == "behind"
    });
    assert_eq!(status["degraded"], true);
    let error = status["kubeadm"]["runs"]["lastError"].to_string();
    assert!(error.contains("no kubelet"), "{error}");
    assert!(status["kubeadm"]["runs"]["next"].is_string(), "{status:#}");
    let table = sandbox.stayput(&["status"]).good();
    assert!(
        table.contains(&format!(
            "kubeadm: warning, advertises {} (behind)",
            MASTERS[0]
        )),
        "{table}"
    );
    assert!(
        table.contains("kubeadm: the agent's last run: /bin/sh ended"),
        "{table}"
    );
    assert!(agent.log().contains("no kubelet"));
    assert_eq!(sandbox.read(MANIFEST), manifest(MASTERS[0]));
}

#[test]
fn with_a_stable_address_nothing_is_followed() {
    let sandbox = master(&MASTERS, "[]");
    let stable = [1, 2, 3].map(|n| format!("127.77.0.1{n}, stable: 10.254.0.{n}"));
    let stable = stable.each_ref().map(String::as_str);
    let other = manifest("127.77.0.40");
    for (routes, result) in [("direct", "stable"), ("off", "changed")] {
        sandbox.write(MANIFEST, &other);
        let more = format!("routes: {{mode: {routes}}}\n");
        sandbox.write_cluster(&sandbox.cluster(&stable, &more));
        assert_eq!(follow(&sandbox)["advertise"]["result"], result);
        assert_eq!(sandbox.read(MANIFEST) == other, routes == "direct");
    }
}

#[test]
fn where_the_list_is_empty_no_run_is_ever_started() {
    let sandbox = master(&MASTERS, "[]");
    let _agent = sandbox.agent();
    moved(&sandbox, NEW);
    let status = sandbox.shows("it is seen", |status| {
        status["kubeadm"]["advertise"] == "behind"
    });
    assert_eq!(status["kubeadm"]["runs"], Value::Null);
    // It is for a person, who is told by status, and does it.
    assert_eq!(follow(&sandbox)["advertise"]["result"], "changed");
    assert_eq!(sandbox.read(MANIFEST), manifest(NEW));
    sandbox.shows("the manifest is looked at", |status| {
        status["kubeadm"]["advertise"] == "current"
    });
}

fn follow(sandbox: &Sandbox) -> Value {
    let said = sandbox
        .stayput(&["kubeadm", "follow", "--output", "json"])
        .good();
    serde_json::from_str(&said).unwrap()
}

#[test]
fn by_hand_it_does_the_same_without_an_agent() {
    let sandbox = master(&MASTERS, "[]");
    assert_eq!(follow(&sandbox)["advertise"]["result"], "current");
    sandbox.write(MANIFEST, &manifest("127.77.0.40"));
    let said = follow(&sandbox);
    assert_eq!(said["advertise"]["result"], "changed", "{said:#}");
    assert_eq!(said["advertise"]["from"], "127.77.0.40");
    assert_eq!(said["advertise"]["to"], MASTERS[0]);
    assert_eq!(said["advertise"]["goneMilliseconds"], Value::Null);
    assert_eq!(sandbox.read(MANIFEST), manifest(MASTERS[0]));
    let words = sandbox.stayput(&["kubeadm", "follow"]).good();
    assert!(
        words.contains("goes on advertising 127.77.0.11: it is this master's"),
        "{words}"
    );

    // What pins is on record.
    let probed = format!(
        "{}    livenessProbe: {{httpGet: {{host: 10.77.0.11}}}}\n",
        manifest(MASTERS[0])
    );
    sandbox.write(MANIFEST, &probed);
    let said = follow(&sandbox);
    assert_eq!(said["pins"][0]["severity"], "fatal", "{said:#}");
    let status = sandbox.status();
    assert_eq!(status["kubeadm"]["worst"], "fatal", "{status:#}");
    assert_eq!(
        status["kubeadm"]["pins"],
        said["pins"].as_array().unwrap().len()
    );
    assert_eq!(status["degraded"], true);
    let table = sandbox.stayput(&["status"]).good();
    assert!(
        table.contains("worst fatal (`stayput kubeadm audit` shows"),
        "{table}"
    );

    // What cannot be understood is left alone, told, and on record.
    sandbox.write(MANIFEST, "kind: Pod\n");
    let error = sandbox.stayput(&["kubeadm", "follow"]).refused(65);
    assert!(error.contains("no spec.containers"), "{error}");
    let status = sandbox.status();
    let remarks = status["kubeadm"]["remarks"].to_string();
    assert!(remarks.contains("no spec.containers"), "{remarks}");

    std::fs::remove_file(sandbox.path(MANIFEST)).unwrap();
    assert_eq!(follow(&sandbox)["advertise"]["result"], "none");
    assert_eq!(Sandbox::worker().status()["kubeadm"], Value::Null);
    assert_eq!(follow(&Sandbox::worker())["advertise"]["result"], "none");
}
