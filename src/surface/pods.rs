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
//! written where depends on their bytes only, and each write compares first.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::file::{Error, InPlace};
use crate::root::{Place, Root};
use crate::surface::hosts::{Change, carry_out, plan};
use crate::surface::{Applied, Outcome};
use crate::view::View;

/// Where the kubelet keeps what belongs to pods.
pub const FOLDER: &str = "/var/lib/kubelet/pods";

/// The first line of a host-network pod's copy (kubelet's `kubelet_pods.go`). Pods with a network
/// of their own have another one.
pub const HEADER: &[u8] = b"# Kubernetes-managed hosts file (host network).";

/// The largest copy that is touched, in bytes.
pub const LIMIT: u64 = 16 << 20;

/// How often copies that somebody else is writing are looked at again.
const ATTEMPTS: usize = 3;

/// Makes the copies of all host-network pods show the view. A copy that cannot be written is a
/// notice and does not hold the others; if none can be, that is the error.
pub fn apply(root: &Root, view: &View) -> Result<Applied, Error> {
    let mut written = 0;
    let mut round = Round::default();
    for _ in 0..ATTEMPTS {
        let Some((folder, names)) = list(root)? else {
            return Ok(absent(format!("{FOLDER} does not exist")));
        };
        round = Round::default();
        for name in names {
            round.look(&folder, name, view);
        }
        written += round.carry_out();
        // The kubelet writes a copy anew when a container starts.
        let raced = |error: &Error| matches!(error, Error::Changed { .. });
        if !round.failures.iter().any(raced) {
            break;
        }
    }
    round.report(written)
}

/// One look at all copies.
#[derive(Default)]
struct Round {
    /// Host-network copies that could be opened.
    total: usize,
    changes: Vec<Change>,
    conflicts: Vec<String>,
    failures: Vec<Error>,
}

impl Round {
    fn look(&mut self, folder: &OwnedFd, name: OsString, view: &View) {
        let path = Path::new(FOLDER).join(&name).join("etc-hosts");
        match open(folder, name, &path) {
            Ok(None) => {}
            Ok(Some(file)) => {
                self.total += 1;
                let plan = plan(file.bytes(), view);
                let conflicts = plan.conflicts.iter();
                self.conflicts
                    .extend(conflicts.map(|c| format!("{}: {c}", path.display())));
                if !plan.steps.is_empty() {
                    self.changes.push(Change::new(file, plan));
                }
            }
            Err(error) => self.failures.push(error),
        }
    }

    /// Writes all copies side by side; returns how many could be.
    fn carry_out(&mut self) -> usize {
        let results = carry_out(std::mem::take(&mut self.changes));
        let all = results.len();
        let failures: Vec<Error> = results.into_iter().filter_map(Result::err).collect();
        let written = all - failures.len();
        self.failures.extend(failures);
        written
    }

    fn report(mut self, written: usize) -> Result<Applied, Error> {
        let failed = self.failures.iter().map(ToString::to_string);
        let notices = failed.chain(self.conflicts).collect();
        match self.failures.pop() {
            Some(failure) if self.total == 0 => Err(failure),
            None if self.total == 0 => Ok(absent("no host-network pods".to_owned())),
            _ => Ok(Applied {
                outcome: if written > 0 {
                    Outcome::Updated
                } else {
                    Outcome::Unchanged
                },
                detail: format!("{} copies, {written} written in place", self.total),
                notices,
            }),
        }
    }
}

fn absent(detail: String) -> Applied {
    Applied {
        outcome: Outcome::Absent,
        detail,
        notices: Vec::new(),
    }
}

/// The folder of pods and the names in it, in order. The folder itself may be behind a symlink, as
/// where `/var/lib/kubelet` is on another disk.
fn list(root: &Root) -> Result<Option<(OwnedFd, Vec<OsString>)>, Error> {
    let failed = |operation| {
        move |source: io::Error| Error::Io {
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

/// A pod's copy, if it has one and is a host-network pod's.
fn open(pods: &OwnedFd, pod: OsString, path: &Path) -> Result<Option<InPlace>, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = match rustix::fs::openat(pods, &pod, flags, Mode::empty()) {
        Ok(folder) => folder,
        // Gone meanwhile, or not a pod.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        Err(errno) => {
            return Err(Error::Io {
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
