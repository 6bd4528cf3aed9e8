//! One stayput at a time writes on a node.
//!
//! Three parts of the work do not get in each other's way, so each has a lock: the address book with
//! all that shows it ([`BOOK`]: the agent holds it while it runs, a command that does the work itself
//! meanwhile), the certificates ([`CERTIFICATES`]: each command that writes any), and the signed records of
//! masters ([`PEERS`]). A lock is on a file of its own, never on one that is replaced.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use crate::root::Root;

/// Where sockets and locks lie.
pub const RUN_FOLDER: &str = "/run/stayput";
/// The lock on the address book, and on the surfaces that show it.
pub const BOOK: &str = "/run/stayput/lock";
/// The lock on certificates and keys.
pub const CERTIFICATES: &str = "/run/stayput/certs.lock";
/// The lock on the records of masters: the process of the peers holds it while it runs, a command that
/// takes records in meanwhile.
pub const PEERS: &str = "/run/stayput/peers.lock";

/// The lock, held until it is dropped.
///
/// It is given back by name, not only by closing the file: a process that another thread is starting
/// right now has every open file too until its exec (flock(2)).
#[derive(Debug)]
pub struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else has it.
    #[error(
        "another stayput is at work on this node (it holds {path}); try again{}",
        if *path == BOOK { ", or ask it with `stayput status`" } else { " when it has finished" }
    )]
    Held {
        /// The lock's file.
        path: &'static str,
    },
    /// The file system refuses.
    #[error("cannot lock {path}: {source}")]
    Io {
        /// The lock's file.
        path: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// Takes a lock ([`BOOK`], [`CERTIFICATES`] or [`PEERS`]), waiting at most `patience` for its holder to finish.
pub fn take(root: &Root, path: &'static str, patience: Duration) -> Result<Lock, Error> {
    let failed = |source| Error::Io { path, source };
    root.create_folders(Path::new(RUN_FOLDER), 0o755)
        .map_err(failed)?;
    let flags = OFlags::RDWR | OFlags::CREATE;
    let opened = root.open_at(Path::new(path), flags, Mode::from_raw_mode(0o600));
    let file = File::from(opened.map_err(failed)?);
    let deadline = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock(file)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                return Err(Error::Held { path });
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Whether somebody holds a lock. Makes nothing, and holds nothing up.
pub fn is_held(root: &Root, path: &'static str) -> Result<bool, Error> {
    let failed = |source| Error::Io { path, source };
    let file = match root.open_at(Path::new(path), OFlags::RDONLY, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => {
            drop(Lock(file));
            Ok(false)
        }
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_of_each() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        for path in [BOOK, CERTIFICATES] {
            assert!(!is_held(&root, path).unwrap());
            let held = take(&root, path, Duration::ZERO).unwrap();
            let error = take(&root, path, Duration::from_millis(30)).unwrap_err();
            assert!(matches!(error, Error::Held { .. }), "{error}");
            assert!(error.to_string().contains(path), "{error}");
            assert!(is_held(&root, path).unwrap());
            drop(held);
            assert!(!is_held(&root, path).unwrap());
            take(&root, path, Duration::ZERO).unwrap();
        }
        let _book = take(&root, BOOK, Duration::ZERO).unwrap();
        take(&root, CERTIFICATES, Duration::ZERO).unwrap();
    }
}
