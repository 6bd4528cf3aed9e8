//! `stayput kubeadm unpin` where there is nothing that it could work on: it says so, and touches
//! nothing. What it does to a real control plane is in `tests/kubernetes/unpin.rs`.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::allow_attributes, reason = "as above")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use support::{STAYPUT, Said, run};

/// A node below a folder.
struct Sandbox {
    folder: tempfile::TempDir,
}

impl Sandbox {
    /// A master with everything that it is issued, whose kube-apiserver does not answer.
    fn master() -> Self {
        let sandbox = Self::new();
        sandbox
            .on("master-1", &["certs", "init", "--new-cluster"])
            .good();
        sandbox
    }

    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Free a moment ago; whoever has it now is no kube-apiserver of this authority.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let number = port.local_addr().unwrap().port();
        drop(port);
        let sandbox = Self { folder };
        let file = sandbox.path("etc/stayput/cluster.yaml");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let text = format!(
            "domain: k8s.internal\nendpoint: {{name: api, port: 18443}}\nmasters: [{{name: master-1, address: 10.77.0.11}}]\nkubernetes: {{version: \"1.20\", apiPort: {number}}}\ncertificates: {{keyType: ecdsa-p256}}\n"
        );
        std::fs::write(file, text).unwrap();
        sandbox
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn on(&self, node: &str, arguments: &[&str]) -> Said {
        let mut command = Command::new(STAYPUT);
        command.arg("--root").arg(self.folder.path());
        command.args(["--node", node, "--kubernetes-name", node]);
        run(command.args(arguments))
    }

    /// All files by path.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        fn collect(folder: &Path, all: &mut BTreeMap<PathBuf, Vec<u8>>) {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    collect(&path, all);
                } else {
                    let bytes = std::fs::read(&path).unwrap();
                    all.insert(path, bytes);
                }
            }
        }
        let mut all = BTreeMap::new();
        collect(self.folder.path(), &mut all);
        all
    }
}

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
    let root = stayput::root::Root::open(sandbox.folder.path()).unwrap();
    // The agent's follow-up holds it for minutes where kube-apiserver does not start.
    let held = stayput::lock::take(&root, stayput::lock::CERTIFICATES, Duration::ZERO).unwrap();
    let text = sandbox
        .on("master-1", &["kubeadm", "unpin", "--yes"])
        .refused(69);
    assert!(text.contains("stayput kubeadm rescue"), "{text}");
    drop(held);
}

#[test]
fn a_node_that_kubeadm_has_not_made_is_told_what_is_missing() {
    let sandbox = Sandbox::new();
    for (node, file) in [("master-1", "admin.conf"), ("worker-1", "kubelet.conf")] {
        let text = sandbox.on(node, &["kubeadm", "unpin", "--yes"]).refused(69);
        assert!(text.contains(file), "{text}");
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
