//! A static pod restarted, or its manifest exchanged for another: what is there is taken out of the
//! kubelet's folder until its container is gone, and it, or the new one, is put in.
//!
//! A kubelet ends a static pod when its manifest goes, and starts it again when it comes back
//! (within its `fileCheckFrequency` of 20 s where inotify fails). It has no other order for that: the
//! mirror pod in the API is only a picture. A manifest that is changed where it lies makes it start the
//! new pod beside the old one, which still holds its ports: the new one fails, again and again, and
//! waits longer each time. So a change goes the same way as a restart.
//!
//! Invariants:
//!
//! - A manifest is never lost. It goes from one folder to the other by one rename, and [`FOLDER`] is
//!   the journal of what is to happen ([`places`]). Whoever dies, at any system call, is made good by
//!   the next [`recover`].
//! - [`restart()`] never writes and never copies it, so its bytes, owner, mode and label stay;
//!   [`exchange()`] gives the new one the owner, mode and label of the old.
//! - It never takes another one's place: where somebody has put a new manifest meanwhile, that one
//!   stays, and ours is kept beside with a suffix and told.
//! - A manifest is in its place after the time limit and after a signal too, whether the pod has ended
//!   or not.
//!
//! All of it, [`recover`] too, is for whoever holds the certificates' lock: another one at work would
//! find its manifest put back too early.

mod command;
mod error;
mod exchange;
pub mod places;
pub mod processes;
mod restart;
pub mod stop;
mod unproven;
mod wait;

use std::time::Duration;

pub use error::Error;
pub use exchange::{Change, exchange};
pub use places::{FOLDER, MANIFESTS, Recovered, is_here, left_out, missing, recover};
pub use restart::restart;
pub use unproven::unproven;

/// How long a restart may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Until the container is gone.
    pub gone: Duration,
    /// Until a new one runs.
    pub back: Duration,
    /// How often is looked.
    pub look: Duration,
}

impl Default for Limits {
    /// A kubelet sees a change after 20 s at the latest, gives a pod 30 s to end, and needs a few
    /// seconds of its own for each. It takes the pod that comes back for the same one (its UID is a
    /// digest of the manifest), so a pod that ended within the last ten minutes waits for the kubelet's
    /// back-off first, which doubles up to five minutes, although nothing had crashed.
    fn default() -> Self {
        Self {
            gone: Duration::from_mins(2),
            back: Duration::from_mins(6),
            look: Duration::from_millis(200),
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restarted {
    /// This node has no such pod.
    NoManifest,
    /// Its container does not run: when it starts, it reads the new files anyway. A new manifest is in
    /// its place.
    NotRunning,
    /// It was restarted.
    Done {
        /// From the manifest's leaving until the container was gone.
        gone: Duration,
        /// From its return, or the new one's coming, until a new container ran.
        back: Duration,
    },
}

#[cfg(test)]
mod tests;
