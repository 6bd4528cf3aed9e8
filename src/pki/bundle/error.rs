//! Why there is no bundle, or why it is not taken.

use std::io;
use std::path::PathBuf;

use super::LIMIT;

/// Why there is no bundle, or why it is not taken. Names are relative to [`FOLDER`](crate::pki::FOLDER).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of this machine cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The archive cannot be read or written.
    #[error("cannot {operation} the bundle: {source}")]
    Archive {
        /// What was being done.
        operation: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// It is larger than any bundle.
    #[error("the bundle is larger than {LIMIT} bytes; make it with `stayput certs bundle`")]
    TooLarge,
    /// No archive, or the beginning of one.
    #[error(
        "the bundle is empty, cut off, or no tar at all; did `stayput certs bundle` fail on the other master?"
    )]
    CutOff,
    /// Something that is none of the files.
    #[error("the bundle holds '{name}', {what}; make it with `stayput certs bundle`")]
    Unexpected {
        /// The entry's name, with escapes for what a terminal would not show.
        name: String,
        /// What is wrong about it.
        what: &'static str,
    },
    /// A file that a second master cannot do without.
    #[error("there is no {0}; {1}")]
    Missing(String, &'static str),
    /// A file that cannot be used.
    #[error("{name} {reason}")]
    Unusable {
        /// The file.
        name: String,
        /// Why, as in `holds no certificate`.
        reason: String,
    },
    /// This machine has others already.
    #[error(
        "this machine has other files of that name: {}; nothing was changed. A master that belongs to another cluster must be reset first; if only a file is left over, move it away",
        .0.join(", ")
    )]
    Conflict(Vec<String>),
}

impl Error {
    pub(super) fn archive(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Archive { operation, source }
    }
}
