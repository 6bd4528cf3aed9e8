//! What can go wrong with the surface as a whole.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::disk::DISTRIBUTION;
use super::{render, runtime};
use crate::writer::Interrupted;
use crate::{file, process};

/// Why HAProxy could not be made to show a view.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path in the cluster file leads to the distribution's configuration.
    #[error(
        "{DISTRIBUTION} belongs to the distribution's HAProxy; set haproxy.config to a file of \
         its own, such as /var/lib/stayput/haproxy.cfg"
    )]
    Distribution,
    /// Somebody else's file.
    #[error(
        "{} was not written by stayput and is left alone; move it away, or set haproxy.config to \
         another path", .0.display()
    )]
    Foreign(PathBuf),
    /// Looking at a file failed.
    #[error("cannot {operation} {}: {source}", path.display())]
    Look {
        /// What was being done.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Writing a file failed.
    #[error(transparent)]
    File(#[from] file::Error),
    /// The writing thread failed.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The view cannot be rendered.
    #[error(transparent)]
    Render(#[from] render::Error),
    /// `haproxy -c` refused the candidate; the old structure is still in place.
    #[error("HAProxy refuses the new configuration, so {} keeps the old one: {words}", path.display())]
    Refused {
        /// The file that stays.
        path: PathBuf,
        /// HAProxy's own words.
        words: String,
    },
    /// `haproxy -c` did not come to an end, or the reload of a running HAProxy failed.
    #[error(transparent)]
    Program(#[from] process::Error),
    /// The Runtime API failed.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// A server is not where it was put.
    #[error("HAProxy keeps server {label} at {from} instead of {to}; it answered: {answers}")]
    NotTaken {
        /// The server.
        label: String,
        /// Where HAProxy has it.
        from: SocketAddr,
        /// Where it should be.
        to: SocketAddr,
        /// What HAProxy said to the commands.
        answers: String,
    },
    /// Nothing answers on the socket, and somebody holds a port that HAProxy needs: one of ours
    /// that has lost its socket, or a stranger.
    #[error("stayput's HAProxy does not answer: {}", .0.join("; "))]
    Held(Vec<String>),
    /// The file is written, another structure runs, and nothing may be run to change that.
    #[error(
        "{} is written but not in force: no reload command (haproxy.reload; a sandbox has none \
         unless told); reload HAProxy yourself", .0.display()
    )]
    NotInForce(PathBuf),
    /// After a reload the old structure is still running.
    #[error("HAProxy was told to reload but goes on with its old configuration; {hint}")]
    NotLive {
        /// What to look at.
        hint: String,
    },
}

impl Error {
    /// Whether HAProxy is there and does not answer.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self, Self::Runtime(error) if error.is_silent())
    }
}
