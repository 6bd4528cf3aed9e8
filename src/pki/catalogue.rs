//! What a kubeadm control plane is issued: `certs/kubeadm.yaml`, and the operator's rows.
//!
//! One list of rows, as data. Differences between Kubernetes releases are rows with `since` and
//! `until`; names are templates, filled in by [`wanted`](super::wanted).

use std::path::PathBuf;

use super::profile::Usages;

/// The list that is compiled in.
pub const KUBEADM: &str = include_str!("../../certs/kubeadm.yaml");

/// All rows of all releases, in the order in which they are issued and shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// The rows.
    pub rows: Vec<Row>,
}

/// One thing that is issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What commands call it; `kubeadm certs renew`'s name where it has one.
    pub id: String,
    /// Below [`FOLDER`](super::FOLDER): `pki/apiserver` stands for `.crt` and `.key`, `pki/sa` for
    /// `.pub` and `.key`, `admin.conf` for itself.
    pub path: PathBuf,
    /// What it is.
    pub kind: RowKind,
    /// The subject's CN, a template.
    pub common_name: String,
    /// The subject's O, templates.
    pub organizations: Vec<String>,
    /// Extended key usages.
    pub usages: Usages,
    /// DNS names and addresses, templates.
    pub names: Vec<String>,
    /// The first Kubernetes minor that has this row.
    pub since: Option<u32>,
    /// The last one.
    pub until: Option<u32>,
    /// Only on the machine that makes the cluster.
    pub new_cluster_only: bool,
    /// Who uses it, and what makes that process take a new one.
    pub users: Vec<User>,
}

/// The kinds of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowKind {
    /// A self-signed pair.
    Authority,
    /// A pair signed by the authority of that id.
    Leaf {
        /// The authority's id.
        authority: String,
    },
    /// A pair within a kubeconfig.
    Kubeconfig {
        /// The authority's id.
        authority: String,
        /// Which server it names.
        server: Server,
    },
    /// A key pair without a certificate, for service-account tokens.
    KeyPair,
}

/// A kubeconfig's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The cluster's endpoint name and port: the local HAProxy.
    Endpoint,
    /// `https://127.0.0.1:6443`: the master's own kube-apiserver.
    Local,
}

/// A process that uses a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Such as `kube-apiserver`; a static pod's name where [`Reload::StaticPod`].
    pub process: String,
    /// How it takes a new one.
    pub reload: Reload,
}

/// How a process takes a renewed certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// It reads the files again by itself.
    Itself,
    /// Its static pod has to be restarted.
    StaticPod,
    /// A person runs it; the next run reads the file.
    NextRun,
}
