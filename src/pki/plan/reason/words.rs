//! Reasons in words, with what a person can do.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{AuthorityProblem, Reason};
use crate::pki::inventory::Exposed;
use crate::pki::profile::Names;
use crate::pki::window::{between, date};

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
            } => due(f, *ends, *now, *shortened),
            Self::Forced {
                shortened,
                corrects,
            } => forced(f, *corrects, *shortened),
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
            Self::Exposed { id, exposed: file } => exposed(f, id, file),
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
            Self::Exposed(exposed) => write!(
                f,
                "has a key that others may have, {path} has mode {mode:04o}: `chmod 0600 {path}` once you \
                 know who could read it",
                path = exposed.path.display(),
                mode = exposed.mode
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

fn due(f: &mut fmt::Formatter<'_>, ends: i64, now: i64, shortened: Option<i64>) -> fmt::Result {
    let span = between(ends, now);
    if now > ends {
        write!(f, "expired {span} ago")?;
    } else {
        write!(f, "due: expires in {span}")?;
    }
    until(f, shortened)
}

fn forced(f: &mut fmt::Formatter<'_>, corrects: bool, shortened: Option<i64>) -> fmt::Result {
    f.write_str("by order")?;
    if corrects {
        f.write_str("; its server and authority are put right")?;
    }
    until(f, shortened)
}

fn exposed(f: &mut fmt::Formatter<'_>, id: &str, exposed: &Exposed) -> fmt::Result {
    write!(
        f,
        "{path} has mode {mode:04o}, so that others may have its key: `stayput certs renew {id} \
         --force` makes a new one that is closed to them; to keep this one, `chmod 0600 {path}`",
        path = exposed.path.display(),
        mode = exposed.mode
    )
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
