//! What one run writes down for the next: sets in JSON lists beside the backups.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::backup::FOLDER;
use crate::file::{self, make_folder, missing_folders};
use crate::root::Root;

const LIMIT: u64 = 1 << 16;

/// Where a set is written down.
#[derive(Debug, Clone, Copy)]
pub struct Noted {
    /// The file, in [`FOLDER`].
    pub path: &'static str,
    /// What a person does who has to remove it.
    pub remedy: &'static str,
}

/// Why a set is not known, or not written down.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("{path} is damaged ({reason}); {remedy}")]
    Damaged {
        /// The file.
        path: &'static str,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] file::Error),
}

impl Noted {
    /// What was written down; nothing where there is no file.
    pub fn read<T: DeserializeOwned + Ord>(self, root: &Root) -> Result<BTreeSet<T>, Error> {
        let bytes = root.read(Path::new(self.path), LIMIT);
        let bytes = bytes.map_err(|source| Error::Read {
            path: self.path,
            source,
        })?;
        let Some(bytes) = bytes else {
            return Ok(BTreeSet::new());
        };
        serde_json::from_slice(&bytes).map_err(|error| Error::Damaged {
            path: self.path,
            reason: error.to_string(),
            remedy: self.remedy,
        })
    }

    /// Writes all of it down; there is no file of an empty set.
    pub fn write<T: Serialize>(self, root: &Root, set: &BTreeSet<T>) -> Result<(), Error> {
        let path = Path::new(self.path);
        if set.is_empty() {
            file::remove(root, path)?;
            return Ok(());
        }
        let mut missing = missing_folders(root, Path::new(FOLDER))?;
        missing.sort();
        for folder in missing {
            make_folder(root, &folder, 0o700)?;
        }
        let text = serde_json::json!(set).to_string() + "\n";
        file::replace(root, path, text.as_bytes(), 0o600)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOTED: Noted = Noted {
        path: "/var/lib/stayput/unpin/example.json",
        remedy: "do it by hand, and remove it",
    };

    #[test]
    fn a_set_comes_back_and_an_empty_one_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert!(NOTED.read::<String>(&root).unwrap().is_empty());
        let set: BTreeSet<String> = ["b", "a"].map(str::to_owned).into();
        NOTED.write(&root, &set).unwrap();
        assert_eq!(NOTED.read(&root).unwrap(), set);
        let file = dir.path().join(&NOTED.path[1..]);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "[\"a\",\"b\"]\n");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(file.parent().unwrap()), 0o700);
        NOTED.write(&root, &BTreeSet::<String>::new()).unwrap();
        assert!(!file.exists());
        for damaged in ["", "{}", "[1]"] {
            std::fs::write(&file, damaged).unwrap();
            let error = NOTED.read::<String>(&root).unwrap_err().to_string();
            assert!(error.contains("example.json is damaged"), "{error}");
            assert!(error.ends_with(NOTED.remedy), "{error}");
        }
    }
}
