//! What etcd can say other than yes.

use serde::Deserialize;

use crate::api::{directory, https, identity};

/// Why etcd did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate or key of this machine.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// A URL that leads nowhere.
    #[error(transparent)]
    Directory(#[from] directory::Error),
    /// No answer.
    #[error(transparent)]
    Https(#[from] https::Error),
    /// It answers, but has no majority, no leader, or an alarm.
    #[error("{whom} is not healthy{}", because(reason))]
    Unhealthy {
        /// The member.
        whom: String,
        /// In its words; empty before 3.5.
        reason: String,
    },
    /// A learner that has not caught up yet.
    #[error("{whom}: the learner is not in sync with the leader yet")]
    NotInSync {
        /// Who was asked.
        whom: String,
    },
    /// There is a learner already; etcd takes one at a time.
    #[error(
        "{whom}: there is a learner already, and etcd takes one at a time; wait until it is promoted, or take it out with `stayput kubeadm leave-etcd --name NAME`"
    )]
    TooManyLearners {
        /// Who was asked.
        whom: String,
    },
    /// Not all members have been connected for five seconds, which etcd asks for before it changes the
    /// members (`HealthInterval`; `--strict-reconfig-check`). Right after one has come, this passes.
    #[error(
        "{whom} does not change members now: not all of them have been connected for 5 s (unhealthy cluster)"
    )]
    Unsettled {
        /// Who was asked.
        whom: String,
    },
    /// A gateway that does not know the call.
    #[error(
        "{whom} does not know {call}; stayput needs etcd 3.4 or later with its JSON gateway (--enable-grpc-gateway)"
    )]
    Unknown {
        /// Who was asked.
        whom: String,
        /// What for.
        call: &'static str,
    },
    /// It refuses.
    #[error("{whom} refuses {call}: {reason}")]
    Refused {
        /// Who was asked.
        whom: String,
        /// What for.
        call: &'static str,
        /// In its words.
        reason: String,
    },
    /// It could not do it at this moment. It may have done it all the same.
    #[error("{whom} could not do {call}: {reason}")]
    Failed {
        /// Who was asked.
        whom: String,
        /// What for.
        call: &'static str,
        /// In its words.
        reason: String,
    },
    /// It answers something else than etcd would.
    #[error("{whom}: the answer to {call} cannot be used: {reason}")]
    Malformed {
        /// Who was asked.
        whom: String,
        /// What for.
        call: &'static str,
        /// Why not.
        reason: String,
    },
}

fn because(reason: &str) -> String {
    match reason {
        "" => "; is there a majority of members, and no alarm?".to_owned(),
        reason => format!(": {reason}"),
    }
}

impl Error {
    /// Whether the member does not answer, or cannot at this moment; anything else is an answer, or a
    /// fault of ours.
    pub fn is_absent(&self) -> bool {
        matches!(
            self,
            Self::Https(_) | Self::Unhealthy { .. } | Self::Unsettled { .. } | Self::Failed { .. }
        )
    }
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    error: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    code: i64,
}

/// `Unavailable` and `DeadlineExceeded` (gRPC's status codes), and what is not told at all.
const PASSING: [i64; 3] = [0, 4, 14];

/// What an answer other than 200 means. The texts are those of etcd's `api/v3rpc/rpctypes/error.go`.
pub(super) fn meaning(whom: &str, call: &'static str, status: u16, body: &[u8]) -> Error {
    let whom = whom.to_owned();
    let said = serde_json::from_slice::<Said>(body).ok();
    if status == 404 && said.as_ref().is_none_or(|said| said.code != 5) {
        return Error::Unknown { whom, call };
    }
    let Some(said) = said else {
        let text = String::from_utf8_lossy(body);
        let text: String = text.trim().chars().take(200).collect();
        let reason = format!("{status}: {text}");
        return Error::Failed { whom, call, reason };
    };
    let reason = if said.error.is_empty() {
        said.message
    } else {
        said.error
    };
    if reason.contains("in sync with leader") {
        return Error::NotInSync { whom };
    }
    if reason.contains("too many learner") {
        return Error::TooManyLearners { whom };
    }
    if reason.contains("unhealthy cluster") {
        return Error::Unsettled { whom };
    }
    // gRPC's `Unimplemented`.
    if said.code == 12 {
        return Error::Unknown { whom, call };
    }
    if PASSING.contains(&said.code) {
        return Error::Failed { whom, call, reason };
    }
    Error::Refused { whom, call, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_its_meaning() {
        let meaning = |status, body: &str| meaning("etcd", "x", status, body.as_bytes());
        let body = |code: i64, text: &str| {
            format!(r#"{{"error":"{text}","message":"{text}","code":{code}}}"#)
        };
        let sync = "etcdserver: can only promote a learner member which is in sync with leader";
        assert!(matches!(
            meaning(412, &body(9, sync)),
            Error::NotInSync { .. }
        ));
        let many = "etcdserver: too many learner members in cluster";
        assert!(matches!(
            meaning(412, &body(9, many)),
            Error::TooManyLearners { .. }
        ));
        for (status, body) in [(404, String::new()), (404, "404 page not found".into())] {
            assert!(matches!(meaning(status, &body), Error::Unknown { .. }));
        }
        let young = meaning(503, &body(14, "etcdserver: unhealthy cluster"));
        assert!(matches!(young, Error::Unsettled { .. }) && young.is_absent());
        let unknown = meaning(404, &body(5, "etcdserver: member not found"));
        assert!(matches!(unknown, Error::Refused { .. }), "{unknown:?}");
        for code in [4, 14] {
            let failed = meaning(503, &body(code, "etcdserver: request timed out"));
            assert!(matches!(failed, Error::Failed { .. }) && failed.is_absent());
        }
        let denied = meaning(401, &body(16, "invalid token"));
        assert!(!denied.is_absent(), "{denied:?}");
        assert!(matches!(meaning(502, "<html>"), Error::Failed { .. }));
    }
}
