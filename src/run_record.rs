//! What a run leaves for others to read: a JSON file of a known format.
//!
//! The agent may not read what the run has read; so the run writes down what it found and did. Such a file
//! holds no secret and anybody may read it. It is only shown: nothing is decided by it.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::file;
use crate::root::Root;
use crate::state;

/// Far above what a node's files can pin, or a thousand extra certificates need.
const LIMIT: u64 = 4 << 20;

/// Where a record lies, and who writes it.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The file, in stayput's state folder.
    pub path: &'static str,
    /// The number in its key `format`.
    pub format: u32,
    /// What stands in it, as in "cannot write down …".
    pub what: &'static str,
    /// The command that writes a new one.
    pub command: &'static str,
}

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is there and cannot be read.
    #[error("cannot read {path}: {source}; make it readable")]
    Unreadable {
        /// The file.
        path: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// It makes no sense.
    #[error("{path} is damaged ({reason}); the next `{command}` writes a new one")]
    Damaged {
        /// The file.
        path: &'static str,
        /// What is wrong with it.
        reason: String,
        /// Who writes it.
        command: &'static str,
    },
    /// It cannot be written.
    #[error("cannot write down {what}: {source}")]
    Write {
        /// What was to be in it.
        what: &'static str,
        /// Why not.
        source: file::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Stored<R> {
    format: u32,
    #[serde(flatten)]
    record: R,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Place {
    /// Reads the record; `None` where no run has left one.
    pub fn read<R: DeserializeOwned>(self, root: &Root) -> Result<Option<R>, Error> {
        let damaged = |error: &dyn std::fmt::Display| Error::Damaged {
            path: self.path,
            reason: error.to_string(),
            command: self.command,
        };
        let bytes = match root.read(Path::new(self.path), LIMIT) {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
                return Err(damaged(&error));
            }
            Err(source) => {
                return Err(Error::Unreadable {
                    path: self.path,
                    source,
                });
            }
        };
        // The format first: another one may have other keys.
        let Format { format } = serde_json::from_slice(&bytes).map_err(|error| damaged(&error))?;
        if format != self.format {
            let want = self.format;
            return Err(damaged(&format_args!("format {format} is not {want}")));
        }
        let stored: Stored<R> = serde_json::from_slice(&bytes).map_err(|error| damaged(&error))?;
        Ok(Some(stored.record))
    }

    /// Writes the record.
    pub fn write<R: Serialize>(self, root: &Root, record: &R) -> Result<(), Error> {
        self.write_file(root, record)
            .map_err(|source| Error::Write {
                what: self.what,
                source,
            })
    }

    fn write_file<R: Serialize>(self, root: &Root, record: &R) -> Result<(), file::Error> {
        let failed = |operation, source| file::Error::Io {
            operation,
            path: self.path.into(),
            source,
        };
        let stored = Stored {
            format: self.format,
            record,
        };
        let mut bytes =
            serde_json::to_vec_pretty(&stored).map_err(|error| failed("render", error.into()))?;
        bytes.push(b'\n');
        root.create_folders(Path::new(state::FOLDER), 0o755)
            .map_err(|error| failed("make the folder of", error))?;
        file::replace(root, Path::new(self.path), &bytes, 0o644)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const PLACE: Place = Place {
        path: "/var/lib/stayput/example.json",
        format: 3,
        what: "what was found",
        command: "stayput look",
    };

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    struct Example {
        words: Vec<String>,
    }

    #[test]
    fn comes_back_as_it_was_written_and_anybody_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(PLACE.read::<Example>(&root).unwrap(), None);
        let example = Example {
            words: vec!["one".into(), "two".into()],
        };
        PLACE.write(&root, &example).unwrap();
        assert_eq!(PLACE.read(&root).unwrap(), Some(example));
        let path = dir.path().join(&PLACE.path[1..]);
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o644);
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.starts_with("{\n  \"format\": 3,\n"), "{text}");
    }

    #[test]
    fn what_is_damaged_is_told_with_who_writes_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let example = Example { words: Vec::new() };
        PLACE.write(&root, &example).unwrap();
        let path = dir.path().join(&PLACE.path[1..]);
        let whole = std::fs::read(&path).unwrap();
        let half = &whole[..whole.len() / 2];
        for damaged in [half, b"", b"[]", b"{\"format\":9}", b"{\"format\":3}"] {
            std::fs::write(&path, damaged).unwrap();
            let error = PLACE.read::<Example>(&root).unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "{error}");
            let error = error.to_string();
            assert!(error.contains(PLACE.path), "{error}");
            assert!(error.contains("`stayput look` writes a new one"), "{error}");
        }
        PLACE.write(&root, &example).unwrap();
        assert_eq!(PLACE.read(&root).unwrap(), Some(example));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let error = PLACE.read::<Example>(&root).unwrap_err();
        assert!(matches!(error, Error::Unreadable { .. }), "{error}");
        let error = PLACE.write(&root, &Example { words: Vec::new() });
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("cannot write down what was found: "));
    }
}
