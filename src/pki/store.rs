//! Lets new files take the old ones' places: a key and its certificate as one.
//!
//! etcd reads its pair at every handshake, kube-apiserver when it sees it change: a new key beside an
//! old certificate fails them. Two renames cannot be one, but they can follow each other at once, and
//! a run that dies between them can be completed by the next. So [`Store::replace`] works in steps:
//!
//! 1. What will be done is written to the [journal](JOURNAL): from here on the next run cleans up.
//! 2. Each new file is staged beside its target and fsynced, each old one kept as a link
//!    ([`Staging`](crate::file::Staging)).
//! 3. The journal is written again, now with what identifies each file: the **commit point**.
//! 4. Each staged file is renamed over its target, in order. If one refuses, all are renamed back.
//! 5. Links and journal are removed.
//!
//! [`Store::open`] looks for a journal. Before the commit point everything is taken back, behind it
//! everything is finished, or taken back where that is impossible. What can be neither, because
//! somebody else has changed the files since, is left alone and is an error: never a mixed pair about
//! which nothing is said. All of this is repeated until it succeeds, so dying in it does no harm.
//!
//! The journal holds paths and inode numbers; neither keys nor digests of them. Of each item the last
//! three certificates are kept; old keys are not.

mod generations;
mod journal;
mod recovery;
mod swap;

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::file;
use crate::root::Root;
use journal::{Journal, Phase};
use recovery::Way;
use swap::Folders;

/// What the store remembers: the journal, and the certificates that were replaced. 0700.
pub const FOLDER: &str = "/var/lib/stayput/certificates";
/// The journal of a change that is under way.
pub const JOURNAL: &str = "/var/lib/stayput/certificates/journal.json";
/// What a command says that only looks, where a journal is there.
pub const PENDING: &str = "an earlier run was interrupted while it changed certificates; the next run of \
                           `stayput certs renew` completes that first";
/// The mode of folders that are made for certificates, as kubeadm's.
const FOLDER_MODE: u32 = 0o755;

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
    /// Absolute, below the root.
    pub path: PathBuf,
    /// All of it.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Of a file that is new. One that is replaced keeps owner, mode and extended attributes, less
    /// the mode bits that let others in: all but the group's reading where this is 0600, writing
    /// by others where it is 0644.
    pub mode: u32,
}

/// The files below `/etc/kubernetes`, for whoever holds the lock on them
/// ([`lock::CERTIFICATES`](crate::lock::CERTIFICATES)).
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
    /// Sets that were undone, by id: their files are the old ones.
    Undone(Vec<String>),
}

/// Why files did not change.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was changed.
    #[error("{0}; no certificate or key has changed")]
    Refused(#[from] file::Error),
    /// A file's rename failed; those that had been renamed were renamed back.
    #[error("{0}; every certificate and key is the old one again")]
    Undone(file::Error),
    /// A file's rename failed, and another could not be renamed back.
    #[error(
        "{cause}; and what had been replaced could not be taken back: {undo}. Some files are new and \
         some old: repair the file system, then run `stayput certs renew`, which completes it first"
    )]
    Halfway {
        /// Why the change could not be finished.
        cause: file::Error,
        /// Why it could not be undone.
        undo: file::Error,
    },
    /// What an earlier run has left could not be completed.
    #[error(
        "an interrupted change of certificates cannot be completed: {0}. Some files may be new and some \
         old: repair that, then run this command again"
    )]
    Incomplete(file::Error),
    /// An earlier run died, and what it left was changed since.
    #[error(
        "an interrupted change of certificates can be neither finished nor undone, because these files \
         are not as it left them: {}. Nothing was touched. See with `stayput certs verify` whether keys \
         and certificates belong together (beside each there is a hidden folder {} with what was to \
         come and what was there), then remove those folders and {JOURNAL}",
        list(paths),
        file::HIDDEN
    )]
    Doubtful {
        /// The files.
        paths: Vec<PathBuf>,
    },
    /// The journal makes no sense.
    #[error(
        "{JOURNAL} is damaged ({reason}): a change of certificates was interrupted, and what it had done \
         is not known. Nothing was touched. See with `stayput certs verify` whether keys and certificates \
         belong together, remove the hidden folders {} beside them, and then that file",
        file::HIDDEN
    )]
    Damaged {
        /// What is wrong with it.
        reason: String,
    },
    /// The journal cannot be read.
    #[error("cannot read {JOURNAL}: {0}; without it nothing is changed")]
    Unreadable(std::io::Error),
    /// An id that cannot be part of a file's name.
    #[error("'{0}' is no id of a certificate: it would lead out of the folder of old certificates")]
    Id(String),
}

impl Store {
    /// Finishes or undoes what an earlier run has left, and is ready for more.
    pub fn open(root: &Root) -> Result<(Self, Recovered), Error> {
        let recovered = match journal::load(root)? {
            None => Recovered::Nothing,
            Some(journal) => recover(root, &journal)?,
        };
        let root = root.clone();
        Ok((Self { root }, recovered))
    }

    /// Whether an earlier run has left something that [`open`](Self::open) would finish or undo.
    /// Changes nothing.
    pub fn peek(root: &Root) -> Result<bool, Error> {
        root.exists(Path::new(JOURNAL)).map_err(Error::Unreadable)
    }

    /// Makes all sets' files take their places, or none of them. Missing folders are made.
    pub fn replace(&self, sets: &[Set]) -> Result<(), Error> {
        let root = &self.root;
        if sets.is_empty() {
            return Ok(());
        }
        let journal = prepare(root, sets)?;
        keep_old_certificates(root, sets)?;
        if let Err(error) = journal::save(root, &journal) {
            // It may be there all the same, if only its folder's fsync failed.
            take_back(root, &journal);
            return Err(error.into());
        }
        let staged = swap::stage(root, sets, journal.clone()).and_then(|(folders, journal)| {
            journal::save(root, &journal)?;
            Ok((folders, journal))
        });
        let (folders, journal) = match staged {
            Ok(staged) => staged,
            Err(error) => {
                take_back(root, &journal);
                return Err(error.into());
            }
        };
        finish_or_undo(root, &folders, &journal)
    }
}

/// What will be done, after a look at everything that is to be replaced.
fn prepare(root: &Root, sets: &[Set]) -> Result<Journal, Error> {
    for set in sets {
        if !generations::is_name(&set.id) {
            return Err(Error::Id(set.id.clone()));
        }
    }
    let mut made: Vec<PathBuf> = Vec::new();
    for file in sets.iter().flat_map(|set| &set.files) {
        file::replaceable(root, &file.path)?;
        let folder = file.path.parent().unwrap_or(Path::new("/"));
        for folder in file::missing_folders(root, folder)? {
            if !made.contains(&folder) {
                made.push(folder);
            }
        }
    }
    let journal = Journal::new(made, sets);
    Folders::open(root, journal.paths())?.sweep()?;
    Ok(journal)
}

/// Before the change: a disk that is too full for an old certificate stops it.
fn keep_old_certificates(root: &Root, sets: &[Set]) -> Result<(), file::Error> {
    journal::make_folder(root)?;
    for set in sets {
        if let Some(pem) = &set.old_certificate {
            generations::keep(root, &set.id, pem)?;
        }
    }
    Ok(())
}

/// What an earlier run has left.
fn recover(root: &Root, journal: &Journal) -> Result<Recovered, Error> {
    let ids = journal.sets.iter().map(|set| set.id.clone()).collect();
    let folders = Folders::open(root, journal.paths()).map_err(Error::Incomplete)?;
    let way = match journal.phase {
        Phase::Staging => Way::Undo,
        Phase::Swapping => {
            let standings = swap::survey(&folders, journal).map_err(Error::Incomplete)?;
            recovery::decide(&standings)
        }
    };
    match way {
        Way::Finish => match finish_or_undo(root, &folders, journal) {
            Ok(()) => Ok(Recovered::Finished(ids)),
            Err(Error::Undone(error)) => {
                tracing::warn!(%error, "an interrupted change of certificates could not be finished");
                Ok(Recovered::Undone(ids))
            }
            Err(error) => Err(error),
        },
        Way::Undo => {
            let undone = match journal.phase {
                Phase::Staging => Ok(()),
                Phase::Swapping => swap::undo(&folders, journal),
            };
            undone
                .and_then(|()| swap::withdraw(root, &folders, journal))
                .map_err(Error::Incomplete)?;
            Ok(Recovered::Undone(ids))
        }
        Way::Doubt(places) => {
            let paths = journal.paths().enumerate();
            let paths = paths.filter(|(place, _)| places.contains(place));
            Err(Error::Doubtful {
                paths: paths.map(|(_, path)| path.to_owned()).collect(),
            })
        }
    }
}

/// Behind the commit point.
fn finish_or_undo(root: &Root, folders: &Folders, journal: &Journal) -> Result<(), Error> {
    let Err(cause) = swap::finish(folders, journal) else {
        if let Err(error) = swap::tidy(root, folders, journal) {
            tracing::warn!(%error, "certificates were replaced, but not all traces of that are removed");
        }
        return Ok(());
    };
    match swap::undo(folders, journal) {
        Ok(()) => {
            quietly(swap::withdraw(root, folders, journal));
            Err(Error::Undone(cause))
        }
        Err(undo) => Err(Error::Halfway { cause, undo }),
    }
}

/// Before the commit point.
fn take_back(root: &Root, journal: &Journal) {
    let opened = Folders::open(root, journal.paths());
    quietly(opened.and_then(|folders| swap::withdraw(root, &folders, journal)));
}

/// What remains is removed by the next run: the journal names it.
fn quietly(withdrawn: Result<(), file::Error>) {
    if let Err(error) = withdrawn {
        tracing::warn!(%error, "staged certificates could not be removed; the next run tries again");
    }
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    paths.join(", ")
}

impl Recovered {
    /// What a person should know of it.
    pub fn notice(&self) -> Option<String> {
        let (ids, what) = match self {
            Self::Nothing => return None,
            Self::Finished(ids) => (ids, "finished"),
            Self::Undone(ids) => (ids, "undone: the old ones are in their places"),
        };
        let ids = ids.join(", ");
        Some(format!(
            "an earlier run was interrupted while it changed {ids}; that was {what}"
        ))
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
