//! By whom and by what time records are judged.

use std::path::Path;
use std::sync::Arc;

use crate::address::Loopback;
use crate::api::identity;
use crate::name::Name;
use crate::pki::certificate::Certificate;
use crate::pki::moment::{Moment, TOLERANCE};
use crate::root::Root;

/// The cluster's authority, which kubeadm puts there on masters and by `kubeadm join` on workers.
pub const AUTHORITY: &str = "/etc/kubernetes/pki/ca.crt";

/// What records are verified by. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The cluster's authorities: all certificates of the file. Several while one takes the other's place.
    pub authorities: Arc<[Certificate]>,
    /// The cluster's domain.
    pub cluster: Name,
    /// Whether masters may have loopback addresses, as in a sandbox.
    pub loopback: Loopback,
    /// By what time a certificate must be valid.
    pub time: Time,
}

/// The time by which certificates are judged; Unix times.
///
/// A node may start with a dead clock, in 1970, and has to take part all the same. Whatever the authority
/// has issued proves that it is later than that: the newest time that this node remembers, the beginning of
/// its own certificates and of the authority's own. If the clock stands before those, it is wrong, and
/// all that is known is that it is *at least* so late. Such a bound proves that a certificate has expired,
/// but never that one is not valid yet. So then only the end is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// It is now.
    At(i64),
    /// The clock is wrong, and it is now or later.
    AtLeast(i64),
    /// The certificate's time does not matter: its record was accepted before.
    Any,
}

impl Time {
    /// The time as this node knows it. `begun`: when certificates of the cluster's authority began that
    /// this node has, its own and the authority's.
    ///
    /// A clock that a person vouches for is right. One that stands a little behind (a time service may
    /// take a step of [`TOLERANCE`]) is no dead one.
    pub fn judged(moment: &Moment, begun: impl IntoIterator<Item = i64>) -> Self {
        if moment.trusted {
            return Self::At(moment.clock);
        }
        let least = begun.into_iter().fold(moment.seen, i64::max);
        if moment.clock < least.saturating_sub(TOLERANCE) {
            Self::AtLeast(least)
        } else {
            Self::At(moment.clock.max(least))
        }
    }
}

impl Trust {
    /// Reads the authority's file below the root. Certificates' times do not matter until
    /// [`at`](Self::at) says by which.
    pub fn load(root: &Root, cluster: &Name) -> Result<Self, identity::Error> {
        let authorities = identity::certificates(root, Path::new(AUTHORITY))?;
        Ok(Self {
            authorities: authorities.into(),
            cluster: cluster.clone(),
            loopback: root.loopback(),
            time: Time::Any,
        })
    }

    /// The same by another time.
    #[must_use]
    pub fn at(&self, time: Time) -> Self {
        Self {
            time,
            ..self.clone()
        }
    }

    /// When the authorities' certificates began: one of the bounds of [`Time::judged`].
    pub fn begun(&self) -> impl Iterator<Item = i64> {
        // One that is not valid yet (the next authority, put there early) proves nothing of today.
        self.authorities
            .iter()
            .map(|authority| authority.not_before)
            .min()
            .into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::moment::Synchronised;

    #[test]
    fn a_dead_clock_is_known_by_what_was_issued() {
        let moment = |clock, seen, trusted| Moment {
            clock,
            seen,
            synchronised: Synchronised::No,
            trusted,
        };
        for (clock, seen, begun, want) in [
            (5000, 0, &[][..], Time::At(5000)),
            (5000, 4000, &[3000], Time::At(5000)),
            // A step of a time service.
            (5000, 5000 + TOLERANCE, &[], Time::At(5000 + TOLERANCE)),
            (5000, 5001 + TOLERANCE, &[], Time::AtLeast(5001 + TOLERANCE)),
            // 1970, and nothing remembered: the authority and the own certificate tell.
            (0, 0, &[700_000, 900_000], Time::AtLeast(900_000)),
            (0, 950_000, &[700_000, 900_000], Time::AtLeast(950_000)),
        ] {
            let time = Time::judged(&moment(clock, seen, false), begun.iter().copied());
            assert_eq!(time, want);
            let vouched = Time::judged(&moment(clock, seen, true), begun.iter().copied());
            assert_eq!(vouched, Time::At(clock));
        }
    }
}
