//! Two stayput processes never write in one folder at the same time.
//!
//! An agent and a command exclude each other by the agent's own lock. This one is the second line,
//! for what that lock does not cover (another `--root`, another namespace with the same folder): an
//! flock(2) on the folder itself, which is there before any file of ours is.
//!
//! Anybody who may open the folder may also lock it, for ever. So the wait ends after
//! [`PATIENCE`], and the work is done all the same; the temporary file then has another name, so
//! that even two writers never write into one file.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// How long another's lock is waited for, in steps of [`STEP`].
const PATIENCE: Duration = Duration::from_millis(500);
const STEP: Duration = Duration::from_millis(10);

/// Locks a folder until it is closed. `false` when somebody else holds the lock, or when the
/// filesystem has none.
pub(super) fn patiently(folder: impl AsFd, path: &Path) -> bool {
    let tries = PATIENCE.as_millis() / STEP.as_millis();
    for _ in 0..tries {
        match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return true,
            Err(Errno::WOULDBLOCK | Errno::INTR) => std::thread::sleep(STEP),
            Err(_) => return false,
        }
    }
    tracing::warn!(
        path = %path.display(),
        "another program holds a lock on the folder; going on without it"
    );
    false
}
