//! Stages files, lets them take their places, and takes that back.
//!
//! Every step but the staging itself may be repeated, whatever part of it was done before.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::journal::{self, Journal, Phase};
use super::recovery::{self, Seen, Standing};
use super::{FOLDER_MODE, Set};
use crate::file::{self, Error, Old, Spot, Staged, Staging};
use crate::root::Root;

/// The folders of all files, open and locked; `None` for those that are missing.
pub(super) struct Folders(BTreeMap<PathBuf, Option<Staging>>);

impl Folders {
    /// Opens the folders of these files.
    pub(super) fn open<'a>(
        root: &Root,
        paths: impl Iterator<Item = &'a Path>,
    ) -> Result<Self, Error> {
        let mut folders = BTreeMap::new();
        for path in paths {
            let folder = path.parent().unwrap_or(Path::new("/"));
            if !folders.contains_key(folder) {
                let missing = !file::missing_folders(root, folder)?.is_empty();
                let staging = (!missing)
                    .then(|| Staging::open(root, folder))
                    .transpose()?;
                folders.insert(folder.to_owned(), staging);
            }
        }
        Ok(Self(folders))
    }

    /// A file's folder, and its name there.
    fn of<'a>(&self, path: &'a Path) -> Option<(&Staging, &'a OsStr)> {
        let folder = self.0.get(path.parent()?)?.as_ref()?;
        Some((folder, path.file_name()?))
    }

    fn must<'a>(&self, path: &'a Path) -> Result<(&Staging, &'a OsStr), Error> {
        self.of(path).ok_or_else(|| Error::NoFolder {
            path: path.to_owned(),
        })
    }

    fn sync(&self) -> Result<(), Error> {
        let folders: Vec<&Staging> = self.0.values().flatten().collect();
        file::sync_folders(&folders)
    }

    /// Removes what may be removed of earlier runs whose journal is gone.
    pub(super) fn sweep(&self) -> Result<(), Error> {
        self.each(Staging::sweep)
    }

    fn each(&self, work: impl Fn(&Staging) -> Result<(), Error>) -> Result<(), Error> {
        self.0.values().flatten().try_for_each(work)
    }
}

/// Writes all new files beside their targets and keeps the old ones, durably. The journal that is
/// returned says what identifies them.
pub(super) fn stage(
    root: &Root,
    sets: &[Set],
    mut journal: Journal,
) -> Result<(Folders, Journal), Error> {
    for folder in &journal.made {
        file::make_folder(root, folder, FOLDER_MODE)?;
    }
    let mut folders = Folders::open(root, journal.paths())?;
    folders
        .0
        .values_mut()
        .flatten()
        .try_for_each(Staging::make)?;
    let mut staged: Vec<(Option<Old>, Staged)> = Vec::new();
    for new in sets.iter().flat_map(|set| &set.files) {
        let (folder, name) = folders.must(&new.path)?;
        let old = folder.target(name)?;
        let file = folder.stage(name, &new.bytes, new.mode, old.as_ref())?;
        staged.push((old, file));
    }
    let files: Vec<&Staged> = staged.iter().map(|(_, file)| file).collect();
    file::sync_files(&files)?;
    let entries = journal.sets.iter_mut().flat_map(|set| &mut set.files);
    for (entry, (old, file)) in entries.zip(&staged) {
        let (folder, name) = folders.must(&entry.path)?;
        entry.new = Some(file.identity()?);
        if let Some(old) = old {
            entry.old = Some(old.identity);
            entry.kept = Some(folder.keep(name, old)?);
        }
    }
    folders.sync()?;
    journal.phase = Phase::Swapping;
    Ok((folders, journal))
}

/// How each file of the journal stands.
pub(super) fn survey(folders: &Folders, journal: &Journal) -> Result<Vec<Standing>, Error> {
    let files = journal.files().map(|file| {
        let seen = match folders.of(&file.path) {
            None => Seen::default(),
            Some((folder, name)) => Seen {
                target: folder.identity(Spot::Target, name)?,
                staged: folder.identity(Spot::Staged, name)?,
                kept: folder.identity(Spot::Kept, name)?,
            },
        };
        Ok(recovery::standing(file, &seen))
    });
    files.collect()
}

/// Lets everything take its place that has not yet, durably.
pub(super) fn finish(folders: &Folders, journal: &Journal) -> Result<(), Error> {
    let standings = survey(folders, journal)?;
    let files = || journal.files().zip(&standings);
    for (file, standing) in files() {
        if matches!(standing, Standing::Before | Standing::Foreign) {
            let path = file.path.clone();
            return Err(Error::Changed { path });
        }
    }
    // Nothing but renames from here on: a handshake in between fails.
    for (file, standing) in files() {
        if *standing == Standing::Staged {
            let (folder, name) = folders.must(&file.path)?;
            folder.swap_in(name, file.old.is_some())?;
        }
    }
    folders.sync()
}

/// Gives every file that was replaced its old place again, durably. Nothing is done if one cannot
/// have it. What is staged stays: see [`withdraw`].
pub(super) fn undo(folders: &Folders, journal: &Journal) -> Result<(), Error> {
    let standings = survey(folders, journal)?;
    let lost = Standing::Swapped { undoable: false };
    let mut files = journal.files().zip(&standings);
    if let Some((file, _)) = files.find(|(_, standing)| **standing == lost) {
        let path = file.path.clone();
        return Err(Error::Changed { path });
    }
    let files: Vec<_> = journal.files().zip(standings).collect();
    for (file, standing) in files.into_iter().rev() {
        if let Standing::Swapped { .. } = standing {
            let (folder, name) = folders.must(&file.path)?;
            folder.restore(name, file.old.is_some())?;
        }
    }
    folders.sync()
}

/// Removes what is left of a change of which no target is changed, the journal last.
pub(super) fn withdraw(root: &Root, folders: &Folders, journal: &Journal) -> Result<(), Error> {
    forget(folders, journal)?;
    // A staged file that came back after a power failure would be without its journal.
    folders.sync()?;
    folders.each(Staging::close)?;
    for folder in journal.made.iter().rev() {
        file::remove_empty_folder(root, folder)?;
    }
    journal::remove(root)
}

/// Removes what is left of a change that is finished, the journal last.
pub(super) fn tidy(root: &Root, folders: &Folders, journal: &Journal) -> Result<(), Error> {
    forget(folders, journal)?;
    folders.each(Staging::close)?;
    journal::remove(root)
}

fn forget(folders: &Folders, journal: &Journal) -> Result<(), Error> {
    let mut known = journal.paths().filter_map(|path| folders.of(path));
    known.try_for_each(|(folder, name)| folder.forget(name))
}

#[cfg(test)]
mod tests {
    use super::super::{Error, NewFile, finish_or_undo, prepare};
    use super::*;

    const KEY: &str = "etc/kubernetes/pki/apiserver.key";
    const CERTIFICATE: &str = "etc/kubernetes/pki/apiserver.crt";

    /// Stages a pair, lets `meanwhile` happen, and swaps.
    fn swap(dir: &Path, meanwhile: impl Fn()) -> Error {
        let root = Root::open(dir).unwrap();
        journal::make_folder(&root).unwrap();
        let file = |path: &str| NewFile {
            path: Path::new("/").join(path),
            bytes: b"new".to_vec().into(),
            mode: 0o600,
        };
        let sets = [Set {
            id: "apiserver".to_owned(),
            files: vec![file(KEY), file(CERTIFICATE)],
            old_certificate: None,
        }];
        let journal = prepare(&root, &sets).unwrap();
        let (folders, journal) = stage(&root, &sets, journal).unwrap();
        journal::save(&root, &journal).unwrap();
        meanwhile();
        finish_or_undo(&root, &folders, &journal).unwrap_err()
    }

    #[test]
    fn what_others_do_between_staging_and_swapping_stays() {
        for existed in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let (key, certificate) = (dir.path().join(KEY), dir.path().join(CERTIFICATE));
            std::fs::create_dir_all(key.parent().unwrap()).unwrap();
            if existed {
                std::fs::write(&key, "old").unwrap();
                std::fs::write(&certificate, "old").unwrap();
            }
            let error = swap(dir.path(), || {
                std::fs::write(dir.path().join("other"), "foreign").unwrap();
                std::fs::rename(dir.path().join("other"), &certificate).unwrap();
            });
            assert!(matches!(error, Error::Undone(_)), "{error}");
            assert!(error.to_string().contains("another program"), "{error}");
            let key = std::fs::read_to_string(key).ok();
            assert_eq!(key.as_deref(), existed.then_some("old"));
            assert_eq!(std::fs::read(certificate).unwrap(), b"foreign");
            assert!(!dir.path().join("etc/kubernetes/pki/.stayput").exists());
            assert!(
                !dir.path()
                    .join("var/lib/stayput/certificates/journal.json")
                    .exists()
            );
        }
    }
}
