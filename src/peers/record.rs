//! A signed statement, as bytes that stay as they are from its signer to the last node.

use serde::{Deserialize, Serialize};

/// What is signed begins with this, so that a signature for something else never fits.
pub const CONTEXT: &[u8] = b"stayput record 1\n";
/// The largest record, in bytes. A certificate of P-256 under an RSA authority takes about 800.
pub const LIMIT: usize = 4 << 10;

/// A signed statement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Record {
    /// The encoded [`Statement`](super::statement::Statement).
    pub statement: Vec<u8>,
    /// The signer's certificate, as DER.
    pub certificate: Vec<u8>,
    /// ECDSA with SHA-256 over [`CONTEXT`] and the statement, as ASN.1 DER (RFC 3279, 2.2.3).
    pub signature: Vec<u8>,
}
