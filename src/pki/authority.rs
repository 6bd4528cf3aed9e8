//! An authority that is there: its certificates, and its key where this machine has it.

use super::certificate::Certificate;
use super::key::PrivateKey;

/// An authority.
#[derive(Debug)]
pub struct Authority {
    /// The one that signs: of a bundle, the one whose key this machine has, else the first.
    pub certificate: Certificate,
    /// All of the file; one that is verified may come from any of them.
    pub bundle: Vec<Certificate>,
    /// The file's bytes, as they go into kubeconfigs.
    pub pem: Vec<u8>,
    /// Absent where the authority is kept elsewhere.
    pub key: Option<PrivateKey>,
}
