//! What the process is by its files: whom it believes, and with what it signs. Followed as they change.

use std::path::PathBuf;

use crate::api::identity;
use crate::config::{self, Cluster, Node};
use crate::peers::daemon::Settings;
use crate::peers::sign::{self, Signer};
use crate::peers::trust::{self, Trust};
use crate::pki::moment::Moment;
use crate::root::Root;

/// Whom this node believes, and with what it signs.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) trust: Option<Trust>,
    pub(super) signer: Option<Signer>,
    /// The newest time that this node has seen, in Unix time.
    pub(super) seen: i64,
    /// What cannot be used, and why.
    pub(super) problems: Vec<String>,
}

/// The files that decide which cluster this is and what part this node has.
pub(super) fn settings(settings: &Settings) -> Vec<PathBuf> {
    vec![settings.config.clone(), settings.node_config.clone()]
}

/// The files of [`Keys`].
pub(super) fn keys() -> Vec<PathBuf> {
    [trust::AUTHORITY, sign::CERTIFICATE, sign::KEY]
        .map(PathBuf::from)
        .to_vec()
}

/// Reads the cluster file and the node file. Blocks on the disk.
pub(super) fn load(settings: &Settings) -> Result<(Cluster, Node), config::Error> {
    let Settings {
        root,
        config,
        node_config,
        flags,
    } = settings;
    config::load(root, config, node_config, flags)
}

impl Keys {
    /// Reads them. What is not there is no problem: it comes with the node's join. Blocks on the disk.
    pub(super) fn load(root: &Root, cluster: &Cluster) -> Self {
        let mut problems = Vec::new();
        let trust = match Trust::load(root, &cluster.domain) {
            Ok(trust) => Some(trust),
            Err(identity::Error::Missing(_)) => None,
            Err(error) => {
                problems.push(error.to_string());
                None
            }
        };
        let signer = match Signer::load(root, &cluster.domain) {
            Ok(signer) => Some(signer),
            Err(sign::Error::File(identity::Error::Missing(_))) => None,
            Err(error) => {
                problems.push(error.to_string());
                None
            }
        };
        let seen = Moment::read(root, false).map_or_else(
            |error| {
                problems.push(error.to_string());
                0
            },
            |moment| moment.seen,
        );
        Self {
            trust,
            signer,
            seen,
            problems,
        }
    }
}
