//! kubectl on a node: what a user writes, reads and sees.

use std::process::Command;

use serde_json::Value;

use crate::node::Node;
use crate::support::{Said, run};

/// The `ConfigMap` that everyone writes into: a key for each node.
pub(crate) const WRITTEN: &str = "written";

impl Node {
    /// kubectl with what `/etc/kubernetes/admin.conf` says: through this node's endpoint.
    pub(crate) fn kubectl(&self) -> Command {
        let mut command = self.command("kubectl");
        // Nothing of the machine's; what it keeps of a server is this node's.
        for proxy in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
            command.env_remove(proxy);
        }
        command.env("HOME", "/var/lib/kubectl");
        command.env("KUBECONFIG", "/etc/kubernetes/admin.conf");
        command
    }

    /// One request that may not take long.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Said {
        run(self.kubectl().arg("--request-timeout=3s").args(arguments))
    }

    /// Makes an object, with the words of `kubectl create` for it.
    pub(crate) fn creates(&self, words: &[&str]) -> Result<(), String> {
        let said = self.ask(&[&["create"], words].concat());
        // One whose answer was lost is there all the same.
        if said.err.contains("AlreadyExists") {
            return Ok(());
        }
        done(said).map(drop)
    }

    /// Writes a value under this node's name.
    pub(crate) fn writes(&self, value: &str) -> Result<(), String> {
        let patch = serde_json::json!({"data": {&self.name: value}}).to_string();
        let patch = ["patch", "configmap", WRITTEN, "--type=merge", "-p", &patch];
        done(self.ask(&patch)).map(drop)
    }

    /// What the nodes have written: node to value.
    pub(crate) fn reads(&self) -> Result<Value, String> {
        Ok(self.object(&["configmap", WRITTEN])?["data"].take())
    }

    /// An object, with the words of `kubectl get` that name it.
    pub(crate) fn object(&self, words: &[&str]) -> Result<Value, String> {
        let mut get = vec!["get", "-o", "json"];
        get.extend(words);
        let text = done(self.ask(&get))?;
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
    }
}

fn done(said: Said) -> Result<String, String> {
    if said.code == 0 {
        Ok(said.out)
    } else {
        Err(said.err)
    }
}

/// A lease by which one of three processes leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// Who holds it: a host's name and something random of the process.
    pub(crate) holder: String,
    /// How often it has passed to another.
    pub(crate) transitions: u64,
    /// When it was renewed last; RFC 3339.
    pub(crate) renewed: String,
}

impl Lease {
    /// The lease of a component, as a node sees it; an error while nobody holds it.
    pub(crate) fn of(component: &str, node: &Node) -> Result<Self, String> {
        let lease = node.object(&["lease", component, "-n", "kube-system"])?;
        let text = |key: &str| lease["spec"][key].as_str().map(str::to_owned);
        let holder = text("holderIdentity").filter(|holder| !holder.is_empty());
        Ok(Self {
            holder: holder.ok_or_else(|| format!("nobody holds {component}"))?,
            transitions: lease["spec"]["leaseTransitions"].as_u64().unwrap_or(0),
            renewed: text("renewTime").unwrap_or_default(),
        })
    }
}
