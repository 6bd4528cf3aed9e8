//! Why something could not be made.

use crate::pki::{certificate, issue, key, kubeconfig, verify};

/// Why something could not be made. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No key.
    #[error("{id}: {source}")]
    Key {
        /// The item.
        id: String,
        /// Why not.
        source: key::Error,
    },
    /// No certificate.
    #[error("{id}: {source}")]
    Issue {
        /// The item.
        id: String,
        /// Why not.
        source: issue::Error,
    },
    /// The authority cannot be used.
    #[error("{id}: the authority '{authority}' is not here or cannot be read")]
    NoAuthority {
        /// The item.
        id: String,
        /// The authority's id.
        authority: String,
    },
    /// What was issued would not be accepted by those who have to.
    #[error("{id}: the new certificate was thrown away, it would not be accepted: {source}")]
    Verify {
        /// The item.
        id: String,
        /// Why not.
        source: verify::Error,
    },
    /// What was issued cannot be read back.
    #[error("{id}: the new certificate was thrown away: it {source}")]
    Certificate {
        /// The item.
        id: String,
        /// Why not.
        source: certificate::Error,
    },
    /// The old kubeconfig cannot be renewed.
    #[error("{id}: {source}")]
    Kubeconfig {
        /// The item.
        id: String,
        /// Why not.
        source: kubeconfig::Error,
    },
    /// A public key was to be written for something that is no key pair.
    #[error("{id}: is no key pair")]
    NoKeyPair {
        /// The item.
        id: String,
    },
    /// A file cannot be read.
    #[error("{id}: cannot read {path}: {source}")]
    Read {
        /// The item.
        id: String,
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
}
