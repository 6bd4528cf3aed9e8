//! What the agent says about certificates: from the last run's record and the clock alone.
//!
//! The agent does not look at `/etc/kubernetes` itself: it cannot read kubeconfigs and keys, and a
//! second judgement would one day contradict `stayput certs status`. It only gets louder:
//!
//! | | |
//! |---|---|
//! | info | nothing is due, and the last run was good |
//! | warning | something is due, a run failed, a restart is still to follow, or a person should look at a file |
//! | critical | a static pod was left out, or something has expired, or will within 7 days (within a third of its window where that is less) |

use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::record::{self, Item, Record};
use crate::clock;
use crate::root::Root;
use crate::static_pod;
use crate::status::{CertificatesStatus, DueCertificate, Loudness, NextRenewal, RenewalFailure};

const DAY: i64 = 86_400;
/// From here on it is urgent, whatever the window.
const URGENT: i64 = 7 * DAY;

/// A manifest that is out for longer was left out by a run that died, in seconds.
const RESTART: i64 = 600;

/// What is said where nobody has renewed yet.
const NO_RUN: &str =
    "no run has left a record yet: enable stayput-renew.timer, or run `stayput certs renew`";

/// What is known of this node's certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The last run's record; `None` where there was none, or why it cannot be used.
    pub record: Result<Option<Record>, String>,
    /// Static pods whose manifest was left out by a run that died.
    pub left_out: Vec<String>,
}

/// Looks for the record at a Unix time; `None` where nothing says that certificates are any of this
/// node's business. `master`: this node is one.
pub fn look(root: &Root, master: bool, clock: i64) -> Option<Known> {
    let record = record::read(root).map_err(|error| error.to_string());
    let left_out = left_out(root, clock);
    let pki = Path::new(super::FOLDER).join("pki");
    // What cannot be looked at is there.
    let concerned = || master && root.exists(&pki).unwrap_or(true);
    let silent = matches!(record, Ok(None)) && left_out.is_empty() && !concerned();
    (!silent).then_some(Known { record, left_out })
}

/// Pods whose manifest has been out of its place for longer than any restart takes.
fn left_out(root: &Root, clock: i64) -> Vec<String> {
    let folder = root.open_at(Path::new(static_pod::FOLDER), OFlags::PATH, Mode::empty());
    let changed = folder.and_then(|folder| Ok(rustix::fs::fstat(folder)?.st_mtime));
    if changed.is_ok_and(|changed| clock - changed > RESTART) {
        // What cannot be looked into is told by the next run.
        return static_pod::left_out(root).unwrap_or_default();
    }
    Vec::new()
}

/// The section of `stayput status`, at a Unix time.
pub fn outlook(known: &Known, clock: i64) -> CertificatesStatus {
    let mut status = match &known.record {
        Ok(Some(record)) => of_record(record, clock),
        Ok(None) => CertificatesStatus {
            remarks: vec![NO_RUN.to_owned()],
            ..CertificatesStatus::default()
        },
        Err(error) => CertificatesStatus {
            loudness: Loudness::Warning,
            remarks: vec![error.clone()],
            ..CertificatesStatus::default()
        },
    };
    for pod in &known.left_out {
        status.loudness = Loudness::Critical;
        status.remarks.push(static_pod::missing(pod));
    }
    status
}

fn of_record(record: &Record, clock: i64) -> CertificatesStatus {
    // A clock that went back makes nothing younger.
    let now = clock.max(record.last_run.unwrap_or(clock));
    let mut status = CertificatesStatus {
        last_run: record.last_run.map(time),
        last_success: record.last_success.map(time),
        ..CertificatesStatus::default()
    };
    if let Some(failure) = &record.failure {
        status.loudness = Loudness::Warning;
        status.remarks.push(format!(
            "renewing fails since {} (runs: {}): {}",
            time(failure.since),
            failure.count,
            failure.message
        ));
        status.failure = Some(RenewalFailure {
            since: time(failure.since),
            last: time(failure.last),
            count: failure.count,
            message: failure.message.clone(),
        });
    }
    if record.last_run.is_none() {
        status.remarks.push(NO_RUN.to_owned());
    }
    for step in &record.owed {
        status.loudness = Loudness::Warning;
        status.remarks.push(format!(
            "still to follow a renewal: {step}; the next `stayput certs renew` does it"
        ));
    }
    for item in &record.items {
        let loudness = judge(item, now);
        if loudness > Loudness::Info {
            status.loudness = status.loudness.max(loudness);
            status.due.push(due(item, loudness, now));
        }
    }
    // The most urgent first.
    status
        .due
        .sort_by(|a, b| (b.loudness, &a.not_after).cmp(&(a.loudness, &b.not_after)));
    let coming = record
        .items
        .iter()
        .filter_map(|item| Some((item.renew_from?, item)));
    let next = coming
        .filter(|(from, _)| *from > now)
        .min_by_key(|(from, _)| *from);
    status.next = next.map(|(from, item)| NextRenewal {
        id: item.id.clone(),
        at: time(from),
    });
    status
}

/// How loudly an item asks for attention.
fn judge(item: &Item, now: i64) -> Loudness {
    let by_itself = if item.attention {
        Loudness::Warning
    } else {
        Loudness::Info
    };
    let Some(end) = item.not_after else {
        return by_itself;
    };
    let window = item.renew_from.map_or(URGENT, |from| (end - from).max(0));
    let left = end - now;
    if left <= 0 || left < URGENT.min(window / 3) {
        Loudness::Critical
    } else if item.renew_from.is_some_and(|from| now >= from) {
        Loudness::Warning
    } else {
        by_itself
    }
}

fn due(item: &Item, loudness: Loudness, now: i64) -> DueCertificate {
    let expired = item.not_after.is_some_and(|end| end <= now);
    let is_due = item.renew_from.is_some_and(|from| now >= from);
    // The run that wrote the record may have been long ago.
    let state = match item.state.as_str() {
        "ok" | "due" if expired => "expired",
        "ok" if is_due => "due",
        other => other,
    };
    DueCertificate {
        id: item.id.clone(),
        path: item.path.clone(),
        state: state.to_owned(),
        loudness,
        not_after: item.not_after.map(time),
        seconds_left: item.not_after.map(|end| end - now),
    }
}

fn time(unix: i64) -> String {
    clock::rfc3339(u64::try_from(unix).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::record::{Run, Seen, after_run};

    const NOW: i64 = 1_800_000_000;

    fn item(id: &str, days_left: i64, window: i64) -> Item {
        let end = NOW + days_left * DAY;
        Item {
            id: id.into(),
            path: format!("/etc/kubernetes/pki/{id}.crt").into(),
            not_after: Some(end),
            renew_from: (window > 0).then_some(end - window * DAY),
            state: "ok".into(),
            attention: false,
        }
    }

    fn seen(items: Vec<Item>, result: Result<(), String>) -> CertificatesStatus {
        let seen = Some(Seen {
            items,
            owed: Vec::new(),
        });
        let record = after_run(None, Run { result, seen }, NOW - DAY);
        let record = Ok(Some(record));
        outlook(
            &Known {
                record,
                left_out: Vec::new(),
            },
            NOW,
        )
    }

    #[test]
    fn it_gets_louder_as_the_end_comes_nearer() {
        for (left, window, want, state) in [
            (200, 30, Loudness::Info, None),
            (31, 30, Loudness::Info, None),
            (30, 30, Loudness::Warning, Some("due")),
            (8, 30, Loudness::Warning, Some("due")),
            (7, 30, Loudness::Warning, Some("due")),
            (6, 30, Loudness::Critical, Some("due")),
            (0, 30, Loudness::Critical, Some("expired")),
            (-3, 30, Loudness::Critical, Some("expired")),
            // A short window has its own last third.
            (4, 12, Loudness::Warning, Some("due")),
            (3, 12, Loudness::Critical, Some("due")),
            // What stayput does not renew is urgent all the same.
            (8, 0, Loudness::Info, None),
            (2, 0, Loudness::Critical, Some("ok")),
        ] {
            let status = seen(vec![item("apiserver", left, window)], Ok(()));
            let what = format!("{left} days left of a window of {window}");
            assert_eq!(status.loudness, want, "{what}");
            let found = status.due.first().map(|due| due.state.as_str());
            assert_eq!(found, state, "{what}");
        }
    }

    #[test]
    fn the_most_urgent_comes_first_and_the_next_one_is_told() {
        let items = vec![
            item("ca", 3000, 365),
            item("apiserver", 20, 30),
            item("etcd-peer", 1, 30),
            item("etcd-server", 40, 30),
        ];
        let status = seen(items, Ok(()));
        let due: Vec<&str> = status.due.iter().map(|due| due.id.as_str()).collect();
        assert_eq!(due, ["etcd-peer", "apiserver"]);
        assert_eq!(status.due[0].seconds_left, Some(DAY));
        let next = status.next.unwrap();
        assert_eq!(
            (next.id.as_str(), next.at),
            ("etcd-server", time(NOW + 10 * DAY))
        );
    }

    #[test]
    fn a_failed_run_and_a_strange_file_are_warnings() {
        let status = seen(vec![item("apiserver", 200, 30)], Err("disk full".into()));
        assert_eq!(status.loudness, Loudness::Warning);
        assert!(
            status.remarks[0].contains("disk full"),
            "{:?}",
            status.remarks
        );
        assert_eq!(status.failure.unwrap().count, 1);
        let strange = Item {
            attention: true,
            state: "foreign".into(),
            ..item("apiserver", 200, 30)
        };
        let status = seen(vec![strange], Ok(()));
        assert_eq!(status.loudness, Loudness::Warning);
        assert_eq!(status.due[0].state, "foreign");
    }

    #[test]
    fn what_has_to_follow_is_a_warning_before_any_run() {
        let record = Record {
            owed: vec!["kube-scheduler for scheduler.conf".into()],
            ..Record::default()
        };
        let known = Known {
            record: Ok(Some(record)),
            left_out: Vec::new(),
        };
        let status = outlook(&known, NOW);
        assert_eq!(status.loudness, Loudness::Warning);
        assert_eq!((status.last_run, status.last_success), (None, None));
        let remarks = status.remarks.join("\n");
        for part in ["stayput-renew.timer", "kube-scheduler for scheduler.conf"] {
            assert!(remarks.contains(part), "{remarks}");
        }
    }

    #[test]
    fn a_clock_that_went_back_makes_nothing_younger() {
        let record = after_run(
            None,
            Run {
                result: Ok(()),
                seen: Some(Seen {
                    items: vec![item("apiserver", 3, 30)],
                    owed: Vec::new(),
                }),
            },
            NOW,
        );
        let known = Known {
            record: Ok(Some(record)),
            left_out: Vec::new(),
        };
        let status = outlook(&known, 1_000);
        assert_eq!(status.loudness, Loudness::Critical);
    }

    #[test]
    fn without_a_record_it_is_told_what_to_do() {
        let mut known = Known {
            record: Ok(None),
            left_out: Vec::new(),
        };
        let status = outlook(&known, NOW);
        assert_eq!(status.loudness, Loudness::Info);
        assert!(status.remarks[0].contains("stayput-renew.timer"));
        known.left_out.push("kube-scheduler".into());
        assert_eq!(outlook(&known, NOW).loudness, Loudness::Critical);
        known.record = Err("damaged".into());
        let status = outlook(&known, NOW);
        assert!(status.remarks[0].contains("damaged"));
        assert!(status.remarks[1].contains("kube-scheduler"));
    }

    #[test]
    fn nothing_is_said_where_there_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(look(&root, true, NOW), None);
        std::fs::create_dir_all(dir.path().join("etc/kubernetes/pki")).unwrap();
        assert_eq!(
            look(&root, false, NOW),
            None,
            "a worker has the authority's certificate"
        );
        assert!(look(&root, true, NOW).is_some());
        let run = Run {
            result: Ok(()),
            seen: None,
        };
        record::note(&root, run, NOW).unwrap();
        assert!(look(&root, false, NOW).is_some());
    }

    #[test]
    fn a_manifest_that_was_left_out_is_seen_once_no_restart_takes_so_long() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let folder = dir.path().join(&static_pod::FOLDER[1..]);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("kube-scheduler.yaml"), "").unwrap();
        let now = i64::try_from(clock::unix_now()).unwrap();
        assert_eq!(look(&root, false, now), None);
        let known = look(&root, false, now + RESTART + 100).unwrap();
        assert_eq!(known.left_out, ["kube-scheduler"]);
    }
}
