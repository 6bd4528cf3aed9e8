//! What lies on the disk: the configuration, the cluster's authority, the socket's place.
//!
//! Everything here blocks and belongs on the writing thread.

use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use super::authority::{self, Authority, Found};
use super::render::{Rendering, authority_of, is_ours, render};
use crate::config::cluster;
use crate::file;
use crate::root::Root;
use crate::view::View;

/// The file of the distribution's own HAProxy, which is never ours to write.
pub(super) const DISTRIBUTION: &str = "/etc/haproxy/haproxy.cfg";

/// No configuration of ours comes near this size.
const LONGEST_FILE: u64 = 16 * 1024 * 1024;

/// HAProxy's master reads the file as root; nobody else has to.
const FILE_MODE: u32 = 0o600;

/// The disk, looked at in one go.
#[derive(Debug)]
pub(super) struct Disk {
    /// The configuration; empty where there is none.
    file: String,
    authority: Found,
    /// The socket as HAProxy sees it.
    socket: PathBuf,
}

impl Disk {
    /// Looks. A configuration that is not ours is an error: nothing may be done to it.
    pub(super) fn look(root: &Root, settings: &cluster::Haproxy) -> Result<Self, Error> {
        let path = &settings.config;
        not_the_distribution(path)?;
        let bytes = root.read(path, LONGEST_FILE);
        let bytes = bytes.map_err(at("read", path))?.unwrap_or_default();
        if !is_ours(&bytes) {
            return Err(Error::Foreign(path.clone()));
        }
        Ok(Self {
            // Ours is UTF-8: one that is not any more differs, and is replaced.
            file: String::from_utf8_lossy(&bytes).into_owned(),
            authority: Found::look(root),
            socket: host_path(root, &settings.socket),
        })
    }

    /// The configuration for a view, with the authority that is usable.
    pub(super) fn render(&self, view: &View) -> Result<Rendering, Error> {
        let authority = self.authority.usable(authority_of(&self.file));
        Ok(render(view, authority.as_ref(), &self.socket)?)
    }

    /// The same with the authority that the file was rendered with, where a newer one was found.
    pub(super) fn render_with_earlier_authority(
        &self,
        view: &View,
    ) -> Result<Option<Rendering>, Error> {
        let Found::Good(found) = &self.authority else {
            return Ok(None);
        };
        let earlier = authority_of(&self.file).map(|digest| Authority {
            path: found.path.clone(),
            digest: digest.to_owned(),
        });
        Ok(Some(render(view, earlier.as_ref(), &self.socket)?))
    }

    /// Whether the file is this one.
    pub(super) fn holds(&self, wanted: &Rendering) -> bool {
        self.file == wanted.text
    }

    /// Whether a HAProxy that was started with the file has another structure than this one.
    pub(super) fn could_run_otherwise(&self, wanted: &Rendering) -> bool {
        !self.file.trim().is_empty() && !self.has_structure_of(wanted)
    }

    /// Whether the file differs from this one in nothing but addresses.
    pub(super) fn has_structure_of(&self, wanted: &Rendering) -> bool {
        wanted.has_structure_of(&self.file)
    }

    /// Whether masters can be checked by name at all, and whether they were until now.
    pub(super) fn trust(&self) -> Trust {
        match (&self.authority, authority_of(&self.file)) {
            (Found::Missing, None) => Trust::None,
            (Found::Missing, Some(_)) => Trust::JustLost,
            (Found::Good(_) | Found::Damaged { .. }, _) => Trust::There,
        }
    }

    /// What an operator should know of the disk.
    pub(super) fn notice(&self) -> Option<String> {
        let Found::Damaged { path, reason } = &self.authority else {
            return None;
        };
        let so = match authority_of(&self.file) {
            Some(_) => "health checks go on with the authority that HAProxy has loaded",
            None => "health checks stay plain TCP connections",
        };
        Some(format!("{path} {reason}; {so} until it is repaired"))
    }
}

/// Whether there is an authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// A file is there, if a damaged one.
    There,
    /// No file, and the configuration is without one: a worker before its join.
    None,
    /// No file, and the configuration still names it.
    JustLost,
}

impl Trust {
    /// What an operator should know. `lost`: there was one in this agent's time.
    pub(super) fn notice(self, lost: bool) -> Option<String> {
        let path = authority::PATH;
        match self {
            Self::There => None,
            Self::None if !lost => Some(format!(
                "no {path} yet: health is a TCP connection only, not verified"
            )),
            Self::None | Self::JustLost => Some(format!(
                "{path} is gone: health was verified by the masters' names and is a TCP connection \
                 only now, which any machine at a master's address passes; restore the file"
            )),
        }
    }
}

/// Makes the folders of file and socket where they are missing.
pub(super) fn create_folders(root: &Root, settings: &cluster::Haproxy) -> Result<(), Error> {
    not_the_distribution(&settings.config)?;
    for (path, mode) in [(&settings.config, 0o700), (&settings.socket, 0o755)] {
        if let Some(folder) = path.parent() {
            let made = root.create_folders(folder, mode);
            made.map_err(at("create", folder))?;
        }
    }
    Ok(())
}

fn not_the_distribution(path: &Path) -> Result<(), Error> {
    if path == Path::new(DISTRIBUTION) {
        return Err(Error::Distribution);
    }
    Ok(())
}

/// Writes a configuration; tells whether its bytes differed.
pub(super) fn write(root: &Root, path: &Path, text: &str) -> Result<bool, Error> {
    Ok(file::replace(root, path, text.as_bytes(), FILE_MODE)?)
}

/// Where a configuration lies while HAProxy judges it.
pub(super) fn candidate(settings: &cluster::Haproxy) -> PathBuf {
    let mut path = settings.config.clone().into_os_string();
    path.push(".candidate");
    path.into()
}

/// Removes the candidate of a run that was cut short. One that cannot be removed is in nobody's way
/// until the next candidate is written, which then tells why not.
pub(super) fn remove_candidate(root: &Root, settings: &cluster::Haproxy) {
    let _ = file::remove(root, &candidate(settings));
}

/// The path by which HAProxy, which knows nothing of the root, reaches the same place.
pub(super) fn host_path(root: &Root, path: &Path) -> PathBuf {
    root.host_path(path).unwrap_or_else(|_| {
        // The folder is not there yet, so no symlink is in it.
        root.path().join(path.strip_prefix("/").unwrap_or(path))
    })
}

fn at<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::Look {
        operation,
        path: path.to_owned(),
        source,
    }
}
