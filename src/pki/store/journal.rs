//! What a change of certificates is about to do, for the run that comes after its death.
//!
//! It is written whole ([`file::replace`]), so there is the old one or the new one.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Error, FOLDER, JOURNAL, Set};
use crate::file::{self, Identity};
use crate::root::Root;
use crate::state;

/// The format of the file.
const FORMAT: u32 = 1;
/// Far above what the longest list of certificates needs.
const LIMIT: u64 = 4 << 20;

/// The file's contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    format: u32,
    /// How far it has come.
    pub(super) phase: Phase,
    /// Folders that are made for it, the outermost first.
    pub(super) made: Vec<PathBuf>,
    /// In the order in which they take their places.
    pub(super) sets: Vec<Entry>,
}

/// How far a change has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Phase {
    /// New files are written beside the old ones; no target is touched.
    Staging,
    /// All is staged and durable: targets are being replaced.
    Swapping,
}

/// Files that change together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// The item.
    pub(super) id: String,
    /// In the order in which they take their places.
    pub(super) files: Vec<Replacement>,
}

/// One file. What identifies it is known once it is staged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replacement {
    /// The target.
    pub(super) path: PathBuf,
    /// The staged file.
    pub(super) new: Option<Identity>,
    /// The target before; none where there was no file.
    pub(super) old: Option<Identity>,
    /// What is kept of the old one: itself, or a copy where there are no links.
    pub(super) kept: Option<Identity>,
}

impl Journal {
    /// Of sets that are about to be staged.
    pub(super) fn new(made: Vec<PathBuf>, sets: &[Set]) -> Self {
        let sets = sets.iter().map(|set| Entry {
            id: set.id.clone(),
            files: set.files.iter().map(|f| Replacement::of(&f.path)).collect(),
        });
        Self {
            format: FORMAT,
            phase: Phase::Staging,
            made,
            sets: sets.collect(),
        }
    }

    /// All files, in order.
    pub(super) fn files(&self) -> impl DoubleEndedIterator<Item = &Replacement> {
        self.sets.iter().flat_map(|set| &set.files)
    }

    /// All targets, in order.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files().map(|file| file.path.as_path())
    }
}

impl Replacement {
    fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            new: None,
            old: None,
            kept: None,
        }
    }
}

/// The journal, if there is one.
pub(super) fn load(root: &Root) -> Result<Option<Journal>, Error> {
    match root.read(Path::new(JOURNAL), LIMIT) {
        Ok(None) => Ok(None),
        Ok(Some(bytes)) => match parse(&bytes) {
            Ok(journal) => Ok(Some(journal)),
            Err(reason) => Err(Error::Damaged { reason }),
        },
        Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => Err(Error::Damaged {
            reason: error.to_string(),
        }),
        Err(error) => Err(Error::Unreadable(error)),
    }
}

fn parse(bytes: &[u8]) -> Result<Journal, String> {
    let journal: Journal = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if journal.format != FORMAT {
        return Err(format!("format {} is not {FORMAT}", journal.format));
    }
    let unknown =
        |file: &&Replacement| file.new.is_none() || file.old.is_some() != file.kept.is_some();
    if journal.phase == Phase::Swapping
        && let Some(file) = journal.files().find(unknown)
    {
        let path = file.path.display();
        return Err(format!("{path} is to be replaced, but not by what"));
    }
    Ok(journal)
}

/// Writes the journal durably.
pub(super) fn save(root: &Root, journal: &Journal) -> Result<(), file::Error> {
    let path = Path::new(JOURNAL);
    let mut bytes = serde_json::to_vec_pretty(journal).map_err(|source| file::Error::Io {
        operation: "render",
        path: path.to_owned(),
        source: source.into(),
    })?;
    bytes.push(b'\n');
    file::replace(root, path, &bytes, 0o600).map(|_| ())
}

/// Removes the journal durably: the change is complete.
pub(super) fn remove(root: &Root) -> Result<(), file::Error> {
    file::remove(root, Path::new(JOURNAL)).map(|_| ())
}

/// Makes its folder, and those above.
pub(super) fn make_folder(root: &Root) -> Result<(), file::Error> {
    for folder in file::missing_folders(root, Path::new(state::FOLDER))? {
        file::make_folder(root, &folder, super::FOLDER_MODE)?;
    }
    file::make_folder(root, Path::new(FOLDER), 0o700)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_makes_no_sense_is_damaged() {
        let good = r#"{"format":1,"phase":"staging","made":[],"sets":[{"id":"ca","files":[
            {"path":"/etc/kubernetes/pki/ca.key","new":null,"old":null,"kept":null}]}]}"#;
        assert!(parse(good.as_bytes()).is_ok());
        for (from, to, reason) in [
            ("\"format\":1", "\"format\":2", "format 2 is not 1"),
            (
                "staging",
                "swapping",
                "ca.key is to be replaced, but not by what",
            ),
            ("staging", "sleeping", "unknown variant"),
            ("\"made\"", "\"mad\"", "unknown field"),
            ("}]}]}", "", "EOF"),
        ] {
            let error = parse(good.replace(from, to).as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{from} {to}: {error}");
        }
    }
}
