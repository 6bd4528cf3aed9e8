//! Whom this node believes: whoever the cluster's authority signed, by the time that it is.

use crate::name::Name;
use crate::peers::trust::Time;
use crate::pki::certificate::Certificate;
use crate::pki::moment::Moment;
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
    /// When this node's own certificates begin (Unix times): it is later than that.
    pub begun: Vec<i64>,
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
    /// Who shows this chain. The usage client is asked for on both sides: the
    /// only certificate of a worker is its kubelet's, which has no other.
    pub fn judge(
        &self,
        leaf: &Certificate,
        intermediates: &[Certificate],
        now: &Moment,
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
    /// What had ended by then has ended. But where the clock is known to be wrong, that a certificate
    /// begins later is no reason to refuse it: see [`Time`].
    fn at(&self, leaf: &Certificate, now: &Moment) -> i64 {
        // The oldest: a new authority may have been laid ready.
        let authorities = self.authorities.iter();
        let oldest = authorities.map(|authority| authority.not_before).min();
        match Time::judged(now, self.begun.iter().copied().chain(oldest)) {
            Time::At(now) => now,
            Time::AtLeast(least) => least.max(leaf.not_before),
            Time::Any => leaf.not_before,
        }
    }
}
