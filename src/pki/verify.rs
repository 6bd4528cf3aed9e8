//! Verifies certificates as Kubernetes' clients and servers do, with webpki.

use super::certificate::Certificate;
use super::profile::{Names, Usages};

/// Why a certificate does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The chain does not lead to the authority, or a part of it is not valid at that time.
    #[error("{subject} is not accepted: {reason}")]
    Chain {
        /// The certificate's subject.
        subject: String,
        /// In the library's words.
        reason: String,
    },
    /// A client that connects to that name refuses the certificate.
    #[error("{subject} is not valid for the name {name}")]
    Name {
        /// The certificate's subject.
        subject: String,
        /// The name.
        name: String,
    },
}

/// Checks that `leaf` leads to one of `authorities`, over `intermediates` if need be, for all of
/// `usages`, at a Unix time.
pub fn chain(
    _leaf: &Certificate,
    _intermediates: &[Certificate],
    _authorities: &[Certificate],
    _usages: Usages,
    _at: i64,
) -> Result<(), Error> {
    todo!()
}

/// Checks that a client accepts `leaf` under each of these names.
pub fn names(_leaf: &Certificate, _names: &Names) -> Result<(), Error> {
    todo!()
}
