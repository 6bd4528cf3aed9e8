//! The hosts copies of host-network pods.
//!
//! A pod with `hostNetwork` gets a copy of the node's hosts file when its containers start, headed
//! [`HEADER`], in `/var/lib/kubelet/pods/UID/etc-hosts`, bind-mounted over `/etc/hosts` in its
//! containers. It stays as it was: a running etcd would resolve a moved master to its old address for
//! ever (kubernetes/kubernetes#85501). So the copies are kept true, in place: a rename would not be
//! seen by the containers.
//!
//! A container can write its own copy, so nothing in one is believed. Copies are opened without
//! following links, must be regular files with that first line, and are bounded in size; what is
//! written where depends on their bytes only, and each write compares first. However many lines a
//! container puts into its copy, the report stays short and little is held in memory.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::file::{self, InPlace};
use crate::root::{Place, Root, read_regular};
use crate::surface::hosts::{Change, carry_out, plan};
use crate::surface::{Applied, Outcome};
use crate::view::View;

/// Where the kubelet keeps what belongs to pods.
pub const FOLDER: &str = "/var/lib/kubelet/pods";

/// The first line of a host-network pod's copy (kubelet's `kubelet_pods.go`). Pods with a network
/// of their own have another one.
pub const HEADER: &[u8] = b"# Kubernetes-managed hosts file (host network).";

/// The largest copy that is touched, in bytes. A node's own hosts file is far smaller; what is larger
/// was made so by a container.
pub const LIMIT: u64 = 1 << 20;

/// How often copies that somebody else is writing are looked at again.
const ATTEMPTS: usize = 3;

/// Copies are written side by side, so that they wait together, but no more than so many at once:
/// each holds two descriptors.
const SIDE_BY_SIDE: usize = 64;

/// And no more than so many bytes of them: each is held in memory.
const HELD: usize = 4 << 20;

/// How many of the copies that could not be written are named.
const NAMED: usize = 3;

/// Why not every copy shows the view.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not known which copies there are.
    #[error(transparent)]
    Folder(file::Error),
    /// Some could not be opened or written. All others were.
    #[error("{failed} of {total} copies could not be written: {reasons}")]
    Copies {
        /// How many.
        failed: usize,
        /// Of how many host-network copies.
        total: usize,
        /// What is wrong with the first ones.
        reasons: String,
    },
}

/// Makes the copies of all host-network pods show the view. One that cannot be written does not
/// hold the others; it is the error when all others are done. What is no copy at all (a folder, a
/// pipe, a symlink, a file that is too large) is left alone with a notice.
pub fn apply(root: &Root, view: &View) -> Result<Applied, Error> {
    let mut written = 0;
    let mut round = Round::default();
    for _ in 0..ATTEMPTS {
        let Some((folder, names)) = list(root).map_err(Error::Folder)? else {
            return Ok(absent(format!("{FOLDER} does not exist"), Vec::new()));
        };
        round = Round::default();
        for name in names {
            round.look(&folder, name, view);
        }
        round.carry_out();
        written += round.written;
        // The kubelet writes a copy anew when a container starts.
        let raced = |error: &file::Error| matches!(error, file::Error::Changed { .. });
        if !round.failures.iter().any(raced) {
            break;
        }
    }
    round.report(written)
}

/// One look at all copies.
#[derive(Default)]
struct Round {
    /// Host-network copies, as far as they could be opened.
    total: usize,
    /// Copies that are open and wait to be written, and their size.
    changes: Vec<Change>,
    held: usize,
    written: usize,
    notices: Vec<String>,
    failures: Vec<file::Error>,
}

impl Round {
    fn look(&mut self, folder: &OwnedFd, name: OsString, view: &View) {
        let path = Path::new(FOLDER).join(&name).join("etc-hosts");
        match open(folder, name, &path) {
            Ok(None) => {}
            Ok(Some(file)) => {
                self.total += 1;
                let plan = plan(file.bytes(), view);
                self.notices.extend(plan.conflicts.notices(&path));
                if !plan.steps.is_empty() {
                    self.held += file.bytes().len();
                    self.changes.push(Change::new(file, plan));
                }
                if self.held >= HELD || self.changes.len() >= SIDE_BY_SIDE {
                    self.carry_out();
                }
            }
            Err(error @ (file::Error::NotRegular { .. } | file::Error::TooLarge { .. })) => {
                self.notices.push(error.to_string());
            }
            Err(error) => {
                self.total += 1;
                self.failures.push(error);
            }
        }
    }

    /// Writes the copies that wait, side by side.
    fn carry_out(&mut self) {
        self.held = 0;
        for result in carry_out(std::mem::take(&mut self.changes)) {
            match result {
                Ok(()) => self.written += 1,
                Err(error) => self.failures.push(error),
            }
        }
    }

    fn report(self, written: usize) -> Result<Applied, Error> {
        if !self.failures.is_empty() {
            return Err(self.error());
        }
        if self.total == 0 {
            return Ok(absent("no host-network pods".to_owned(), self.notices));
        }
        Ok(Applied {
            outcome: if written > 0 {
                Outcome::Updated
            } else {
                Outcome::Unchanged
            },
            detail: format!("{} copies, {written} written in place", self.total),
            notices: self.notices,
        })
    }

    fn error(&self) -> Error {
        let failed = self.failures.len();
        let named = self.failures.iter().take(NAMED);
        let mut reasons: Vec<String> = named.map(ToString::to_string).collect();
        if failed > NAMED {
            reasons.push(format!("and {} more", failed - NAMED));
        }
        Error::Copies {
            failed,
            total: self.total,
            reasons: reasons.join("; "),
        }
    }
}

fn absent(detail: String, notices: Vec<String>) -> Applied {
    Applied {
        outcome: Outcome::Absent,
        detail,
        notices,
    }
}

/// The folder of pods and the names in it, in order. The folder itself may be behind a symlink, as
/// where `/var/lib/kubelet` is on another disk.
fn list(root: &Root) -> Result<Option<(OwnedFd, Vec<OsString>)>, file::Error> {
    let failed = |operation| {
        move |source: io::Error| file::Error::Io {
            operation,
            path: PathBuf::from(FOLDER),
            source,
        }
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let folder = match root.open_at(Path::new(FOLDER), flags, Mode::empty()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed("open"))?,
    };
    let mut names = Vec::new();
    for entry in Dir::read_from(&folder).map_err(|e| failed("list")(e.into()))? {
        let entry = entry.map_err(|e| failed("list")(e.into()))?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name.to_vec()));
        }
    }
    names.sort();
    Ok(Some((folder, names)))
}

/// A copy's path and what is in it; `None` where there is none.
pub type Copied = (PathBuf, io::Result<Option<Vec<u8>>>);

/// The copies of all host-network pods, by their paths; for who only looks. What is there and cannot be
/// read is an error of its own.
pub fn copies(root: &Root) -> Result<Vec<Copied>, file::Error> {
    let Some((folder, names)) = list(root)? else {
        return Ok(Vec::new());
    };
    let copy = |name: OsString| {
        let path = Path::new(FOLDER).join(&name).join("etc-hosts");
        let read = read_copy(&folder, &name);
        (
            path,
            read.map(|bytes| bytes.filter(|bytes| is_host_network(bytes))),
        )
    };
    Ok(names.into_iter().map(copy).collect())
}

fn read_copy(pods: &OwnedFd, pod: &OsStr) -> io::Result<Option<Vec<u8>>> {
    let open = || {
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = flags | OFlags::PATH | OFlags::DIRECTORY;
        let folder = rustix::fs::openat(pods, pod, folder, Mode::empty())?;
        let file = flags | OFlags::RDONLY | OFlags::NONBLOCK;
        rustix::fs::openat(&folder, "etc-hosts", file, Mode::empty())
    };
    match open() {
        // Gone meanwhile, no pod, or no copy.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno.into()),
        Ok(fd) => read_regular(fd, LIMIT).map(Some),
    }
}

/// A pod's copy, if it has one and is a host-network pod's.
fn open(pods: &OwnedFd, pod: OsString, path: &Path) -> Result<Option<InPlace>, file::Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = match rustix::fs::openat(pods, &pod, flags, Mode::empty()) {
        Ok(folder) => folder,
        // Gone meanwhile, or not a pod.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        Err(errno) => {
            return Err(file::Error::Io {
                operation: "open the folder of",
                path: path.to_owned(),
                source: errno.into(),
            });
        }
    };
    let name = OsString::from("etc-hosts");
    let file = InPlace::open_at(Place { folder, name }, path, LIMIT)?;
    Ok(file.filter(|file| is_host_network(file.bytes())))
}

fn is_host_network(bytes: &[u8]) -> bool {
    let first = bytes.split(|byte| *byte == b'\n').next();
    first.is_some_and(|line| line.trim_ascii_end() == HEADER)
}
