//! A signed statement, as bytes that stay as they are from its signer to the last node.

use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};

use super::statement;

/// What is signed begins with this, so that a signature for something else never fits.
pub const CONTEXT: &[u8] = b"stayput record 1\n";
/// The largest record, in bytes. A certificate of P-256 under an RSA authority takes about 800.
pub const LIMIT: usize = 4 << 10;
/// The longest signature: two integers of 33 bytes, as DER.
pub const SIGNATURE: usize = 72;

/// A signed statement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Record {
    /// The encoded [`Statement`](super::statement::Statement).
    #[serde(deserialize_with = "part")]
    pub statement: Vec<u8>,
    /// The signer's certificate, as DER.
    #[serde(deserialize_with = "part")]
    pub certificate: Vec<u8>,
    /// ECDSA with SHA-256 over [`CONTEXT`] and the statement, as ASN.1 DER (RFC 3279, 2.2.3).
    #[serde(deserialize_with = "part")]
    pub signature: Vec<u8>,
}

/// SHA-256 of a record's bytes: by it nodes tell which they have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too many bytes, in the whole or in a part.
    #[error("the {part} has {size} bytes; at most {limit} are read")]
    TooLong {
        /// Which.
        part: &'static str,
        /// Its length.
        size: usize,
        /// The longest.
        limit: usize,
    },
    /// Not this encoding.
    #[error("the record cannot be read: {0}")]
    Malformed(postcard::Error),
    /// More bytes behind it.
    #[error("there are {0} bytes behind the record")]
    Trailing(usize),
    /// A length is written with empty digits.
    #[error("the record is not written in its one form")]
    NotCanonical,
}

impl Record {
    /// The record as bytes; one that is too long has none.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        self.check()?;
        let bytes = postcard::to_allocvec(self).map_err(Error::Malformed)?;
        bounded("record", bytes.len(), LIMIT)?;
        Ok(bytes)
    }

    /// Reads a record: all of the bytes. What is in its parts is judged by
    /// [`verify`](super::verify::verify).
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        bounded("record", bytes.len(), LIMIT)?;
        let (record, rest): (Self, _) =
            postcard::take_from_bytes(bytes).map_err(Error::Malformed)?;
        if !rest.is_empty() {
            return Err(Error::Trailing(rest.len()));
        }
        if record.encode()? != bytes {
            return Err(Error::NotCanonical);
        }
        Ok(record)
    }

    /// The bytes that are signed.
    pub fn signed(statement: &[u8]) -> Vec<u8> {
        [CONTEXT, statement].concat()
    }

    fn check(&self) -> Result<(), Error> {
        bounded("statement", self.statement.len(), statement::LIMIT)?;
        bounded("certificate", self.certificate.len(), LIMIT)?;
        bounded("signature", self.signature.len(), SIGNATURE)
    }
}

fn bounded(part: &'static str, size: usize, limit: usize) -> Result<(), Error> {
    if size > limit {
        return Err(Error::TooLong { part, size, limit });
    }
    Ok(())
}

/// A part of a record, wherever the record is read from.
fn part<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    struct Part;
    impl Visitor<'_> for Part {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {LIMIT} bytes")
        }

        fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            if bytes.len() > LIMIT {
                return Err(E::invalid_length(bytes.len(), &self));
            }
            Ok(bytes.to_vec())
        }
    }
    deserializer.deserialize_bytes(Part)
}

impl Digest {
    /// That of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_is_three_parts_each_behind_its_length() {
        let record = Record {
            statement: vec![1, 2],
            certificate: vec![7; 200],
            signature: vec![9],
        };
        let bytes = [&[2, 1, 2, 0xc8, 0x01][..], &[7; 200], &[1, 9]].concat();
        assert_eq!(record.encode().unwrap(), bytes);
        assert_eq!(Record::decode(&bytes), Ok(record));
        let digest = Digest::of(b"abc").to_string();
        assert!(
            digest.starts_with("ba7816bf8f01cfea414140de5dae2223"),
            "{digest}"
        );
    }

    #[test]
    fn what_is_too_long_or_not_whole_is_refused() {
        let behind = |length: &[u8], filled: usize| [length, &vec![0; filled]].concat();
        for (bytes, want) in [
            (Vec::new(), "cannot be read"),
            (vec![0, 0], "cannot be read"),
            (vec![0, 0, 0, 0], "1 bytes behind"),
            (vec![0x80, 0, 0, 0], "one form"),
            (vec![0xff; 4096], "cannot be read"),
            (vec![0; 4097], "record has 4097 bytes"),
            (behind(&[0x81, 0x08], 1027), "statement has 1025 bytes"),
            (behind(&[0, 0, 73], 73), "signature has 73 bytes"),
            // A length of four thousand million bytes, of which none is there.
            (vec![0, 0xff, 0xff, 0xff, 0xff, 0x0f], "cannot be read"),
        ] {
            let error = Record::decode(&bytes).unwrap_err().to_string();
            assert!(
                error.contains(want),
                "{:?}…: {error}",
                &bytes[..bytes.len().min(8)]
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_the_same(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(record) = Record::decode(&bytes) {
                prop_assert_eq!(record.encode().unwrap(), bytes);
            }
        }
    }
}
