//! What a kubeadm control plane is issued: `certs/kubeadm.yaml`, and the operator's rows.
//!
//! One list of rows, as data. Differences between Kubernetes releases are rows with `since` and
//! `until`; names are templates, filled in by [`wanted`](super::wanted).

use std::path::{Path, PathBuf};

use super::key::KeyType;
use super::profile::Usages;
use crate::config::{Cluster, Problems, catalogue};

/// The list that is compiled in.
pub const KUBEADM: &str = include_str!("../../certs/kubeadm.yaml");

/// All rows of all releases, in the order in which they are issued and shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// The rows. Rows of one id are for different releases.
    pub rows: Vec<Row>,
    /// The first Kubernetes minor whose kubeadm says CA:FALSE in leaves.
    pub leaf_constraints_since: u32,
}

impl Catalogue {
    /// The built-in list. That it can be read is tested, so an error here is a mistake of stayput's own.
    pub fn builtin() -> Result<Self, Problems> {
        catalogue::parse(KUBEADM, Path::new("certs/kubeadm.yaml"))
    }

    /// The built-in list, and the operator's rows behind it.
    pub fn of(cluster: &Cluster) -> Result<Self, Problems> {
        let mut all = Self::builtin()?;
        all.rows.extend(cluster.certificates.extra.iter().cloned());
        Ok(all)
    }
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
    /// Of its keys, where it is not left to `certificates.keyType`.
    pub key_type: Option<KeyType>,
    /// Only on the machine that makes the cluster.
    pub new_cluster_only: bool,
    /// Who uses it, and what makes that process take a new one.
    pub users: Vec<User>,
}

impl Row {
    /// Whether a Kubernetes minor has this row.
    pub fn applies(&self, minor: u32) -> bool {
        self.since.is_none_or(|since| since <= minor)
            && self.until.is_none_or(|until| minor <= until)
    }

    /// Whether some Kubernetes minor has both rows.
    pub fn overlaps(&self, other: &Self) -> bool {
        let last = |row: &Self| row.until.unwrap_or(u32::MAX);
        self.since <= Some(last(other)) && other.since <= Some(last(self))
    }

    /// Whether it is an authority.
    pub fn is_authority(&self) -> bool {
        self.kind == RowKind::Authority
    }

    /// The id of the authority that signs it.
    pub fn authority(&self) -> Option<&str> {
        match &self.kind {
            RowKind::Leaf { authority } | RowKind::Kubeconfig { authority, .. } => Some(authority),
            RowKind::Authority | RowKind::KeyPair => None,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A row for the releases from `since` to `until`; 0 leaves an end open.
    fn row(since: u32, until: u32) -> Row {
        let given = |minor: u32| (minor > 0).then_some(minor);
        let mut row = Catalogue::builtin().unwrap().rows.remove(0);
        (row.since, row.until) = (given(since), given(until));
        row
    }

    #[test]
    fn both_ends_belong_to_a_row_s_releases() {
        for (since, until, first, last) in [
            (0, 0, 20, 99),
            (29, 0, 29, 99),
            (0, 28, 20, 28),
            (25, 25, 25, 25),
        ] {
            let row = row(since, until);
            let applies: Vec<u32> = (20..=99).filter(|minor| row.applies(*minor)).collect();
            assert_eq!(applies, (first..=last).collect::<Vec<u32>>());
        }
    }

    #[test]
    fn rows_overlap_where_a_release_has_both() {
        let ends = [0, 20, 25, 28, 29, 30];
        let rows = || {
            ends.iter()
                .flat_map(|since| ends.iter().map(|until| row(*since, *until)))
        };
        for one in rows().filter(|row| row.until.is_none_or(|until| row.since <= Some(until))) {
            for other in rows().filter(|row| row.until.is_none_or(|until| row.since <= Some(until)))
            {
                let both = (1..99).any(|minor| one.applies(minor) && other.applies(minor));
                let ranges = [(one.since, one.until), (other.since, other.until)];
                assert_eq!(one.overlaps(&other), both, "{ranges:?}");
            }
        }
    }
}
