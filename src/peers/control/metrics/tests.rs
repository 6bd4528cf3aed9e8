use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::peers::daemon::command::Own;
use crate::peers::gossip::NodeName;
use crate::peers::ledger::Ledger;
use crate::peers::record::Digest;
use crate::peers::sample;

fn picture() -> Picture {
    let ca = sample::authority("kubernetes");
    let mut ledger = Ledger::default();
    for label in ["m1", "m2"] {
        let pair = sample::pair(&ca, label);
        let said = pair.verified(&ca, &sample::at(label, 1_700_000_000, "10.0.0.1"));
        assert!(ledger.offer(said, 1_700_000_009).is_taken());
    }
    let member = |who, up, digest| Member {
        who,
        addresses: Vec::new(),
        state: if up {
            command::State::Up
        } else {
            command::State::Down
        },
        connected: up,
        heard: up.then_some(Duration::from_millis(2900)),
        digest,
    };
    let worker = |name| Who::Worker(NodeName::parse(name).unwrap());
    let members = vec![
        member(
            Who::Master(sample::master("m1")),
            true,
            Some(ledger.digest()),
        ),
        member(Who::Master(sample::master("m2")), false, None),
        member(worker("n1"), true, Some(Digest::of(b"other"))),
        member(worker("n2"), false, Some(Digest::of(b"other"))),
        Member {
            state: command::State::Gone,
            ..member(worker("n3"), false, None)
        },
    ];
    Picture {
        own: Own {
            who: Some(Who::Master(sample::master("m3"))),
            addresses: Vec::new(),
            listening: Vec::new(),
            multicast: Vec::new(),
            agent: true,
            lonely: false,
        },
        members,
        ledger,
        problems: vec!["one".into()],
        counts: Counts {
            taken: 7,
            ..Counts::default()
        },
        traffic: Traffic {
            failures: BTreeMap::from([("slow", 3), ("garbage", 4)]),
            ..Traffic::default()
        },
    }
}

/// A line of `OpenMetrics` 1.0 that is no comment: name, labels, value.
fn sample_of(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let is_name = |text: &str| {
        let first = text.chars().next();
        let known = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        first.is_some_and(|c| !c.is_ascii_digit()) && text.chars().all(known)
    };
    let (head, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = match head.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
        None => (head, ""),
    };
    assert!(is_name(name), "{line}");
    // Nothing here has a comma or a quote in a label's value.
    let labels = labels.split(',').filter(|one| !one.is_empty()).map(|one| {
        let (key, value) = one.split_once('=').unwrap();
        let value = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        assert!(is_name(key), "{line}");
        (key.to_owned(), value.unwrap().to_owned())
    });
    (name.to_owned(), labels.collect(), value.parse().unwrap())
}

/// Every line fits the grammar, stands behind the HELP and TYPE of its family, and is there once.
#[test]
fn the_text_is_what_prometheus_reads() {
    let text = text(&picture());
    assert!(text.ends_with("# EOF\n"), "{text}");
    let (mut types, mut seen) = (BTreeMap::new(), BTreeSet::new());
    let mut family = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.ends_with('.') && !help.contains('\\'), "{line}");
            family = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, family);
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none());
        } else if line != "# EOF" {
            let (name, labels, value) = sample_of(line);
            let suffix = match types[&family].as_str() {
                "counter" => "_total",
                "gauge" => "",
                other => panic!("{other}"),
            };
            assert_eq!(name, format!("{family}{suffix}"), "{line}");
            assert!(name.starts_with("stayput_peers_") && value >= 0.0);
            assert!(seen.insert((name, labels)), "twice: {line}");
        }
    }
    assert_eq!(types.len(), figures(&picture()).len());
}

#[test]
fn figures_are_those_of_the_picture() {
    let text = text(&picture());
    for line in [
        "identified 1",
        "lonely 0",
        "problems 1",
        r#"members{role="master",state="up"} 1"#,
        r#"members{role="worker",state="down"} 1"#,
        r#"members{role="worker",state="gone"} 1"#,
        "members_connected 2",
        // Who is down is not counted.
        "members_with_other_records 1",
        r#"master_last_contact_seconds{master="m1.k8s.internal"} 2"#,
        r#"records{says="at"} 2"#,
        r#"records{says="removed"} 0"#,
        r#"record_signed_timestamp_seconds{master="m2.k8s.internal"} 1700000000"#,
        r#"record_received_timestamp_seconds{master="m1.k8s.internal"} 1700000009"#,
        "records_taken_total 7",
        r#"connections_failed_total{reason="slow"} 3"#,
    ] {
        let line = format!("\nstayput_peers_{line}\n");
        assert!(text.contains(&line), "{line}{text}");
    }
    assert!(!text.contains(r#"seconds{master="m2.k8s.internal"} 2"#));
}
