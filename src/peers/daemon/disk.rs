//! Keeps the records on disk: what was taken is saved soon, and own words before others hear of them.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::peers::allowance::{Allowance, Rate};
use crate::peers::ledger::Ledger;
use crate::peers::store;
use crate::root::Root;
use crate::writer::Writer;

/// Between two saves, where nothing waits for one.
const PAUSE: Duration = Duration::from_millis(200);
/// And in the long run, whoever signs as fast as he can.
const PACE: Rate = Rate {
    burst: 10,
    every: Duration::from_secs(1),
};
/// After one that failed.
const RETRY: Duration = Duration::from_secs(2);

/// What waits until it is saved.
type Waiting<T> = Vec<T>;

/// Saves one ledger after the other, each as it is when its turn comes. `T`: what is done once it is saved.
#[derive(Debug)]
pub(super) struct Disk<T> {
    root: Root,
    writer: Writer,
    /// A file that could not be read may be good: it is not replaced.
    spared: bool,
    /// The version that is on disk, or on its way.
    saved: u64,
    waiting: Waiting<T>,
    under_way: Waiting<T>,
    job: JoinSet<Result<(), String>>,
    begun: Instant,
    allowance: Allowance,
    /// Not sooner.
    next: Instant,
    failures: u64,
    failing: bool,
}

impl<T> Disk<T> {
    pub(super) fn new(root: Root, writer: Writer) -> Self {
        Self {
            root,
            writer,
            spared: false,
            saved: 0,
            waiting: Vec::new(),
            under_way: Vec::new(),
            job: JoinSet::new(),
            begun: Instant::now(),
            allowance: Allowance::default(),
            next: Instant::now(),
            failures: 0,
            failing: false,
        }
    }

    /// The file may be good: leave it.
    pub(super) fn spare(&mut self) {
        self.spared = true;
    }

    /// The file is good, or there is none.
    pub(super) fn use_it(&mut self) {
        self.spared = false;
    }

    pub(super) fn is_spared(&self) -> bool {
        self.spared
    }

    /// This is to be done once all that is held now is saved.
    pub(super) fn after_saving(&mut self, what: T) {
        self.waiting.push(what);
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures
    }

    /// Whether the last save failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failing
    }

    /// Waits until a save is due of this version, or one is done. Where one is due, call
    /// [`save`](Self::save); what is returned is to be done now. May be cancelled.
    pub(super) async fn turn(&mut self, version: u64) -> Option<Vec<T>> {
        if let Some(done) = self.job.join_next().await {
            self.done(done.unwrap_or_else(|error| Err(error.to_string())));
            return Some(std::mem::take(&mut self.under_way));
        }
        if self.waiting.is_empty() && (self.saved == version || self.spared) {
            return std::future::pending().await;
        }
        if self.waiting.is_empty() || self.failing {
            tokio::time::sleep_until(self.next).await;
        }
        None
    }

    /// Begins to save a ledger of this version.
    pub(super) fn save(&mut self, ledger: &Ledger, version: u64) {
        self.under_way.append(&mut self.waiting);
        if self.saved == version && !self.failing || self.spared {
            self.job.spawn(async { Ok(()) });
            return;
        }
        self.saved = version;
        self.allowance.take(1, PACE, self.begun.elapsed());
        let (root, writer, ledger) = (self.root.clone(), self.writer.clone(), ledger.clone());
        self.job.spawn(async move {
            let saved = writer.run(move || store::save(&root, &ledger)).await;
            match saved {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(error) => Err(error.to_string()),
            }
        });
    }

    fn done(&mut self, outcome: Result<(), String>) {
        let wait = self.allowance.wait(PACE, self.begun.elapsed());
        self.next = Instant::now() + wait.max(PAUSE);
        match outcome {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("signed records are saved again");
                }
            }
            Err(why) => {
                self.failures += 1;
                // Something else than any version: it is tried again.
                self.saved = u64::MAX;
                self.next = Instant::now() + RETRY;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(
                        "signed records are not saved, and are told all the same: {why}"
                    );
                }
            }
        }
    }

    /// The last save, at the end.
    pub(super) async fn close(&mut self, ledger: &Ledger, version: u64) {
        while let Some(done) = self.job.join_next().await {
            self.done(done.unwrap_or_else(|error| Err(error.to_string())));
        }
        if self.saved != version {
            self.save(ledger, version);
            while let Some(done) = self.job.join_next().await {
                self.done(done.unwrap_or_else(|error| Err(error.to_string())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::sample::{at, authority, pair, trust};
    use crate::peers::store::Loaded;

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_done_after_the_save_and_nothing_is_saved_twice() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let authority = authority("kubernetes");
        let verified = pair(&authority, "m1").verified(&authority, &at("m1", 5, "10.0.0.1"));
        let mut ledger = Ledger::default();
        let _ = ledger.offer(verified, 7);
        let mut disk = Disk::new(root.clone(), Writer::start().unwrap());
        disk.after_saving("tell");
        assert_eq!(disk.turn(1).await, None);
        disk.save(&ledger, 1);
        assert_eq!(disk.turn(1).await, Some(vec!["tell"]));
        let Loaded::Good { ledger: read, .. } = store::load(&root, &trust(&[&authority])) else {
            panic!();
        };
        assert_eq!(read, ledger);
        let quiet = tokio::time::timeout(Duration::from_secs(9), disk.turn(1)).await;
        assert!(quiet.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_refuses_holds_nothing_up_and_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let blocked = dir.path().join("var");
        std::fs::write(&blocked, "").unwrap();
        let mut disk = Disk::new(root.clone(), Writer::start().unwrap());
        disk.after_saving("tell");
        disk.save(&Ledger::default(), 1);
        assert_eq!(disk.turn(1).await, Some(vec!["tell"]));
        assert!(disk.is_failing());
        std::fs::remove_file(blocked).unwrap();
        assert_eq!(disk.turn(1).await, None);
        disk.save(&Ledger::default(), 1);
        assert_eq!(disk.turn(1).await, Some(vec![]));
        assert!(!disk.is_failing() && disk.failures() == 1);
        assert!(dir.path().join("var/lib/stayput/peers/records").exists());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_signs_fast_is_saved_at_a_pace() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mut disk = Disk::<()>::new(root, Writer::start().unwrap());
        let begun = Instant::now();
        for version in 1..=30 {
            assert_eq!(disk.turn(version).await, None);
            disk.save(&Ledger::default(), version);
            assert_eq!(disk.turn(version).await, Some(vec![]));
        }
        assert!(begun.elapsed() >= PACE.every * 19, "{:?}", begun.elapsed());
        // What waits for it does not wait for that.
        disk.after_saving(());
        let before = Instant::now();
        assert_eq!(disk.turn(31).await, None);
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_file_that_may_be_good_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mut disk = Disk::new(root, Writer::start().unwrap());
        disk.spare();
        disk.after_saving("tell");
        disk.save(&Ledger::default(), 1);
        assert_eq!(disk.turn(1).await, Some(vec!["tell"]));
        assert!(!dir.path().join("var").exists());
    }
}
