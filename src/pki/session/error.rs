//! Why a run ended before it did anything.

use crate::config::Problems;
use crate::lock;
use crate::pki::after::owed;
use crate::pki::profile::Names;
use crate::pki::{bundle, moment, prepare, store};
use crate::static_pod;

/// Why a run ended before it did anything, or why one item was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Only masters are issued anything.
    #[error(
        "this node, {node}, is none of the masters of the cluster file ({masters}), so nothing is issued on it. If it is one by another name, give that with --node or as 'name' in the node file; a worker's kubelet renews its own certificate"
    )]
    NotMaster {
        /// The node's name in Kubernetes, by default the host name.
        node: String,
        /// The masters' names.
        masters: String,
    },
    /// Names that are none.
    #[error("there is no certificate '{name}'; the names are {known}")]
    Unknown {
        /// What was given.
        name: String,
        /// What there is.
        known: String,
    },
    /// Names to drop that no certificate has.
    #[error("nothing to drop: none of these certificates has {0}; see `stayput certs status`")]
    NotThere(Names),
    /// The catalogue with the operator's rows.
    #[error(transparent)]
    Catalogue(#[from] Problems),
    /// Another run.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// The time is not known.
    #[error(transparent)]
    Moment(#[from] moment::Error),
    /// Nothing may be issued at this time.
    #[error(transparent)]
    Clock(#[from] moment::Refusal),
    /// An earlier run's journal, or new files.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// What is to follow is not known, or cannot be written down.
    #[error("{0}; nothing was issued")]
    Owed(#[from] owed::Error),
    /// A static pod's manifest that an earlier run has taken out.
    #[error(transparent)]
    After(#[from] static_pod::Error),
    /// A bundle that cannot be taken.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    /// Nothing could be made.
    #[error(transparent)]
    Prepare(#[from] prepare::Error),
}
