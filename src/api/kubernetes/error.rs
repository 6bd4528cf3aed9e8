//! What kube-apiserver can say other than yes.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::api::{directory, https, identity};

/// Why the API did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A kubeconfig that cannot be used.
    #[error("{}: {reason}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Its server leads nowhere.
    #[error("the server of {}: {source}", path.display())]
    Server {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: directory::Error,
    },
    /// A file that the kubeconfig names.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// No answer.
    #[error(transparent)]
    Https(#[from] https::Error),
    /// It answers, but cannot work now: it starts, ends, or has no etcd.
    #[error("{whom} cannot answer now: {asked}: {status}: {reason}")]
    Unwell {
        /// The server.
        whom: String,
        /// Verb and path.
        asked: String,
        /// The status code: 429 or 5xx.
        status: u16,
        /// In its words.
        reason: String,
    },
    /// It does not know who asks, or does not let them.
    #[error(
        "{whom} refuses {asked} to the user of {}: {status}: {reason}", kubeconfig.display()
    )]
    Denied {
        /// The server.
        whom: String,
        /// Whose rights were used.
        kubeconfig: PathBuf,
        /// Verb and path.
        asked: String,
        /// 401 or 403.
        status: u16,
        /// In its words.
        reason: String,
    },
    /// There is no such object.
    #[error("{whom}: {asked}: {reason}")]
    NotFound {
        /// The server.
        whom: String,
        /// Verb and path.
        asked: String,
        /// In its words.
        reason: String,
    },
    /// Somebody else has changed or made the object.
    #[error("{whom}: {asked}: {reason}; try again")]
    Conflict {
        /// The server.
        whom: String,
        /// Verb and path.
        asked: String,
        /// In its words.
        reason: String,
    },
    /// It takes the request for wrong.
    #[error("{whom} refuses {asked}: {status}: {reason}")]
    Refused {
        /// The server.
        whom: String,
        /// Verb and path.
        asked: String,
        /// The status code.
        status: u16,
        /// In its words.
        reason: String,
    },
    /// It answers something else than an API would.
    #[error("{whom}: the answer to {asked} cannot be used: {reason}")]
    Malformed {
        /// The server.
        whom: String,
        /// Verb and path.
        asked: String,
        /// Why not.
        reason: String,
    },
}

impl Error {
    /// Whether there is no API that can answer at this moment; anything else is an answer, or a fault
    /// of ours.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Https(_) | Self::Unwell { .. })
    }

    /// Whether the object has to be read, and the change made, once more.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }
}

/// The `message` of a `Status`; another body's beginning.
pub(super) fn status_message(body: &[u8]) -> String {
    let status = serde_json::from_slice::<Value>(body).ok();
    let message = status
        .as_ref()
        .and_then(|status| status["message"].as_str());
    if let Some(message) = message.filter(|message| !message.is_empty()) {
        return message.to_owned();
    }
    let text = String::from_utf8_lossy(body);
    let text: String = text.trim().chars().take(200).collect();
    if text.is_empty() {
        return "it says nothing more".to_owned();
    }
    text
}

/// What a status other than 2xx means.
pub(super) fn meaning(
    whom: &str,
    kubeconfig: &Path,
    asked: String,
    status: u16,
    reason: String,
) -> Error {
    let whom = whom.to_owned();
    match status {
        401 | 403 => Error::Denied {
            whom,
            kubeconfig: kubeconfig.to_owned(),
            asked,
            status,
            reason,
        },
        404 => Error::NotFound {
            whom,
            asked,
            reason,
        },
        409 => Error::Conflict {
            whom,
            asked,
            reason,
        },
        429 | 500.. => Error::Unwell {
            whom,
            asked,
            status,
            reason,
        },
        _ => Error::Refused {
            whom,
            asked,
            status,
            reason,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_meaning() {
        let meaning = |status| {
            let asked = "GET /x".to_owned();
            meaning("api", Path::new("/a.conf"), asked, status, "why".into())
        };
        for status in [429, 500, 502, 503, 504] {
            assert!(meaning(status).is_absent(), "{status}");
        }
        for status in [302, 400, 401, 403, 404, 405, 409, 415, 422] {
            assert!(!meaning(status).is_absent(), "{status}");
        }
        assert!(meaning(409).is_conflict());
        let denied = meaning(403).to_string();
        assert_eq!(
            denied,
            "api refuses GET /x to the user of /a.conf: 403: why"
        );
    }

    #[test]
    fn a_status_tells_its_message() {
        for (body, said) in [
            (
                &br#"{"kind":"Status","message":"pods is forbidden"}"#[..],
                "pods is forbidden",
            ),
            (b"<html>no</html>\n", "<html>no</html>"),
            (b"", "it says nothing more"),
            (br#"{"message":""}"#, r#"{"message":""}"#),
        ] {
            assert_eq!(status_message(body), said);
        }
    }
}
