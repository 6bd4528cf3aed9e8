//! What `join-etcd` and `leave-etcd` share: exit codes, the table of members, and whether etcd's
//! certificates are ready.

use crate::api::etcd::{self, Member};
use crate::cli::context::Failure;
use crate::cli::{exit, output};
use crate::config::Node;
use crate::kubeadm::membership::{Error, plan};
use crate::name::Name;
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

/// This master's name; a worker has no member to add or to take out.
pub(super) fn master(node: &Node) -> Result<&Name, Failure> {
    node.master().ok_or_else(|| {
        let text = format!(
            "{} is a worker, and a worker has no etcd member; run this on a master",
            node.kubernetes_name
        );
        Failure::new(exit::BAD_DATA, text)
    })
}

/// Whether a text can be an image's reference: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`, as far as its
/// characters go (the grammar of github.com/distribution/reference).
pub(super) fn is_image(text: &str) -> bool {
    let name = text.split('@').next().unwrap_or_default();
    let component = |part: &str| {
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        ends(part.chars().next()) && ends(part.chars().next_back())
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@+".contains(c);
    text.chars().all(allowed)
        && name.split(['/', ':']).all(|part| {
            // A tag may end in any of its characters.
            component(part) || part.strip_suffix(['.', '_', '-']).is_some_and(component)
        })
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

#[cfg(test)]
mod tests {
    use super::is_image;

    #[test]
    fn images_are_known_by_their_form() {
        for good in [
            "etcd",
            "etcd:3.5",
            "registry.k8s.io/etcd:3.5.15-0",
            "k8s.gcr.io/etcd:3.4.13-0",
            "localhost:5000/a/b_c/etcd:dev_",
            "r.example.com/etcd@sha256:0123456789abcdef",
            "r.example.com/etcd:3.5@sha256:0123456789abcdef",
        ] {
            assert!(is_image(good), "{good}");
        }
        for bad in [
            "",
            "bad image!",
            "bad image",
            "a\nb",
            "etcd:",
            ":3",
            "/etcd",
            "etcd/",
            "a//b",
            "-etcd",
            "@sha256:0",
            "ätcd",
            "a;b",
            "$(x)",
        ] {
            assert!(!is_image(bad), "{bad}");
        }
    }
}
