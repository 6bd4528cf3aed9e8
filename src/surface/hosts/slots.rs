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
use super::lines::{self, Conflicts};
use super::merge::foreign_names;
use crate::name::Name;
use crate::view::View;

/// At least so many changes of one line fit into an area.
const SPARE: usize = 16;

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
    pub(crate) conflicts: Conflicts,
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

#[cfg(test)]
mod tests;
