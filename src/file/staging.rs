//! Files that change together: staged beside their targets, renamed in, and renamed back.
//!
//! [`replace`](super::replace) changes one file. Where several belong together, all of them are
//! written first, into a hidden folder `.stayput` (0700) beside their targets, so that what remains
//! is renames within one file system. A hard link to each old file lies there too: with it every
//! rename can be taken back. In which order this happens, and what a run finds that comes after one
//! that died, is the caller's business; here are the single steps, each of which can be repeated.
//!
//! Invariants:
//!
//! - A staged file is closed to everybody but its writer from its first instant until it has its
//!   owner and mode, and lies in a folder that is closed too.
//! - A file that replaces another gets its owner, mode and extended attributes; only the mode bits
//!   that would let others into what is to be closed to them are left out.
//! - Where there was no file, none is overwritten: the rename refuses to.
//! - Symlinks are followed in folders, inside the root; a target that is one is refused.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::old::{identity, look};
use super::{Error, Identity, Old, attributes, failed, fsync_folder, lock};
use crate::root::{Root, read_regular};

/// The hidden folder's name.
pub const HIDDEN: &str = ".stayput";

/// Where a file of a name is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    /// Where others read it.
    Target,
    /// Staged: the new one, not yet in its place.
    Staged,
    /// The link to the old one.
    Kept,
}

impl Spot {
    /// What a target is called there.
    fn name(self, name: &OsStr) -> OsString {
        let mut name = name.to_owned();
        name.push(match self {
            Self::Target => "",
            Self::Staged => ".new",
            Self::Kept => ".old",
        });
        name
    }
}

/// A folder with its hidden one. The folder is locked while this lives.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    folder: OwnedFd,
    /// Missing where nothing is staged.
    hidden: Option<OwnedFd>,
}

impl Staging {
    /// Opens a folder, and its hidden one if there is one.
    pub fn open(root: &Root, path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let folder = root
            .open_at(path, flags, Mode::empty())
            .map_err(Error::io("open", path))?;
        lock::patiently(&folder, path);
        let mut staging = Self {
            path: path.to_owned(),
            folder,
            hidden: None,
        };
        staging.hidden = staging.open_hidden()?;
        Ok(staging)
    }

    /// Makes the hidden folder, where it is missing.
    pub fn make(&mut self) -> Result<(), Error> {
        match rustix::fs::mkdirat(&self.folder, HIDDEN, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("make", &self.shown())(errno)),
        }
        self.hidden = self.open_hidden()?;
        Ok(())
    }

    fn open_hidden(&self) -> Result<Option<OwnedFd>, Error> {
        let path = self.shown();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let hidden = match rustix::fs::openat(&self.folder, HIDDEN, flags, Mode::empty()) {
            Ok(hidden) => hidden,
            Err(Errno::NOENT) => return Ok(None),
            // A symlink, a file.
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(Error::NotOurs { path }),
            Err(errno) => return Err(failed("open", &path)(errno)),
        };
        // Somebody else's would let them exchange what lies in it.
        let stat = rustix::fs::fstat(&hidden).map_err(failed("look at", &path))?;
        if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o077 != 0 {
            return Err(Error::NotOurs { path });
        }
        Ok(Some(hidden))
    }

    /// Removes links that an earlier run has left. [`Error::Leftover`] if there are staged files:
    /// nothing is known of those.
    pub fn sweep(&self) -> Result<(), Error> {
        let Some(hidden) = &self.hidden else {
            return Ok(());
        };
        let path = self.shown();
        let mut kept = Vec::new();
        for entry in Dir::read_from(hidden).map_err(failed("list", &path))? {
            let entry = entry.map_err(failed("list", &path))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
            match Path::new(&name).extension().and_then(OsStr::to_str) {
                Some("new") => return Err(Error::Leftover { path }),
                Some("old") => kept.push(name),
                _ => {}
            }
        }
        for name in kept {
            unlink(hidden, &name).map_err(failed("clear", &path))?;
        }
        Ok(())
    }

    /// The file that has a name now. Not a symlink, not a mount point.
    pub fn target(&self, name: &OsStr) -> Result<Option<Old>, Error> {
        look(&self.folder, name, &self.path.join(name))
    }

    /// Which file is at a spot.
    pub fn identity(&self, spot: Spot, name: &OsStr) -> Result<Option<Identity>, Error> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = match spot {
            Spot::Target => &self.folder,
            Spot::Staged | Spot::Kept => match &self.hidden {
                Some(hidden) => hidden,
                None => return Ok(None),
            },
        };
        match rustix::fs::openat(folder, spot.name(name), flags, Mode::empty()) {
            Ok(fd) => identity(&File::from(fd), &self.path.join(name)).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed("look at", &self.path.join(name))(errno)),
        }
    }

    /// Writes a new file into the hidden folder; the caller syncs it. `mode` is the new file's;
    /// with an old one, what it may have at most.
    pub fn stage(
        &self,
        name: &OsStr,
        bytes: &[u8],
        mode: u32,
        old: Option<&Old>,
    ) -> Result<Staged, Error> {
        let path = self.path.join(name);
        let file = self.create(Spot::Staged, name)?;
        if let Some(old) = old {
            attributes::copy(&old.fd, &old.stat, &file)
                .map_err(failed("keep owner, mode and attributes of", &path))?;
        }
        let mode = old.map_or(mode, |old| narrowed(old.stat.st_mode, mode));
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))
            .map_err(failed("set the mode of", &path))?;
        (&file)
            .write_all(bytes)
            .map_err(Error::io("write", &path))?;
        Ok(Staged { file, path })
    }

    /// Keeps the old file as a link in the hidden folder. Where the file system has no links, as a
    /// copy, which is fsynced. Returns what is kept.
    pub fn keep(&self, name: &OsStr, old: &Old) -> Result<Identity, Error> {
        let path = self.path.join(name);
        let (hidden, kept) = (self.hidden()?, Spot::Kept.name(name));
        match rustix::fs::linkat(&self.folder, name, hidden, &kept, AtFlags::empty()) {
            Ok(()) => match self.identity(Spot::Kept, name)? {
                Some(kept) if kept.is_written_with(old.identity) => Ok(kept),
                _ => Err(Error::Changed { path }),
            },
            // No links here, too many of them, or none to an immutable file.
            Err(Errno::PERM | Errno::NOTSUP | Errno::NOSYS | Errno::MLINK) => {
                let copy = self.copy(name, old)?;
                copy.sync()?;
                copy.identity()
            }
            Err(errno) => Err(failed("link", &path)(errno)),
        }
    }

    fn copy(&self, name: &OsStr, old: &Old) -> Result<Staged, Error> {
        let path = self.path.join(name);
        let file = self.create(Spot::Kept, name)?;
        let read = old
            .fd
            .try_clone()
            .and_then(|fd| read_regular(fd, u64::MAX - 1));
        // It may be a key.
        let bytes = Zeroizing::new(read.map_err(Error::io("read", &path))?);
        (&file)
            .write_all(&bytes)
            .map_err(Error::io("copy", &path))?;
        attributes::copy(&old.fd, &old.stat, &file).map_err(failed("copy", &path))?;
        Ok(Staged { file, path })
    }

    /// Lets a staged file take its place. `existed`: instead of a file that was there; else there
    /// must be none.
    pub fn swap_in(&self, name: &OsStr, existed: bool) -> Result<(), Error> {
        let (hidden, staged) = (self.hidden()?, Spot::Staged.name(name));
        let done = if existed {
            rustix::fs::renameat(hidden, &staged, &self.folder, name)
        } else {
            let flags = RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(hidden, &staged, &self.folder, name, flags) {
                // The file system does not know that; a link does not replace anything either.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    rustix::fs::linkat(hidden, &staged, &self.folder, name, AtFlags::empty())
                        .and_then(|()| unlink(hidden, &staged))
                }
                other => other,
            }
        };
        done.map_err(|errno| self.refused(name, errno))
    }

    /// Takes a swap back: the old file has its name again, or there is none again.
    pub fn restore(&self, name: &OsStr, existed: bool) -> Result<(), Error> {
        let done = if existed {
            let (hidden, kept) = (self.hidden()?, Spot::Kept.name(name));
            rustix::fs::renameat(hidden, &kept, &self.folder, name)
        } else {
            unlink(&self.folder, name)
        };
        done.map_err(|errno| self.refused(name, errno))
    }

    /// Removes what is staged and kept of a name.
    pub fn forget(&self, name: &OsStr) -> Result<(), Error> {
        let Some(hidden) = &self.hidden else {
            return Ok(());
        };
        for spot in [Spot::Staged, Spot::Kept] {
            let name = spot.name(name);
            unlink(hidden, &name).map_err(failed("remove", &self.shown().join(&name)))?;
        }
        Ok(())
    }

    /// Makes everything durable that was made, renamed or removed here.
    pub fn sync(&self) -> Result<(), Error> {
        if let Some(hidden) = &self.hidden {
            fsync_folder(hidden).map_err(Error::io("sync", &self.shown()))?;
        }
        fsync_folder(&self.folder).map_err(Error::io("sync", &self.path))
    }

    /// Removes the hidden folder, if nothing is in it.
    pub fn close(&self) -> Result<(), Error> {
        if self.hidden.is_none() {
            return Ok(());
        }
        match rustix::fs::unlinkat(&self.folder, HIDDEN, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(errno) => Err(failed("remove", &self.shown())(errno)),
        }
    }

    fn create(&self, spot: Spot, name: &OsStr) -> Result<File, Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = spot.name(name);
        rustix::fs::openat(self.hidden()?, &name, flags, Mode::RUSR | Mode::WUSR)
            .map(File::from)
            .map_err(failed("make", &self.shown().join(&name)))
    }

    fn hidden(&self) -> Result<&OwnedFd, Error> {
        let gone = || failed("open", &self.shown())(Errno::NOENT);
        self.hidden.as_ref().ok_or_else(gone)
    }

    /// The hidden folder's path, for messages.
    fn shown(&self) -> PathBuf {
        self.path.join(HIDDEN)
    }

    fn refused(&self, name: &OsStr, errno: Errno) -> Error {
        let path = self.path.join(name);
        match errno {
            Errno::ROFS => Error::ReadOnly { path },
            // Where there was no file, there is one now.
            Errno::EXIST => Error::Changed { path },
            _ => Error::CannotRename {
                path,
                obstacle: "the rename was refused",
                source: errno.into(),
            },
        }
    }
}

/// A file that is written but not yet durable.
#[derive(Debug)]
pub struct Staged {
    file: File,
    path: PathBuf,
}

impl Staged {
    /// Makes its contents durable; its name needs [`Staging::sync`].
    pub fn sync(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(Error::io("sync", &self.path))
    }

    /// Which file it is, once it is durable.
    pub fn identity(&self) -> Result<Identity, Error> {
        identity(&self.file, &self.path)
    }
}

/// The old file's mode without what a file of this kind must not allow: for one that is closed to
/// others everything but its group's right to read, for an open one the right to write it.
fn narrowed(old: u32, mode: u32) -> u32 {
    let others = 0o077;
    let never = if mode & others == 0 { 0o037 } else { 0o022 };
    old & 0o7777 & !never
}

/// Removes a name; that there is none is no error.
fn unlink(folder: &OwnedFd, name: &OsStr) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with its hidden one, in which something is staged as `file`.
    fn staged() -> (tempfile::TempDir, Staging) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mut staging = Staging::open(&root, Path::new("/etc")).unwrap();
        staging.make().unwrap();
        let staged = staging.stage(OsStr::new("file"), b"new", 0o600, None);
        staged.unwrap().sync().unwrap();
        (dir, staging)
    }

    #[test]
    fn what_appeared_meanwhile_is_not_overwritten() {
        let (dir, staging) = staged();
        let path = dir.path().join("etc/file");
        std::fs::write(&path, "foreign").unwrap();
        let error = staging.swap_in(OsStr::new("file"), false).unwrap_err();
        assert!(matches!(error, Error::Changed { .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"foreign");
        std::fs::remove_file(&path).unwrap();
        staging.swap_in(OsStr::new("file"), false).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_staged_file_is_closed_to_others() {
        use std::os::unix::fs::PermissionsExt;
        let (dir, staging) = staged();
        let mode = |path: &str| {
            let metadata = std::fs::metadata(dir.path().join("etc").join(path)).unwrap();
            metadata.permissions().mode() & 0o7777
        };
        assert_eq!(mode(HIDDEN), 0o700);
        assert_eq!(mode(".stayput/file.new"), 0o600);
        // Nobody but its writer may open it, even before it has its mode.
        let file = staging.create(Spot::Kept, OsStr::new("file")).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0);
    }

    #[test]
    fn a_file_that_changed_since_it_was_looked_at_is_not_kept_for_the_old_one() {
        let (dir, staging) = staged();
        let (path, name) = (dir.path().join("etc/file"), OsStr::new("file"));
        std::fs::write(&path, "old").unwrap();
        let old = staging.target(name).unwrap().unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "foreign").unwrap();
        let error = staging.keep(name, &old).unwrap_err();
        assert!(matches!(error, Error::Changed { .. }), "{error}");
    }

    #[test]
    fn modes_are_kept_but_for_what_lets_others_in() {
        let (key, certificate) = (0o600, 0o644);
        for (old, new, want) in [
            (0o100_600, key, 0o600),
            (0o100_640, key, 0o640),
            (0o100_644, key, 0o640),
            (0o100_666, key, 0o640),
            (0o100_400, key, 0o400),
            (0o100_644, certificate, 0o644),
            (0o100_600, certificate, 0o600),
            (0o100_666, certificate, 0o644),
        ] {
            assert_eq!(narrowed(old, new), want, "{old:o} for {new:o}");
        }
    }
}
