//! Why a static pod was not restarted, and where its manifest is then.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::places::{FOLDER, MANIFESTS};
use super::processes;
use crate::file;

/// Why a pod was not restarted, or its manifest not exchanged.
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
    /// What is to be put in its place does not tell it.
    #[error("the new manifest for {pod} is unusable: {reason}; nothing has changed")]
    New {
        /// The pod.
        pod: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody changed the manifest after the new one was made of it.
    #[error("{} was changed by another program meanwhile, and stays as it is now; run this again", path.display())]
    Changed {
        /// The manifest.
        path: PathBuf,
    },
    /// The new manifest cannot be written, or the old one not be replaced.
    #[error("cannot prepare the new manifest: {0}; nothing has changed")]
    Prepare(#[source] file::Error),
    /// The one before the last exchange is of no use any more, and stays.
    #[error(
        "the pod runs by its new manifest, and the old one that is kept cannot be removed: {0}; remove it"
    )]
    Kept(#[source] file::Error),
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
    /// No new container came for a new manifest.
    #[error(
        "{pod} has ended and its new manifest is in its place, but it does not run after {} s; the old one \
         is kept as {}: compare them, and see the kubelet's log",
        limit.as_secs(), kept.display()
    )]
    NotUp {
        /// The pod.
        pod: String,
        /// How long was waited.
        limit: Duration,
        /// The old manifest.
        kept: PathBuf,
    },
    /// This program was told to end.
    #[error("told to end while {0} was being restarted; a manifest is in its place")]
    Stopped(String),
    /// The folder cannot be looked into.
    #[error("cannot look into {FOLDER}: {0}; a manifest in it belongs into {MANIFESTS}")]
    Folder(io::Error),
}
