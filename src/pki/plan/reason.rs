//! Why something is kept, made, renewed or refused, and what a person can do about it.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::pki::inventory::Exposed;
use crate::pki::profile::Names;
use crate::pki::wanted::{Item, Kind};
use crate::pki::window::{between, date};

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

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InPlace { remarks } if remarks.is_empty() => f.write_str("is there"),
            Self::InPlace { remarks } => write!(f, "is there, but: {}", remarks.join("; ")),
            Self::NotDue {
                id,
                ends,
                now,
                lacks,
            } => not_due(f, id, &between(*ends, *now), lacks),
            Self::NotYetValid { begins } => write!(
                f,
                "is valid only from {} on: check this machine's clock",
                date(*begins)
            ),
            Self::RenewsItself => f.write_str("the kubelet renews it itself"),
            Self::GainsNothing { ends, authority } => gains_nothing(f, *ends, *authority),
            Self::Absent => f.write_str("was missing"),
            Self::PublicAbsent => f.write_str("its public key is not there"),
            Self::Due {
                ends,
                now,
                shortened,
            } => {
                let span = between(*ends, *now);
                if now > ends {
                    write!(f, "expired {span} ago")?;
                } else {
                    write!(f, "due: expires in {span}")?;
                }
                until(f, *shortened)
            }
            Self::Forced {
                shortened,
                corrects,
            } => {
                f.write_str("by order")?;
                if *corrects {
                    f.write_str("; its server and authority are put right")?;
                }
                until(f, *shortened)
            }
            Self::Shared { path } => write!(
                f,
                "{} is missing; all masters share it: copy it from another master with `stayput \
                 certs bundle`, or let --new-cluster make it where the cluster is made",
                path.display()
            ),
            Self::WouldNotFit { path, leaves } => would_not_fit(f, path, leaves),
            Self::Missing => f.write_str("is missing: `stayput certs init` issues it"),
            Self::OfFirstMaster => f.write_str(
                "is not there: only the master that makes the cluster is issued one, by `stayput \
                 certs init --new-cluster`; elsewhere use that only if all authorities and the \
                 service-account keys are here, because it makes what is missing of them",
            ),
            Self::Half {
                present,
                missing,
                replaceable,
            } => {
                let (present, missing) = (present.display(), missing.display());
                write!(f, "{present} is there without {missing}: ")?;
                remedy(f, replaceable.as_deref())
            }
            Self::Unusable {
                path,
                reason,
                replaceable,
            } => {
                write!(f, "{} cannot be used: it {reason}: ", path.display())?;
                remedy(f, replaceable.as_deref())
            }
            Self::KeyMismatch { id } => {
                f.write_str("its key does not belong to its certificate: ")?;
                remedy(f, Some(id))
            }
            Self::Foreign { id, issuer } => {
                write!(f, "was signed by {issuer}, not by its authority: ")?;
                remedy(f, Some(id))
            }
            Self::Distrusts { id, authority } => write!(
                f,
                "trusts another authority than this node's {authority}: `stayput certs renew {id} \
                 --force` puts that right"
            ),
            Self::InFiles { id } => write!(
                f,
                "points to a certificate and a key in files of their own, which stayput does not \
                 renew: renew those by what made them, or let `stayput certs renew {id} --force` write \
                 the kubeconfig anew, with a pair within it"
            ),
            Self::Exposed { id, exposed } => write!(
                f,
                "{path} has mode {mode:04o}, so that others may have its key: `stayput certs renew {id} \
                 --force` makes a new one that is closed to them; to keep this one, `chmod 0600 {path}`",
                path = exposed.path.display(),
                mode = exposed.mode
            ),
            Self::Linked { path } => write!(
                f,
                "{} is a symbolic link: programs that watch it would miss that it changes; put the \
                 file that it leads to in its place",
                path.display()
            ),
            Self::NotRenewed => f.write_str(
                "stayput renews neither authorities nor service-account keys: everything that \
                 trusts them would have to change at once",
            ),
            Self::NameWanted { names } => write!(
                f,
                "cannot leave out {names}: the cluster file asks for it; take it out there first"
            ),
            Self::Authority { id, problem } => write!(f, "its authority {id} {problem}"),
        }
    }
}

impl fmt::Display for AuthorityProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is missing: copy it from another master first"),
            Self::Unusable => f.write_str(
                "cannot be used: `stayput certs status` says why; copy it from another master",
            ),
            Self::NoKey => f.write_str(
                "has no key on this machine: issue it where the key is kept, and copy it here",
            ),
            Self::Expired(at) => write!(
                f,
                "EXPIRED at {}: nothing that it signs is accepted; the cluster needs a new authority",
                date(*at)
            ),
            Self::NotYetValid(from) => write!(
                f,
                "is valid only from {} on: check this machine's clock",
                date(*from)
            ),
        }
    }
}

fn not_due(f: &mut fmt::Formatter<'_>, id: &str, span: &str, lacks: &Names) -> fmt::Result {
    write!(f, "not due: expires in {span}")?;
    if lacks.is_empty() {
        write!(f, "; `stayput certs renew {id} --force` renews it now")
    } else {
        write!(
            f,
            ", but lacks {lacks}: `stayput certs renew {id} --force` adds what is missing"
        )
    }
}

fn gains_nothing(f: &mut fmt::Formatter<'_>, ends: i64, authority: bool) -> fmt::Result {
    let ends = date(ends);
    if authority {
        write!(
            f,
            "its authority ends at {ends}: renewing gains nothing; the cluster needs a new authority"
        )
    } else {
        write!(f, "a new one would end at {ends}: renewing gains nothing")
    }
}

fn until(f: &mut fmt::Formatter<'_>, shortened: Option<i64>) -> fmt::Result {
    match shortened {
        None => Ok(()),
        Some(end) => write!(f, "; the new one ends with its authority, at {}", date(end)),
    }
}

fn would_not_fit(f: &mut fmt::Formatter<'_>, path: &Path, leaves: &[PathBuf]) -> fmt::Result {
    let leaves: Vec<_> = leaves
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    write!(
        f,
        "{} is missing, but what an authority of that place signed is there ({}): copy the \
         authority from another master with `stayput certs bundle`, or remove what is there",
        path.display(),
        leaves.join(", ")
    )
}

fn remedy(f: &mut fmt::Formatter<'_>, replaceable: Option<&str>) -> fmt::Result {
    match replaceable {
        Some(id) => write!(
            f,
            "put the right file back, or let `stayput certs renew {id} --force` make a new one"
        ),
        None => f.write_str("copy the pair from another master or from a backup"),
    }
}
