//! Addresses that are known to be, or to have been, a master's. Only these are dropped from certificates:
//! any other one there may be a load balancer's. The files that name the old ones are mended before the
//! certificates are, maybe by an earlier run, and so each run writes down what it sees.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use super::backup::FOLDER;
use crate::file::{self, make_folder, missing_folders};
use crate::root::Root;

/// Where they are written down: a JSON list.
pub const PATH: &str = "/var/lib/stayput/unpin/masters.json";
const LIMIT: u64 = 1 << 16;

/// Why they are not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// They cannot be read.
    #[error("cannot read {PATH}: {0}")]
    Read(#[source] std::io::Error),
    /// The file holds something else.
    #[error(
        "{PATH} is damaged ({0}); remove it: addresses that nothing else knows as a master's then stay in the certificates"
    )]
    Damaged(String),
    /// They cannot be written down.
    #[error(transparent)]
    Write(#[from] file::Error),
}

/// Those that were written down.
pub fn read(root: &Root) -> Result<BTreeSet<IpAddr>, Error> {
    match root.read(Path::new(PATH), LIMIT).map_err(Error::Read)? {
        Some(bytes) => {
            serde_json::from_slice(&bytes).map_err(|error| Error::Damaged(error.to_string()))
        }
        None => Ok(BTreeSet::new()),
    }
}

/// Writes down all of these, where that is news.
pub fn save(root: &Root, all: &BTreeSet<IpAddr>) -> Result<(), Error> {
    if read(root)?.is_superset(all) {
        return Ok(());
    }
    let mut missing = missing_folders(root, Path::new(FOLDER))?;
    missing.sort();
    for folder in missing {
        make_folder(root, &folder, 0o700)?;
    }
    let text = serde_json::json!(all).to_string() + "\n";
    file::replace(root, Path::new(PATH), text.as_bytes(), 0o600)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_once_stays_known() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert!(read(&root).unwrap().is_empty());
        let all: BTreeSet<IpAddr> = ["10.77.0.11", "fd77::11"]
            .map(|it| it.parse().unwrap())
            .into();
        save(&root, &all).unwrap();
        assert_eq!(read(&root).unwrap(), all);
        // Fewer are no news.
        save(&root, &BTreeSet::new()).unwrap();
        assert_eq!(read(&root).unwrap(), all);
        let file = dir.path().join(&PATH[1..]);
        std::fs::write(file, "?").unwrap();
        assert!(matches!(save(&root, &all), Err(Error::Damaged(_))));
    }
}
