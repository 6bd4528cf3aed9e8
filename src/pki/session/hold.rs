//! The right to change certificates on this machine, and what comes before everything else: a static
//! pod's manifest that an earlier run has left out goes back, whatever else is wrong.

use std::time::Duration;

use super::Error;
use crate::clock;
use crate::lock::{self, Lock};
use crate::pki::moment::Moment;
use crate::pki::record::{self, Run, Seen};
use crate::root::Root;
use crate::static_pod;

/// How long a run waits for another one.
const PATIENCE: Duration = Duration::from_secs(10);

/// The lock on this machine's certificates, and what a person should know meanwhile.
#[derive(Debug)]
pub struct Hold {
    pub(super) root: Root,
    pub(super) notices: Vec<String>,
    pub(super) say: fn(&str),
    _lock: Lock,
}

impl Hold {
    /// Waits for a run that is at work. `say` hears what is being done, where that takes its time.
    pub fn take(root: &Root, say: fn(&str)) -> Result<Self, Error> {
        Self::take_within(root, say, PATIENCE)
    }

    /// Waits as long as the caller likes; not at all for nothing.
    pub fn take_within(root: &Root, say: fn(&str), patience: Duration) -> Result<Self, Error> {
        Ok(Self {
            root: root.clone(),
            notices: Vec::new(),
            say,
            _lock: lock::take(root, lock::CERTIFICATES, patience)?,
        })
    }

    /// Puts back what an earlier run has left out. Needs nothing but the two folders.
    pub fn put_back_manifests(&mut self) -> Result<(), Error> {
        let recovered = static_pod::recover(&self.root)?;
        self.notices
            .extend(recovered.iter().map(ToString::to_string));
        Ok(())
    }

    /// What a person should know, as far as nobody was told.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Puts on record that a run came to nothing, and why.
    pub fn note_failure(&mut self, message: &str) {
        // The newest time may be what cannot be read.
        let now = Moment::read(&self.root, false).map_or_else(
            |_| i64::try_from(clock::unix_now()).unwrap_or(i64::MAX),
            |moment| moment.judged(),
        );
        self.note(Err(message.to_owned()), None, now);
    }

    /// Puts on record how a run went, and what it saw.
    pub(super) fn note(&mut self, result: Result<(), String>, seen: Option<Seen>, now: i64) {
        if let Err(error) = record::note(&self.root, Run { result, seen }, now) {
            self.notices.push(error.to_string());
        }
    }

    /// Puts on record what is there now; how runs go is not known better than before.
    pub(super) fn refresh(&mut self, seen: Seen) {
        if let Err(error) = record::refresh(&self.root, seen) {
            self.notices.push(error.to_string());
        }
    }
}
