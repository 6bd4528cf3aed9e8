//! Restarts a static pod: its manifest is taken out of the kubelet's folder until its container is
//! gone, and put back.
//!
//! A kubelet ends a static pod when its manifest goes, and starts it again when it comes back
//! (within its `fileCheckFrequency` of 20 s where inotify fails). It has no other order for that: the
//! mirror pod in the API is only a picture, and changing the manifest would leave a trace in it.
//!
//! Invariants:
//!
//! - The manifest is never lost. It is always in one of two folders, by one rename from one to the
//!   other, and [`FOLDER`] is the journal: what lies in it belongs back. Whoever dies between the two
//!   renames, at any system call, is made good by the next [`recover`].
//! - It is never written and never copied, so its bytes, owner, mode and label stay.
//! - It never takes another one's place: where somebody has put a new manifest meanwhile, that one
//!   stays, and ours is kept beside with a suffix and told.
//! - It is back after the time limit and after a signal too, whether the pod has ended or not.
//!
//! All of it, [`recover`] too, is for whoever holds the certificates' lock: another one at work would
//! find its manifest put back too early.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Dir, Mode, OFlags};
use tokio::time::{Instant, sleep};

use super::processes::{self, Id, Processes};
use crate::file::{self, Moved, move_file, remove_empty_folder};
use crate::root::Root;
use crate::yaml::{self, Tree};

/// The kubelet's folder of static pods, as kubeadm sets it (`staticPodPath`).
pub const MANIFESTS: &str = "/etc/kubernetes/manifests";
/// Where a manifest lies while its pod ends: on the same file system, and not below [`MANIFESTS`].
pub const FOLDER: &str = "/etc/kubernetes/.stayput-restart";
/// The largest manifest that is read, in bytes.
const LIMIT: u64 = 1 << 20;

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
    /// Its container does not run: when it starts, it reads the new files anyway.
    NotRunning,
    /// It was restarted.
    Done {
        /// From the manifest's leaving until the container was gone.
        gone: Duration,
        /// From its return until a new container ran.
        back: Duration,
    },
}

/// A manifest that an earlier run had left out, or one that was not put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// It is back in its place.
    Restored(PathBuf),
    /// Somebody has put a new one in its place; that one stays.
    Displaced {
        /// The new one.
        manifest: PathBuf,
        /// Where the old one lies.
        kept: PathBuf,
    },
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restored(manifest) => write!(
                f,
                "an earlier run was interrupted while it restarted a static pod; {} is back",
                manifest.display()
            ),
            Self::Displaced { manifest, kept } => write!(
                f,
                "an earlier run was interrupted while it restarted a static pod; {} is a new one and \
                 stays, the old one is kept as {}",
                manifest.display(),
                kept.display()
            ),
        }
    }
}

/// Why a pod was not restarted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a name that a manifest can have.
    #[error("'{0}' is no static pod's name")]
    Name(String),
    /// The manifest cannot be read.
    #[error("cannot read {}: {source}; nothing has changed", path.display())]
    Read {
        /// The manifest.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The manifest does not tell which process is the pod's.
    #[error(
        "{}: {reason}, so it is not known when its container is gone; restart it by a program in certificates.afterRenew",
        path.display()
    )]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Processes cannot be seen.
    #[error(transparent)]
    Processes(#[from] processes::Error),
    /// The manifest cannot be moved.
    #[error("{0}; look for {pod}'s manifest in {FOLDER} and move it back to {MANIFESTS}", pod = .1)]
    Stuck(#[source] file::Error, String),
    /// The manifest cannot be moved at all; it is where it was.
    #[error("{0}; nothing has changed")]
    Unmoved(#[source] file::Error),
    /// Somebody put another manifest in its place.
    #[error(
        "somebody has put a new {} in its place meanwhile, and it stays; the old one is kept as {}",
        manifest.display(), kept.display()
    )]
    Displaced {
        /// The new one.
        manifest: PathBuf,
        /// The old one.
        kept: PathBuf,
    },
    /// The container did not go.
    #[error(
        "{pod} did not end within {} s of its manifest's leaving; the manifest is back. Does the kubelet run, and is its staticPodPath {MANIFESTS}?",
        limit.as_secs()
    )]
    StillRuns {
        /// The pod.
        pod: String,
        /// How long was waited.
        limit: Duration,
    },
    /// No new container came.
    #[error(
        "{pod} has ended and its manifest is back, but it does not run again after {} s. The likely reason \
         is the kubelet's back-off for a pod that has ended before, of up to five minutes: it comes back by \
         itself then; otherwise see the kubelet's log",
        limit.as_secs()
    )]
    NotBack {
        /// The pod.
        pod: String,
        /// How long was waited.
        limit: Duration,
    },
    /// This program was told to end.
    #[error("told to end while {0} was being restarted; its manifest is back")]
    Stopped(String),
    /// The folder cannot be looked into.
    #[error("cannot look into {FOLDER}: {0}; a manifest in it belongs into {MANIFESTS}")]
    Folder(io::Error),
}

/// Restarts the pod whose manifest is `POD.yaml`. Waits until it runs again, or until `stop`.
pub async fn restart(
    root: &Root,
    processes: &Processes,
    pod: &str,
    limits: &Limits,
    stop: impl Future<Output = ()>,
) -> Result<Restarted, Error> {
    let places = Places::of(pod)?;
    let Some(command) = command_of(root, &places.manifest)? else {
        return Ok(Restarted::NoManifest);
    };
    let before = processes.running(&command)?;
    if before.is_empty() {
        return Ok(Restarted::NotRunning);
    }
    // What a run that died has left; the one that lies in its place now is newer.
    places.put_back(root)?;
    if !places.take_out(root)? {
        return Ok(Restarted::NoManifest);
    }
    let mut stop = std::pin::pin!(stop);
    let left = Instant::now();
    let waited = tokio::select! {
        waited = gone(processes, &command, &before, limits) => waited,
        () = &mut stop => Err(Error::Stopped(pod.to_owned())),
    };
    // Whatever came of the wait, first of all the manifest goes back.
    let put_back = places.put_back(root)?;
    if let Some(Recovered::Displaced { manifest, kept }) = put_back {
        return Err(Error::Displaced { manifest, kept });
    }
    let gone = left.elapsed();
    let Some(others) = waited? else {
        let (pod, limit) = (pod.to_owned(), limits.gone);
        return Err(Error::StillRuns { pod, limit });
    };
    let known = before.union(&others).copied().collect();
    let returned = Instant::now();
    let runs = tokio::select! {
        runs = back(processes, &command, &known, limits) => runs?,
        () = &mut stop => return Err(Error::Stopped(pod.to_owned())),
    };
    if runs.is_none() {
        let (pod, limit) = (pod.to_owned(), limits.back);
        return Err(Error::NotBack { pod, limit });
    }
    let back = returned.elapsed();
    Ok(Restarted::Done { gone, back })
}

/// Puts back what a run that died has left out, and tells what that was. For whoever holds the
/// certificates' lock.
pub fn recover(root: &Root) -> Result<Vec<Recovered>, Error> {
    let mut recovered = Vec::new();
    for pod in left_out(root)? {
        recovered.extend(Places::of(&pod)?.put_back(root)?);
    }
    // An empty one is in nobody's way.
    let _ = remove_empty_folder(root, Path::new(FOLDER));
    Ok(recovered)
}

/// The pods whose manifests are out of their folder now: being restarted, or left so by a run that
/// died.
pub fn left_out(root: &Root) -> Result<Vec<String>, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let folder = match root.open_at(Path::new(FOLDER), flags, Mode::empty()) {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::Folder(error)),
    };
    let mut pods = BTreeSet::new();
    for entry in Dir::read_from(&folder).map_err(|errno| Error::Folder(errno.into()))? {
        let entry = entry.map_err(|errno| Error::Folder(errno.into()))?;
        let pod = entry.file_name().to_str().ok();
        let pod = pod.and_then(|name| name.strip_suffix(".yaml"));
        // Another's name is another's file.
        pods.extend(pod.filter(|pod| is_pod(pod)).map(str::to_owned));
    }
    Ok(pods.into_iter().collect())
}

/// What a command that only looks says of a pod whose manifest is out.
pub fn missing(pod: &str) -> String {
    format!(
        "{pod} does not run: its manifest was taken out by a restart that died; `stayput certs renew` puts it back"
    )
}

/// Whether a pod has its manifest on this machine; also where that cannot be seen.
pub fn is_here(root: &Root, pod: &str) -> bool {
    Places::of(pod).is_ok_and(|places| root.exists(&places.manifest).unwrap_or(true))
}

/// Where a pod's manifest belongs, and where it lies meanwhile.
struct Places {
    pod: String,
    manifest: PathBuf,
    aside: PathBuf,
}

impl Places {
    fn of(pod: &str) -> Result<Self, Error> {
        if !is_pod(pod) {
            return Err(Error::Name(pod.to_owned()));
        }
        let file = format!("{pod}.yaml");
        Ok(Self {
            pod: pod.to_owned(),
            manifest: Path::new(MANIFESTS).join(&file),
            aside: Path::new(FOLDER).join(&file),
        })
    }

    /// Takes the manifest out of the kubelet's sight; `false` where there is none.
    fn take_out(&self, root: &Root) -> Result<bool, Error> {
        let folder = |source| file::Error::Io {
            operation: "make the folder",
            path: FOLDER.into(),
            source,
        };
        root.create_folders(Path::new(FOLDER), 0o700)
            .map_err(|source| Error::Unmoved(folder(source)))?;
        match move_file(root, &self.manifest, &self.aside) {
            Ok(Moved::Done) => Ok(true),
            Ok(Moved::Absent | Moved::Occupied) => Ok(false),
            Err(error) => {
                // It may have been moved, and its folder not have been synced.
                self.put_back(root)?;
                Err(Error::Unmoved(error))
            }
        }
    }

    /// Puts the manifest back, if it lies aside.
    fn put_back(&self, root: &Root) -> Result<Option<Recovered>, Error> {
        let stuck = |error| Error::Stuck(error, self.pod.clone());
        let done = match move_file(root, &self.aside, &self.manifest).map_err(stuck)? {
            Moved::Done => Some(Recovered::Restored(self.manifest.clone())),
            Moved::Absent => None,
            Moved::Occupied => self.keep(root).map_err(stuck)?,
        };
        // A folder that stays is in nobody's way.
        let _ = remove_empty_folder(root, Path::new(FOLDER));
        Ok(done)
    }

    /// Gives the manifest a name under which it is not put back any more.
    fn keep(&self, root: &Root) -> Result<Option<Recovered>, file::Error> {
        for number in 1_u32.. {
            let mut kept = self.aside.clone().into_os_string();
            kept.push(format!(".displaced-{number}"));
            let kept = PathBuf::from(kept);
            match move_file(root, &self.aside, &kept)? {
                Moved::Occupied => {}
                Moved::Absent => break,
                Moved::Done => {
                    let manifest = self.manifest.clone();
                    return Ok(Some(Recovered::Displaced { manifest, kept }));
                }
            }
        }
        Ok(None)
    }
}

/// Whether a manifest can be named so. The kubelet passes over names that begin with a dot.
fn is_pod(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && !name.starts_with('.') && name.chars().all(plain)
}

/// Waits until none of the processes is left. Gives those that run besides; `None` when that takes too
/// long.
async fn gone(
    processes: &Processes,
    command: &[String],
    before: &BTreeSet<Id>,
    limits: &Limits,
) -> Result<Option<BTreeSet<Id>>, Error> {
    let left = |now: &BTreeSet<Id>| now.is_disjoint(before);
    until(processes, command, limits.gone, limits.look, left).await
}

/// Waits until there is one that is not known. `None` when that takes too long.
async fn back(
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

/// Command and arguments of a manifest's first container; `None` where there is no manifest.
fn command_of(root: &Root, manifest: &Path) -> Result<Option<Vec<String>>, Error> {
    let path = manifest.to_owned();
    let bytes = match root.read(manifest, LIMIT) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(source) => return Err(Error::Read { path, source }),
    };
    let parsed = String::from_utf8(bytes)
        .map_err(|error| error.to_string())
        .and_then(|text| yaml::parse(&text).map_err(|error| error.to_string()))
        .and_then(|tree| process_of(&tree).map_err(str::to_owned));
    parsed
        .map(Some)
        .map_err(|reason| Error::Manifest { path, reason })
}

/// How its process is recognised. One with a network of its own could be another cluster's, whose
/// control plane runs in pods of this one.
fn process_of(manifest: &Tree) -> Result<Vec<String>, &'static str> {
    let spec = get(manifest, "spec");
    let network = spec.and_then(|spec| get(spec, "hostNetwork"));
    if !matches!(network, Some(Tree::Bool(true))) {
        return Err("it has no `hostNetwork: true`");
    }
    command_in(manifest).ok_or("its first container names no command")
}

fn command_in(manifest: &Tree) -> Option<Vec<String>> {
    let containers = get(get(manifest, "spec")?, "containers")?;
    let Tree::Sequence(containers) = containers else {
        return None;
    };
    let container = containers.first()?;
    let mut command = texts(get(container, "command")?)?;
    if let Some(arguments) = get(container, "args") {
        command.extend(texts(arguments)?);
    }
    (!command.is_empty()).then_some(command)
}

fn get<'a>(tree: &'a Tree, key: &str) -> Option<&'a Tree> {
    let Tree::Mapping(entries) = tree else {
        return None;
    };
    entries
        .iter()
        .find(|(k, _)| k == key)
        .map(|(_, value)| value)
}

fn texts(tree: &Tree) -> Option<Vec<String>> {
    let Tree::Sequence(items) = tree else {
        return matches!(tree, Tree::Null).then(Vec::new);
    };
    let text = |item: &Tree| match item {
        Tree::String(text) => Some(text.clone()),
        _ => None,
    };
    items.iter().map(text).collect()
}

#[cfg(test)]
mod tests;
