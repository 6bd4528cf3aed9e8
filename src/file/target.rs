//! One attempt at replacing a file by rename.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, StatVfsMountFlags, StatxAttributes, StatxFlags,
};
use rustix::io::Errno;

use super::{Error, attributes, lock, sync_folder};
use crate::root::{Place, Root, read_regular};

/// A file that is about to be replaced: its locked folder and, if it exists, the open file.
pub(super) struct Target<'a> {
    path: &'a Path,
    place: Place,
    locked: bool,
    old: Option<Old>,
}

struct Old {
    fd: OwnedFd,
    stat: Stat,
}

/// How an attempt ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Swap {
    /// The new file is in place.
    Done,
    /// Somebody else changed the file since it was read; nothing was written.
    Raced,
}

impl<'a> Target<'a> {
    /// Locks the folder and opens the file.
    pub(super) fn open(root: &Root, path: &'a Path) -> Result<Self, Error> {
        let place = root.resolve(path).map_err(|source| {
            let path = path.to_owned();
            match source.kind() {
                io::ErrorKind::NotFound => Error::NoFolder { path },
                _ => Error::Io {
                    operation: "find",
                    path,
                    source,
                },
            }
        })?;
        let locked = lock::patiently(&place.folder, path);
        let old = open_regular(&place, OFlags::RDONLY, path)?;
        let old = old.map(|(fd, stat)| Old { fd, stat });
        Ok(Self {
            path,
            place,
            locked,
            old,
        })
    }

    /// What the file holds, at most `limit` bytes; `None` where there is no file.
    pub(super) fn read(&self, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(old) = &self.old else {
            return Ok(None);
        };
        let bytes = old.fd.try_clone().and_then(|fd| read_regular(fd, limit));
        bytes.map(Some).map_err(|source| {
            let path = self.path.to_owned();
            match source.kind() {
                io::ErrorKind::FileTooLarge => Error::TooLarge { path, limit },
                _ => Error::io("read", self.path)(source),
            }
        })
    }

    /// Whether the file exists and holds exactly these bytes.
    pub(super) fn holds(&self, bytes: &[u8]) -> Result<bool, Error> {
        match &self.old {
            Some(old) if u64::try_from(old.stat.st_size) == Ok(bytes.len() as u64) => {
                let file = File::from(old.fd.try_clone().map_err(Error::io("read", self.path))?);
                let mut found = vec![0; bytes.len()];
                match file.read_exact_at(&mut found, 0) {
                    Ok(()) => Ok(found == bytes),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
                    Err(error) => Err(Error::io("read", self.path)(error)),
                }
            }
            _ => Ok(false),
        }
    }

    /// Puts a file with these bytes in the place of the one that was read.
    pub(super) fn swap(&self, bytes: &[u8], mode: u32) -> Result<Swap, Error> {
        let path = self.path;
        if let Some(old) = &self.old
            && is_mount_point(&old.fd)
        {
            return Err(self.cannot_rename("it is a mount point", Errno::BUSY));
        }
        let mut temporary = self.temporary()?;
        match &self.old {
            Some(old) => {
                attributes::copy(&old.fd, &old.stat, &temporary.file).map_err(|errno| {
                    self.refused("owner, mode and attributes cannot be kept", errno)
                })?;
            }
            None => rustix::fs::fchmod(&temporary.file, Mode::from_raw_mode(mode))
                .map_err(Error::io("set the mode of", path))?,
        }
        (&temporary.file)
            .write_all(bytes)
            .map_err(Error::io("write", path))?;
        temporary.file.sync_all().map_err(Error::io("sync", path))?;
        if !self.is_unchanged()? {
            return Ok(Swap::Raced);
        }
        self.rename(&mut temporary)?;
        sync_folder(&self.place.folder, path)?;
        Ok(Swap::Done)
    }

    /// Whether the name still leads to the file that was read, as it was then.
    fn is_unchanged(&self) -> Result<bool, Error> {
        let place = &self.place;
        let now = match rustix::fs::statat(&place.folder, &place.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(Error::io("look at", self.path)(errno)),
        };
        let before = self.old.as_ref().map(|old| &old.stat);
        Ok(before.map(fingerprint) == now.as_ref().map(fingerprint))
    }

    fn temporary(&self) -> Result<Temporary<'_>, Error> {
        let folder = &self.place.folder;
        let name = temporary_name(&self.place.name, self.locked);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        // Closed to all but us until it has the old file's owner.
        let create = || {
            let mode = Mode::RUSR | Mode::WUSR;
            rustix::fs::openat(folder, &name, flags | OFlags::CLOEXEC, mode)
        };
        let mut fd = create();
        if matches!(fd, Err(Errno::EXIST)) && self.locked {
            // Only a run that was killed leaves one behind: the lock is ours.
            rustix::fs::unlinkat(folder, &name, AtFlags::empty()).map_err(Error::io(
                "remove the leftover temporary file of",
                self.path,
            ))?;
            fd = create();
        }
        let fd = fd.map_err(|errno| self.refused("no temporary file can be made", errno))?;
        Ok(Temporary {
            folder,
            name,
            file: File::from(fd),
            renamed: false,
        })
    }

    fn rename(&self, temporary: &mut Temporary<'_>) -> Result<(), Error> {
        let (folder, name) = (&self.place.folder, &self.place.name);
        rustix::fs::renameat(folder, &temporary.name, folder, name)
            .map_err(|errno| self.refused("the rename was refused", errno))?;
        temporary.renamed = true;
        Ok(())
    }

    /// An error that a write in place may not meet, or an ordinary one.
    fn refused(&self, obstacle: &'static str, errno: Errno) -> Error {
        if errno == Errno::ROFS && !self.is_writable_itself() {
            let path = self.path.to_owned();
            return Error::ReadOnly { path };
        }
        let only_the_rename = matches!(
            errno,
            Errno::BUSY | Errno::XDEV | Errno::ROFS | Errno::ACCESS | Errno::PERM | Errno::NOTSUP
        );
        if only_the_rename && self.old.is_some() {
            self.cannot_rename(obstacle, errno)
        } else {
            Error::io("replace", self.path)(errno)
        }
    }

    /// Whether there is a file, on a file system that may be written: its folder's may be another.
    fn is_writable_itself(&self) -> bool {
        self.old.as_ref().is_some_and(|old| {
            rustix::fs::fstatvfs(&old.fd)
                .is_ok_and(|vfs| !vfs.f_flag.contains(StatVfsMountFlags::RDONLY))
        })
    }

    fn cannot_rename(&self, obstacle: &'static str, errno: Errno) -> Error {
        Error::CannotRename {
            path: self.path.to_owned(),
            obstacle,
            source: errno.into(),
        }
    }
}

/// A temporary file that goes away unless it has got another name.
struct Temporary<'a> {
    folder: &'a OwnedFd,
    name: OsString,
    file: File,
    renamed: bool,
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            // Nothing more can be done about a failure here; the next run tries again.
            let _ = rustix::fs::unlinkat(self.folder, &self.name, AtFlags::empty());
        }
    }
}

/// `.hosts.stayput` for `hosts`; without the lock, one that no other process uses.
fn temporary_name(name: &OsStr, locked: bool) -> OsString {
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".stayput");
    if !locked {
        temporary.push(format!(".{}", std::process::id()));
    }
    temporary
}

/// Opens what is at a place, if it is a regular file.
pub(super) fn open_regular(
    place: &Place,
    flags: OFlags,
    path: &Path,
) -> Result<Option<(OwnedFd, Stat)>, Error> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(&place.folder, &place.name, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        // A symlink, a folder, a socket.
        Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => {
            let path = path.to_owned();
            return Err(Error::NotRegular { path });
        }
        Err(Errno::ROFS) => {
            let path = path.to_owned();
            return Err(Error::ReadOnly { path });
        }
        Err(errno) => return Err(Error::io("open", path)(errno)),
    };
    let stat = rustix::fs::fstat(&fd).map_err(Error::io("look at", path))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        let path = path.to_owned();
        return Err(Error::NotRegular { path });
    }
    Ok(Some((fd, stat)))
}

/// What changes when a file is replaced, written or given other attributes.
fn fingerprint(stat: &Stat) -> impl PartialEq + use<> {
    (
        (stat.st_dev, stat.st_ino, stat.st_size),
        (stat.st_mtime, stat.st_mtime_nsec),
        (stat.st_ctime, stat.st_ctime_nsec),
    )
}

/// Whether something is mounted on the file itself. Older kernels than 5.8 do not tell; there the
/// rename fails with EBUSY.
pub(super) fn is_mount_point(fd: impl AsFd) -> bool {
    rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::empty())
        .is_ok_and(|statx| statx.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
