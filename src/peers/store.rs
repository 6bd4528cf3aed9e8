//! The ledger on disk: what was accepted once stays, across restarts and without a clock.
//!
//! One file: a line with the format, then for each record when it was first received (Unix time, a varint)
//! and its bytes behind their length (a varint), at the end SHA-256 over all before. `docs/protocol.md` has
//! it in full. Each record is verified again when it is loaded, but for its certificate's time.
//!
//! A file that makes no sense is set aside for a person to look at, and other nodes send its records
//! again; one that cannot be read may be good, and is left alone ([`state`] has the same rules).

use std::io;
use std::path::{Path, PathBuf};

use super::ledger::summary::ENTRIES;
use super::ledger::{Ledger, Outcome};
use super::record::{Digest, LIMIT, Record};
use super::trust::{Time, Trust};
use super::verify::{Refused, verify};
use crate::file;
use crate::root::Root;
use crate::state;

/// Where the ledger lies.
pub const PATH: &str = "/var/lib/stayput/peers/records";
/// The folder of [`PATH`], 0700.
pub const FOLDER: &str = "/var/lib/stayput/peers";
/// The first line.
pub const FORMAT: &[u8] = b"stayput records 1\n";
/// The largest file: a full ledger of the largest records.
pub const SIZE: u64 = (ENTRIES * (LIMIT + 20) + 64) as u64;

/// A record as it lies in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// When this node first saw it, in Unix time.
    pub received: u64,
    /// The record, not verified.
    pub record: Record,
}

/// What loading found.
#[derive(Debug)]
pub enum Loaded {
    /// A good file.
    Good {
        /// What it holds.
        ledger: Ledger,
        /// Records that are not accepted any more: the authority or the cluster is another one.
        refused: Vec<Refused>,
    },
    /// No file: a first start.
    Fresh,
    /// A damaged one, now out of the way.
    Damaged {
        /// What is wrong with it.
        reason: String,
        /// Where it lies now; `None` where it could not be moved.
        set_aside: Option<PathBuf>,
    },
    /// One of which nothing is known; it is left where it is.
    Unreadable(Unreadable),
}

/// Why the file could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot read {PATH}: {0}; it is left as it is, because it may hold records that no other node has: make it readable, or move it away"
)]
pub struct Unreadable(pub String);

/// Why bytes are no file of records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It begins otherwise.
    #[error("it does not begin with 'stayput records 1'")]
    Format,
    /// It was cut off or changed.
    #[error("its digest is another one")]
    Digest,
    /// A record in it cannot be read.
    #[error("its record {0} cannot be read: {1}")]
    Record(usize, String),
    /// More than a ledger holds.
    #[error("it has more than {ENTRIES} records")]
    TooMany,
}

/// Reads the ledger and verifies all of it; a damaged file is set aside.
pub fn load(root: &Root, trust: &Trust) -> Loaded {
    match peek(root, trust) {
        Loaded::Damaged { reason, .. } => Loaded::Damaged {
            reason,
            set_aside: file::set_aside(root, Path::new(PATH), ".damaged")
                .ok()
                .flatten(),
        },
        other => other,
    }
}

/// Reads the ledger and leaves even a damaged file where it is.
pub fn peek(root: &Root, trust: &Trust) -> Loaded {
    let reason = match root.read(Path::new(PATH), SIZE) {
        Ok(None) => return Loaded::Fresh,
        Ok(Some(bytes)) => match parse(&bytes) {
            Ok(stored) => return judge(stored, trust),
            Err(malformed) => malformed.to_string(),
        },
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => error.to_string(),
        Err(error) => return Loaded::Unreadable(Unreadable(error.to_string())),
    };
    Loaded::Damaged {
        reason,
        set_aside: None,
    }
}

/// All records of which the signature still holds by this trust.
fn judge(stored: Vec<Stored>, trust: &Trust) -> Loaded {
    let trust = trust.at(Time::Any);
    let mut ledger = Ledger::default();
    let mut refused = Vec::new();
    for Stored { received, record } in stored {
        match verify(&record, &trust) {
            Ok(verified) => {
                let _: Outcome = ledger.offer(verified, received);
            }
            Err(reason) => refused.push(reason),
        }
    }
    Loaded::Good { ledger, refused }
}

/// Reads a file's bytes: all of them.
pub fn parse(bytes: &[u8]) -> Result<Vec<Stored>, Malformed> {
    let body = bytes.strip_prefix(FORMAT).ok_or(Malformed::Format)?;
    let (body, digest) = body.split_last_chunk::<32>().ok_or(Malformed::Digest)?;
    let before = bytes.len() - digest.len();
    if Digest::of(&bytes[..before]).0 != *digest {
        return Err(Malformed::Digest);
    }
    let mut stored = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        if stored.len() == ENTRIES {
            return Err(Malformed::TooMany);
        }
        let malformed = |reason: String| Malformed::Record(stored.len() + 1, reason);
        let taken = postcard::take_from_bytes::<(u64, &[u8])>(rest);
        let ((received, record), behind) = taken.map_err(|error| malformed(error.to_string()))?;
        let record = Record::decode(record).map_err(|error| malformed(error.to_string()))?;
        stored.push(Stored { received, record });
        rest = behind;
    }
    Ok(stored)
}

/// The file's bytes.
pub fn render(ledger: &Ledger) -> Result<Vec<u8>, postcard::Error> {
    let mut bytes = FORMAT.to_vec();
    for held in ledger.records() {
        bytes = postcard::to_extend(&(held.received, held.verified.bytes()), bytes)?;
    }
    let digest = Digest::of(&bytes);
    bytes.extend(digest.0);
    Ok(bytes)
}

/// Saves the ledger, fsynced; tells whether it differed from what was there.
pub fn save(root: &Root, ledger: &Ledger) -> Result<bool, file::Error> {
    let path = Path::new(PATH);
    let failed = |operation, source| file::Error::Io {
        operation,
        path: path.to_owned(),
        source,
    };
    let bytes = render(ledger).map_err(|error| failed("render", io::Error::other(error)))?;
    root.create_folders(Path::new(state::FOLDER), 0o755)
        .and_then(|()| root.create_folders(Path::new(FOLDER), 0o700))
        .map_err(|source| failed("make the folder of", source))?;
    file::replace(root, path, &bytes, 0o600)
}

#[cfg(test)]
mod tests;
