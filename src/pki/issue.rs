//! Issues certificates in memory. Nothing here touches a file.

use super::authority::Authority;
use super::key::PrivateKey;
use super::profile::Profile;

/// kubeadm's allowance for clocks that differ: a certificate begins this many seconds in the past.
pub const BACKDATED: i64 = 300;

/// From when to when a certificate is valid, in Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: i64,
    /// The last second.
    pub not_after: i64,
}

/// Why a certificate was not issued.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The authority's key is not on this machine.
    #[error("the authority's key is not on this machine")]
    NoKey,
    /// The library refuses.
    #[error("cannot issue a certificate for {subject}: {reason}")]
    Refused {
        /// The subject's CN.
        subject: String,
        /// In the library's words.
        reason: String,
    },
}

/// A self-signed authority, as PEM.
pub fn authority(
    _profile: &Profile,
    _key: &PrivateKey,
    _validity: Validity,
) -> Result<String, Error> {
    todo!()
}

/// A leaf signed by an authority, as PEM. `constraints`: say CA:FALSE.
pub fn leaf(
    _authority: &Authority,
    _profile: &Profile,
    _key: &PrivateKey,
    _validity: Validity,
    _constraints: bool,
) -> Result<String, Error> {
    todo!()
}
