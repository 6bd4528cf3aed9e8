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
/// A writer that has not closed the file by then is not waited for.
const WRITING: Duration = Duration::from_millis(500);
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
        let stream = Inotify::init()?.into_event_stream(vec![0; 4096])?;
        let (root, watches) = (root.clone(), stream.watches());
        let walk = move || {
            let mut ways = Ways::new(root, watches, paths);
            ways.walk();
            ways
        };
        let ways = writer.run(walk).await?;
        let (sender, reports) = mpsc::channel(16);
        let task = tokio::spawn(listen(stream, ways, writer.clone(), sender));
        Ok(Self { reports, task })
    }

    /// The next path that is to be looked at, as it was given. Waits for ever once the runtime or the
    /// writer ends. May be cancelled.
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

async fn listen(
    mut events: EventStream<Vec<u8>>,
    mut ways: Ways,
    writer: Writer,
    reports: mpsc::Sender<PathBuf>,
) {
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
        let walk = move || {
            let changed = ways.walk();
            (ways, changed)
        };
        let Ok((walked, changed)) = writer.run(walk).await else {
            return;
        };
        ways = walked;
        touched.all.extend(changed);
        for at in touched.all {
            if reports.send(ways.paths[at].clone()).await.is_err() {
                return;
            }
        }
    }
}

/// A path, by its place among those that are watched.
type At = usize;

/// What a burst of events touches.
#[derive(Debug, Default)]
struct Touched {
    all: BTreeSet<At>,
    /// Those of which a file was opened to be written and not closed yet.
    unfinished: BTreeSet<At>,
}

impl Touched {
    fn note(&mut self, at: At, mask: EventMask) {
        let begun = EventMask::CREATE | EventMask::MODIFY;
        self.all.insert(at);
        if mask.intersects(begun) && !mask.contains(EventMask::ISDIR) {
            self.unfinished.insert(at);
        } else if !mask.contains(EventMask::ATTRIB) {
            // Closed, or replaced, or gone.
            self.unfinished.remove(&at);
        }
    }

    /// When it is to be reported if nothing else happens, in a burst that began at `start`.
    fn wait_until(&self, start: Instant, now: Instant) -> Instant {
        if self.unfinished.is_empty() {
            (start + BURST).min(now + QUIET)
        } else {
            start + WRITING
        }
    }
}

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
    fn note(&self, event: Option<io::Result<EventOwned>>, touched: &mut Touched) {
        match event {
            Some(Ok(event)) if !event.mask.contains(EventMask::Q_OVERFLOW) => {
                let steps = self.steps.get(&event.wd).into_iter().flatten();
                // Without a name the event is about the watched object itself.
                let on_the_way = steps.filter(|(name, _)| {
                    event.name.is_none() || name.is_none() || *name == event.name
                });
                for (_, at) in on_the_way {
                    touched.note(*at, event.mask);
                }
            }
            _ => touched.all.extend(0..self.paths.len()),
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

    #[test]
    fn a_writer_is_waited_for_until_it_closes_the_file() {
        let begun = [
            EventMask::MODIFY,
            EventMask::CREATE,
            // Whoever changes the mode meanwhile goes on.
            EventMask::ATTRIB,
        ];
        let done = [
            EventMask::CLOSE_WRITE,
            EventMask::MOVED_TO,
            EventMask::DELETE,
        ];
        let start = Instant::now();
        for end in done {
            let mut touched = Touched::default();
            for mask in begun {
                touched.note(0, mask);
                assert_eq!(
                    touched.wait_until(start, start),
                    start + WRITING,
                    "{mask:?}"
                );
            }
            touched.note(0, end);
            assert_eq!(touched.wait_until(start, start), start + QUIET, "{end:?}");
        }
    }

    #[test]
    fn what_is_no_writing_is_not_waited_for() {
        let start = Instant::now();
        let mut touched = Touched::default();
        touched.note(0, EventMask::CREATE | EventMask::ISDIR);
        touched.note(0, EventMask::ATTRIB);
        touched.note(1, EventMask::MOVED_TO);
        let late = start + BURST;
        assert_eq!(touched.wait_until(start, late), late);
        assert_eq!(touched.all.len(), 2);
    }
}
