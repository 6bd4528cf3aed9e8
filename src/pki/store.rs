//! Lets new files take the old ones' places: a key and its certificate as one.

use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::root::Root;

/// Files that change together.
#[derive(Debug)]
pub struct Set {
    /// The item, as commands call it.
    pub id: String,
    /// The files, in the order in which they take their places: the key first.
    pub files: Vec<NewFile>,
    /// The certificate that is being replaced, as PEM: one of the generations that are kept.
    pub old_certificate: Option<Vec<u8>>,
}

/// A file with its new contents.
pub struct NewFile {
    /// Below the root.
    pub path: PathBuf,
    /// All of it.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Of a file that is new; one that is replaced keeps owner, mode and extended attributes.
    pub mode: u32,
}

/// The files below `/etc/kubernetes`, for whoever holds the lock on them.
#[derive(Debug)]
pub struct Store {
    root: Root,
}

/// What an earlier run that died had left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// Nothing.
    Nothing,
    /// Sets that were finished, by id.
    Finished(Vec<String>),
    /// Sets that were undone, by id.
    Undone(Vec<String>),
}

/// Why files did not change.
#[derive(Debug, thiserror::Error)]
pub enum Error {}

impl Store {
    /// Finishes or undoes what an earlier run has left, and is ready for more.
    pub fn open(root: &Root) -> Result<(Self, Recovered), Error> {
        let root = root.clone();
        Ok((Self { root }, Recovered::Nothing))
    }

    /// Makes all sets' files take their places, or none of them.
    pub fn replace(&self, _sets: &[Set]) -> Result<(), Error> {
        let _ = &self.root;
        todo!()
    }
}

impl std::fmt::Debug for NewFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (path, mode) = (&self.path, self.mode);
        f.debug_struct("NewFile")
            .field("path", path)
            .field("mode", &format_args!("{mode:o}"))
            .finish_non_exhaustive()
    }
}
