//! The only writer of files.
//!
//! A file that others read while it is written is replaced whole: a temporary file in the same
//! folder gets the old one's owner, mode and extended attributes (security label, ACL), is written
//! and fsynced, and takes the old name by rename(2); then the folder is fsynced. A reader, and a
//! machine that loses power at any moment, sees the old file or the new one.
//!
//! Files that belong together are staged all, and then renamed: [`Staging`].
//!
//! Where a rename is impossible (the file is a mount point) or would lose something (an owner that
//! may not be given), that is [`Error::CannotRename`]; a caller that knows how can then write the
//! file [`in_place`](InPlace).
//!
//! Invariants:
//!
//! - Symlinks are followed inside the root only, and stay: what they lead to is replaced.
//! - A file that already holds the bytes is not touched.
//! - A file that somebody else changed between reading and renaming is read again. Between the last
//!   look and the rename lie microseconds that no system call closes.
//! - The temporary file has a fixed hidden name, so that what a killed run leaves behind is removed
//!   by the next one and never piles up.
//!
//! A hard link to a replaced file keeps the old contents; an editor has the same effect.

mod attributes;
mod folders;
mod in_place;
mod like;
mod lock;
mod moving;
mod old;
mod staging;
mod target;
mod together;

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::root::Root;
use target::{Swap, Target};

pub use folders::{make_folder, missing_folders, remove_empty_folder};
pub use in_place::InPlace;
pub use like::write_like;
pub use moving::{Moved, move_file};
pub use old::{Identity, Old, replaceable};
pub use staging::{HIDDEN, Spot, Staged, Staging};
pub use together::{sync_files, sync_folders};

/// How often a file is read again because somebody else keeps changing it.
const ATTEMPTS: usize = 5;

/// What went wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The folder does not exist.
    #[error("cannot write {}: its folder does not exist; create it first", path.display())]
    NoFolder {
        /// The file that was to be written.
        path: PathBuf,
    },
    /// A rename cannot take the file's place, or would change what belongs to it. Nothing has
    /// changed.
    #[error("cannot replace {} by rename ({obstacle}: {source})", path.display())]
    CannotRename {
        /// The file.
        path: PathBuf,
        /// What is in the way.
        obstacle: &'static str,
        /// In the system's words.
        source: io::Error,
    },
    /// Neither a rename nor a write in place is possible.
    #[error("cannot write {}: its file system is read-only; mount it for writing", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The file is larger than is sensible for what it is.
    #[error("{} is larger than {limit} bytes; it is left alone", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// A folder, a device, a pipe or a socket.
    #[error("{} is not a regular file; it is left alone", path.display())]
    NotRegular {
        /// What was to be written.
        path: PathBuf,
    },
    /// A symlink where a plain file has to be.
    #[error(
        "{} is a symbolic link: programs that watch it would miss that it changes; put the file that it leads to in its place",
        path.display()
    )]
    Symlink {
        /// The link.
        path: PathBuf,
    },
    /// A folder of our name that others can write in, or that another user made.
    #[error("{} belongs to another user or is open to others; look at what it holds, and remove it", path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
    },
    /// Staged files of which nothing else is known.
    #[error(
        "{} holds staged files of an interrupted run, but there is no journal of it: see whether the files beside it belong together, then remove that folder",
        path.display()
    )]
    Leftover {
        /// The folder.
        path: PathBuf,
    },
    /// Somebody else writes the file all the time.
    #[error("{} was changed by another program while it was being written; it is left alone", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

impl Error {
    /// An error of a system call, to be used as `.map_err(Error::io("read", path))`.
    fn io<E: Into<io::Error>>(operation: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |source| Self::Io {
            operation,
            path: path.to_owned(),
            source: source.into(),
        }
    }
}

/// An error of a system call on `path`; that a file system is read-only is told apart.
fn failed(operation: &'static str, path: &Path) -> impl FnOnce(Errno) -> Error {
    move |errno| match errno {
        Errno::ROFS => Error::ReadOnly {
            path: path.to_owned(),
        },
        _ => Error::io(operation, path)(errno),
    }
}

/// Makes the file at `path` hold `bytes`; `mode` is for a file that is new. Tells whether it wrote.
pub fn replace(root: &Root, path: &Path, bytes: &[u8], mode: u32) -> Result<bool, Error> {
    for _ in 0..ATTEMPTS {
        let target = Target::open(root, path)?;
        if target.holds(bytes)? {
            return Ok(false);
        }
        if target.swap(bytes, mode)? == Swap::Done {
            return Ok(true);
        }
    }
    let path = path.to_owned();
    Err(Error::Changed { path })
}

/// Makes the file at `path` hold what `decide` says, given what it holds now (at most `limit`
/// bytes, `None` where there is no file). `decide` returns `None` to leave the file as it is; it is
/// asked again when somebody else changes the file meanwhile. `mode` is for a file that is new.
/// Tells whether it wrote.
pub fn update<E: From<Error>>(
    root: &Root,
    path: &Path,
    limit: u64,
    mode: u32,
    mut decide: impl FnMut(Option<&[u8]>) -> Result<Option<Vec<u8>>, E>,
) -> Result<bool, E> {
    for _ in 0..ATTEMPTS {
        let target = Target::open(root, path)?;
        let old = target.read(limit)?;
        let Some(new) = decide(old.as_deref())? else {
            return Ok(false);
        };
        if old.as_deref() == Some(new.as_slice()) {
            return Ok(false);
        }
        if target.swap(&new, mode)? == Swap::Done {
            return Ok(true);
        }
    }
    let path = path.to_owned();
    Err(Error::Changed { path }.into())
}

/// Removes a file, durably; of a symlink, what it leads to. Tells whether there was one.
pub fn remove(root: &Root, path: &Path) -> Result<bool, Error> {
    let place = match root.resolve(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(Error::io("find", path))?,
    };
    match rustix::fs::unlinkat(&place.folder, &place.name, AtFlags::empty()) {
        Err(Errno::NOENT) => return Ok(false),
        other => other.map_err(Error::io("remove", path))?,
    }
    sync_folder(&place.folder, path)?;
    Ok(true)
}

/// Renames a file that cannot be used out of the way, to its name with `suffix` behind; an earlier
/// one of that name is replaced, so that there is at most one. Returns the new path, or `None`
/// where there was no file.
pub fn set_aside(root: &Root, path: &Path, suffix: &str) -> Result<Option<PathBuf>, Error> {
    let place = match root.resolve(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(Error::io("find", path))?,
    };
    let mut name = place.name.clone();
    name.push(suffix);
    match rustix::fs::renameat(&place.folder, &place.name, &place.folder, &name) {
        Err(Errno::NOENT) => return Ok(None),
        other => other.map_err(Error::io("set aside", path))?,
    }
    sync_folder(&place.folder, path)?;
    Ok(Some(path.with_file_name(name)))
}

/// Makes renames and removals in a folder durable, after a change of `path` in it.
fn sync_folder(folder: &impl AsFd, path: &Path) -> Result<(), Error> {
    fsync_folder(folder).map_err(Error::io("sync the folder of", path))
}

/// Some filesystems have no fsync for folders and say EINVAL: there is nothing to be done on those.
fn fsync_folder(folder: &impl AsFd) -> Result<(), Errno> {
    match rustix::fs::fsync(folder) {
        Err(Errno::INVAL) => Ok(()),
        other => other,
    }
}
