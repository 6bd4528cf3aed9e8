//! Folders that are made, with exactly the mode that was asked for, and removed again.

use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{Error, failed, sync_folder};
use crate::root::Root;

/// Those of a path's folders that are missing, the path itself included; the outermost first.
pub fn missing_folders(root: &Root, path: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut so_far = PathBuf::from("/");
    let mut missing = Vec::new();
    for component in path.components() {
        let Component::Normal(name) = component else {
            continue;
        };
        so_far.push(name);
        let known = !missing.is_empty();
        if known
            || !root
                .exists(&so_far)
                .map_err(Error::io("look at", &so_far))?
        {
            missing.push(so_far.clone());
        }
    }
    Ok(missing)
}

/// Makes a folder durably; one that exists stays as it is.
pub fn make_folder(root: &Root, path: &Path, mode: u32) -> Result<(), Error> {
    let Some((parent, name)) = split(root, path)? else {
        return Ok(());
    };
    match rustix::fs::mkdirat(&parent, name, Mode::RWXU) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(()),
        Err(errno) => return Err(failed("make the folder", path)(errno)),
    }
    // Whatever the umask says.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(&parent, name, flags, Mode::empty())
        .map_err(failed("make the folder", path))?;
    rustix::fs::fchmod(&folder, Mode::from_raw_mode(mode))
        .map_err(failed("make the folder", path))?;
    sync_folder(&parent, path)
}

/// Removes a folder, unless something is in it.
pub fn remove_empty_folder(root: &Root, path: &Path) -> Result<(), Error> {
    let Some((parent, name)) = split(root, path)? else {
        return Ok(());
    };
    // Asked first: a file system that is read-only refuses to remove even what is not there.
    let found = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW);
    if matches!(found, Err(Errno::NOENT)) {
        return Ok(());
    }
    match rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        Err(errno) => Err(Error::io("remove the folder", path)(errno)),
    }
}

/// The open folder above and the name in it; `None` for the root itself, and where the folder above
/// is missing.
fn split<'a>(
    root: &Root,
    path: &'a Path,
) -> Result<Option<(std::os::fd::OwnedFd, &'a std::ffi::OsStr)>, Error> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(None);
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    match root.open_at(parent, flags, Mode::empty()) {
        Ok(folder) => Ok(Some((folder, name))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("open the folder above", path)(error)),
    }
}
