//! What time it is, and whether that can be trusted enough to issue certificates.
//!
//! A machine whose clock is wrong must not issue: from a clock that lies in the past come
//! certificates that have already ended, from one in the future such that nobody accepts yet. So the
//! newest time that this node has seen is kept in a file, and three rules follow:
//!
//! - Expiry is judged by the later of the clock and that time ([`Moment::judged`]).
//! - Nobody issues while the clock stands before that time, unless a person vouches for the clock.
//!   A step of at most [`TOLERANCE`] is no alarm: a time service may take one, and a certificate that
//!   begins [`BACKDATED`] seconds before the newest time is valid by such a
//!   clock too.
//! - A timer issues only while the kernel knows of a time service. A person is asked for less, because
//!   a machine without one still has to be repaired.
//!
//! The time is remembered only from a clock that is synchronised, that certificates were issued by, or
//! that a person vouches for; otherwise a machine that once started with its clock in 2099 would stay there.

use std::io;
use std::path::Path;

use super::issue::BACKDATED;
use super::window::LAST_SECOND;
use crate::file;
use crate::root::Root;
use crate::{clock, state};

/// Where the newest time lies: a decimal Unix time and a newline.
pub const PATH: &str = "/var/lib/stayput/certificates/newest-time";

/// How far the clock may stand before the newest time without alarm, in seconds.
pub const TOLERANCE: i64 = BACKDATED;

/// How much newer the clock must be before it is worth a write, in seconds. Expiry is a matter of days.
const WORTH_A_WRITE: i64 = 3600;

/// More than the digits of [`LAST_SECOND`] and a newline.
const LIMIT: u64 = 64;

/// The time as this node knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The clock, in Unix time.
    pub clock: i64,
    /// The newest time that this node has seen before; 0 where there is none.
    pub seen: i64,
    /// Whether the clock follows a time service.
    pub synchronised: Synchronised,
    /// A person vouches for the clock (`--trust-clock`).
    pub trusted: bool,
}

/// Whether the kernel's clock follows a time service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronised {
    /// It does.
    Yes,
    /// It does not, or has not for hours.
    No,
    /// The kernel may not be asked: a sandbox forbids adjtimex(2).
    Unknown,
}

/// Why nothing may be issued now. Times are Unix times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The clock went back.
    #[error(
        "the clock says {}, but this node has already seen {}; set the clock (see `timedatectl`). If it is right and was wrong before, run the command by hand with --trust-clock",
        clock::date(*.clock), clock::date(*.seen)
    )]
    Behind {
        /// The clock.
        clock: i64,
        /// The newest time seen.
        seen: i64,
    },
    /// No time service.
    #[error(
        "the clock is not synchronised, and nothing is issued unattended by such a clock; start a time service such as chrony or systemd-timesyncd (see `timedatectl`), or run the command by hand"
    )]
    NotSynchronised,
    /// The kernel was not asked.
    #[error(
        "whether the clock is synchronised cannot be told, because adjtimex(2) is forbidden here, and nothing is issued unattended by such a clock; allow it (systemd: ProtectClock=no and SystemCallFilter=adjtimex clock_adjtime), or run the command by hand"
    )]
    SynchronisationUnknown,
}

/// Why the newest time could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {PATH}: {0}")]
    Read(#[source] io::Error),
    /// The file holds something else.
    #[error(
        "{PATH} is damaged ({0}), so it is not known whether the clock went back; look at the clock with `date`, and if it is right remove the file or run the command by hand with --trust-clock"
    )]
    Damaged(String),
    /// Its folder cannot be made.
    #[error("cannot create the folder of {PATH}: {0}")]
    Folder(#[source] io::Error),
    /// The file cannot be written.
    #[error("cannot remember the time: {0}")]
    Write(#[from] file::Error),
}

impl Moment {
    /// Reads the clock, the kernel's word on it, and the newest time seen. Where a person vouches for
    /// the clock a damaged file counts as none; [`remember`](Self::remember) then makes it good.
    pub fn read(root: &Root, trusted: bool) -> Result<Self, Error> {
        let bytes = root.read(Path::new(PATH), LIMIT).map_err(Error::Read)?;
        let seen = match bytes.as_deref().map(parse).transpose() {
            Ok(seen) => seen.unwrap_or(0),
            Err(_) if trusted => 0,
            Err(error) => return Err(error),
        };
        Ok(Self {
            clock: i64::try_from(clock::unix_now()).unwrap_or(LAST_SECOND),
            seen,
            synchronised: synchronised(&maximum_error()),
            trusted,
        })
    }

    /// The time that expiry is judged by and that new certificates begin at: the later of the clock and
    /// the newest time seen, or the clock where a person vouches for it.
    pub fn judged(&self) -> i64 {
        if self.trusted {
            self.clock
        } else {
            self.clock.max(self.seen)
        }
    }

    /// Whether certificates may be issued now; `attended` where a person runs the command. A timer
    /// cannot vouch for a clock, so `trusted` does not help it.
    pub fn may_issue(&self, attended: bool) -> Result<(), Refusal> {
        let behind = self.clock < self.seen.saturating_sub(TOLERANCE);
        if behind && !(attended && self.trusted) {
            let Self { clock, seen, .. } = *self;
            return Err(Refusal::Behind { clock, seen });
        }
        match self.synchronised {
            Synchronised::No if !attended => Err(Refusal::NotSynchronised),
            Synchronised::Unknown if !attended => Err(Refusal::SynchronisationUnknown),
            _ => Ok(()),
        }
    }

    /// Keeps this time for later runs, where the clock deserves it: it is synchronised, certificates
    /// were just `issued` by it, or a person vouches for it. Only the last sets back what is kept.
    /// Tells whether it wrote; without need it does not.
    pub fn remember(&self, root: &Root, issued: bool) -> Result<bool, Error> {
        if !issued && !self.trusted && self.synchronised != Synchronised::Yes {
            return Ok(false);
        }
        root.create_folders(Path::new(state::FOLDER), 0o755)
            .and_then(|()| root.create_folders(folder(), 0o700))
            .map_err(Error::Folder)?;
        file::update(root, Path::new(PATH), LIMIT, 0o600, |old| {
            let old = match old.map(parse).transpose() {
                Ok(old) => old,
                Err(_) if self.trusted => None,
                Err(error) => return Err(error),
            };
            Ok(self
                .worth_keeping(old, issued)
                .map(|time| format!("{time}\n").into_bytes()))
        })
    }

    /// What takes the place of the time that is kept, if anything. A run that was faster may have kept
    /// a newer one than this run has read.
    fn worth_keeping(&self, old: Option<i64>, issued: bool) -> Option<i64> {
        match old {
            None => Some(self.clock),
            Some(_) if self.trusted => Some(self.clock),
            Some(old) if issued && self.clock > old => Some(self.clock),
            Some(old) if self.clock - old >= WORTH_A_WRITE => Some(self.clock),
            Some(_) => None,
        }
    }
}

/// The folder of [`PATH`].
fn folder() -> &'static Path {
    Path::new(PATH).parent().unwrap_or(Path::new("/"))
}

fn parse(bytes: &[u8]) -> Result<i64, Error> {
    let text = String::from_utf8_lossy(bytes);
    let digits = text.trim_ascii();
    if digits.is_empty() {
        return Err(Error::Damaged("it is empty".into()));
    }
    let time = digits
        .parse()
        .ok()
        .filter(|time| (1..=LAST_SECOND).contains(time));
    time.ok_or_else(|| Error::Damaged(format!("{digits:?} is no Unix time")))
}

/// Below this estimate of its error, in microseconds, the kernel's clock follows a time service.
///
/// The kernel starts at this value, goes back to it when somebody sets the clock by hand, and adds 500
/// µs each second until a time service says better (`NTP_PHASE_LIMIT`, adjtimex(2)). It is what `timedatectl`
/// calls synchronised. `STA_UNSYNC` and the result `TIME_ERROR` are no good measure: the flag also keeps
/// the kernel from setting the hardware clock, and chrony leaves it set unless it is told `rtcsync`.
const FOLLOWS_BELOW: i64 = 16_000_000;

/// What the kernel's estimate of its clock's error means.
fn synchronised(maximum_error: &io::Result<i64>) -> Synchronised {
    match maximum_error {
        Ok(microseconds) if *microseconds < FOLLOWS_BELOW => Synchronised::Yes,
        Ok(_) => Synchronised::No,
        Err(_) => Synchronised::Unknown,
    }
}

/// The kernel's estimate of its clock's greatest error, in microseconds. Asking needs no rights, but
/// seccomp filters of containers often forbid the whole system call (which is
/// `clock_adjtime(2)` in truth: C libraries make one of the other).
fn maximum_error() -> io::Result<i64> {
    // Zeroed: nothing is adjusted, only read.
    let mut answer = rtime_clock::adjtime::Timex::new();
    rtime_clock::adjtime::adjtimex(&mut answer)?;
    #[expect(
        clippy::useless_conversion,
        reason = "narrower where a long has 32 bits"
    )]
    Ok(i64::from(answer.0.maxerror))
}

#[cfg(test)]
mod tests;
