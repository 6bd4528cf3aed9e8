//! Writing into a file that must stay the same inode.
//!
//! Here a reader sees every single write, so the caller orders them such that each state in between
//! is good; see the hosts surface. This module makes sure that a write changes what the caller
//! believes to be there: it compares first, and a file that somebody else has changed meanwhile is
//! not touched. No write shortens the file or moves a byte in it.
//!
//! The file is opened for reading, and for writing only when bytes have to be written: closing a
//! file that was open for writing tells every watcher of it (inotify(7), `IN_CLOSE_WRITE`), our own
//! included, that somebody has written. A look must not be the reason for the next one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, OFlags, Stat};
use rustix::io::Errno;

use super::target::open_regular;
use super::{Error, lock};
use crate::root::{Place, Root, read_regular};

/// An open file with its contents as we know them; its folder is locked while this lives.
#[derive(Debug)]
pub struct InPlace {
    file: File,
    stat: Stat,
    access: Access,
    path: PathBuf,
    image: Vec<u8>,
    /// Its folder is the one that is locked.
    place: Place,
}

/// What the file is open for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Reading,
    Writing,
}

impl InPlace {
    /// Opens an existing file of at most `limit` bytes and reads it; symlinks are followed inside
    /// the root. `None` where there is no file.
    pub fn open(root: &Root, path: &Path, limit: u64) -> Result<Option<Self>, Error> {
        let place = match root.resolve(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(Error::io("find", path))?,
        };
        Self::open_at(place, path, limit)
    }

    /// The same for a place that is known already; a symlink there is an error. `path` is for
    /// messages.
    pub fn open_at(place: Place, path: &Path, limit: u64) -> Result<Option<Self>, Error> {
        lock::patiently(&place.folder, path);
        let Some((fd, stat)) = open_regular(&place, OFlags::RDONLY, path)? else {
            return Ok(None);
        };
        let read = fd.try_clone().and_then(|fd| read_regular(fd, limit));
        let image = read.map_err(|source| match source.kind() {
            io::ErrorKind::FileTooLarge => Error::TooLarge {
                path: path.to_owned(),
                limit,
            },
            _ => Error::io("read", path)(source),
        })?;
        Ok(Some(Self {
            file: File::from(fd),
            stat,
            access: Access::Reading,
            path: path.to_owned(),
            image,
            place,
        }))
    }

    /// What the file holds, as read and written by us.
    pub fn bytes(&self) -> &[u8] {
        &self.image
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the same file again, for writing. [`Error::Changed`] if another one has its name now.
    fn for_writing(&mut self) -> Result<(), Error> {
        if self.access == Access::Writing {
            return Ok(());
        }
        let same = |stat: &Stat| (stat.st_dev, stat.st_ino) == (self.stat.st_dev, self.stat.st_ino);
        match open_regular(&self.place, OFlags::RDWR, &self.path)? {
            Some((fd, stat)) if same(&stat) => {
                self.file = File::from(fd);
                self.access = Access::Writing;
                Ok(())
            }
            _ => Err(Error::Changed {
                path: self.path.clone(),
            }),
        }
    }

    /// Overwrites bytes that are there already, with one system call. [`Error::Changed`] if they
    /// are not what we know, or if they end beyond the file.
    pub fn overwrite(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        self.for_writing()?;
        let changed = || Error::Changed {
            path: self.path.clone(),
        };
        let end = offset.checked_add(bytes.len()).ok_or_else(changed)?;
        let known = self.image.get_mut(offset..end).ok_or_else(changed)?;
        let mut found = vec![0; bytes.len()];
        match self.file.read_exact_at(&mut found, offset as u64) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(changed()),
            other => other.map_err(Error::io("read", &self.path))?,
        }
        if found != *known {
            return Err(changed());
        }
        self.file
            .write_all_at(bytes, offset as u64)
            .map_err(Error::io("write", &self.path))?;
        known.copy_from_slice(bytes);
        Ok(())
    }

    /// Writes bytes behind the file's end. The space is reserved first, so that a full disk leaves
    /// the file as it was.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.for_writing()?;
        let end = self.image.len() as u64;
        let metadata = self.file.metadata();
        if metadata.map_err(Error::io("look at", &self.path))?.len() != end {
            let path = self.path.clone();
            return Err(Error::Changed { path });
        }
        let length = bytes.len() as u64;
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, end, length) {
            Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS) => {}
            Err(errno) => return Err(Error::io("make room in", &self.path)(errno)),
        }
        self.file
            .write_all_at(bytes, end)
            .map_err(Error::io("write", &self.path))?;
        self.image.extend_from_slice(bytes);
        Ok(())
    }

    /// Makes what was written so far durable.
    pub fn sync(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(Error::io("sync", &self.path))
    }
}
