//! The stages in which an existing cluster is mended, and how far a node says it is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::Name;

/// The annotation of a Node object that holds its [`Record`] as JSON. A kubelet may annotate its own
/// Node (`NodeRestriction`), so that workers need no other rights.
pub const ANNOTATION: &str = "stayput/unpin";

/// The stages, in the order in which every node goes through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The agent runs and this node knows the names.
    Agent,
    /// The serving certificates carry the names, beside all that they carry already.
    Certificates,
    /// Kubeconfigs and the kubelet's flags hold no address.
    Kubeconfigs,
    /// etcd's manifest holds none.
    Etcd,
    /// kube-apiserver's manifest holds none but the one that it must.
    Apiserver,
    /// etcd's member has its peer URL by name.
    Peer,
    /// The cluster's own objects hold no address.
    Cluster,
    /// The serving certificates do not carry the old addresses any more.
    Addresses,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Agent,
        Self::Certificates,
        Self::Kubeconfigs,
        Self::Etcd,
        Self::Apiserver,
        Self::Peer,
        Self::Cluster,
        Self::Addresses,
    ];

    /// The word that tables and JSON show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Certificates => "certificates",
            Self::Kubeconfigs => "kubeconfigs",
            Self::Etcd => "etcd",
            Self::Apiserver => "apiserver",
            Self::Peer => "peer",
            Self::Cluster => "cluster",
            Self::Addresses => "addresses",
        }
    }

    /// Whether a worker has anything to do in it.
    pub fn is_for_workers(self) -> bool {
        matches!(self, Self::Agent | Self::Kubeconfigs)
    }

    /// Whether something is restarted in it that the other masters feel, so that only one of them may be
    /// in it at a time.
    pub fn is_one_at_a_time(self) -> bool {
        matches!(
            self,
            Self::Kubeconfigs | Self::Etcd | Self::Apiserver | Self::Peer | Self::Addresses
        )
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a node says of itself. Each run writes it anew from what it sees, so that a node on which pins
/// have come back says so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Which master of the cluster file it is; none on a worker.
    pub master: Option<Name>,
    /// The last stage of which, as of all before, nothing is left to do.
    pub done: Option<Stage>,
    /// The stage that a run is at, or died at.
    pub at: Option<Stage>,
}

impl Record {
    /// Reads the annotation's value. What another version has written counts as nothing said.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The annotation's value.
    pub fn text(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// Whether a stage is behind it.
    pub fn is_past(&self, stage: Stage) -> bool {
        self.done >= Some(stage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = Record {
            master: Some(Name::parse("master-1.k8s.internal").unwrap()),
            done: Some(Stage::Certificates),
            at: Some(Stage::Kubeconfigs),
        };
        let text = r#"{"at":"kubeconfigs","done":"certificates","master":"master-1.k8s.internal"}"#;
        assert_eq!(record.text(), text);
        assert_eq!(Record::read(text), Some(record));
        assert_eq!(Record::read(r#"{"done":"of-another-version"}"#), None);
        assert_eq!(Record::read(""), None);
    }

    #[test]
    fn the_order_is_the_order_of_the_list() {
        assert!(Stage::ALL.is_sorted());
        for (number, stage) in Stage::ALL.into_iter().enumerate() {
            let past = Record {
                done: Some(stage),
                ..Record::default()
            };
            let passed = Stage::ALL.iter().filter(|other| past.is_past(**other));
            assert_eq!(passed.count(), number + 1);
            assert!(!Record::default().is_past(stage));
        }
    }
}
