//! Tells which files others have changed (inotify(7)).
//!
//! Watched is not the file, which a rename would replace unseen, but every step of the way to it:
//! each folder from the root on, for the one name in it that the path goes through, the folders that
//! symlinks lead through, and the file at the end (it may be a bind mount, whose changes its folder
//! does not tell). So a file is seen when it is written, replaced, removed or made again, and so is
//! any folder above it, or a symlink on the way: kubelet's `..data` is one of those.
//!
//! Invariants:
//!
//! - A folder is watched before it is looked into: no change falls between.
//! - After any event the way is walked anew before the path is reported.
//! - What inotify cannot see (network file systems, mounts) is found every 30 s, by the file's number,
//!   size and time; so is what could not be watched.
//! - A path that leads to a folder is reported when the entries of that folder change.
//! - Reports say "look", not "changed": an own write is reported too.
//! - A file that is being written is reported when its writer closes it. Who looked sooner would
//!   see it empty, and who replaced it then would take the rest from the writer.
//! - A walk that breaks off is logged, all is watched anew, and every path is reported.

mod touched;
mod ways;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use inotify::{EventStream, Inotify};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use self::touched::Touched;
use self::ways::{At, Ways};
use crate::root::Root;
use crate::writer::{Interrupted, Writer};

/// All ways are walked anew this often.
const INTERVAL: Duration = Duration::from_secs(30);
/// After an error of inotify, which is not known to happen.
const RETRY: Duration = Duration::from_secs(1);

/// Why files cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No instance of inotify is left.
    #[error("cannot watch files: {0}; the limits are in /proc/sys/fs/inotify")]
    Inotify(#[from] io::Error),
    /// The thread for file work is gone.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Watches paths until it is dropped.
#[derive(Debug)]
pub struct Watch {
    reports: mpsc::Receiver<PathBuf>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Starts to watch: what changes after this returns is reported. The paths are looked up below
    /// the root, on the writer's thread; none of them need exist.
    pub async fn start(writer: &Writer, root: &Root, paths: Vec<PathBuf>) -> Result<Self, Error> {
        Self::with(writer, root, paths, Ways::walk).await
    }

    async fn with(
        writer: &Writer,
        root: &Root,
        paths: Vec<PathBuf>,
        walk: Walk,
    ) -> Result<Self, Error> {
        let (sender, reports) = mpsc::channel(16);
        let listener = Listener {
            writer: writer.clone(),
            root: root.clone(),
            paths,
            walk,
            reports: sender,
        };
        let begun = listener.begin().await?;
        let task = tokio::spawn(listener.run(begun));
        Ok(Self { reports, task })
    }

    /// The next path that is to be looked at, as it was given. Waits for ever once the runtime
    /// ends. May be cancelled.
    pub async fn next(&mut self) -> PathBuf {
        match self.reports.recv().await {
            Some(path) => path,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Walks all ways; see [`Ways::walk`].
type Walk = fn(&mut Ways) -> Vec<At>;

/// Inotify's events, and the ways that they are about.
type Begun = (EventStream<Vec<u8>>, Ways);

/// The task behind a [`Watch`].
struct Listener {
    writer: Writer,
    root: Root,
    paths: Vec<PathBuf>,
    walk: Walk,
    reports: mpsc::Sender<PathBuf>,
}

/// Nobody takes reports any more.
struct Gone;

impl Listener {
    /// A new instance of inotify that watches all paths.
    async fn begin(&self) -> Result<Begun, Error> {
        let stream = Inotify::init()?.into_event_stream(vec![0; 4096])?;
        let mut ways = Ways::new(self.root.clone(), stream.watches(), self.paths.clone());
        let walk = self.walk;
        let first = move || {
            walk(&mut ways);
            ways
        };
        let ways = self.writer.run(first).await?;
        Ok((stream, ways))
    }

    /// Listens until nobody takes reports any more, and begins anew whenever that breaks off.
    async fn run(self, mut begun: Begun) {
        while let Err(error) = self.listen(begun).await {
            tracing::error!("the watch of files broke off and is started again: {error}");
            begun = self.begin_anew().await;
            // What changed meanwhile was not seen.
            for path in &self.paths {
                if self.reports.send(path.clone()).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn begin_anew(&self) -> Begun {
        let mut told = false;
        loop {
            sleep(RETRY).await;
            match self.begin().await {
                Ok(begun) => return begun,
                Err(error) if !told => {
                    told = true;
                    tracing::error!("files are not watched; tried again every second: {error}");
                }
                Err(_) => {}
            }
        }
    }

    async fn listen(&self, (mut events, mut ways): Begun) -> Result<Gone, Interrupted> {
        let mut due = Instant::now() + INTERVAL;
        loop {
            let mut touched = Touched::default();
            match timeout_at(due, events.next()).await {
                Ok(event) => {
                    let works = matches!(event, Some(Ok(_)));
                    ways.note(event, &mut touched);
                    if !works {
                        sleep(RETRY).await;
                    }
                    if touched.all.is_empty() {
                        continue;
                    }
                }
                Err(_) => due = Instant::now() + INTERVAL,
            }
            let start = Instant::now();
            while !touched.all.is_empty() {
                let now = Instant::now();
                let until = touched.wait_until(start, now);
                if until <= now {
                    break;
                }
                match timeout_at(until, events.next()).await {
                    Ok(event) => ways.note(event, &mut touched),
                    Err(_) => break,
                }
            }
            let walk = self.walk;
            let again = move || {
                let changed = walk(&mut ways);
                (ways, changed)
            };
            let (walked, changed) = self.writer.run(again).await?;
            ways = walked;
            touched.all.extend(changed);
            for at in touched.all {
                if self.reports.send(self.paths[at].clone()).await.is_err() {
                    return Ok(Gone);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::time::timeout;

    const DEADLINE: Duration = Duration::from_secs(20);

    /// The second walk breaks off, and so does the one with which the watch begins anew.
    fn stumbling(ways: &mut Ways) -> Vec<At> {
        static WALKS: AtomicUsize = AtomicUsize::new(0);
        let walks = WALKS.fetch_add(1, Ordering::SeqCst);
        assert!(!(1..=2).contains(&walks), "a walk that breaks off");
        ways.walk()
    }

    #[tokio::test]
    async fn a_walk_that_breaks_off_does_not_end_the_watch() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let writer = Writer::start().unwrap();
        let paths = vec![PathBuf::from("/a"), PathBuf::from("/b")];
        let mut watch = Watch::with(&writer, &root, paths.clone(), stumbling)
            .await
            .unwrap();
        std::fs::write(dir.path().join("a"), "new").unwrap();
        for path in paths {
            let reported = timeout(DEADLINE, watch.next()).await;
            assert_eq!(reported.unwrap(), path, "all are reported after a restart");
        }
        std::fs::write(dir.path().join("b"), "newer").unwrap();
        let reported = timeout(DEADLINE, watch.next()).await;
        assert_eq!(reported.unwrap(), Path::new("/b"));
    }
}
