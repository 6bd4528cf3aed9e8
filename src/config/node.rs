//! What belongs to one node, and how it is found out which node this is.
//!
//! A name is taken from the flag, then from the node file, then from the host name. A node that
//! holds kube-apiserver's static pod is a master; one that is not among the cluster file's masters
//! is an error. As a worker it would send its clients to the others and never announce its own
//! address, and nothing would tell.

use ipnet::IpNet;

use super::cluster::Cluster;
use super::identities;
use super::node_file::NodeSettings;
use crate::name::{Name, NameError};

/// The static pod that only a master has.
pub const APISERVER_MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";

/// This node's part in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Master or worker.
    pub role: Role,
    /// The name of its Kubernetes Node object.
    pub kubernetes_name: Name,
    /// Where its own addresses are looked for.
    pub selection: Selection,
}

/// What the node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// A control-plane machine, with its fully qualified name.
    Master(Name),
    /// Any other node.
    Worker,
}

/// Which of the node's addresses are announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Those of the interface that the default route leaves by.
    DefaultRoute,
    /// Those of one interface.
    Interface(String),
    /// Those within a range, on any interface.
    Within(IpNet),
}

/// Why it is not clear which node this is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// A control-plane machine that the cluster file does not know.
    #[error(
        "this node runs kube-apiserver ({APISERVER_MANIFEST}) but '{name}' is not among the masters of the cluster file; add it there, or set 'role: master' in the node file if it is a new one, or 'name' there or --node to one of: {masters}"
    )]
    UnknownMaster {
        /// What the node is called.
        name: String,
        /// The masters' names.
        masters: String,
    },
    /// The node file makes it a master, which it cannot be.
    #[error("the node file says 'role: master', but {reason}")]
    CannotJoin {
        /// Why not, and what to do.
        reason: String,
    },
    /// A host name that no Kubernetes node can have.
    #[error(
        "the host name cannot be the node's name in Kubernetes: {source}; set 'kubernetesName' in the node file"
    )]
    HostName {
        /// Why not.
        source: NameError,
    },
    /// A name in Kubernetes that would pass for one by which a master speaks.
    #[error(
        "the node cannot be called {name} in Kubernetes: {reason}; set 'kubernetesName' in the node file"
    )]
    Identity {
        /// The node's name in Kubernetes.
        name: Name,
        /// Why not.
        reason: String,
    },
}

impl Node {
    /// Decides which node this is.
    ///
    /// `settings` are the flags before the node file. A host name matches a master by its whole
    /// name, or by its first label where it lies in a domain of its own. `apiserver` tells whether
    /// [`APISERVER_MANIFEST`] is there.
    pub fn determine(
        settings: NodeSettings,
        hostname: &str,
        cluster: &Cluster,
        apiserver: bool,
    ) -> Result<Self, NodeError> {
        let host = Name::parse(hostname);
        let master = match (&settings.name, &host) {
            (Some(name), _) => named(cluster, name),
            (None, Ok(host)) => called(cluster, host),
            (None, Err(_)) => None,
        };
        if master.is_none() && apiserver {
            let name = settings.name.map(String::from);
            return Err(NodeError::UnknownMaster {
                name: name.unwrap_or_else(|| hostname.to_owned()),
                masters: cluster.master_names(),
            });
        }
        // The kubelet's own default (its --hostname-override).
        let kubernetes_name = match settings.kubernetes_name {
            Some(name) => name,
            None => host.map_err(|source| NodeError::HostName { source })?,
        };
        if let Some(reason) = identities::of_node(cluster, master.as_ref(), &kubernetes_name) {
            return Err(NodeError::Identity {
                name: kubernetes_name,
                reason,
            });
        }
        Ok(Self {
            role: master.map_or(Role::Worker, Role::Master),
            kubernetes_name,
            selection: settings.selection.unwrap_or(Selection::DefaultRoute),
        })
    }

    /// The master that this node is.
    pub fn master(&self) -> Option<&Name> {
        match &self.role {
            Role::Master(name) => Some(name),
            Role::Worker => None,
        }
    }
}

/// The master of a name that was given on purpose: relative to the domain, or whole.
pub(super) fn named(cluster: &Cluster, name: &Name) -> Option<Name> {
    let masters = cluster.masters.iter().map(|master| &master.name);
    let mut matching = masters.filter(|master| {
        *master == name || master.relative_to(&cluster.domain) == Some(name.as_str())
    });
    matching.next().cloned()
}

/// The master of a host name, which may lie in the domain or in one of its own.
pub(super) fn called(cluster: &Cluster, host: &Name) -> Option<Name> {
    let by_label = || {
        let label = Name::parse(host.label()).ok()?;
        named(cluster, &label)
    };
    match named(cluster, host) {
        None if !host.is_below(&cluster.domain) => by_label(),
        found => found,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;
    use crate::address::Loopback;

    pub(in crate::config) fn cluster() -> Cluster {
        let text = "
domain: prod.k8s.internal
endpoint: {name: api}
masters:
  - {name: m1, address: 10.0.0.1}
  - {name: m2.zone-a.prod.k8s.internal, address: 10.0.0.2}
";
        Cluster::parse(text, Path::new("F"), Loopback::Refused).unwrap()
    }

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    pub(in crate::config) fn given(text: &str) -> NodeSettings {
        NodeSettings {
            name: (!text.is_empty()).then(|| name(text)),
            ..NodeSettings::default()
        }
    }

    #[test]
    fn a_node_is_the_master_that_it_is_called() {
        for (explicit, hostname, want) in [
            ("", "m1", "m1.prod.k8s.internal"),
            ("", "M1", "m1.prod.k8s.internal"),
            ("", "m1.prod.k8s.internal", "m1.prod.k8s.internal"),
            ("", "m1.corp.example.com", "m1.prod.k8s.internal"),
            (
                "",
                "m2.zone-a.prod.k8s.internal",
                "m2.zone-a.prod.k8s.internal",
            ),
            ("", "m2.zone-a", "m2.zone-a.prod.k8s.internal"),
            ("m1", "box-7", "m1.prod.k8s.internal"),
            ("m1.prod.k8s.internal", "box-7", "m1.prod.k8s.internal"),
            // Not the same machine as m1: a name within the domain is taken as a whole.
            ("", "m1.zone-b.prod.k8s.internal", "worker"),
            // Given on purpose, so the host name does not count.
            ("w1", "m1", "worker"),
            ("m1.corp.example.com", "m1", "worker"),
            ("", "m2", "worker"),
            ("", "w1", "worker"),
        ] {
            let node = Node::determine(given(explicit), hostname, &cluster(), false).unwrap();
            let role = node.master().map_or("worker", Name::as_str);
            assert_eq!(role, want, "{explicit:?} {hostname}");
            assert_eq!(node.kubernetes_name, name(hostname));
            assert_eq!(node.selection, Selection::DefaultRoute);
        }
    }

    #[test]
    fn a_node_with_an_apiserver_is_a_master_or_an_error() {
        assert!(Node::determine(given(""), "m1", &cluster(), true).is_ok());
        for (explicit, hostname, called) in [
            ("", "box-7", "box-7"),
            ("w1", "m1", "w1"),
            ("", "a_b", "a_b"),
        ] {
            let error = Node::determine(given(explicit), hostname, &cluster(), true).unwrap_err();
            let want = format!(
                "this node runs kube-apiserver (/etc/kubernetes/manifests/kube-apiserver.yaml) but '{called}' is not among the masters of the cluster file; add it there, or set 'role: master' in the node file if it is a new one, or 'name' there or --node to one of: m1, m2.zone-a"
            );
            assert_eq!(error.to_string(), want);
        }
    }

    #[test]
    fn a_host_name_that_is_none_needs_a_kubernetes_name() {
        let error = Node::determine(given("m1"), "a_b", &cluster(), false).unwrap_err();
        assert!(
            error.to_string().contains("set 'kubernetesName'"),
            "{error}"
        );
        let settings = NodeSettings {
            kubernetes_name: Some(name("node-7")),
            ..given("m1")
        };
        let node = Node::determine(settings, "a_b", &cluster(), false).unwrap();
        assert_eq!(node.kubernetes_name, name("node-7"));
    }
}
