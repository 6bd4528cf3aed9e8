//! Writing in place: a sequence of small writes such that no reader ever misses a name.
//!
//! A reader walks through the file while we write, in one read(2) or byte by byte, and may pause
//! anywhere. One long write is not atomic for it. So a block written in place is a pool of slots,
//! lines of one fixed length. A slot is off when its first byte is `#` and on when that byte is the
//! address's first character: one byte, which no reader sees half. (Blanks would not do to hide a
//! line: musl wants the address at its start.) A change
//!
//! 1. fills free slots behind their `#`, and syncs;
//! 2. switches them on, one byte each, and syncs;
//! 3. switches those off that they replace, one byte each, and syncs.
//!
//! A crash in between leaves the old lines, the new ones or both, and the next run finishes.
//!
//! **Never none.** A reader that is behind the old slot has seen it. One that is before it will
//! see the new one, if that lies *above* (at a higher offset): it was switched on earlier. So slots are
//! taken upwards. When the upper end is reached, lines have to move down, and a reader between the
//! two would see neither: then all readers are let pass between steps 2 and 3 ([`Step::Wait`]).
//!
//! **Never torn.** A reader that pauses within a line must not find the slot filled anew when it
//! goes on. So the pool has two areas. Slots of one are taken one after the other, each at most
//! once; when they are used up, all lines move to the other area, whose slots have been free for
//! long, and, since that may mean the last few microseconds, after another wait.
//!
//! Within an area the line switched on last is the highest that is on: the file itself says which
//! slot is next. No byte outside of our slots changes, nothing moves, and the file never gets
//! shorter. A pool that is too small is followed by one of twice the size at the end of the file;
//! the old one stays there, switched off, until the next write by rename.

use std::collections::HashSet;

use super::block::{self, Kind, Scan, UNIT};
use super::lines::{self, Conflict};
use super::merge::foreign_names;
use crate::name::Name;
use crate::view::View;

/// One step of a change. The steps before it are visible to every reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Write behind the file's end.
    Append(Vec<u8>),
    /// Overwrite bytes of ours.
    Write {
        /// From the file's start.
        offset: usize,
        /// As many as are there.
        bytes: Vec<u8>,
    },
    /// Make it durable.
    Sync,
    /// Let readers that have begun come to their end.
    Wait,
}

/// How a file comes to show a view.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    /// None if it does already.
    pub(crate) steps: Vec<Step>,
    /// How many lines map our names.
    pub(crate) lines: usize,
    /// Foreign lines that give our names other addresses; they are kept.
    pub(crate) conflicts: Vec<Conflict>,
}

/// The steps that make a file with the bytes `old` show the view.
pub(crate) fn plan(old: &[u8], view: &View) -> Plan {
    let scan = Scan::of(old, &view.cluster.domain);
    let wanted = lines::wanted(view, &foreign_names(&scan));
    Plan {
        steps: steps(&scan, old, &wanted, &view.cluster.domain),
        lines: wanted.len(),
        conflicts: lines::conflicts(view, scan.foreign()),
    }
}

/// The steps that switch off everything of ours; it stays in the file as comments.
pub(crate) fn plan_without(old: &[u8], view: &View) -> Plan {
    let scan = Scan::of(old, &view.cluster.domain);
    let stale: Vec<usize> = switched_on(&scan).map(|(_, start, _)| start).collect();
    Plan {
        steps: switch_off(&stale),
        ..Plan::default()
    }
}

fn steps(scan: &Scan<'_>, old: &[u8], wanted: &[String], domain: &Name) -> Vec<Step> {
    if shows(scan, wanted) {
        return Vec::new();
    }
    if let Some(steps) = in_pool(scan, wanted, false) {
        return steps;
    }
    let pool = empty_pool(old, wanted, domain);
    let grown = [old, &pool].concat();
    let moves = in_pool(&Scan::of(&grown, domain), wanted, true);
    debug_assert!(moves.is_some(), "a new pool has room for every line");
    let append = Step::Append(pool);
    std::iter::once(append)
        .chain(moves.into_iter().flatten())
        .collect()
}

/// Whether exactly the wanted lines are on, each once, wherever they stand.
fn shows(scan: &Scan<'_>, wanted: &[String]) -> bool {
    let on: Vec<&str> = switched_on(scan).map(|(_, _, text)| text).collect();
    let set: HashSet<&str> = on.iter().copied().collect();
    on.len() == wanted.len()
        && set.len() == on.len()
        && wanted.iter().all(|w| set.contains(w.as_str()))
}

/// Our lines that resolvers see: index, offset, text without the blanks behind.
fn switched_on<'a>(scan: &Scan<'a>) -> impl Iterator<Item = (usize, usize, &'a str)> {
    scan.lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.kind == Kind::On)
        .map(|(at, line)| {
            let text = std::str::from_utf8(scan.bytes(line)).unwrap_or_default();
            (at, line.range.start, text.trim_end())
        })
}

/// The two areas of a pool, as indices of lines; only lines of the right length are slots.
struct Areas {
    slots: [Vec<usize>; 2],
    width: usize,
}

impl Areas {
    fn of(scan: &Scan<'_>) -> Option<Self> {
        let pool = scan.pool.as_ref()?;
        let is_slot = |at: &usize| {
            let line = &scan.lines[*at];
            matches!(line.kind, Kind::On | Kind::Off) && line.range.len() == pool.width
        };
        let mut lower: Vec<usize> = pool.lines.clone().filter(is_slot).collect();
        let upper = lower.split_off(lower.len() / 2);
        Some(Self {
            slots: [lower, upper],
            width: pool.width,
        })
    }

    /// The area that is in use: where the highest slot is that is on.
    fn active(&self, scan: &Scan<'_>) -> Option<usize> {
        let on = |at: &usize| scan.lines[*at].kind == Kind::On;
        [1, 0]
            .into_iter()
            .find(|area| self.slots[*area].iter().any(on))
    }
}

/// The steps with the slots that there are, or `None` if those do not suffice. `fresh`: the pool
/// has never been used.
fn in_pool(scan: &Scan<'_>, wanted: &[String], fresh: bool) -> Option<Vec<Step>> {
    let areas = Areas::of(scan)?;
    if wanted.iter().any(|line| line.len() >= areas.width) {
        return None;
    }
    let active = areas.active(scan);
    let first = active.unwrap_or(0);
    [first, 1 - first].into_iter().find_map(|area| {
        let reused = !fresh && Some(area) != active;
        into_area(scan, wanted, &areas.slots[area], areas.width, reused)
    })
}

fn into_area(
    scan: &Scan<'_>,
    wanted: &[String],
    slots: &[usize],
    width: usize,
    reused: bool,
) -> Option<Vec<Step>> {
    let members: HashSet<usize> = slots.iter().copied().collect();
    let mut missing: HashSet<&str> = wanted.iter().map(String::as_str).collect();
    let mut stale = Vec::new();
    let mut highest_kept = None;
    let mut highest = None;
    for (at, start, text) in switched_on(scan) {
        let here = members.contains(&at);
        let keep = here && missing.remove(text);
        if keep {
            highest_kept = Some(at);
        } else {
            stale.push(start);
        }
        if here {
            highest = Some(at);
        }
    }
    let free = slots
        .iter()
        .filter(|at| highest.is_none_or(|top| **at > top));
    let missing = wanted.iter().filter(|line| missing.contains(line.as_str()));
    let offset = |at: &usize| scan.lines[*at].range.start;
    let free: Vec<usize> = free.map(offset).collect();
    let missing: Vec<&String> = missing.collect();
    if missing.len() > free.len() {
        return None;
    }
    let filled: Vec<(usize, &String)> = free.into_iter().zip(missing).collect();

    let mut steps = Vec::new();
    if reused && !filled.is_empty() {
        steps.push(Step::Wait);
    }
    steps.extend(switch_on(&filled, width));
    if filled.first().map(|(offset, _)| offset) < stale.iter().max() && !filled.is_empty() {
        steps.push(Step::Wait);
    }
    steps.extend(switch_off(&stale));
    if filled.is_empty() && highest_kept != highest {
        // The next change would fill the slot that was just given up.
        steps.push(Step::Wait);
    }
    Some(steps)
}

fn switch_on(filled: &[(usize, &String)], width: usize) -> Vec<Step> {
    if filled.is_empty() {
        return Vec::new();
    }
    let fill = filled.iter().map(|(offset, line)| Step::Write {
        offset: offset + 1,
        // Up to the newline, which stands there already.
        bytes: format!("{:<1$}", &line[1..], width - 2).into_bytes(),
    });
    let on = filled.iter().map(|(offset, line)| Step::Write {
        offset: *offset,
        bytes: line.as_bytes()[..1].to_vec(),
    });
    let sync = || std::iter::once(Step::Sync);
    fill.chain(sync()).chain(on).chain(sync()).collect()
}

fn switch_off(stale: &[usize]) -> Vec<Step> {
    if stale.is_empty() {
        return Vec::new();
    }
    let off = stale.iter().map(|offset| Step::Write {
        offset: *offset,
        bytes: b"#".to_vec(),
    });
    off.chain([Step::Sync]).collect()
}

/// A block of empty slots with room for the wanted lines and for many changes.
fn empty_pool(old: &[u8], wanted: &[String], domain: &Name) -> Vec<u8> {
    let names = |line: &String| line.find(' ').map_or(0, |blank| line.len() - blank);
    // The longest address, then what follows it now, and the newline.
    let longest = wanted.iter().map(names).max().unwrap_or(0) + 39 + 1;
    let width = longest.next_multiple_of(UNIT);
    let area = wanted.len() + wanted.len().max(SPARE);
    let mut slot = vec![b' '; width];
    slot[0] = b'#';
    slot[width - 1] = b'\n';

    let open_end = !old.is_empty() && !old.ends_with(b"\n");
    let mut pool = Vec::new();
    if open_end {
        pool.push(b'\n');
    }
    pool.extend_from_slice(block::begin(domain, open_end, Some(width)).as_bytes());
    for _ in 0..2 * area {
        pool.extend_from_slice(&slot);
    }
    pool.extend_from_slice(block::end(domain).as_bytes());
    pool
}

/// At least so many changes of one line fit into an area.
const SPARE: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::merge::{merge, without};
    use super::super::sample::{three, view};
    use super::*;
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
}
