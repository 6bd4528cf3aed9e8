//! The ways from the root to the watched paths: walked step by step, each step watched.
//!
//! Walking looks at folders, which may block, so it happens on the writer's thread.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use inotify::{EventMask, EventOwned, WatchDescriptor, WatchMask, Watches};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

use super::touched::Touched;
use crate::root::Root;

/// How many symlinks a path may pass through, as in `path_resolution(7)`.
const MAX_SYMLINKS: usize = 40;

/// A path, by its place among those that are watched.
pub(super) type At = usize;

/// The paths and the watches along the ways to them.
pub(super) struct Ways {
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
    pub(super) fn new(root: Root, watches: Watches, paths: Vec<PathBuf>) -> Self {
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
    pub(super) fn note(&self, event: Option<io::Result<EventOwned>>, touched: &mut Touched) {
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
    pub(super) fn walk(&mut self) -> Vec<At> {
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
