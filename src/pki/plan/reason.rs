//! Why something is kept, made, renewed or refused, and what a person can do about it.

mod words;

use std::path::{Path, PathBuf};

use crate::pki::inventory::Exposed;
use crate::pki::profile::Names;
use crate::pki::wanted::{Item, Kind};

/// Why a decision was taken. Shown after the item's name, as in `apiserver: not due: …`. Times are
/// Unix times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Kept: it is there.
    InPlace {
        /// What is odd about it, worst first.
        remarks: Vec<String>,
    },
    /// Kept: its end is not near.
    NotDue {
        /// The item.
        id: String,
        /// Its last second.
        ends: i64,
        /// The moment of the plan.
        now: i64,
        /// Names that it should have; they alone are no reason to renew it.
        lacks: Names,
    },
    /// Kept: it begins in the future, so that a clock is or was wrong.
    NotYetValid {
        /// Its first second.
        begins: i64,
    },
    /// Kept: it is the kubelet's own.
    RenewsItself,
    /// Kept although it is due: a new one would end no later.
    GainsNothing {
        /// The last second of a new one.
        ends: i64,
        /// Whether that is the authority's.
        authority: bool,
    },
    /// Made: nothing is there.
    Absent,
    /// Made: the private key is there, the public one is not.
    PublicAbsent,
    /// Renewed: its end is near or over.
    Due {
        /// Its last second.
        ends: i64,
        /// The moment of the plan.
        now: i64,
        /// The new one's last second, where its authority leaves it less than its time.
        shortened: Option<i64>,
    },
    /// Renewed: by order.
    Forced {
        /// The new one's last second, where its authority leaves it less than its time.
        shortened: Option<i64>,
        /// Whether a kubeconfig's server and authority are put right, too.
        corrects: bool,
    },
    /// Refused: what all masters share is made with the cluster, and only then.
    Shared {
        /// The file.
        path: PathBuf,
    },
    /// Refused: certificates of an authority are there, and it is not.
    WouldNotFit {
        /// The authority's certificate.
        path: PathBuf,
        /// The files.
        leaves: Vec<PathBuf>,
    },
    /// Refused: there is nothing to renew.
    Missing,
    /// Refused: there is nothing to renew, and on most masters there should not be.
    OfFirstMaster,
    /// Refused: a file of a pair is missing.
    Half {
        /// The half that is there.
        present: PathBuf,
        /// The half that is not.
        missing: PathBuf,
        /// The item, where it can be made anew by order.
        replaceable: Option<String>,
    },
    /// Refused: a file cannot be used.
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why, as in `holds no certificate`.
        reason: String,
        /// The item, where it can be made anew by order.
        replaceable: Option<String>,
    },
    /// Refused: the key is another certificate's.
    KeyMismatch {
        /// The item.
        id: String,
    },
    /// Refused where it is due or named: its authority has not signed it.
    Foreign {
        /// The item.
        id: String,
        /// Who has.
        issuer: String,
    },
    /// Refused where it is due or named: a kubeconfig that does not trust the node's authority.
    Distrusts {
        /// The item.
        id: String,
        /// The authority's id.
        authority: String,
    },
    /// Refused where it is due or named: a kubeconfig that points to its pair, and is not the kubelet's.
    InFiles {
        /// The item.
        id: String,
    },
    /// Refused: its key is open to others.
    Exposed {
        /// The item.
        id: String,
        /// The file.
        exposed: Exposed,
    },
    /// Refused: a symlink is never replaced, because programs that watch it would not notice.
    Linked {
        /// The file.
        path: PathBuf,
    },
    /// Refused: authorities and service-account keys are not renewed.
    NotRenewed,
    /// Refused: the cluster file asks for names that are to be left out.
    NameWanted {
        /// These.
        names: Names,
    },
    /// Refused: its authority cannot sign.
    Authority {
        /// The authority's id.
        id: String,
        /// Why.
        problem: AuthorityProblem,
    },
}

/// Why an authority cannot sign. Times are Unix times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthorityProblem {
    /// It is not there.
    Missing,
    /// Its files cannot be used.
    Unusable,
    /// Its key is kept elsewhere.
    NoKey,
    /// Its key is open to others.
    Exposed(Exposed),
    /// It ended at that time.
    Expired(i64),
    /// It begins at that time.
    NotYetValid(i64),
}

impl Reason {
    pub(super) fn half(item: &Item, present: &Path, missing: &Path) -> Self {
        Self::Half {
            present: present.to_owned(),
            missing: missing.to_owned(),
            replaceable: replaceable(item),
        }
    }

    pub(super) fn unusable(item: &Item, path: &Path, reason: &str) -> Self {
        Self::Unusable {
            path: path.to_owned(),
            reason: reason.to_owned(),
            replaceable: replaceable(item),
        }
    }
}

/// Leaves and kubeconfigs can be made anew; what all masters share cannot.
fn replaceable(item: &Item) -> Option<String> {
    match item.kind {
        Kind::Leaf { .. } | Kind::Kubeconfig { .. } => Some(item.id.clone()),
        Kind::Authority { .. } | Kind::KeyPair { .. } => None,
    }
}
