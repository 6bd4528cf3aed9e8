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
//! - A walk that breaks off is logged, all is watched anew, and every path is reported.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::root::Root;
use crate::writer::{Interrupted, Writer};

/// Events that follow each other this closely are reported as one.
const QUIET: Duration = Duration::from_millis(5);
/// A burst is reported after this time even if it goes on.
const BURST: Duration = Duration::from_millis(50);
/// All ways are walked anew this often.
const INTERVAL: Duration = Duration::from_secs(30);
/// After an error of inotify, which is not known to happen.
const RETRY: Duration = Duration::from_secs(1);
/// How many symlinks a path may pass through, as in `path_resolution(7)`.
const MAX_SYMLINKS: usize = 40;

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
            let mut touched = BTreeSet::new();
            match timeout_at(due, events.next()).await {
                Ok(event) => {
                    let works = matches!(event, Some(Ok(_)));
                    ways.note(event, &mut touched);
                    if !works {
                        sleep(RETRY).await;
                    }
                    if touched.is_empty() {
                        continue;
                    }
                }
                Err(_) => due = Instant::now() + INTERVAL,
            }
            let end = Instant::now() + BURST;
            while !touched.is_empty() && Instant::now() < end {
                let quiet = end.min(Instant::now() + QUIET);
                match timeout_at(quiet, events.next()).await {
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
            touched.extend(changed);
            for at in touched {
                if self.reports.send(ways.paths[at].clone()).await.is_err() {
                    return Ok(Gone);
                }
            }
        }
    }
}

/// A path, by its place among those that are watched.
type At = usize;

/// The paths and the watches along the ways to them.
struct Ways {
    root: Root,
    watches: Watches,
    paths: Vec<PathBuf>,
    /// Whose way leads through an entry of a folder, or (no name) ends at an object.
    steps: HashMap<WatchDescriptor, Vec<(Option<OsString>, At)>>,
    /// What was at the end of each way.
    ends: Vec<Option<End>>,
    /// Whether it was said that a watch cannot be had.
    complained: bool,
}

/// What tells that a file is another one, or was written.
type End = (u64, u64, u32, i64, i64, i64);

impl Ways {
    fn new(root: Root, watches: Watches, paths: Vec<PathBuf>) -> Self {
        let ends = vec![None; paths.len()];
        Self {
            root,
            watches,
            paths,
            steps: HashMap::new(),
            ends,
            complained: false,
        }
    }

    /// Which paths an event touches. After an overflow or an error: all.
    fn note(&self, event: Option<io::Result<EventOwned>>, touched: &mut BTreeSet<At>) {
        match event {
            Some(Ok(event)) if !event.mask.contains(EventMask::Q_OVERFLOW) => {
                let steps = self.steps.get(&event.wd).into_iter().flatten();
                // Without a name the event is about the watched object itself.
                let on_the_way = steps.filter(|(name, _)| {
                    event.name.is_none() || name.is_none() || *name == event.name
                });
                touched.extend(on_the_way.map(|(_, at)| at));
            }
            _ => touched.extend(0..self.paths.len()),
        }
    }

    /// Walks all ways and watches them; tells at which of them something else is at the end.
    fn walk(&mut self) -> Vec<At> {
        let old: HashSet<WatchDescriptor> = std::mem::take(&mut self.steps).into_keys().collect();
        let mut changed = Vec::new();
        for at in 0..self.paths.len() {
            let end = self.walk_one(at).unwrap_or(None);
            if self.ends[at] != end {
                self.ends[at] = end;
                changed.push(at);
            }
        }
        for watch in old {
            if !self.steps.contains_key(&watch) {
                // It fails where the kernel has removed the watch with its object.
                let _ = self.watches.remove(watch);
            }
        }
        changed
    }

    /// Walks one way, from the root, symlinks resolved by hand so that each step is seen. `None`:
    /// there is nothing at its end.
    fn walk_one(&mut self, at: At) -> io::Result<Option<End>> {
        let mut left = steps_of(&self.paths[at]);
        let mut folder = PathBuf::from("/");
        let mut links = 0;
        while let Some(step) = left.pop() {
            let Step::Into(name) = step else {
                folder.pop();
                continue;
            };
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let fd = self.root.open_at(&folder, flags, Mode::empty())?;
            self.watch(&fd, Some(&name), at);
            let stat = rustix::fs::statat(&fd, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
                links += 1;
                if links > MAX_SYMLINKS {
                    return Ok(None);
                }
                let target = rustix::fs::readlinkat(&fd, &name, Vec::new())?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                if target.is_absolute() {
                    folder = PathBuf::from("/");
                }
                left.extend(steps_of(&target));
            } else if left.is_empty() {
                let flags = OFlags::PATH | OFlags::NOFOLLOW;
                let file = self
                    .root
                    .open_at(&folder.join(&name), flags, Mode::empty())?;
                self.watch(&file, None, at);
                return Ok(Some(end_of(&rustix::fs::fstat(&file)?)));
            } else {
                folder.push(name);
            }
        }
        Ok(None)
    }

    /// Watches an open object, by the link to it in /proc: what was opened below the root is what is
    /// watched.
    fn watch(&mut self, fd: &OwnedFd, name: Option<&OsStr>, at: At) {
        let mask = WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVE
            | WatchMask::MODIFY
            | WatchMask::CLOSE_WRITE
            | WatchMask::ATTRIB
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF;
        let link = Path::new("/proc/self/fd").join(fd.as_raw_fd().to_string());
        match self.watches.add(link, mask) {
            Ok(watch) => {
                let steps = self.steps.entry(watch).or_default();
                steps.push((name.map(OsStr::to_owned), at));
            }
            // Most likely ENOSPC: fs.inotify.max_user_watches. Changes are still found in time.
            Err(error) if !self.complained => {
                self.complained = true;
                let path = self.paths[at].display();
                tracing::warn!(%error, %path, "cannot watch with inotify; looking every 30 s");
            }
            Err(_) => {}
        }
    }
}

enum Step {
    Into(OsString),
    Up,
}

/// The steps of a path, the last one first.
fn steps_of(path: &Path) -> Vec<Step> {
    let steps = path
        .components()
        .rev()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(Step::Into(name.to_owned())),
            Component::ParentDir => Some(Step::Up),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        });
    steps.collect()
}

#[expect(
    clippy::useless_conversion,
    reason = "the fields have other types on other machines"
)]
fn end_of(stat: &Stat) -> End {
    (
        stat.st_dev.into(),
        stat.st_ino.into(),
        stat.st_mode,
        stat.st_size.into(),
        stat.st_mtime.into(),
        stat.st_mtime_nsec.try_into().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
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
