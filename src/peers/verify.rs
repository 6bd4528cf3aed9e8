//! Judges a record: may it be said, and did the one say it who may?
//!
//! A pure function of the record and of what this node trusts. Everybody comes to the same result, but for
//! the time, which counts only when a record is first seen ([`Trust::time`]): that of the certificate, and
//! how far ahead a word about a master may be ([`AHEAD`]).

use super::certificate::{self, MasterCertificate, shortened};
use super::record::{self, Digest, Record};
use super::statement::{self, Says, Statement};
use super::trust::{Time, Trust};
use crate::name::Name;
use crate::pki::certificate::Certificate;
use crate::pki::profile::Usages;
use crate::pki::verify::{self as pki, Error as Chain};

/// Seconds by which a removal or replacement may be ahead of the time at which it is first seen: its version,
/// and the time from which certificates count. What is said later is then greater again, and a new
/// certificate counts: nobody's key takes a master's name away for ever.
pub const AHEAD: i64 = 86_400;

/// A record that was verified. There is no other way to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    record: Record,
    bytes: Vec<u8>,
    digest: Digest,
    statement: Statement,
    signer: Name,
    not_before: i64,
}

/// Why a record is not accepted: half a sentence for the log, behind who sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is too long.
    #[error(transparent)]
    Record(#[from] record::Error),
    /// Its statement is none.
    #[error(transparent)]
    Statement(#[from] statement::Error),
    /// Another cluster's.
    #[error("the record is for the cluster {said}, and this one is {own}")]
    Cluster {
        /// Its cluster.
        said: Name,
        /// This node's.
        own: Name,
    },
    /// Its certificate or its signature is no master's.
    #[error("the record for {master} is refused: {source}")]
    Certificate {
        /// Whom it speaks of.
        master: Name,
        /// Why not.
        source: certificate::Error,
    },
    /// A master speaks of another's addresses.
    #[error(
        "the record for {master} is refused: it is by {signer}, and only {master} itself says where it is"
    )]
    NotItsOwn {
        /// Whom it speaks of.
        master: Name,
        /// Who signed it.
        signer: Name,
    },
    /// A master lifts its own replacement.
    #[error(
        "the record for {0} is refused: it says itself that it was replaced, which another master has to say"
    )]
    ReplacesItself(Name),
    /// The certificate is not the authority's, or not valid now.
    #[error("the record for {master} is refused: its certificate is not accepted: {reason}")]
    Chain {
        /// Whom it speaks of.
        master: Name,
        /// Why not.
        reason: String,
    },
    /// A removal or a replacement that could not be undone.
    #[error(
        "the record for {master} by {signer} is refused: its {what}; if the clock here is right, {signer} or a thief of its key wants what nobody can take back"
    )]
    Ahead {
        /// Whom it speaks of.
        master: Name,
        /// Who signed it.
        signer: Name,
        /// What is ahead of what.
        what: &'static str,
    },
}

/// Verifies a record.
///
/// - Its statement can be read and is of this cluster.
/// - Its certificate is a master's ([`MasterCertificate`]), was issued directly by one of the authorities,
///   and is valid at [`Trust::time`].
/// - Where a master is, it says itself; that it was replaced, another one; that it was removed, any. Otherwise the
///   machine that was replaced would say from when on certificates count, and its own would count again.
/// - The signature over [`CONTEXT`](record::CONTEXT) and statement is by the certificate's key, P-256 with
///   SHA-256.
/// - A removal or a replacement is not further ahead of the present than [`AHEAD`], where that is known, and
///   else not beyond the authority's end.
pub fn verify(record: &Record, trust: &Trust) -> Result<Verified, Refused> {
    read(record, trust)?.verify(trust)
}

/// A record that breaks no rule, but may be forged.
#[derive(Debug)]
pub struct Claim {
    record: Record,
    bytes: Vec<u8>,
    statement: Statement,
    signer: MasterCertificate,
}

/// The part of [`verify`] that costs little: all but signature, chain and time.
pub fn read(record: &Record, trust: &Trust) -> Result<Claim, Refused> {
    let bytes = record.encode()?;
    let statement = Statement::decode(&record.statement, trust.loopback)?;
    if statement.cluster != trust.cluster {
        return Err(Refused::Cluster {
            said: statement.cluster,
            own: trust.cluster.clone(),
        });
    }
    let master = &statement.master;
    let signer = MasterCertificate::read(&record.certificate, &trust.cluster);
    let signer = signer.map_err(|source| Refused::Certificate {
        master: master.clone(),
        source,
    })?;
    let own = signer.master == *master;
    match statement.says {
        Says::At(_) if !own => Err(Refused::NotItsOwn {
            master: master.clone(),
            signer: signer.master,
        }),
        Says::Replaced { .. } if own => Err(Refused::ReplacesItself(signer.master)),
        Says::At(_) | Says::Removed | Says::Replaced { .. } => Ok(Claim {
            record: record.clone(),
            bytes,
            statement,
            signer,
        }),
    }
}

impl Claim {
    /// The rest of [`verify`].
    pub fn verify(self, trust: &Trust) -> Result<Verified, Refused> {
        let Self {
            record,
            bytes,
            statement,
            signer,
        } = self;
        let master = &statement.master;
        // Cheaper than the chain, and what a forger fails at.
        signer
            .check_signature(&record.statement, &record.signature)
            .map_err(|source| Refused::Certificate {
                master: master.clone(),
                source,
            })?;
        chain(&signer.certificate, trust).map_err(|reason| Refused::Chain {
            master: master.clone(),
            reason: shortened(&reason),
        })?;
        if let Some(what) = ahead(&statement, trust) {
            return Err(Refused::Ahead {
                master: master.clone(),
                signer: signer.master,
                what,
            });
        }
        Ok(Verified {
            digest: Digest::of(&bytes),
            record,
            bytes,
            signer: signer.master,
            not_before: signer.certificate.not_before,
            statement,
        })
    }

    /// The record as bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it says.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// When the certificate that it shows began, in Unix time.
    pub fn not_before(&self) -> i64 {
        self.signer.certificate.not_before
    }
}

/// What of a word about a master is too far ahead. A clock that is known to be wrong proves nothing of today, but
/// nothing is said after the authority's end; and what was accepted before stays.
fn ahead(statement: &Statement, trust: &Trust) -> Option<&'static str> {
    let (most, version, cutoff) = match trust.time {
        Time::At(now) => (
            now.saturating_add(AHEAD),
            "version is more than a day ahead",
            "cutoff is more than a day ahead",
        ),
        Time::AtLeast(_) => {
            let ends = trust.authorities.iter().map(|it| it.not_after);
            (
                ends.max()?,
                "version is beyond the authority's end",
                "cutoff is beyond the authority's end",
            )
        }
        Time::Any => return None,
    };
    let says = match statement.says {
        Says::At(_) => return None,
        Says::Removed => None,
        Says::Replaced { not_before } => Some(not_before),
    };
    if i64::try_from(statement.version).is_ok_and(|version| version <= most) {
        says.filter(|not_before| *not_before > most).map(|_| cutoff)
    } else {
        Some(version)
    }
}

/// Whether one of the authorities issued the certificate, for both sides, and whether it is valid now.
fn chain(certificate: &Certificate, trust: &Trust) -> Result<(), String> {
    let least = match trust.time {
        Time::At(now) => return issued(certificate, &trust.authorities, now),
        Time::AtLeast(least) => least,
        Time::Any => i64::MIN,
    };
    let issuers = trust.authorities.iter();
    let issuers = issuers.filter(|authority| authority.subject_der == certificate.issuer_der);
    // In these words where it is nobody's.
    let mut outcome = issued(certificate, &[], certificate.not_before);
    for authority in issuers {
        // The first moment that is possible at all.
        let at = least.max(certificate.not_before).max(authority.not_before);
        outcome = issued(certificate, std::slice::from_ref(authority), at);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

fn issued(certificate: &Certificate, authorities: &[Certificate], at: i64) -> Result<(), String> {
    let both = Usages {
        server: true,
        client: true,
    };
    pki::chain(certificate, &[], authorities, both, at).map_err(|error| match error {
        Chain::Chain { reason, .. } => reason,
        other @ Chain::Name { .. } => other.to_string(),
    })
}

impl Verified {
    /// The record.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The record as bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of [`bytes`](Self::bytes).
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What it says.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The master that signed it, fully qualified.
    pub fn signer(&self) -> &Name {
        &self.signer
    }

    /// When its signer's certificate began, in Unix time.
    pub fn not_before(&self) -> i64 {
        self.not_before
    }
}

#[cfg(test)]
mod tests;
