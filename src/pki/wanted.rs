//! What this node should have: the catalogue with the node's names filled in.
//!
//! Pure, and nothing here depends on a node's changing address: the names come from the cluster file,
//! the addresses are loopback, the first of the Service range, and a master's `stable` one.

use std::path::{Path, PathBuf};

use super::FOLDER;
use super::catalogue::{Catalogue, Row, RowKind, Server, User};
use super::identity;
use super::key::KeyType;
use super::profile::{Names, Profile};
use super::template::Words;
use crate::config::peers::Mode;
use crate::config::{Cluster, Node};

/// Everything that this node should have, authorities first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// In the catalogue's order.
    pub items: Vec<Item>,
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
    /// Of a new key.
    pub key_type: KeyType,
    /// How long a new one is valid, in seconds, unless its authority ends earlier; 0 for a key pair.
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

    /// Whether the kubelet uses it, the only one that renews what it got by itself.
    pub fn is_kubelets(&self) -> bool {
        self.users.iter().any(|user| user.process == "kubelet")
    }

    /// Whether it is the pair by which this master speaks, which nobody but stayput makes or uses.
    pub fn is_stayputs(&self) -> bool {
        self.id == identity::ID
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
pub fn wanted(catalogue: &Catalogue, cluster: &Cluster, node: &Node) -> Wanted {
    let minor = cluster.kubernetes.minor;
    let mut items: Vec<Item> = node.master().map_or_else(Vec::new, |master| {
        let words = Words::of(cluster, master, &node.kubernetes_name);
        // Whoever lets masters tell each other nothing is not asked for what they would speak by.
        let speaks = cluster.peers.mode == Mode::Auto;
        let rows = catalogue.rows.iter().filter(|row| row.applies(minor));
        let rows = rows.filter(|row| speaks || row.id != identity::ID);
        rows.map(|row| item(row, cluster, &words)).collect()
    });
    // The operator's rows come last, and may have an authority among them.
    items.sort_by_key(|item| !matches!(item.kind, Kind::Authority { .. }));
    let certificates = &cluster.certificates;
    Wanted {
        items,
        renew_before: certificates.renew_before,
        leaf_constraints: minor >= catalogue.leaf_constraints_since,
    }
}

fn item(row: &Row, cluster: &Cluster, words: &Words) -> Item {
    let certificates = &cluster.certificates;
    let extra = certificates.extra_names.get(&row.id);
    let names = row.names.iter().chain(extra.into_iter().flatten());
    let organizations = row.organizations.iter();
    Item {
        id: row.id.clone(),
        kind: kind(row, cluster),
        profile: Profile {
            common_name: words.fill(&row.common_name).concat(),
            organizations: organizations.flat_map(|text| words.fill(text)).collect(),
            usages: row.usages,
            other_usages: Vec::new(),
            names: Names::of(names.flat_map(|name| words.fill(name))),
        },
        key_type: row.key_type.unwrap_or(certificates.key_type),
        validity: match row.kind {
            RowKind::Authority => certificates.authority_validity,
            RowKind::Leaf { .. } | RowKind::Kubeconfig { .. } => certificates.validity,
            RowKind::KeyPair => 0,
        },
        new_cluster_only: row.new_cluster_only,
        users: row.users.clone(),
    }
}

fn kind(row: &Row, cluster: &Cluster) -> Kind {
    let file = |ending: &str| {
        let mut path = Path::new(FOLDER).join(&row.path).into_os_string();
        path.push(ending);
        PathBuf::from(path)
    };
    match &row.kind {
        RowKind::Authority => Kind::Authority {
            certificate: file(".crt"),
            key: file(".key"),
        },
        RowKind::Leaf { authority } => Kind::Leaf {
            certificate: file(".crt"),
            key: file(".key"),
            authority: authority.clone(),
        },
        RowKind::Kubeconfig { authority, server } => Kind::Kubeconfig {
            path: file(""),
            authority: authority.clone(),
            server: match server {
                Server::Endpoint => {
                    format!(
                        "https://{}:{}",
                        cluster.endpoint.name, cluster.endpoint.port
                    )
                }
                Server::Local => format!("https://127.0.0.1:{}", cluster.kubernetes.api_port),
            },
        },
        RowKind::KeyPair => Kind::KeyPair {
            key: file(".key"),
            public: file(".pub"),
        },
    }
}

#[cfg(test)]
mod tests;
