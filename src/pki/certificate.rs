//! X.509 certificates as values: what stayput needs to know of one, whoever made it.

use super::profile::Profile;

/// A certificate. Times are Unix times in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The whole certificate.
    pub der: Vec<u8>,
    /// Subject, usages and names.
    pub profile: Profile,
    /// The subject for people: `O=system:masters, CN=kubernetes-admin`.
    pub subject: String,
    /// The subject as DER.
    pub subject_der: Vec<u8>,
    /// The issuer for people.
    pub issuer: String,
    /// The issuer as DER.
    pub issuer_der: Vec<u8>,
    /// When it begins to be valid.
    pub not_before: i64,
    /// The last second in which it is valid.
    pub not_after: i64,
    /// The serial number in hexadecimal, lower-case, without leading zeros; `0` of an old kubeadm's CA.
    pub serial: String,
    /// The public key, as DER of `SubjectPublicKeyInfo`.
    pub public_key: Vec<u8>,
    /// Whether it says that it is an authority.
    pub is_authority: bool,
}

/// Why a text holds no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No `CERTIFICATE` block at all.
    #[error("holds no certificate")]
    None,
    /// A block that cannot be read.
    #[error("certificate {number} of the file cannot be read: {reason}")]
    Malformed {
        /// Counted from 1.
        number: usize,
        /// In the library's words.
        reason: String,
    },
}

impl Certificate {
    /// All certificates of a PEM text, in order; at least one.
    pub fn parse_pem(_pem: &[u8]) -> Result<Vec<Self>, Error> {
        todo!()
    }

    /// One certificate of a DER text.
    pub fn parse_der(_der: &[u8]) -> Result<Self, Error> {
        todo!()
    }

    /// How long it is valid from its beginning to its end, in seconds.
    pub fn lifetime(&self) -> i64 {
        self.not_after - self.not_before
    }
}
