//! What belongs to one node.

use ipnet::IpNet;

use crate::name::Name;

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

impl Node {
    /// The master that this node is.
    pub fn master(&self) -> Option<&Name> {
        match &self.role {
            Role::Master(name) => Some(name),
            Role::Worker => None,
        }
    }
}
