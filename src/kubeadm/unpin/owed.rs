//! Restarts that are owed: written down before a file is changed whose reader has to be restarted, so
//! that a run that dies between leaves it to the next one.

use std::collections::BTreeSet;
use std::path::Path;

use super::backup::FOLDER;
use crate::file::{self, make_folder, missing_folders};
use crate::root::Root;

/// Where it is written down.
pub const PATH: &str = "/var/lib/stayput/unpin/owed.json";
const LIMIT: u64 = 1 << 16;

/// Why it cannot be written down, or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {PATH}: {0}")]
    Read(#[source] std::io::Error),
    /// It holds something else.
    #[error(
        "{PATH} is damaged ({0}); restart kubelet, kube-controller-manager and kube-scheduler by hand, and remove it"
    )]
    Damaged(String),
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] file::Error),
}

/// What is owed, by the names of [`Restart`](super::groups::Restart).
pub fn read(root: &Root) -> Result<BTreeSet<String>, Error> {
    match root.read(Path::new(PATH), LIMIT).map_err(Error::Read)? {
        Some(bytes) => {
            serde_json::from_slice(&bytes).map_err(|error| Error::Damaged(error.to_string()))
        }
        None => Ok(BTreeSet::new()),
    }
}

/// Writes down that one is owed.
pub fn add(root: &Root, name: &str) -> Result<(), Error> {
    let mut owed = read(root)?;
    owed.insert(name.to_owned());
    save(root, &owed)
}

/// Strikes one out.
pub fn strike(root: &Root, name: &str) -> Result<(), Error> {
    let mut owed = read(root)?;
    owed.remove(name);
    save(root, &owed)
}

fn save(root: &Root, owed: &BTreeSet<String>) -> Result<(), Error> {
    let path = Path::new(PATH);
    if owed.is_empty() {
        file::remove(root, path)?;
        return Ok(());
    }
    let mut missing = missing_folders(root, Path::new(FOLDER))?;
    missing.sort();
    for folder in missing {
        make_folder(root, &folder, 0o700)?;
    }
    let text = serde_json::json!(owed).to_string() + "\n";
    file::replace(root, path, text.as_bytes(), 0o600)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_stays_until_it_is_struck_out() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert!(read(&root).unwrap().is_empty());
        add(&root, "kubelet").unwrap();
        add(&root, "kube-scheduler").unwrap();
        strike(&root, "kubelet").unwrap();
        assert_eq!(read(&root).unwrap(), ["kube-scheduler".to_owned()].into());
        strike(&root, "kube-scheduler").unwrap();
        assert!(!root.exists(Path::new(PATH)).unwrap());
        std::fs::write(dir.path().join(&PATH[1..]), "no").unwrap();
        assert!(matches!(read(&root), Err(Error::Damaged(_))));
    }
}
