//! A node below a folder, and what is asked of its cluster.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use stayput::config::NodeSettings;
use stayput::name::Name;

use crate::api::Api;
use crate::support::{STAYPUT, Said, run};

/// kubeadm's `ConfigMap`.
pub(crate) const KUBEADM: &str = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config";

pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
}

impl Sandbox {
    /// A master with everything that it is issued, whose kube-apiserver does not answer.
    pub(crate) fn master() -> Self {
        // Whoever has the port next is no kube-apiserver of this authority.
        let (sandbox, _) = Self::listening();
        sandbox.issue();
        sandbox
    }

    /// A master with a kube-apiserver that has its Node and nothing else.
    pub(crate) fn master_with_api() -> (Self, Api) {
        let (sandbox, listener) = Self::listening();
        sandbox.issue();
        let api = Api::start(listener, &sandbox.path("etc/kubernetes/pki"));
        let node = json!({
            "metadata": {"name": "master-1", "labels": {"node-role.kubernetes.io/master": ""}},
            "status": {"addresses": [{"type": "InternalIP", "address": "10.77.0.11"}]},
        });
        let list = |items: &[&Value]| json!({"items": items});
        api.put("/api/v1/nodes/master-1", node.clone());
        api.put("/api/v1/nodes", list(&[&node]));
        api.put("/version", json!({"minor": "20"}));
        api.put(
            "/api/v1/namespaces/kube-system/pods?labelSelector=k8s-app%3Dkube-proxy",
            list(&[]),
        );
        (sandbox, api)
    }

    /// A node that kubeadm has not made.
    pub(crate) fn new() -> Self {
        Self::listening().0
    }

    fn listening() -> (Self, TcpListener) {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let sandbox = Self { folder };
        let text = format!(
            "domain: k8s.internal\nendpoint: {{name: api, port: 18443}}\nmasters: [{{name: master-1, address: 10.77.0.11}}]\nkubernetes: {{version: \"1.20\", apiPort: {port}}}\ncertificates: {{keyType: ecdsa-p256}}\n"
        );
        sandbox.write("etc/stayput/cluster.yaml", &text);
        (sandbox, listener)
    }

    fn issue(&self) {
        let init = ["certs", "init", "--new-cluster"];
        self.on("master-1", &init).good();
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub(crate) fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn on(&self, node: &str, arguments: &[&str]) -> Said {
        let mut command = Command::new(STAYPUT);
        command.arg("--root").arg(self.folder.path());
        command.args(["--node", node, "--kubernetes-name", node]);
        run(command.args(arguments))
    }

    /// All files by path.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
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

/// What the flags of [`Sandbox::on`] say.
pub(crate) fn settings(node: &str) -> NodeSettings {
    NodeSettings {
        name: Some(Name::parse(node).unwrap()),
        kubernetes_name: Some(Name::parse(node).unwrap()),
        ..NodeSettings::default()
    }
}
