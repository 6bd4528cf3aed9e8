//! Why a run stops.

use std::path::PathBuf;
use std::time::Duration;

use super::stage::Stage;
use super::{backup, noted};
use crate::api::{etcd, kubernetes};
use crate::pki::{moment, session};
use crate::{file, process, static_pod};

/// Why a run cannot begin, or stops.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers, so that nothing is known of the others.
    #[error(
        "{0}; nothing has changed. What is mended needs a cluster that works: `stayput kubeadm rescue` gives the masters their old addresses back"
    )]
    Dead(#[source] kubernetes::Error),
    /// The API, while something was being done.
    #[error(transparent)]
    Api(#[from] kubernetes::Error),
    /// etcd does not answer.
    #[error("{0}; etcd's members have to be known first")]
    Etcd(#[from] etcd::Error),
    /// This node has no Node object.
    #[error(
        "there is no Node '{0}'; set kubernetesName in the node file, or give --kubernetes-name"
    )]
    NoNode(String),
    /// A name behind `--without` that is nobody's.
    #[error("--without {0}: there is no such node or master")]
    Unknown(String),
    /// Certificates cannot be issued.
    #[error(transparent)]
    Session(#[from] session::Error),
    /// The clock's memory cannot be read.
    #[error(transparent)]
    Moment(#[from] moment::Error),
    /// A certificate was not renewed.
    #[error("{0}")]
    NotIssued(String),
    /// Nothing can be kept as it was.
    #[error(transparent)]
    Backup(#[from] backup::Error),
    /// What an earlier run has written down.
    #[error(transparent)]
    Noted(#[from] noted::Error),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] file::Error),
    /// Somebody else has changed a file meanwhile.
    #[error("{} was changed by another program meanwhile, and stays as it is now; run this again", .0.display())]
    Changed(PathBuf),
    /// A pod was not restarted.
    #[error(transparent)]
    Pod(#[from] static_pod::Error),
    /// The kubelet was not restarted.
    #[error("cannot restart the kubelet: {0}; say how with --kubelet-restart")]
    Kubelet(#[source] process::Error),
    /// Something that was changed is not well.
    #[error("{what} is not well after {} s: {last}", limit.as_secs())]
    Sick {
        /// What.
        what: String,
        /// How long was waited.
        limit: Duration,
        /// What was seen last.
        last: String,
    },
    /// It was done, and is not.
    #[error(
        "something is still to be done in '{0}' after it was done; does another program undo it?"
    )]
    Undone(Stage),
    /// The kubelet took another address for its node's.
    #[error(
        "without --node-ip the kubelet takes {after} for this node's address, not {before}, which the machine still has; --node-ip is back, and the kubelet was restarted with it. Let the machine's own name lead to {before}, or its default route start there, and run this again"
    )]
    NodeIp {
        /// What it was.
        before: String,
        /// What it would be.
        after: String,
    },
    /// A `ConfigMap` that changes again and again.
    #[error("{0} is changed by others again and again; run this again when they are done")]
    Contended(String),
    /// This program was told to end before something was well.
    #[error(
        "told to end before {0} was well; what was changed stays, and the next run goes on from here"
    )]
    StoppedWaiting(String),
    /// This program was told to end.
    #[error("told to end")]
    Stopped,
}
