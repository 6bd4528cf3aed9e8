//! What still has to follow a renewal, on disk until it has.
//!
//! A new certificate in its place is half of a renewal: kube-scheduler works with the old one until it
//! is restarted, and would until that expires. So a step that failed, or that a run did not live to
//! do, is owed, and every later run tries that step again, also where nothing is due; the steps that
//! are done are not done once more.
//!
//! It is written before the first file changes, so no death loses it. Where the change did not come
//! about the old certificate is still there, known by its serial number, and nothing is owed for it.
//!
//! What is kept is what *is done* for each item: a program that the cluster file names in place of one
//! that failed is owed too, and one that it names no more is not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::file;
use crate::root::Root;
use crate::state;

/// Where it lies, as JSON; there is no file where nothing is owed.
pub const PATH: &str = "/var/lib/stayput/certificates/owed.json";
/// Far above what a thousand extra rows need.
const LIMIT: u64 = 1 << 20;

/// Renewed items whose steps are not all done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// By id.
    items: BTreeMap<String, Renewed>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Renewed {
    /// The serial number of the certificate before; empty where there was none.
    before: String,
    /// The keys of the steps that are done.
    done: BTreeSet<String>,
}

/// Why it is not known, or not kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {PATH}, which tells what still has to follow a renewal: {0}")]
    Read(std::io::Error),
    /// It holds something else.
    #[error(
        "{PATH} is damaged ({0}), so it is not known what still has to follow a renewal: `stayput certs renew` does all that could be"
    )]
    Damaged(serde_json::Error),
    /// It cannot be written.
    #[error("cannot write down what has to follow a renewal: {0}")]
    Write(#[from] file::Error),
}

impl Owed {
    /// What earlier runs have left.
    pub fn read(root: &Root) -> Result<Self, Error> {
        match root.read(Path::new(PATH), LIMIT).map_err(Error::Read)? {
            None => Ok(Self::default()),
            Some(bytes) => serde_json::from_slice(&bytes).map_err(Error::Damaged),
        }
    }

    /// All that could be owed for these items: once too often does no harm, once too few would.
    pub fn everything<'a>(ids: impl IntoIterator<Item = &'a str>) -> Self {
        let mut owed = Self::default();
        for id in ids {
            owed.begin(id, "");
        }
        owed
    }

    /// Keeps it durably.
    pub fn save(&self, root: &Root) -> Result<(), Error> {
        let path = Path::new(PATH);
        if self.is_empty() {
            file::remove(root, path)?;
            return Ok(());
        }
        let failed = |operation, source| file::Error::Io {
            operation,
            path: path.to_owned(),
            source,
        };
        let mut bytes =
            serde_json::to_vec_pretty(self).map_err(|error| failed("render", error.into()))?;
        bytes.push(b'\n');
        let folder = path.parent().unwrap_or(Path::new("/"));
        // The folder also holds the store's journal, which is root's alone.
        root.create_folders(Path::new(state::FOLDER), 0o755)
            .and_then(|()| root.create_folders(folder, 0o700))
            .map_err(|source| failed("make the folder of", source))?;
        file::replace(root, path, &bytes, 0o600)?;
        Ok(())
    }

    /// An item is about to be renewed whose certificate has this serial number: all its steps follow.
    /// Where one was owed already, that one is, even if this renewal does not come about.
    pub fn begin(&mut self, id: &str, serial: &str) {
        let fresh = || Renewed {
            before: serial.to_owned(),
            done: BTreeSet::new(),
        };
        let item = self.items.entry(id.to_owned()).or_insert_with(fresh);
        item.done.clear();
    }

    /// Drops the items whose certificate is the one from before. `serial`: that of an item's certificate
    /// now, empty where there is none, `None` where it is not known.
    pub fn drop_unchanged(&mut self, serial: impl Fn(&str) -> Option<String>) {
        self.items
            .retain(|id, item| serial(id).is_none_or(|now| now != item.before));
    }

    /// Whether nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether a step is owed for an item.
    pub(super) fn owes(&self, key: &str, id: &str) -> bool {
        let item = self.items.get(id);
        item.is_some_and(|item| !item.done.contains(key))
    }

    /// A step has been done for these items.
    pub(super) fn settle(&mut self, key: &str, ids: &[&str]) {
        for id in ids {
            if let Some(item) = self.items.get_mut(*id) {
                item.done.insert(key.to_owned());
            }
        }
    }

    /// Keeps only these items: nothing is left to be done for the others.
    pub(super) fn keep(&mut self, ids: &BTreeSet<String>) {
        self.items.retain(|id, _| ids.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_kept_until_it_is_settled() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert!(Owed::read(&root).unwrap().is_empty());
        let mut owed = Owed::everything(["scheduler.conf", "apiserver"]);
        owed.settle("tell", &["apiserver"]);
        owed.save(&root).unwrap();
        let read = Owed::read(&root).unwrap();
        assert_eq!(read, owed);
        assert!(read.owes("tell", "scheduler.conf") && !read.owes("tell", "apiserver"));
        assert!(read.owes("other", "apiserver") && !read.owes("other", "sa"));
        owed.keep(&BTreeSet::new());
        owed.save(&root).unwrap();
        assert!(!dir.path().join(&PATH[1..]).exists());
    }

    #[test]
    fn nothing_is_owed_where_nothing_changed() {
        for (before, again, now, owed) in [
            ("1", None, Some("2"), true),
            ("1", None, Some("1"), false),
            ("1", None, None, true),
            ("", None, Some(""), false),
            // Renewed once more, in vain: the first renewal's steps are still to follow.
            ("1", Some("2"), Some("2"), true),
        ] {
            let mut all = Owed::default();
            all.begin("apiserver", before);
            if let Some(serial) = again {
                all.begin("apiserver", serial);
            }
            all.drop_unchanged(|_| now.map(str::to_owned));
            assert_eq!(!all.is_empty(), owed, "{before} {again:?} {now:?}");
        }
    }

    #[test]
    fn all_steps_follow_a_second_renewal() {
        let mut owed = Owed::everything(["apiserver"]);
        owed.settle("tell", &["apiserver"]);
        owed.begin("apiserver", "2");
        assert!(owed.owes("tell", "apiserver"));
    }

    #[test]
    fn a_damaged_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        Owed::everything(["apiserver"]).save(&root).unwrap();
        std::fs::write(dir.path().join(&PATH[1..]), "{").unwrap();
        let error = Owed::read(&root).unwrap_err().to_string();
        assert!(error.contains("damaged") && error.contains(PATH), "{error}");
    }
}
