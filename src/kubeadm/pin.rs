//! A place that pins an address which can change, and what is said of it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One place that pins addresses. The JSON form is stable: fields are added, never renamed or removed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// How much breaks.
    pub severity: Severity,
    /// A file's path, or an object such as `ConfigMap kube-system/kube-proxy` or `etcd member master-1`.
    pub place: String,
    /// The line in it, from 1, where there are lines.
    pub line: Option<usize>,
    /// What pins there: a flag, a key, a name of a certificate.
    pub what: String,
    /// What stands there.
    pub value: String,
    /// The addresses in it that can change.
    pub addresses: Vec<IpAddr>,
    /// What breaks when they do.
    pub breaks: String,
    /// What to put there instead.
    pub instead: String,
}

/// How much breaks when an address changes; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// This master, or the whole cluster, does not work any more.
    Fatal,
    /// A part does not work, or not after the next restart.
    Degraded,
    /// Nothing that runs; a later command of kubeadm, or a person who reads it, is misled.
    Misleading,
}

impl Severity {
    /// The word that tables and JSON show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fatal => "fatal",
            Self::Degraded => "degraded",
            Self::Misleading => "misleading",
        }
    }
}
