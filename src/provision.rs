//! Whether this master is complete.
//!
//! A master whose own API server works sends its node's traffic to itself only: a kubelet or
//! controller must not talk to an API server newer or older than its own during an upgrade
//! (Kubernetes' version-skew policy), and must not lose its endpoint when other masters fail. While a
//! master is still being set up, its HAProxy uses all masters.

use serde::{Deserialize, Serialize};

/// What is remembered across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Provision {
    /// Since when and how this master counts as complete.
    pub complete: Option<Complete>,
    /// The operator took it back: not detected again until told, or until the manifest has gone.
    pub held_back: bool,
    /// The manifest has been here, so that its absence means something.
    pub manifest_seen: bool,
}

/// Since when and how a master counts as complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complete {
    /// Unix time in seconds.
    pub since: u64,
    /// Who said so.
    pub how: How,
}

/// How a master became complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// `stayput provisioned`.
    Told,
    /// The manifest is there and the local API server has been ready.
    Detected,
}

/// What is seen on this master now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// kube-apiserver's manifest exists.
    pub manifest: bool,
    /// HAProxy's check of the local `/readyz`, over TLS, succeeded.
    pub ready: bool,
}

impl Provision {
    /// The operator says that this master is complete.
    #[must_use]
    pub fn told(self, now: u64) -> Self {
        let complete = self.complete.unwrap_or(Complete {
            since: now,
            how: How::Told,
        });
        Self {
            complete: Some(complete),
            held_back: false,
            ..self
        }
    }

    /// The operator takes it back.
    #[must_use]
    pub fn undone(self) -> Self {
        Self {
            complete: None,
            held_back: true,
            ..self
        }
    }

    /// What follows from what is seen.
    #[must_use]
    pub fn seen(self, facts: Facts, now: u64) -> Self {
        if !facts.manifest {
            return if self.manifest_seen {
                Self::default()
            } else {
                self
            };
        }
        let detected = facts.ready && !self.held_back;
        let complete = self.complete.or(detected.then_some(Complete {
            since: now,
            how: How::Detected,
        }));
        Self {
            complete,
            manifest_seen: true,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Facts = facts(false, false);

    const fn facts(manifest: bool, ready: bool) -> Facts {
        Facts { manifest, ready }
    }

    fn complete(provision: Provision) -> bool {
        provision.complete.is_some()
    }

    #[test]
    fn detected_once_ready_and_remembered_when_it_is_not() {
        let fresh = Provision::default();
        assert!(!complete(fresh.seen(facts(true, false), 1)));
        assert!(
            !complete(fresh.seen(facts(false, true), 1)),
            "another server's answer"
        );
        let ready = fresh.seen(facts(true, true), 1);
        assert!(complete(ready));
        assert!(complete(ready.seen(facts(true, false), 2)), "remembered");
        assert!(
            !complete(ready.seen(NOTHING, 3)),
            "forgotten with the manifest"
        );
    }

    #[test]
    fn told_before_there_is_a_manifest_stays() {
        let told = Provision::default().told(1);
        assert!(complete(told.seen(NOTHING, 2)));
        assert!(!complete(told.seen(facts(true, false), 2).seen(NOTHING, 3)));
    }

    #[test]
    fn undone_is_not_detected_again_until_the_manifest_has_gone() {
        let undone = Provision::default().seen(facts(true, true), 1).undone();
        assert!(!complete(undone.seen(facts(true, true), 2)));
        let gone = undone.seen(NOTHING, 3);
        assert!(complete(gone.seen(facts(true, true), 4)));
        assert!(complete(undone.told(5)));
    }
}
