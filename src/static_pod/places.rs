//! Where a manifest lies while its pod ends, and what that says of a run that died.
//!
//! In [`FOLDER`], for the pod `POD`:
//!
//! | file | with the manifest in its place | without it |
//! |---|---|---|
//! | `POD.yaml` | somebody has put another there, which stays | it belongs back |
//! | `POD.yaml.new` | an exchange that had not begun, or came too late: it is removed | it is complete, and goes in |
//! | `POD.yaml.replaced` | the one before the last exchange, of which was not seen that it works | |
//! | `POD.yaml.displaced-1` … | one that somebody has put another instead of | |
//!
//! An exchange goes this way: `.new` is written; the manifest becomes `POD.yaml`; its container ends;
//! that becomes `.replaced`, `.new` becomes the manifest; the new container runs; `.replaced` is removed.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, Mode, OFlags};

use super::Error;
use crate::file::{self, Moved, move_file, remove_empty_folder};
use crate::root::Root;

/// The kubelet's folder of static pods, as kubeadm sets it (`staticPodPath`).
pub const MANIFESTS: &str = "/etc/kubernetes/manifests";
/// Where a manifest lies while its pod ends: on the same file system, and not below [`MANIFESTS`].
pub const FOLDER: &str = "/etc/kubernetes/.stayput-restart";

/// A manifest that an earlier run had left out, or one that was not put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// It is back in its place.
    Restored(PathBuf),
    /// The new one is in its place.
    Exchanged {
        /// The new one.
        manifest: PathBuf,
        /// Where the old one lies.
        kept: PathBuf,
    },
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
            Self::Exchanged { manifest, kept } => write!(
                f,
                "an earlier run was interrupted while it changed a static pod; the new {} is in its \
                 place, the old one is kept as {}",
                manifest.display(),
                kept.display()
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

/// Puts in place what a run that died has left out, and tells what that was. For whoever holds the
/// certificates' lock.
pub fn recover(root: &Root) -> Result<Vec<Recovered>, Error> {
    let mut recovered = Vec::new();
    for pod in journal(root)? {
        recovered.extend(Places::of(&pod)?.settle(root)?);
    }
    // An empty one is in nobody's way.
    let _ = remove_empty_folder(root, Path::new(FOLDER));
    Ok(recovered)
}

/// The pods whose manifests are out of their folder now: being restarted, or left so by a run that
/// died.
pub fn left_out(root: &Root) -> Result<Vec<String>, Error> {
    let mut pods = journal(root)?;
    // A new one that waits while the old one is in its place keeps nobody from running.
    pods.retain(|pod| {
        Places::of(pod).is_ok_and(|places| {
            places.exists(root, &places.aside).unwrap_or(true) || !is_here(root, pod)
        })
    });
    Ok(pods)
}

/// The pods of which [`FOLDER`] says that something is to be done.
fn journal(root: &Root) -> Result<Vec<String>, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let folder = match root.open_at(Path::new(FOLDER), flags, Mode::empty()) {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::Folder(error)),
    };
    let mut pods = BTreeSet::new();
    for entry in Dir::read_from(&folder).map_err(|errno| Error::Folder(errno.into()))? {
        let entry = entry.map_err(|errno| Error::Folder(errno.into()))?;
        let name = entry.file_name().to_str().ok();
        let name = name.map(|name| name.strip_suffix(NEW).unwrap_or(name));
        let pod = name.and_then(|name| name.strip_suffix(".yaml"));
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

const NEW: &str = ".new";

/// Where a pod's manifest belongs, and where it lies meanwhile.
pub(super) struct Places {
    pub(super) pod: String,
    pub(super) manifest: PathBuf,
    pub(super) aside: PathBuf,
    /// The one that is to take its place.
    pub(super) new: PathBuf,
    /// The one whose place was taken.
    pub(super) replaced: PathBuf,
}

impl Places {
    pub(super) fn of(pod: &str) -> Result<Self, Error> {
        if !is_pod(pod) {
            return Err(Error::Name(pod.to_owned()));
        }
        let file = format!("{pod}.yaml");
        let folder = Path::new(FOLDER);
        Ok(Self {
            pod: pod.to_owned(),
            manifest: Path::new(MANIFESTS).join(&file),
            aside: folder.join(&file),
            new: folder.join(format!("{file}{NEW}")),
            replaced: folder.join(format!("{file}.replaced")),
        })
    }

    /// Makes [`FOLDER`].
    pub(super) fn make(root: &Root) -> Result<(), file::Error> {
        root.create_folders(Path::new(FOLDER), 0o700)
            .map_err(|source| file::Error::Io {
                operation: "make the folder",
                path: FOLDER.into(),
                source,
            })
    }

    /// Takes the manifest out of the kubelet's sight; `false` where there is none.
    pub(super) fn take_out(&self, root: &Root) -> Result<bool, Error> {
        Self::make(root).map_err(Error::Unmoved)?;
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

    /// Puts the manifest back, if it lies aside. A new one that was to take its place is removed.
    pub(super) fn put_back(&self, root: &Root) -> Result<Option<Recovered>, Error> {
        // First of all: it would go in, otherwise, by the next run.
        file::remove(root, &self.new).map_err(|error| self.stuck(error))?;
        let stuck = |error| self.stuck(error);
        let done = match move_file(root, &self.aside, &self.manifest).map_err(stuck)? {
            Moved::Done => Some(Recovered::Restored(self.manifest.clone())),
            Moved::Absent => None,
            Moved::Occupied => self.keep(root, &self.aside)?,
        };
        // A folder that stays is in nobody's way.
        let _ = remove_empty_folder(root, Path::new(FOLDER));
        Ok(done)
    }

    /// Lets the new manifest take the place of the one that was taken out.
    pub(super) fn put_in(&self, root: &Root) -> Result<Option<Recovered>, Error> {
        let stuck = |error| self.stuck(error);
        // Of an earlier exchange. Where it stays, the new manifest goes in all the same.
        if self.exists(root, &self.aside)? {
            let _ = file::remove(root, &self.replaced);
        }
        // Nothing to be moved where a run died just behind this.
        move_file(root, &self.aside, &self.replaced).map_err(stuck)?;
        match move_file(root, &self.new, &self.manifest).map_err(stuck)? {
            Moved::Done => Ok(Some(Recovered::Exchanged {
                manifest: self.manifest.clone(),
                kept: self.replaced.clone(),
            })),
            Moved::Absent => Ok(None),
            Moved::Occupied => {
                let kept = self.keep(root, &self.replaced)?;
                file::remove(root, &self.new).map_err(stuck)?;
                Ok(kept)
            }
        }
    }

    /// Makes good what a run that died has left of this pod.
    fn settle(&self, root: &Root) -> Result<Option<Recovered>, Error> {
        if !self.exists(root, &self.new)? {
            return self.put_back(root);
        }
        if !self.exists(root, &self.manifest)? {
            return self.put_in(root);
        }
        if self.exists(root, &self.aside)? {
            return self.put_back(root);
        }
        // Where that had begun, somebody has put another one in; otherwise it is the old one.
        let kept = self.keep(root, &self.replaced)?;
        file::remove(root, &self.new).map_err(|error| self.stuck(error))?;
        Ok(kept)
    }

    pub(super) fn exists(&self, root: &Root, path: &Path) -> Result<bool, Error> {
        let look = |source| file::Error::Io {
            operation: "look for",
            path: path.to_owned(),
            source,
        };
        root.exists(path).map_err(|error| self.stuck(look(error)))
    }

    fn stuck(&self, error: file::Error) -> Error {
        Error::Stuck(error, self.pod.clone())
    }

    /// Gives a manifest that somebody has put another instead of a name under which it is not put back
    /// any more.
    fn keep(&self, root: &Root, from: &Path) -> Result<Option<Recovered>, Error> {
        for number in 1_u32.. {
            let mut kept = self.aside.clone().into_os_string();
            kept.push(format!(".displaced-{number}"));
            let kept = PathBuf::from(kept);
            match move_file(root, from, &kept).map_err(|error| self.stuck(error))? {
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
