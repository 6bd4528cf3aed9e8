//! What gossip asks of whoever keeps the records. It never looks into a record itself.

use super::identity::Who;

/// The SHA-256 of a record's bytes, or of all of them together.
pub type Digest = [u8; 32];

/// The largest record that travels, in bytes.
pub const RECORD: usize = 4 << 10;

/// What became of a record that was offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken: others should have it too.
    News,
    /// It is held already.
    Known,
    /// What is held is newer.
    Outdone,
    /// It is not to be believed, and why; the words are for the log.
    Refused(String),
}

/// What a record is about: of two with equal keys the one with the higher version is passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// What it is about, for instance a master's name and the kind of the statement.
    pub key: Vec<u8>,
    /// Which of them is newer.
    pub version: u64,
}

/// The records that a node holds.
///
/// Two ledgers with equal digests hold the same records; a ledger that was offered the records of
/// another, in any order, holds at least what the other's holds or what outdoes it.
pub trait Ledger {
    /// Judges a record and takes it if it is news. Cheap for one that is held already, for they come
    /// again and again.
    fn offer(&mut self, record: &[u8], from: &Who) -> Verdict;
    /// A digest of everything held.
    fn digest(&self) -> Digest;
    /// The digest of each record held, ascending.
    fn held(&self) -> Vec<Digest>;
    /// A record that is held.
    fn get(&self, digest: &Digest) -> Option<Vec<u8>>;
    /// Reads a record's key and version without judging it. `None` where it is not a record.
    fn stamp(record: &[u8]) -> Option<Stamp>;
}
