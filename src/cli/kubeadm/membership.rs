//! What `join-etcd` and `leave-etcd` share: exit codes, the table of members, and whether etcd's
//! certificates are ready.

use crate::api::etcd::{self, Member};
use crate::cli::context::Failure;
use crate::cli::{exit, output};
use crate::kubeadm::membership::{Error, plan};
use crate::pki::proof::Proof;

/// What a member runs on, and what it is asked with.
const NEEDED: [&str; 3] = ["etcd-server", "etcd-peer", "etcd-healthcheck-client"];

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = code(&error);
        Self::new(code, error)
    }
}

fn code(error: &Error) -> u8 {
    match error {
        Error::Halfway { source, .. } => code(source),
        Error::Etcd(etcd::Error::Identity(_)) | Error::Nobody(_) | Error::Image(_) => {
            exit::UNAVAILABLE
        }
        Error::Etcd(error) if error.is_absent() => exit::UNAVAILABLE,
        Error::Unknown { .. } | Error::Myself(_) => exit::BAD_DATA,
        Error::NotInTime { .. } => exit::TEMPORARY,
        Error::Look { .. } | Error::File(_) | Error::StaticPod(_) => exit::OS_ERROR,
        _ => exit::DISAGREES,
    }
}

/// Refuses where what etcd needs is missing or wrong.
pub(super) fn ready(proofs: &[Proof]) -> Result<(), Error> {
    let needed = proofs
        .iter()
        .filter(|proof| NEEDED.contains(&proof.id.as_str()));
    let wrong = needed.filter(|proof| !proof.holds);
    let wrong: Vec<String> = wrong
        .map(|proof| format!("{}: {}", proof.id, proof.problems.join(", ")))
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Error::Certificates(wrong.join("; ")))
}

/// Members for people.
pub(super) fn table(members: &[Member]) -> String {
    let rows = members.iter().map(|member| {
        let vote = match (member.is_learner, member.name.is_empty()) {
            (true, _) => "learner",
            (false, true) => "not started",
            (false, false) => "votes",
        };
        [
            plan::called(member),
            format!("{:x}", member.id),
            vote.to_owned(),
            member.peer_urls.join(" "),
        ]
    });
    output::table(["MEMBER", "ID", "", "PEER URLS"], rows)
}
