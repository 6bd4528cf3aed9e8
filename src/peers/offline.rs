//! Records taken into the file where no process has it: by a command, which holds the lock
//! ([`lock::PEERS`](crate::lock::PEERS)).

use super::control::message::{Verdict, Word};
use super::ledger::{Ledger, Outcome};
use super::record::Record;
use super::store::{self, Loaded, Unreadable};
use super::trust::Trust;
use super::verify::verify;
use crate::file;
use crate::root::Root;

/// What was done.
#[derive(Debug)]
pub struct Taken {
    /// All records now.
    pub ledger: Ledger,
    /// One for each that was offered, in their order.
    pub verdicts: Vec<Verdict>,
    /// What a person should know.
    pub notices: Vec<String>,
}

/// Why nothing was taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file may hold good records.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// Records of another authority would be lost.
    #[error(
        "{} holds {count} records that this authority has nothing to do with ({reason}), and they would be lost; if this node belonged to another cluster, move the file away",
        store::PATH
    )]
    Foreign {
        /// How many.
        count: usize,
        /// Why the first one is not accepted.
        reason: String,
    },
    /// It cannot be saved.
    #[error(transparent)]
    Save(#[from] file::Error),
}

/// Judges each record at [`Trust::time`], and saves all that are held then. `now`: in Unix time.
pub fn take(root: &Root, trust: &Trust, offered: &[Vec<u8>], now: u64) -> Result<Taken, Error> {
    let mut notices = Vec::new();
    let mut ledger = match store::load(root, trust) {
        Loaded::Fresh => Ledger::default(),
        Loaded::Good { ledger, refused } => {
            if let Some(first) = refused.first() {
                return Err(Error::Foreign {
                    count: refused.len(),
                    reason: first.to_string(),
                });
            }
            ledger
        }
        Loaded::Damaged { reason, set_aside } => {
            let aside = set_aside.map_or("it is overwritten".to_owned(), |path| {
                format!("it lies at {} now", path.display())
            });
            notices.push(format!(
                "{} was damaged ({reason}); {aside}, and other nodes send its records again",
                store::PATH
            ));
            Ledger::default()
        }
        Loaded::Unreadable(unreadable) => return Err(unreadable.into()),
    };
    let judged = offered.iter();
    let verdicts: Vec<Verdict> = judged
        .map(|bytes| offer(&mut ledger, trust, bytes, now))
        .collect();
    if verdicts.iter().any(|it| it.verdict == Word::News) {
        store::save(root, &ledger)?;
    }
    Ok(Taken {
        ledger,
        verdicts,
        notices,
    })
}

fn offer(ledger: &mut Ledger, trust: &Trust, bytes: &[u8], now: u64) -> Verdict {
    let refused = |reason: String| Verdict {
        verdict: Word::Refused,
        reason: Some(reason),
    };
    let record = match Record::decode(bytes) {
        Ok(record) => record,
        Err(error) => return refused(error.to_string()),
    };
    // What is held was accepted once, and its certificate may have ended since.
    let verified = match verify(&record, trust) {
        Ok(verified) => verified,
        Err(_) if ledger.holds(super::record::Digest::of(bytes)) => return Word::Known.into(),
        Err(error) => return refused(error.to_string()),
    };
    let outcome = ledger.offer(verified, now);
    match outcome {
        Outcome::News | Outcome::Kept => Word::News.into(),
        Outcome::Known => Word::Known.into(),
        Outcome::Outdone => Word::Outdone.into(),
        Outcome::TooManyMasters | Outcome::TooManyWords => {
            refused(outcome.warning().unwrap_or_default().to_owned())
        }
    }
}

impl From<Word> for Verdict {
    fn from(verdict: Word) -> Self {
        Self {
            verdict,
            reason: None,
        }
    }
}
