//! Until a pod's processes are gone, and until there is another.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::processes::{Id, Processes};
use super::{Error, Limits};

/// Waits until none of the processes is left. Gives those that run besides; `None` when that takes too
/// long.
pub(super) async fn gone(
    processes: &Processes,
    command: &[String],
    before: &BTreeSet<Id>,
    limits: &Limits,
) -> Result<Option<BTreeSet<Id>>, Error> {
    let left = |now: &BTreeSet<Id>| now.is_disjoint(before);
    until(processes, command, limits.gone, limits.look, left).await
}

/// Waits until there is one that is not known. `None` when that takes too long.
pub(super) async fn back(
    processes: &Processes,
    command: &[String],
    known: &BTreeSet<Id>,
    limits: &Limits,
) -> Result<Option<BTreeSet<Id>>, Error> {
    let new = |now: &BTreeSet<Id>| !now.is_subset(known);
    until(processes, command, limits.back, limits.look, new).await
}

/// What runs as soon as that holds for it; `None` when that takes too long.
async fn until(
    processes: &Processes,
    command: &[String],
    limit: Duration,
    look: Duration,
    holds: impl Fn(&BTreeSet<Id>) -> bool,
) -> Result<Option<BTreeSet<Id>>, Error> {
    let deadline = Instant::now() + limit;
    loop {
        let running = processes.running(command)?;
        if holds(&running) {
            return Ok(Some(running));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        sleep(look).await;
    }
}
