//! The only writer of files.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};

use crate::root::Root;

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
        source: std::io::Error,
    },
}

/// Makes the file at `path` hold `bytes`; `mode` is for a file that is new. Tells whether it wrote.
pub fn replace(root: &Root, path: &Path, bytes: &[u8], mode: u32) -> Result<bool, Error> {
    let at = |operation| {
        move |source: std::io::Error| Error::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    };
    if root.read(path, 1 << 30).map_err(at("read"))?.as_deref() == Some(bytes) {
        return Ok(false);
    }
    let place = root.resolve(path).map_err(at("find"))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(&place.folder, &place.name, flags, Mode::from_raw_mode(mode))
        .map_err(|e| at("create")(e.into()))?;
    rustix::io::write(&fd, bytes).map_err(|e| at("write")(e.into()))?;
    Ok(true)
}

/// Removes a file; tells whether there was one.
pub fn remove(root: &Root, path: &Path) -> Result<bool, Error> {
    let at = |operation| {
        move |source: std::io::Error| Error::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    };
    if !root.exists(path) {
        return Ok(false);
    }
    let place = root.resolve(path).map_err(at("find"))?;
    rustix::fs::unlinkat(&place.folder, &place.name, AtFlags::empty())
        .map_err(|e| at("remove")(e.into()))?;
    Ok(true)
}

impl Error {
    /// A failed system call, with what was being done on what.
    pub fn io(operation: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    }
}

/// Renames a damaged file to `path.suffix`; gives the new path.
pub fn set_aside(root: &Root, path: &Path, suffix: &str) -> Result<PathBuf, Error> {
    let place = root.resolve(path).map_err(|e| Error::io("find", path, e))?;
    let aside = PathBuf::from(format!("{}.{suffix}", path.display()));
    let to = root
        .resolve(&aside)
        .map_err(|e| Error::io("find", &aside, e))?;
    rustix::fs::renameat(&place.folder, &place.name, &to.folder, &to.name)
        .map_err(|e| Error::io("set aside", path, e.into()))?;
    Ok(aside)
}
