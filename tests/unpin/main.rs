//! `stayput kubeadm unpin` where there is nothing that it could work on: it says so, and touches
//! nothing. What it does to a real control plane is in `tests/kubernetes/unpin.rs`.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::allow_attributes, reason = "as above")]

mod api;
mod cluster_status;
mod sandbox;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::time::Duration;

use sandbox::{KUBEADM, Sandbox};
use serde_json::{Value, json};
use stayput::lock;
use stayput::root::Root;

#[test]
fn a_dead_cluster_is_refused_and_nothing_is_touched() {
    let sandbox = Sandbox::master();
    let before = sandbox.files();
    for more in [&["--dry-run"][..], &["--yes"], &["--yes", "--wait", "1s"]] {
        let said = sandbox.on("master-1", &[&["kubeadm", "unpin"], more].concat());
        let text = said.refused(69);
        assert!(text.contains("kube-apiserver"), "{text}");
        assert!(text.contains("stayput kubeadm rescue"), "{text}");
        assert!(sandbox.files() == before, "{more:?} has changed something");
    }
    let said = sandbox.on("master-1", &["kubeadm", "unpin", "--yes", "-o", "json"]);
    let error: serde_json::Value = serde_json::from_str(&said.err).unwrap();
    assert_eq!(error["exitCode"], 69, "{error}");
}

#[test]
fn a_dead_cluster_is_told_of_while_another_stayput_is_at_work() {
    let sandbox = Sandbox::master();
    let root = Root::open(&sandbox.path("")).unwrap();
    // The agent's follow-up holds it for minutes where kube-apiserver does not start.
    let held = lock::take(&root, lock::CERTIFICATES, Duration::ZERO).unwrap();
    let text = sandbox
        .on("master-1", &["kubeadm", "unpin", "--yes"])
        .refused(69);
    assert!(text.contains("stayput kubeadm rescue"), "{text}");
    drop(held);
}

/// Stages with their states, and the places that change in each.
fn stages(report: &Value) -> Vec<(String, String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rows = report["stages"].as_array().unwrap().iter();
    rows.map(|row| {
        let changes = row["changes"].as_array().unwrap().iter();
        let places = changes.map(|change| text(&change["place"])).collect();
        (text(&row["stage"]), text(&row["state"]), places)
    })
    .collect()
}

#[test]
fn a_dry_run_without_an_api_shows_what_the_files_tell() {
    const ETCD: &str = "/etc/kubernetes/manifests/etcd.yaml";
    const APISERVER: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";
    let sandbox = Sandbox::master();
    for (path, text) in [
        (
            ETCD,
            include_str!("../kubeadm/golden/stock-1.20.2/manifests/etcd.yaml"),
        ),
        (
            APISERVER,
            include_str!("../kubeadm/golden/stock-1.20.2/manifests/kube-apiserver.yaml"),
        ),
    ] {
        sandbox.write(&path[1..], text);
    }
    let scheduler = "/etc/kubernetes/scheduler.conf";
    let text = std::fs::read_to_string(sandbox.path(&scheduler[1..])).unwrap();
    let pinned = text.replace("https://127.0.0.1:", "https://10.77.0.11:");
    assert_ne!(pinned, text);
    sandbox.write(&scheduler[1..], &pinned);
    let before = sandbox.files();
    let words = ["kubeadm", "unpin", "--dry-run"];
    let said = sandbox.on("master-1", &[&words[..], &["-o", "json"]].concat());
    let report: Value = serde_json::from_str(&said.out).unwrap();
    let failure = report["failure"].as_str().unwrap();
    assert!(said.refused(69).contains("kube-apiserver"));
    assert!(failure.contains("stayput kubeadm rescue"), "{failure}");
    assert_eq!(report["complete"], false);
    let want = [
        ("agent", "stuck", ""),
        ("certificates", "unknown", ""),
        ("kubeconfigs", "unknown", scheduler),
        ("etcd", "unknown", ETCD),
        ("apiserver", "unknown", APISERVER),
        ("peer", "unknown", ""),
        ("cluster", "unknown", ""),
        ("addresses", "unknown", ""),
    ];
    let want = want.map(|(stage, state, place)| {
        let places = place.split_whitespace().map(str::to_owned).collect();
        (stage.to_owned(), state.to_owned(), places)
    });
    assert_eq!(stages(&report), want);
    let said = sandbox.on("master-1", &words);
    for line in [
        "certificates  not known\n",
        "kubeconfigs   to do; when is not known\n",
        "-server: https://10.77.0.11:",
        "+server: https://127.0.0.1:",
        "https://master-1.k8s.internal:2380",
        "The rest is not known while the cluster cannot be asked.",
    ] {
        assert!(said.out.contains(line), "{line}: {}", said.out);
    }
    assert!(sandbox.files() == before);

    // While a rescue is in force the advice is another one.
    sandbox.write("etc/stayput/rescue.yaml", "master-1: 10.77.0.9\n");
    let text = sandbox.on("master-1", &words).refused(69);
    let again = "`stayput kubeadm rescue master-1=10.77.0.9` on every other node too";
    assert!(text.contains(again), "{text}");
}

#[test]
fn a_node_that_kubeadm_has_not_made_is_told_what_is_missing() {
    let sandbox = Sandbox::new();
    for (node, file, remedy) in [
        ("master-1", "admin.conf", "kubeadm has made a master"),
        ("worker-1", "kubelet.conf", "kubeadm has joined a node"),
    ] {
        for more in ["--yes", "--dry-run"] {
            let text = sandbox.on(node, &["kubeadm", "unpin", more]).refused(69);
            assert!(text.contains(file) && text.contains(remedy), "{text}");
            assert!(!text.contains("stayput kubeadm rescue"), "{text}");
        }
    }
}

#[test]
fn what_restarts_the_kubelet_is_an_absolute_path() {
    let sandbox = Sandbox::master();
    let said = sandbox.on(
        "master-1",
        &["kubeadm", "unpin", "--kubelet-restart", "systemctl restart"],
    );
    let text = said.refused(2);
    assert!(text.contains("absolute path"), "{text}");
}

#[test]
fn what_is_to_be_changed_in_the_cluster_is_shown_and_nothing_is_changed() {
    let (sandbox, api) = Sandbox::master_with_api();
    let status =
        "apiEndpoints:\n  master-1:\n    advertiseAddress: 10.77.0.9\n    bindPort: 6443\n";
    let configuration = "controlPlaneEndpoint: 10.77.0.9:6443\n";
    let map = json!({
        "metadata": {"name": "kubeadm-config", "resourceVersion": "7"},
        "data": {"ClusterConfiguration": configuration, "ClusterStatus": status},
    });
    api.put(KUBEADM, map.clone());
    // The book is what says where a master is.
    sandbox.on("master-1", &["apply"]).good();
    let before = sandbox.files();
    let words = ["kubeadm", "unpin", "--dry-run", "-o", "json"];
    let said = sandbox.on("master-1", &words);
    assert_eq!(said.code, 1, "{said:?}");
    let report: Value = serde_json::from_str(&said.out).unwrap();
    let rows = report["stages"].as_array().unwrap();
    let row = rows.iter().find(|row| row["stage"] == "cluster").unwrap();
    let change = &row["changes"][0];
    assert_eq!(change["place"], "ConfigMap kube-system/kubeadm-config");
    let diff = change["diff"].as_str().unwrap();
    for line in [
        "-controlPlaneEndpoint: 10.77.0.9:6443\n",
        "+controlPlaneEndpoint: api.k8s.internal:18443\n",
        "   master-1:\n-    advertiseAddress: 10.77.0.9\n+    advertiseAddress: 10.77.0.11\n",
    ] {
        assert!(diff.contains(line), "{line}: {diff}");
    }
    assert_eq!(api.object(KUBEADM), map);
    assert!(sandbox.files() == before);
}
