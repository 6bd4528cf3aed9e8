//! When a master has to speak.
//!
//! It says where it is when nothing that counts says so: at first, when its address has changed, when its
//! certificate has, and when somebody under its name says something else. That last one is an old record
//! that comes back after this machine's files were lost, or **another machine of the same name** (a clone, or a
//! restored image beside its original), which then speaks against it in turn. Nobody can tell the two apart;
//! [`Pace`](super::pace::Pace) keeps them from doing it as fast as the network carries it.
//!
//! It is silent where speaking is in vain: removed, or replaced and still under the old certificate. Else it
//! would sign for ever what nobody counts.

use std::net::IpAddr;

use super::ledger::{Effective, Ledger, Word};
use super::record::Digest;
use super::sign::Signer;
use super::statement::{Says, Statement};
use crate::clock;
use crate::name::Name;

/// The one who speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speaker {
    /// The cluster's domain.
    pub cluster: Name,
    /// The master, fully qualified.
    pub master: Name,
    /// When its certificate began, in Unix time.
    pub not_before: i64,
    /// The certificate, as DER.
    pub certificate: Vec<u8>,
    /// The last word that this process has said; none since its start.
    pub made: Option<Made>,
}

/// What a master has said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The record.
    pub digest: Digest,
    /// The addresses in it.
    pub addresses: Vec<IpAddr>,
}

/// What a master has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Duty {
    /// Nothing: what counts is true.
    Nothing,
    /// To sign this, offer it to its own ledger, and send it.
    Sign {
        /// What.
        statement: Statement,
        /// Why now.
        why: Why,
    },
    /// It has something to say, and it would be in vain.
    Silent(Silence),
}

/// Why a master speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Nothing of it counts yet.
    First,
    /// It is somewhere else than it said.
    Moved,
    /// Its certificate is a newer one.
    Renewed,
    /// Somebody else under its name says something else: to be limited by [`Pace`](super::pace::Pace).
    Contradicted,
}

/// Why a master does not speak; words for log and `status`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Silence {
    /// It was removed.
    #[error(
        "{master} was removed by {by}, and nothing that it says counts; `stayput replace {master}` on another master takes it back"
    )]
    Removed {
        /// This master.
        master: Name,
        /// Who removed it.
        by: Name,
    },
    /// Its certificate is older than the replacement.
    #[error(
        "{master} was replaced: only certificates from {} on count, and this one is older; on the new machine `stayput certs renew --force stayput` makes one, the old machine is to be turned off",
        clock::date(*.cutoff)
    )]
    Replaced {
        /// This master.
        master: Name,
        /// The moment.
        cutoff: i64,
    },
    /// There is no greater version.
    #[error(
        "a record of {0} has the greatest version of all, and none can be signed above it: somebody had its key; `stayput replace {0}` on another master, then a new certificate here"
    )]
    Unsurpassable(Name),
}

impl Speaker {
    /// The one who signs with that key.
    pub fn of(signer: &Signer, made: Option<Made>) -> Self {
        let own = signer.certificate();
        Self {
            cluster: signer.cluster().clone(),
            master: own.master.clone(),
            not_before: own.certificate.not_before,
            certificate: own.certificate.der.clone(),
            made,
        }
    }
}

impl Ledger {
    /// Whether a master has to sign something now, given its addresses; `now` in Unix time. Without an
    /// address it has nothing to say.
    pub fn must_sign(&self, own: &Speaker, addresses: &[IpAddr], now: u64) -> Duty {
        if addresses.is_empty() {
            return Duty::Nothing;
        }
        let master = || own.master.clone();
        let effective = self.effective_of(&own.master);
        if let Some(Effective {
            word: Word::Removed,
            signer,
            ..
        }) = effective
        {
            return Duty::Silent(Silence::Removed {
                master: master(),
                by: signer,
            });
        }
        if let Some(cutoff) = self.cutoff(&own.master).filter(|at| own.not_before < *at) {
            return Duty::Silent(Silence::Replaced {
                master: master(),
                cutoff,
            });
        }
        let Some(why) = self.why(own, effective.as_ref(), addresses) else {
            return Duty::Nothing;
        };
        if effective.is_some_and(|effective| effective.version == u64::MAX) {
            return Duty::Silent(Silence::Unsurpassable(master()));
        }
        let statement = Statement {
            cluster: own.cluster.clone(),
            master: master(),
            version: self.next_version(&own.master, now),
            says: Says::At(addresses.to_vec()),
        };
        Duty::Sign { statement, why }
    }

    fn why(
        &self,
        own: &Speaker,
        effective: Option<&Effective>,
        addresses: &[IpAddr],
    ) -> Option<Why> {
        let Some(effective) = effective else {
            return Some(Why::First);
        };
        let said = matches!(&effective.word, Word::At(said) if said == addresses);
        if !said {
            // It has said just that, and something else counts. Before its first word since the start it cannot
            // know whose word counts: its own, most likely.
            let made = own.made.as_ref();
            let others = made
                .is_some_and(|made| made.addresses == addresses && made.digest != effective.digest);
            return Some(if others {
                Why::Contradicted
            } else {
                Why::Moved
            });
        }
        let held = self
            .records()
            .find(|held| held.verified.digest() == effective.digest)?;
        let verified = &held.verified;
        let renewed = own.not_before > verified.not_before()
            && own.certificate != verified.record().certificate;
        renewed.then_some(Why::Renewed)
    }
}

#[cfg(test)]
mod tests;
