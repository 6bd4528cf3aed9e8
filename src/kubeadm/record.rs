//! What a run of `kubeadm follow` leaves for others to read.
//!
//! The agent cannot read kubeconfigs, and should not; so each run writes down what it found and did.
//! The file holds no secret and anybody may read it. It is only shown: nothing is decided by it.

use serde::{Deserialize, Serialize};

use super::pin::{Pin, Severity};
use crate::root::Root;
use crate::run_record::{Error, Place};

/// Where the record lies.
pub const PATH: &str = "/var/lib/stayput/audit.json";

const PLACE: Place = Place {
    path: PATH,
    format: 1,
    what: "what was found",
    command: "stayput kubeadm follow",
};

/// The last run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// When it ended, in Unix time.
    pub at: u64,
    /// Why kube-apiserver's address could not be brought up to date, or why this node could not be
    /// looked at.
    pub failure: Option<String>,
    /// What pins on this node, the worst first.
    pub pins: Vec<Pin>,
    /// What could not be looked at, in words.
    pub unread: Vec<String>,
}

impl Record {
    /// The worst of what pins.
    pub fn worst(&self) -> Option<Severity> {
        self.pins.iter().map(|pin| pin.severity).min()
    }
}

/// Reads the record; `None` where no run has left one.
pub fn read(root: &Root) -> Result<Option<Record>, Error> {
    PLACE.read(root)
}

/// Writes the record.
pub fn write(root: &Root, record: &Record) -> Result<(), Error> {
    PLACE.write(root, record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(severity: Severity) -> Pin {
        Pin {
            severity,
            place: "/etc/kubernetes/manifests/etcd.yaml".into(),
            line: Some(7),
            what: "--listen-client-urls".into(),
            value: "https://10.0.0.1:2379".into(),
            addresses: vec!["10.0.0.1".parse().unwrap()],
            breaks: "etcd does not start".into(),
            instead: "https://0.0.0.0:2379".into(),
        }
    }

    #[test]
    fn comes_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(read(&root).unwrap(), None);
        let record = Record {
            at: 7,
            failure: Some("no kubelet".into()),
            pins: vec![pin(Severity::Misleading), pin(Severity::Fatal)],
            unread: vec!["x".into()],
        };
        write(&root, &record).unwrap();
        assert_eq!(record.worst(), Some(Severity::Fatal));
        assert_eq!(read(&root).unwrap(), Some(record));
    }
}
