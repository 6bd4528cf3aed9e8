//! Whom this node believes: the cluster's authority, and the time by which certificates are judged.

use crate::name::Name;
use crate::pki::certificate::Certificate;
use crate::pki::profile::Usages;
use crate::pki::verify;

use super::who::{Nobody, Peer, who};

/// What a certificate is judged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The cluster's domain.
    pub domain: Name,
    /// The cluster's authorities. Where there are none, nobody is believed.
    pub authorities: Vec<Certificate>,
    /// It is later than this (Unix time): the times at which this node's own certificates begin.
    pub after: i64,
}

/// Why somebody is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no certificate.
    #[error("what it shows {0}")]
    Unreadable(String),
    /// The authority did not sign it, or it is not valid now.
    #[error(transparent)]
    Chain(#[from] verify::Error),
    /// The authority signed it for something else.
    #[error(transparent)]
    Nobody(#[from] Nobody),
}

impl Trust {
    /// Who shows this chain, at `now` (Unix time). The usage client is asked for on both sides: the
    /// only certificate of a worker is its kubelet's, which has no other.
    pub fn judge(
        &self,
        leaf: &Certificate,
        intermediates: &[Certificate],
        now: i64,
    ) -> Result<Peer, Refused> {
        let client = Usages {
            server: false,
            client: true,
        };
        let at = self.at(leaf, now);
        verify::chain(leaf, intermediates, &self.authorities, client, at)?;
        Ok(who(leaf, &self.domain)?)
    }

    /// The time at which `leaf` is judged.
    ///
    /// A clock that stands before this node's own certificate, or before the authority, is known to be
    /// wrong: a dead battery, a node that woke up in 1970. Then it is at least that late, and how much
    /// later nobody knows. What had ended by then has ended; but that a certificate begins later is no
    /// reason to refuse it, because authorities do not issue for the future.
    fn at(&self, leaf: &Certificate, now: i64) -> i64 {
        // The oldest: a new authority may have been laid ready.
        let authorities = self.authorities.iter();
        let oldest = authorities.map(|authority| authority.not_before).min();
        let after = self.after.max(oldest.unwrap_or(0));
        if now >= after {
            now
        } else {
            after.max(leaf.not_before)
        }
    }
}
