//! The hosts file: one block of ours in a file that belongs to everybody.
//!
//! Two ways to write it:
//!
//! - **By rename**: the new text is computed from the old one ([`merge`]) and replaces it whole. A
//!   reader sees the old file or the new one.
//! - **In place**, where the file must stay the same inode because it is a mount point or is
//!   bind-mounted into containers: single bytes switch prepared lines on and off (module `slots`).
//!
//! Both keep every foreign byte, and both can go on from what the other one left.

mod block;
mod in_place;
mod lines;
mod merge;
mod slots;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use crate::config::cluster::HostsMode;
use crate::file::{self, InPlace};
use crate::name::Name;
use crate::root::Root;
use crate::surface::{Applied, Outcome};
use crate::view::View;

pub(crate) use in_place::{Change, carry_out};
pub use lines::{Conflict, Conflicts};
pub use merge::{Merged, merge, without};
pub(crate) use slots::{Plan, plan};

/// The largest hosts file that is read, in bytes. One with 50,000 names has about 4 MB.
pub const LIMIT: u64 = 16 << 20;

/// How often a file that somebody else is changing is planned anew.
const ATTEMPTS: usize = 5;

/// How long an empty file may be somebody's who is about to write it.
const FILLING: Duration = Duration::from_millis(400);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(5);

/// Why the hosts file does not show the view.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing failed.
    #[error(transparent)]
    File(#[from] file::Error),
    /// The file can only be written in place, and the cluster file forbids that.
    #[error("{0}; hosts.mode is rename: set it to auto or in-place")]
    OnlyInPlace(file::Error),
}

/// What the hosts file says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Every name of the cluster, aliases too, with the addresses that a resolver finds for it in
    /// the file, in the file's order; none where the file lacks it.
    pub addresses: BTreeMap<Name, Vec<IpAddr>>,
    /// Foreign lines that give our names other addresses.
    pub conflicts: Conflicts,
}

/// Makes the hosts file show the view.
pub fn apply(root: &Root, view: &View) -> Result<Applied, Error> {
    let path = &view.cluster.hosts.path;
    let mode = view.cluster.hosts.mode;
    let_writer_fill(root, path);
    if mode == HostsMode::InPlace
        && let Some(applied) = apply_in_place(root, path, view, slots::plan, "")?
    {
        return Ok(applied);
    }
    match apply_by_rename(root, path, view) {
        Err(file::Error::CannotRename {
            obstacle, source, ..
        }) if mode == HostsMode::Auto => {
            let why = format!(" ({obstacle})");
            let gone = || file::Error::Changed { path: path.clone() }.into();
            tracing::debug!(%source, obstacle, "no rename; the hosts file is written in place");
            apply_in_place(root, path, view, slots::plan, &why)?.ok_or_else(gone)
        }
        other => other.map_err(by_rename_only),
    }
}

/// Editors and programs empty a file and then write it. Who replaces it in between takes away the
/// file that they are writing to, and all foreign lines with it; so an empty one is given time.
fn let_writer_fill(root: &Root, path: &Path) {
    let deadline = Instant::now() + FILLING;
    while is_empty(root, path) && Instant::now() < deadline {
        std::thread::sleep(LOOK);
    }
}

fn is_empty(root: &Root, path: &Path) -> bool {
    let file = root.open_at(path, OFlags::PATH, Mode::empty());
    file.is_ok_and(|file| rustix::fs::fstat(file).is_ok_and(|stat| stat.st_size == 0))
}

/// Takes our block out of the hosts file. Where the file can only be written in place, comments
/// stay behind. `mode` decides as for [`apply`].
pub fn remove(root: &Root, view: &View) -> Result<Applied, Error> {
    let path = &view.cluster.hosts.path;
    let in_place = || {
        let applied = apply_in_place(root, path, view, slots::plan_without, "")?;
        Ok(applied.unwrap_or_else(|| absent(path)))
    };
    if view.cluster.hosts.mode == HostsMode::InPlace {
        return in_place();
    }
    let removed = file::update(root, path, LIMIT, 0o644, |old| {
        Ok::<_, file::Error>(old.map(|old| without(old, view)))
    });
    match removed {
        Err(file::Error::CannotRename { .. }) if view.cluster.hosts.mode == HostsMode::Auto => {
            in_place()
        }
        Err(error) => Err(by_rename_only(error)),
        Ok(written) => Ok(Applied {
            outcome: outcome(written),
            detail: format!("nothing of ours in {}", path.display()),
            notices: Vec::new(),
        }),
    }
}

/// The error of a write by rename where no other way is tried.
fn by_rename_only(error: file::Error) -> Error {
    match error {
        file::Error::CannotRename { .. } => Error::OnlyInPlace(error),
        error => Error::File(error),
    }
}

/// What the hosts file says for every name of the cluster. A file that is missing says nothing.
pub fn read(root: &Root, view: &View) -> Result<Reading, Error> {
    let text = text(root, view)?;
    let mut addresses: BTreeMap<Name, Vec<IpAddr>> = BTreeMap::new();
    for entry in view.entries() {
        for name in std::iter::once(entry.name).chain(entry.aliases) {
            addresses.insert(name, Vec::new());
        }
    }
    let mapped = text.split(|byte| *byte == b'\n').filter_map(lines::mapping);
    for (address, names) in mapped {
        for name in names {
            if let Some(found) = addresses.get_mut(name.as_str())
                && !found.contains(&address)
            {
                found.push(address);
            }
        }
    }
    Ok(Reading {
        addresses,
        conflicts: merge(&text, view).conflicts,
    })
}

/// The block as it would be written by rename, given the foreign lines that there are.
pub fn show(root: &Root, view: &View) -> Result<Vec<u8>, Error> {
    let foreign = without(&text(root, view)?, view);
    let whole = merge(&foreign, view).bytes;
    Ok(whole[foreign.len()..].trim_ascii_start().to_vec())
}

fn text(root: &Root, view: &View) -> Result<Vec<u8>, Error> {
    let path = &view.cluster.hosts.path;
    let bytes = root.read(path, LIMIT).map_err(|source| file::Error::Io {
        operation: "read",
        path: path.clone(),
        source,
    })?;
    Ok(bytes.unwrap_or_default())
}

fn apply_by_rename(root: &Root, path: &Path, view: &View) -> Result<Applied, file::Error> {
    let mut lines = 0;
    let mut conflicts = Conflicts::default();
    let written = file::update(root, path, LIMIT, 0o644, |old| {
        let merged = merge(old.unwrap_or_default(), view);
        lines = merged.lines;
        conflicts = merged.conflicts;
        Ok::<_, file::Error>(Some(merged.bytes))
    })?;
    Ok(applied(path, written, lines, "by rename", &conflicts))
}

/// `None` where there is no file. `why` goes into the report.
fn apply_in_place(
    root: &Root,
    path: &Path,
    view: &View,
    plan: fn(&[u8], &View) -> Plan,
    why: &str,
) -> Result<Option<Applied>, Error> {
    for _ in 0..ATTEMPTS {
        let Some(file) = InPlace::open(root, path, LIMIT)? else {
            return Ok(None);
        };
        let mut plan = plan(file.bytes(), view);
        let written = !plan.steps.is_empty();
        let conflicts = std::mem::take(&mut plan.conflicts);
        let lines = plan.lines;
        match carry_out(vec![Change::new(file, plan)]).pop() {
            Some(Err(file::Error::Changed { .. })) => {}
            Some(Err(error)) => return Err(error.into()),
            _ => {
                let how = format!("in place{why}");
                return Ok(Some(applied(path, written, lines, &how, &conflicts)));
            }
        }
    }
    let path = path.to_owned();
    Err(file::Error::Changed { path }.into())
}

fn applied(path: &Path, written: bool, lines: usize, how: &str, conflicts: &Conflicts) -> Applied {
    let done = if written {
        format!("written {how}")
    } else {
        "as it should be".to_owned()
    };
    Applied {
        outcome: outcome(written),
        detail: format!("{lines} lines in {}, {done}", path.display()),
        notices: conflicts.notices(path),
    }
}

fn absent(path: &Path) -> Applied {
    Applied {
        outcome: Outcome::Absent,
        detail: format!("{} does not exist", path.display()),
        notices: Vec::new(),
    }
}

fn outcome(written: bool) -> Outcome {
    if written {
        Outcome::Updated
    } else {
        Outcome::Unchanged
    }
}
