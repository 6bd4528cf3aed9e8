//! Kubeconfigs: read whoever made them, written as kubeadm does, and renewed by changing nothing but
//! the certificate and the key in their text.

use super::certificate::Certificate;
use super::key::PrivateKey;

/// What matters of a kubeconfig: the current context's cluster and user.
#[derive(Debug)]
pub struct Kubeconfig {
    /// The cluster's server URL.
    pub server: String,
    /// The cluster's authorities, embedded.
    pub authorities: Vec<Certificate>,
    /// The user's certificate and key.
    pub client: Client,
}

/// How a kubeconfig's user proves who it is.
#[derive(Debug)]
pub enum Client {
    /// Certificate (then its chain) and key are within the file.
    Embedded {
        /// The certificates; the first is the user's.
        certificates: Vec<Certificate>,
        /// Its key.
        key: Box<PrivateKey>,
    },
    /// They are in files of their own, such as the kubelet's, which renews them itself.
    Files {
        /// The certificate's path, as written.
        certificate: String,
        /// The key's path, as written.
        key: String,
    },
    /// A token, a program: none of stayput's business.
    Other,
}

/// Why a text is no kubeconfig that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not what a kubeconfig looks like.
    #[error("is no usable kubeconfig: {0}")]
    Unusable(String),
}

/// What a new kubeconfig says.
#[derive(Debug, Clone, Copy)]
pub struct New<'a> {
    /// The server's URL.
    pub server: &'a str,
    /// The authority's PEM.
    pub authority: &'a [u8],
    /// The user, as in the certificate's CN.
    pub user: &'a str,
    /// The certificate's PEM.
    pub certificate: &'a str,
    /// The key's PEM.
    pub key: &'a str,
}
