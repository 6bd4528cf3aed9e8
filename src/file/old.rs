//! What is to be replaced: a plain file, told apart from every other that may get its name.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::target::{is_mount_point, open_regular};
use super::{Error, failed};
use crate::root::{Place, Root};

/// Which file something is, whatever its name: it stays the same when the file is renamed or linked,
/// and differs for another file even if that one got the same inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The inode's number.
    pub inode: u64,
    /// When it was last written, in Unix time.
    pub modified: i64,
    /// The same, the nanoseconds.
    pub nanoseconds: i64,
}

impl Identity {
    /// Whether both were last written at the same instant: the same file, or a copy that was made of
    /// it with its times. More cannot be said of a file that was there before: an overlay gives one
    /// of its lower layer another inode when it is linked.
    pub fn is_written_with(self, other: Self) -> bool {
        (self.modified, self.nanoseconds) == (other.modified, other.nanoseconds)
    }
}

/// A file that is to be replaced.
#[derive(Debug)]
pub struct Old {
    pub(super) fd: OwnedFd,
    pub(super) stat: Stat,
    /// Which file it is.
    pub identity: Identity,
}

/// The file that can be replaced at a path, and errors for what cannot; `None` where there is none,
/// nor a folder for it.
pub fn replaceable(root: &Root, path: &Path) -> Result<Option<Old>, Error> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        let path = path.to_owned();
        return Err(Error::NotRegular { path });
    };
    match root.open_at(parent, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()) {
        Ok(folder) => look(&folder, name, path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("open the folder of", path)(error)),
    }
}

pub(super) fn look(folder: &OwnedFd, name: &OsStr, path: &Path) -> Result<Option<Old>, Error> {
    let place = Place {
        folder: folder.try_clone().map_err(Error::io("open", path))?,
        name: name.to_owned(),
    };
    match rustix::fs::readlinkat(folder, name, Vec::new()) {
        Ok(_) => {
            let path = path.to_owned();
            return Err(Error::Symlink { path });
        }
        // What is there is no link, or nothing is there.
        Err(Errno::INVAL | Errno::NOENT) => {}
        Err(errno) => return Err(failed("look at", path)(errno)),
    }
    let Some((fd, stat)) = open_regular(&place, OFlags::RDONLY, path)? else {
        return Ok(None);
    };
    if is_mount_point(&fd) {
        return Err(Error::CannotRename {
            path: path.to_owned(),
            obstacle: "it is a mount point",
            source: Errno::BUSY.into(),
        });
    }
    let file = File::from(fd);
    let identity = identity(&file, path)?;
    let fd = file.into();
    Ok(Some(Old { fd, stat, identity }))
}

pub(super) fn identity(file: &File, path: &Path) -> Result<Identity, Error> {
    let metadata = file.metadata().map_err(Error::io("look at", path))?;
    Ok(Identity {
        inode: metadata.ino(),
        modified: metadata.mtime(),
        nanoseconds: metadata.mtime_nsec(),
    })
}
