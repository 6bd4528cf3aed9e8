//! What this node should have: the catalogue with the node's names filled in.
//!
//! Pure, and nothing here depends on a node's changing address: the names come from the cluster file,
//! the addresses are loopback, the first of the Service range, and a master's `stable` one.

use std::path::PathBuf;

use super::catalogue::{Catalogue, User};
use super::key::KeyType;
use super::profile::Profile;
use crate::config::{Cluster, Node};

/// Everything that this node should have, authorities first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// In the catalogue's order.
    pub items: Vec<Item>,
    /// Of new keys.
    pub key_type: KeyType,
    /// How long before its end a certificate is renewed, in seconds; at most half of its lifetime.
    pub renew_before: u64,
    /// Whether leaves say CA:FALSE (kubeadm from 1.21).
    pub leaf_constraints: bool,
}

/// One thing that this node should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What commands call it.
    pub id: String,
    /// What it is, and where.
    pub kind: Kind,
    /// What it says; empty for a key pair.
    pub profile: Profile,
    /// How long a new one is valid, in seconds, unless its authority ends earlier.
    pub validity: u64,
    /// Only on the machine that makes the cluster.
    pub new_cluster_only: bool,
    /// Who uses it.
    pub users: Vec<User>,
}

/// What an item is. Paths are absolute, below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A self-signed pair.
    Authority {
        /// The certificate; a bundle may follow the first one.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// A signed pair.
    Leaf {
        /// The certificate; a chain may follow the first one.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
        /// The authority's id.
        authority: String,
    },
    /// A signed pair within a kubeconfig.
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The authority's id.
        authority: String,
        /// The server's URL.
        server: String,
    },
    /// A key pair without a certificate.
    KeyPair {
        /// The private key.
        key: PathBuf,
        /// The public key.
        public: PathBuf,
    },
}

impl Item {
    /// The id of the authority that signs it.
    pub fn authority(&self) -> Option<&str> {
        match &self.kind {
            Kind::Leaf { authority, .. } | Kind::Kubeconfig { authority, .. } => Some(authority),
            Kind::Authority { .. } | Kind::KeyPair { .. } => None,
        }
    }

    /// The file that people know it by: the certificate, the kubeconfig, the private key.
    pub fn path(&self) -> &std::path::Path {
        match &self.kind {
            Kind::Authority { certificate, .. } | Kind::Leaf { certificate, .. } => certificate,
            Kind::Kubeconfig { path, .. } => path,
            Kind::KeyPair { key, .. } => key,
        }
    }
}

/// What a node should have; nothing on a worker.
pub fn wanted(_catalogue: &Catalogue, _cluster: &Cluster, _node: &Node) -> Wanted {
    todo!()
}
