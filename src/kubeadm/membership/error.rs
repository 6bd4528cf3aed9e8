//! Why a master does not join or leave.

use std::path::PathBuf;
use std::time::Duration;

use super::manifest;
use super::plan::{Ambiguous, Bar, Refusal};
use super::{LEFT, MANIFEST};
use crate::api::etcd;
use crate::file;
use crate::static_pod;

/// Why a master does not join or leave.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// etcd refuses, or something of this machine's is missing.
    #[error(transparent)]
    Etcd(#[from] etcd::Error),
    /// No member that could be asked.
    #[error("no member of etcd on another master answers and is healthy: {0}")]
    Nobody(String),
    /// The cluster is not well: no time for another member.
    #[error("{0}; mend this before another member comes")]
    Unhealthy(String),
    /// The member list forbids it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is not clear who is to leave.
    #[error(transparent)]
    Ambiguous(#[from] Ambiguous),
    /// Leaving would break etcd.
    #[error(transparent)]
    Barred(#[from] Bar),
    /// Certificates that are not there, or do not carry the names.
    #[error(
        "etcd's certificates are not ready: {0}; run `stayput certs init`, or for names that are missing `stayput certs renew etcd-server etcd-peer --force`"
    )]
    Certificates(String),
    /// Another member's data.
    #[error(
        "{} holds the data of a member that is not in etcd any more; it is of no use to a new one: move it away, and run this again",
        .0.display()
    )]
    Data(PathBuf),
    /// The data of a member that has started is gone.
    #[error(
        "this master's member has started before, and {} is not there: without it etcd would take the member for one that has forgotten what it agreed to; take it out with `stayput kubeadm leave-etcd`, and run this again",
        .0.display()
    )]
    NoData(PathBuf),
    /// The manifest is of a member that etcd does not know any more.
    #[error(
        "{MANIFEST} is of {0}, which was removed from etcd; put it away with `stayput kubeadm leave-etcd`, and run this again"
    )]
    Removed(String),
    /// Somebody else's manifest.
    #[error(
        "{MANIFEST} is there and is not of a member {name} at {peer_url}: {reason}; move it away if it is not needed"
    )]
    OtherManifest {
        /// The member that joins.
        name: String,
        /// Where it is to be reached.
        peer_url: String,
        /// What the manifest says.
        reason: String,
    },
    /// It is not known which etcd to run.
    #[error("it is not known which image the other members run ({0}); give it with --image")]
    Image(String),
    /// The manifest cannot be looked at.
    #[error("cannot look at {}: {source}", path.display())]
    Look {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file cannot be written or moved.
    #[error(transparent)]
    File(#[from] file::Error),
    /// What the others run cannot be taken over.
    #[error("{MANIFEST} cannot be made from another member's: {0}")]
    Theirs(#[from] manifest::Error),
    /// A run of another kind has left manifests out, and they do not go back.
    #[error(transparent)]
    StaticPod(#[from] static_pod::Error),
    /// Added, but it does not catch up.
    #[error(
        "{name} is in etcd as a learner but has no vote after {} s ({last}); is its pod running (crictl ps, the kubelet's log)? Run this again to go on, or `stayput kubeadm leave-etcd` to go back",
        limit.as_secs()
    )]
    NotInTime {
        /// The member.
        name: String,
        /// How long was waited.
        limit: Duration,
        /// What etcd said last.
        last: String,
    },
    /// Something failed after the member was added.
    #[error(
        "{source}; {name} is in etcd as a learner: run this again to go on, or `stayput kubeadm leave-etcd` to go back"
    )]
    Halfway {
        /// The member.
        name: String,
        /// What failed.
        source: Box<Error>,
    },
    /// Nobody of that name.
    #[error("etcd has no member {name}; its members are {members}")]
    Unknown {
        /// Who was meant.
        name: String,
        /// Who is there.
        members: String,
    },
    /// Told to remove itself as if it were another, dead one.
    #[error("this machine is {0}; leave without --name")]
    Myself(String),
    /// The manifest of an earlier leave is in the way.
    #[error("{LEFT} and its successors are all there; remove them")]
    Crowded,
}
