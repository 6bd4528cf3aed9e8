//! What a run of `certs renew` or `certs init` leaves for others to read.
//!
//! The agent cannot read kubeconfigs and keys, and should not; so each run writes down how it went
//! and what it saw. The file holds no secret and anybody may read it. It is only shown: no decision
//! about a certificate is taken from it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::root::Root;
use crate::run_record::{Error, Place};

/// Where the record lies.
pub const PATH: &str = "/var/lib/stayput/certificates.json";
/// How much of a failure's message is kept, in bytes.
const MESSAGE: usize = 2000;

const PLACE: Place = Place {
    path: PATH,
    format: 1,
    what: "how the run went",
    command: "stayput certs renew",
};

/// The last runs. Times are Unix times.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// When the last run ended that was about all that is due, whether well or not.
    pub last_run: Option<i64>,
    /// When the last one ended that did all that was due.
    pub last_success: Option<i64>,
    /// Why runs fail, if the last one did.
    pub failure: Option<Failure>,
    /// What was there when a command last could look.
    pub items: Vec<Item>,
    /// What still had to follow a renewal then, in words: steps with the items that they are for.
    #[serde(default)]
    pub owed: Vec<String>,
}

/// What a command saw when it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Everything that should be there.
    pub items: Vec<Item>,
    /// What still has to follow a renewal, in words.
    pub owed: Vec<String>,
}

/// Runs that have failed since the last good one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The first of them.
    pub since: i64,
    /// The last.
    pub last: i64,
    /// How many.
    pub count: u32,
    /// What the last one said; no secret.
    pub message: String,
}

/// One certificate, kubeconfig, or key pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// What commands call it.
    pub id: String,
    /// The file that people know it by.
    pub path: PathBuf,
    /// When it ends; `None` where there is no certificate, or it cannot be read.
    pub not_after: Option<i64>,
    /// From when on it is due for renewal; `None` for what is never renewed by stayput.
    pub renew_from: Option<i64>,
    /// In the words of `stayput certs status`.
    pub state: String,
    /// Whether a person should look at it, for another reason than its end.
    #[serde(default)]
    pub attention: bool,
}

/// How one run went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Nothing that is due was left undone, or what was.
    pub result: Result<(), String>,
    /// What is there now; `None` where the run did not come so far as to look.
    pub seen: Option<Seen>,
}

/// The record after one more run, which ended at `now`.
pub fn after_run(previous: Option<Record>, run: Run, now: i64) -> Record {
    let previous = previous.unwrap_or_default();
    let failure = run.result.err().map(|message| {
        let (since, count) = previous.failure.map_or((now, 0), |f| (f.since, f.count));
        Failure {
            since,
            last: now,
            count: count.saturating_add(1),
            message: shortened(message),
        }
    });
    let Seen { items, owed } = run.seen.unwrap_or(Seen {
        items: previous.items,
        owed: previous.owed,
    });
    Record {
        last_run: Some(now),
        last_success: if failure.is_none() {
            Some(now)
        } else {
            previous.last_success
        },
        failure,
        items,
        owed,
    }
}

fn shortened(mut message: String) -> String {
    if message.len() > MESSAGE {
        message.truncate(message.floor_char_boundary(MESSAGE));
        message.push('…');
    }
    message
}

/// Reads the record; `None` where no run has left one.
pub fn read(root: &Root) -> Result<Option<Record>, Error> {
    PLACE.read(root)
}

/// Writes the record.
pub fn write(root: &Root, record: &Record) -> Result<(), Error> {
    PLACE.write(root, record)
}

/// Writes down how a run went that ended at `now`. A record that cannot be used is begun anew.
pub fn note(root: &Root, run: Run, now: i64) -> Result<Record, Error> {
    let record = after_run(read(root).ok().flatten(), run, now);
    write(root, &record)?;
    Ok(record)
}

/// Writes down what is there now and leaves how the last run went. A record that cannot be used is
/// begun anew.
pub fn refresh(root: &Root, seen: Seen) -> Result<(), Error> {
    let Seen { items, owed } = seen;
    let record = read(root).ok().flatten().unwrap_or_default();
    write(
        root,
        &Record {
            items,
            owed,
            ..record
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(state: &str) -> Item {
        Item {
            id: "apiserver".into(),
            path: "/etc/kubernetes/pki/apiserver.crt".into(),
            not_after: Some(2_000),
            renew_from: Some(1_500),
            state: state.into(),
            attention: false,
        }
    }

    fn seen(state: &str) -> Seen {
        Seen {
            items: vec![item(state)],
            owed: vec![format!("what follows {state}")],
        }
    }

    fn good(state: &str) -> Run {
        Run {
            result: Ok(()),
            seen: Some(seen(state)),
        }
    }

    fn bad(message: &str) -> Run {
        Run {
            result: Err(message.into()),
            seen: None,
        }
    }

    #[test]
    fn failures_are_counted_until_a_run_succeeds() {
        let record = after_run(None, good("ok"), 10);
        assert_eq!((record.last_run, record.last_success), (Some(10), Some(10)));
        let record = after_run(Some(record), bad("disk full"), 20);
        let record = after_run(Some(record), bad("clock"), 30);
        let failure = record.failure.clone().unwrap();
        assert_eq!((failure.since, failure.last, failure.count), (20, 30, 2));
        assert_eq!(failure.message, "clock");
        assert_eq!((record.last_run, record.last_success), (Some(30), Some(10)));
        assert_eq!(record.items, [item("ok")], "what was seen last stays known");
        assert_eq!(record.owed, ["what follows ok"]);
        let record = after_run(Some(record), good("due"), 40);
        assert_eq!((record.failure, record.last_success), (None, Some(40)));
        assert_eq!(record.items, [item("due")]);
    }

    #[test]
    fn what_is_there_is_refreshed_and_how_runs_went_stays() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        refresh(&root, seen("ok")).unwrap();
        let first = read(&root).unwrap().unwrap();
        assert_eq!((first.last_run, first.last_success), (None, None));
        assert_eq!(first.items, [item("ok")]);
        let before = note(&root, bad("disk full"), 7).unwrap();
        refresh(&root, seen("due")).unwrap();
        let Seen { items, owed } = seen("due");
        let want = Record {
            items,
            owed,
            ..before
        };
        assert_eq!(read(&root).unwrap(), Some(want));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let record = after_run(None, bad(&"ü".repeat(3_000)), 1);
        let message = record.failure.unwrap().message;
        assert!(message.len() < MESSAGE + 4 && message.ends_with("ü…"));
    }

    #[test]
    fn a_damaged_record_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let written = note(&root, good("ok"), 7).unwrap();
        assert_eq!(read(&root).unwrap(), Some(written));
        std::fs::write(dir.path().join(&PATH[1..]), "[]").unwrap();
        let error = read(&root).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        note(&root, good("ok"), 8).unwrap();
        assert_eq!(read(&root).unwrap().unwrap().last_run, Some(8));
    }
}
