//! What a run of `kubeadm follow` leaves for others to read.
//!
//! The agent cannot read kubeconfigs, and should not; so each run writes down what it found and did.
//! The file holds no secret and anybody may read it. It is only shown: nothing is decided by it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::pin::{Pin, Severity};
use crate::file;
use crate::root::Root;
use crate::state;

/// Where the record lies.
pub const PATH: &str = "/var/lib/stayput/audit.json";
/// Far above what a node's files can pin.
const LIMIT: u64 = 4 << 20;
/// The format of the file.
const FORMAT: u32 = 1;

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

/// Why the record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is there and cannot be read.
    #[error("cannot read {PATH}: {0}; make it readable")]
    Unreadable(std::io::Error),
    /// It makes no sense.
    #[error("{PATH} is damaged ({0}); the next `stayput kubeadm follow` writes a new one")]
    Damaged(String),
    /// It cannot be written.
    #[error("cannot write down what was found: {0}")]
    Write(#[from] file::Error),
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    #[serde(flatten)]
    record: Record,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Reads the record; `None` where no run has left one.
pub fn read(root: &Root) -> Result<Option<Record>, Error> {
    let damaged = |error: &dyn std::fmt::Display| Error::Damaged(error.to_string());
    let bytes = match root.read(Path::new(PATH), LIMIT) {
        Ok(None) => return Ok(None),
        Ok(Some(bytes)) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
            return Err(damaged(&error));
        }
        Err(error) => return Err(Error::Unreadable(error)),
    };
    // The format first: another one may have other keys.
    let Format { format } = serde_json::from_slice(&bytes).map_err(|error| damaged(&error))?;
    if format != FORMAT {
        return Err(damaged(&format_args!("format {format} is not {FORMAT}")));
    }
    let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| damaged(&error))?;
    Ok(Some(stored.record))
}

/// Writes the record.
pub fn write(root: &Root, record: &Record) -> Result<(), Error> {
    let failed = |operation, source| file::Error::Io {
        operation,
        path: PATH.into(),
        source,
    };
    let stored = Stored {
        format: FORMAT,
        record: record.clone(),
    };
    let mut bytes =
        serde_json::to_vec_pretty(&stored).map_err(|error| failed("render", error.into()))?;
    bytes.push(b'\n');
    root.create_folders(Path::new(state::FOLDER), 0o755)
        .map_err(|error| failed("make the folder of", error))?;
    file::replace(root, Path::new(PATH), &bytes, 0o644)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

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
    fn comes_back_as_it_was_written_and_anybody_may_read_it() {
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
        let path = dir.path().join(&PATH[1..]);
        assert_eq!(
            path.metadata().unwrap().permissions().mode() & 0o7777,
            0o644
        );
        for damaged in ["", "[]", "{\"format\":9}"] {
            std::fs::write(&path, damaged).unwrap();
            let error = read(&root).unwrap_err();
            assert!(matches!(error, Error::Damaged(_)), "{error}");
        }
        write(&root, &Record::default()).unwrap();
        assert_eq!(read(&root).unwrap(), Some(Record::default()));
    }
}
