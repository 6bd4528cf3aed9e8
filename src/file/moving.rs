//! Moves a file to another folder of the same file system, never over anything.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{Error, sync_folder};
use crate::root::Root;

/// How a move ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It has the new name now, durably.
    Done,
    /// There was nothing to be moved.
    Absent,
    /// Something has the new name already. Nothing was moved.
    Occupied,
}

/// Gives a file another name, durably, and never another one's place (rename(2), `RENAME_NOREPLACE`).
/// A symlink is moved itself. After an error it may have been moved: its folder could not be synced.
/// Where the file system does not know that flag, it has both names for a moment.
pub fn move_file(root: &Root, from: &Path, to: &Path) -> Result<Moved, Error> {
    let Some(old) = folder_of(root, from)? else {
        return Ok(Moved::Absent);
    };
    let Some(new) = folder_of(root, to)? else {
        let path = to.to_owned();
        return Err(Error::NoFolder { path });
    };
    let (old_name, new_name) = (name_of(from)?, name_of(to)?);
    let flags = RenameFlags::NOREPLACE;
    let moved = match rustix::fs::renameat_with(&old, old_name, &new, new_name, flags) {
        Err(Errno::INVAL | Errno::NOSYS) => link_over((&old, old_name), (&new, new_name)),
        moved => moved,
    };
    match moved {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(Moved::Absent),
        Err(Errno::EXIST) => return Ok(Moved::Occupied),
        Err(errno) => return Err(Error::io("move", from)(errno)),
    }
    // The new name first: after a power loss in between, the file has one of its names or both.
    sync_folder(&new, to)?;
    sync_folder(&old, from)?;
    Ok(Moved::Done)
}

/// Moves by a second name: link(2) does not replace anything either. Two names of one file are a move
/// that somebody died in, which is finished.
fn link_over(from: (&OwnedFd, &OsStr), to: (&OwnedFd, &OsStr)) -> Result<(), Errno> {
    let ((old, old_name), (new, new_name)) = (from, to);
    let file = |folder, name| {
        let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok((stat.st_dev, stat.st_ino))
    };
    match rustix::fs::linkat(old, old_name, new, new_name, AtFlags::empty()) {
        Err(Errno::EXIST) if file(old, old_name)? != file(new, new_name)? => {
            return Err(Errno::EXIST);
        }
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    rustix::fs::unlinkat(old, old_name, AtFlags::empty())
}

/// The folder that a path's last component is in; `None` where there is no such folder.
fn folder_of(root: &Root, path: &Path) -> Result<Option<OwnedFd>, Error> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    match root.open_at(parent, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()) {
        Ok(folder) => Ok(Some(folder)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("open the folder of", path)(error)),
    }
}

fn name_of(path: &Path) -> Result<&OsStr, Error> {
    let none = || Error::io("move", path)(io::Error::from(io::ErrorKind::InvalidInput));
    path.file_name().ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["a", "b"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    fn moved(root: &Root, from: &str, to: &str) -> Result<Moved, Error> {
        move_file(root, Path::new(from), Path::new(to))
    }

    #[test]
    fn nothing_is_ever_moved_over() {
        let (dir, root) = sandbox();
        let (a, b) = (dir.path().join("a/x"), dir.path().join("b/x"));
        assert_eq!(moved(&root, "/a/x", "/b/x").unwrap(), Moved::Absent);
        std::fs::write(&a, "ours").unwrap();
        assert_eq!(moved(&root, "/a/x", "/b/x").unwrap(), Moved::Done);
        assert!(!a.exists());
        std::fs::write(&a, "theirs").unwrap();
        assert_eq!(moved(&root, "/b/x", "/a/x").unwrap(), Moved::Occupied);
        assert_eq!(std::fs::read(&a).unwrap(), b"theirs");
        assert_eq!(std::fs::read(&b).unwrap(), b"ours");
    }

    #[test]
    fn a_link_moves_too_and_never_over_another_file() {
        let (dir, root) = sandbox();
        let (a, b) = (dir.path().join("a/x"), dir.path().join("b/x"));
        let [folder_a, folder_b] =
            ["/a/x", "/b/x"].map(|path| folder_of(&root, Path::new(path)).unwrap().unwrap());
        let name = OsStr::new("x");
        let link = || link_over((&folder_a, name), (&folder_b, name));
        assert_eq!(link(), Err(Errno::NOENT));
        std::fs::write(&a, "ours").unwrap();
        assert_eq!(link(), Ok(()));
        assert!(!a.exists());
        // Somebody died between the two names.
        std::fs::hard_link(&b, &a).unwrap();
        assert_eq!(link(), Ok(()));
        assert!(!a.exists());
        assert_eq!(std::fs::read(&b).unwrap(), b"ours");
        std::fs::write(&a, "theirs").unwrap();
        assert_eq!(link(), Err(Errno::EXIST));
        assert_eq!(std::fs::read(&a).unwrap(), b"theirs");
        assert_eq!(std::fs::read(&b).unwrap(), b"ours");
    }

    #[test]
    fn a_symlink_is_moved_itself() {
        let (dir, root) = sandbox();
        std::os::unix::fs::symlink("/nowhere", dir.path().join("a/x")).unwrap();
        assert_eq!(moved(&root, "/a/x", "/b/x").unwrap(), Moved::Done);
        assert!(dir.path().join("b/x").is_symlink());
    }

    #[test]
    fn a_missing_folder_is_told() {
        let (dir, root) = sandbox();
        std::fs::write(dir.path().join("a/x"), "").unwrap();
        let error = moved(&root, "/a/x", "/c/x").unwrap_err().to_string();
        assert!(error.contains("/c/x") && error.contains("folder does not exist"));
        assert_eq!(moved(&root, "/c/x", "/a/y").unwrap(), Moved::Absent);
    }

    #[test]
    fn only_an_empty_folder_is_removed() {
        let (dir, root) = sandbox();
        std::fs::write(dir.path().join("a/x"), "").unwrap();
        let gone = |path: &str| {
            crate::file::remove_empty_folder(&root, Path::new(path)).unwrap();
            !root.exists(Path::new(path)).unwrap()
        };
        assert!(!gone("/a") && dir.path().join("a/x").exists());
        assert!(gone("/b") && !dir.path().join("b").exists());
        assert!(gone("/b"));
    }
}
