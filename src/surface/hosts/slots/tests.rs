//! Proofs by exhaustion and by chance: crashes at every step, readers of any pace.

use super::super::merge::{merge, without};
use super::*;
use crate::sample::{three, view};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// The file after a step, as a reader that opens it now sees it.
fn perform(text: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Append(bytes) => text.extend_from_slice(bytes),
        Step::Write { offset, bytes } => {
            text[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        Step::Sync | Step::Wait => {}
    }
}

fn carried_out(old: &[u8], view: &View) -> Vec<u8> {
    let mut text = old.to_vec();
    for step in &plan(old, view).steps {
        perform(&mut text, step);
    }
    text
}

/// What a resolver takes from a text: pairs of name and address.
fn mapped(text: &[u8]) -> BTreeSet<(String, String)> {
    let lines = text.split(|b| *b == b'\n').filter_map(lines::mapping);
    lines
        .flat_map(|(address, names)| names.into_iter().map(move |n| (n, address.to_string())))
        .collect()
}

fn wanted_by(view: &View) -> BTreeSet<(String, String)> {
    mapped(&merge(b"", view).bytes)
}

fn active(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.collect::<Vec<_>>().join("\n")
}

/// Nothing but what the old and the new view say, and every name of both by one of them.
fn check_in_between(seen: &BTreeSet<(String, String)>, old: &View, new: &View) {
    let (before, after) = (wanted_by(old), wanted_by(new));
    for pair in seen {
        assert!(
            before.contains(pair) || after.contains(pair),
            "torn: {pair:?}"
        );
    }
    for (name, _) in before
        .iter()
        .filter(|(n, _)| after.iter().any(|(m, _)| n == m))
    {
        assert!(
            seen.iter().any(|(n, _)| n == name),
            "none: {name} in {seen:?}"
        );
    }
}

#[test]
fn a_change_is_three_rounds_of_writes_and_syncs() {
    let text = carried_out(b"127.0.0.1 localhost", &three([11, 12, 13]));
    assert!(text.starts_with(b"127.0.0.1 localhost\n# BEGIN stayput k8s.internal (do not edit; lines of 96 bytes; no newline before)\n127.0.0.1 api"));
    let kinds: String = plan(&text, &three([99, 12, 13]))
        .steps
        .iter()
        .map(|step| match step {
            Step::Append(_) => 'a',
            Step::Write { bytes, .. } if bytes.len() == 1 => '1',
            Step::Write { .. } => 'f',
            Step::Sync => 's',
            Step::Wait => 'w',
        })
        .collect();
    assert_eq!(kinds, "fs1s1s");
    assert_eq!(plan(&text, &three([11, 12, 13])).steps, []);
}

#[test]
fn the_file_does_not_grow_and_foreign_bytes_stay() {
    let foreign = b"127.0.0.1 localhost\r\n\xff\n";
    let mut text = carried_out(foreign, &three([11, 12, 13]));
    let size = text.len();
    for i in 0..200 {
        let next = three([i, 12, i.wrapping_mul(7)]);
        text = carried_out(&text, &next);
        assert_eq!(
            mapped(&text),
            [mapped(foreign), wanted_by(&next)]
                .iter()
                .flatten()
                .cloned()
                .collect()
        );
    }
    assert_eq!(text.len(), size);
    assert!(text.starts_with(foreign));
    assert_eq!(without(&text, &three([1, 2, 3])), foreign);
}

#[test]
fn waits_are_rare() {
    let mut text = carried_out(b"", &three([11, 12, 13]));
    let mut waits = 0;
    for i in 0..=255 {
        let steps = plan(&text, &three([i, 12, 13])).steps;
        waits += steps.iter().filter(|step| **step == Step::Wait).count();
        text = carried_out(&text, &three([i, 12, 13]));
    }
    assert!((1..=32).contains(&waits), "{waits} waits in 256 changes");
}

#[test]
fn a_slot_that_was_given_up_is_not_filled_at_once() {
    let masters: [(&str, &[&str]); 2] =
        [("master-1", &["10.77.0.11"]), ("master-2", &["10.77.0.12"])];
    let text = carried_out(b"", &view(&masters, &[]));
    let fewer = view(&masters[..1], &[]);
    assert_eq!(plan(&text, &fewer).steps.last(), Some(&Step::Wait));
    assert_eq!(mapped(&carried_out(&text, &fewer)), wanted_by(&fewer));
}

#[test]
fn goes_on_from_a_block_that_was_written_by_rename_and_back() {
    let old = merge(b"10.0.0.1 a\n", &three([11, 12, 13])).bytes;
    assert_eq!(
        plan(&old, &three([11, 12, 13])).steps,
        [],
        "it shows the view already"
    );
    let new = three([11, 12, 99]);
    let text = carried_out(&old, &new);
    assert_eq!(mapped(&text), mapped(&merge(b"10.0.0.1 a\n", &new).bytes));
    assert_eq!(merge(&text, &new).bytes, merge(b"10.0.0.1 a\n", &new).bytes);
}

#[test]
fn a_larger_cluster_gets_a_larger_pool_and_growth_is_bounded() {
    let names: Vec<String> = (1..=200).map(|i| format!("master-{i}")).collect();
    let mut text = Vec::new();
    for count in 1..=200 {
        let masters: Vec<(&str, &[&str])> = names[..count]
            .iter()
            .map(|n| (n.as_str(), &["10.0.0.1"][..]))
            .collect();
        let view = view(&masters, &[]);
        text = carried_out(&text, &view);
        assert_eq!(mapped(&text), wanted_by(&view));
    }
    let largest = 4 * 201 * 96;
    assert!(text.len() < 3 * largest, "{} bytes", text.len());
}

#[test]
fn a_pool_that_was_edited_is_still_used() {
    let text = carried_out(b"", &three([11, 12, 13]));
    let text = String::from_utf8(text).unwrap();
    let edited = text.replace(
        "10.77.0.12 master-2.k8s.internal master-2 ",
        "10.77.0.77 master-2.k8s.internal\n10.0.0.1 mine\n#",
    );
    let repaired = carried_out(edited.as_bytes(), &three([11, 12, 13]));
    let mut want = wanted_by(&three([11, 12, 13]));
    want.insert(("mine".into(), "10.0.0.1".into()));
    assert_eq!(mapped(&repaired), want);
    assert_eq!(repaired.len(), edited.len());
}

#[test]
fn switching_all_off_leaves_comments() {
    let foreign = b"10.0.0.1 a\n";
    let text = carried_out(foreign, &three([11, 12, 13]));
    let mut off = text.clone();
    for step in plan_without(&text, &three([0, 0, 0])).steps {
        perform(&mut off, &step);
    }
    assert_eq!(mapped(&off), mapped(foreign));
    assert_eq!(
        mapped(&carried_out(&off, &three([1, 2, 3]))),
        mapped(&merge(foreign, &three([1, 2, 3])).bytes)
    );
}

#[test]
fn an_apply_is_linear() {
    let names: Vec<String> = (0..10_000).map(|i| format!("master-{i}")).collect();
    let masters: Vec<(&str, &[&str])> = names
        .iter()
        .map(|n| (n.as_str(), &["10.0.0.1"][..]))
        .collect();
    let view = view(&masters, &[]);
    let text = carried_out(b"127.0.0.1 localhost\n", &view);
    assert!(text.len() < 16 << 20, "{} bytes", text.len());
    assert_eq!(plan(&text, &view).steps, []);
}

fn starts() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(b"127.0.0.1 localhost\n".to_vec()),
        Just(b"no newline".to_vec()),
        Just(merge(b"10.0.0.1 a\n", &three([11, 12, 13])).bytes),
        Just(carried_out(b"10.0.0.1 a", &three([11, 12, 13]))),
    ]
    .prop_map(|bytes| String::from_utf8(bytes).unwrap())
}

/// Few values, so that lines come back.
fn octets() -> impl Strategy<Value = [u8; 3]> {
    [11..14_u8, 11..14_u8, 11..14_u8]
}

proptest! {
    /// A run is killed after any step, or within one, any number of times; the next run
    /// finishes, and in between every name is there.
    #[test]
    fn a_crash_anywhere_leaves_old_new_or_both(
        start in starts(),
        sequence in proptest::collection::vec((octets(), any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..30),
    ) {
        let mut text = carried_out(start.as_bytes(), &three([11, 12, 13]));
        let mut ever = wanted_by(&three([11, 12, 13]));
        for (octets, at, within) in sequence {
            let new = three(octets);
            ever.extend(wanted_by(&new));
            let steps = plan(&text, &new).steps;
            let end = at.index(steps.len() + 1);
            for step in &steps[..end] {
                perform(&mut text, step);
            }
            match steps.get(end) {
                Some(Step::Write { offset, bytes }) => {
                    let part = &bytes[..within.index(bytes.len())];
                    text[*offset..offset + part.len()].copy_from_slice(part);
                }
                Some(Step::Append(bytes)) => text.extend_from_slice(&bytes[..within.index(bytes.len())]),
                _ => {}
            }
            // Every name is there, at an address that it had at some time.
            let seen = mapped(&text);
            for (name, _) in wanted_by(&new) {
                prop_assert!(seen.iter().any(|(n, _)| *n == name), "none: {}", name);
            }
            let foreign = mapped(&without(&text, &new));
            for pair in &seen {
                prop_assert!(ever.contains(pair) || foreign.contains(pair), "torn: {:?}", pair);
            }
            let finished = carried_out(&text, &new);
            prop_assert_eq!(mapped(&finished).difference(&foreign).cloned().collect::<BTreeSet<_>>(), wanted_by(&new));
            prop_assert_eq!(plan(&finished, &new).steps, []);
            // A write by rename clears it all up, but for a comment that was cut while
            // it was appended: nothing proves that it is ours.
            let by_rename = merge(&finished, &new).bytes;
            prop_assert_eq!(active(&by_rename), active(&merge(start.as_bytes(), &new).bytes));
        }
    }

    /// A reader walks through the file in chunks of any size while changes go on. It sees
    /// each name, and no line that nobody wrote. A wait lets it come to its end; apart from
    /// that it may pause as long as it likes.
    #[test]
    fn a_reader_never_sees_none_and_never_a_torn_line(
        start in starts(),
        changes in proptest::collection::vec(any::<[u8; 3]>(), 1..80),
        chunks in proptest::collection::vec(1..400_usize, 1..50),
        pace in proptest::collection::vec(prop_oneof![0..12_usize, 100..300_usize], 1..20),
    ) {
        let mut view = three([11, 12, 13]);
        let mut text = carried_out(start.as_bytes(), &view);
        let mut reader: Vec<u8> = Vec::new();
        let mut begun = vec![view.clone()];
        let mut chunks = chunks.into_iter().cycle();
        let mut pace = pace.into_iter().cycle();
        let mut pause = 0;
        let finish = |reader: &mut Vec<u8>, text: &[u8], begun: &mut Vec<View>, now: Vec<View>| {
            reader.extend_from_slice(&text[reader.len()..]);
            let seen = mapped(reader);
            let ever: BTreeSet<_> = begun.iter().flat_map(wanted_by).collect();
            let foreign = mapped(&without(start.as_bytes(), &three([0, 0, 0])));
            for pair in &seen {
                assert!(ever.contains(pair) || foreign.contains(pair), "torn: {pair:?}");
            }
            for (name, _) in &ever {
                assert!(seen.iter().any(|(n, _)| n == name), "none: {name}");
            }
            reader.clear();
            *begun = now;
        };
        for octets in changes {
            let new = three(octets);
            begun.push(new.clone());
            for step in plan(&text, &new).steps {
                perform(&mut text, &step);
                if step == Step::Wait {
                    let now = vec![view.clone(), new.clone()];
                    finish(&mut reader, &text, &mut begun, now);
                }
                if pause > 0 {
                    pause -= 1;
                    continue;
                }
                pause = pace.next().unwrap();
                let end = (reader.len() + chunks.next().unwrap()).min(text.len());
                reader.extend_from_slice(&text[reader.len()..end]);
                if end == text.len() {
                    let now = vec![view.clone(), new.clone()];
                    finish(&mut reader, &text, &mut begun, now);
                }
            }
            view = new;
        }
    }
}

#[test]
fn each_state_on_the_way_is_good() {
    let mut text = carried_out(b"", &three([11, 12, 13]));
    let mut old = three([11, 12, 13]);
    for i in 0..100 {
        let new = three([i, i.wrapping_mul(3), 13]);
        for step in plan(&text, &new).steps {
            perform(&mut text, &step);
            check_in_between(&mapped(&text), &old, &new);
        }
        old = new;
    }
}
