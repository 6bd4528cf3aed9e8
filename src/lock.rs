//! One stayput at a time writes on a node.
//!
//! The agent holds the lock while it runs; a command that does the work itself holds it meanwhile.
//! The lock is on a file of its own, never on one that is replaced.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use crate::root::Root;

/// Where sockets and locks lie.
pub const RUN_FOLDER: &str = "/run/stayput";
const PATH: &str = "/run/stayput/lock";

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, never read")] File);

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else has it.
    #[error(
        "another stayput is at work on this node (it holds {PATH}); try again, or ask it with `stayput status`"
    )]
    Held,
    /// The file system refuses.
    #[error("cannot lock {PATH}: {0}")]
    Io(#[from] io::Error),
}

/// Takes the lock, waiting at most `patience` for its holder to finish.
pub fn take(root: &Root, patience: Duration) -> Result<Lock, Error> {
    root.create_folders(Path::new(RUN_FOLDER), 0o755)?;
    let flags = OFlags::RDWR | OFlags::CREATE;
    let file = File::from(root.open_at(Path::new(PATH), flags, Mode::from_raw_mode(0o600))?);
    let deadline = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock(file)),
            Err(TryLockError::Error(error)) => return Err(error.into()),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return Err(Error::Held),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let held = take(&root, Duration::ZERO).unwrap();
        assert!(matches!(
            take(&root, Duration::from_millis(30)),
            Err(Error::Held)
        ));
        drop(held);
        take(&root, Duration::ZERO).unwrap();
    }
}
