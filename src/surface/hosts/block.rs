//! Which lines of a hosts file are ours.
//!
//! Our lines stand between two markers that name the domain, so that the stayputs of two clusters
//! share one file:
//!
//! ```text
//! # BEGIN stayput prod.k8s.internal (do not edit)
//! 127.0.0.1 api.prod.k8s.internal api
//! # END stayput prod.k8s.internal
//! ```
//!
//! Files are edited by people and by other programs, and markers get lost, doubled or nested. The
//! rule is the same for a whole block and for what is left of one: only a line that we could have
//! written is ours, every other line is foreign and stays, byte for byte, wherever it stands.
//!
//! - Between a `BEGIN` and the next `END`, with no marker in between, that is a line whose first
//!   name lies below the domain, switched on or off, however it is spaced.
//! - Behind a lone `BEGIN` and before a lone `END` it is the unbroken run of such lines, and only
//!   in exactly our spelling.
//!
//! Notes in the marker's parentheses say what cannot be seen otherwise: that the newline before the
//! block is ours, and how long the slots of a block written in place are (see [`super::slots`]).
//! Our lines end in LF also in a CRLF file: every resolver on Linux reads both, and a block's bytes
//! do not depend on the file around it.

use std::ops::Range;

use super::lines::{mapping, render};
use crate::name::Name;

/// A hosts file, line by line.
pub(super) struct Scan<'a> {
    text: &'a [u8],
    /// All lines in order; together they are the whole text.
    pub(super) lines: Vec<Line>,
    /// The last whole block that was written in place.
    pub(super) pool: Option<Pool>,
}

/// One line with its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Where it stands in the text.
    pub(super) range: Range<usize>,
    /// Whose it is.
    pub(super) kind: Kind,
}

/// Whose a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Not ours.
    Foreign,
    /// Our `BEGIN`; `joined`: the newline before it is ours.
    Begin { joined: bool },
    /// Our `END`.
    End,
    /// Ours, seen by resolvers.
    On,
    /// Ours, commented out.
    Off,
}

/// A block of slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pool {
    /// The lines between the markers, as indices.
    pub(super) lines: Range<usize>,
    /// Of each slot in bytes, with its newline.
    pub(super) width: usize,
}

enum Marker {
    Begin { joined: bool, width: Option<usize> },
    End,
}

/// Slots are multiples of this long, so that an empty one is told from a bare comment sign.
pub(super) const UNIT: usize = 32;

const NO_NEWLINE: &str = "no newline before";

/// The `BEGIN` line. `width`: the slots' length where the block is written in place.
pub(super) fn begin(domain: &Name, joined: bool, width: Option<usize>) -> String {
    let mut notes = vec!["do not edit".to_owned()];
    notes.extend(width.map(|width| format!("lines of {width} bytes")));
    notes.extend(joined.then(|| NO_NEWLINE.to_owned()));
    format!("# BEGIN stayput {domain} ({})\n", notes.join("; "))
}

/// The `END` line.
pub(super) fn end(domain: &Name) -> String {
    format!("# END stayput {domain}\n")
}

fn marker(line: &[u8], domain: &Name) -> Option<Marker> {
    // Most lines are not, and a file may have many.
    let rest = line.strip_prefix(b"# ")?;
    let text = std::str::from_utf8(rest).ok()?.trim_end();
    let (word, rest) = text.split_once(" stayput ")?;
    let (named, notes) = rest.split_once(' ').unwrap_or((rest, ""));
    if named != domain.as_str() {
        return None;
    }
    match word {
        "END" if notes.is_empty() => Some(Marker::End),
        "BEGIN" => {
            let mut joined = false;
            let mut width = None;
            for note in notes.trim_matches(['(', ')']).split("; ") {
                joined |= note == NO_NEWLINE;
                let bytes = note.strip_prefix("lines of ");
                if let Some(bytes) = bytes.and_then(|rest| rest.strip_suffix(" bytes")) {
                    width = bytes.parse().ok();
                }
            }
            Some(Marker::Begin { joined, width })
        }
        _ => None,
    }
}

impl<'a> Scan<'a> {
    /// Reads a hosts file as one with blocks for `domain`.
    pub(super) fn of(text: &'a [u8], domain: &Name) -> Self {
        let mut scan = Self {
            text,
            lines: Vec::new(),
            pool: None,
        };
        let mut markers = Vec::new();
        let mut start = 0;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            if let Some(marker) = marker(line, domain) {
                markers.push((scan.lines.len(), marker));
            }
            let range = start..start + line.len();
            start = range.end;
            let kind = Kind::Foreign;
            scan.lines.push(Line { range, kind });
        }
        let mut markers = markers.into_iter().peekable();
        while let Some((at, marker)) = markers.next() {
            match marker {
                Marker::Begin { joined, width } => {
                    scan.lines[at].kind = Kind::Begin { joined };
                    if let Some((end, _)) = markers.next_if(|(_, next)| matches!(next, Marker::End))
                    {
                        scan.lines[end].kind = Kind::End;
                        scan.whole_block(at + 1..end, width, domain);
                    } else {
                        let end = markers.peek().map_or(scan.lines.len(), |(next, _)| *next);
                        scan.remains(at + 1..end, domain);
                    }
                }
                Marker::End => {
                    scan.lines[at].kind = Kind::End;
                    scan.remains((0..at).rev(), domain);
                }
            }
        }
        scan
    }

    fn whole_block(&mut self, lines: Range<usize>, width: Option<usize>, domain: &Name) {
        for at in lines.clone() {
            let line = &self.text[self.lines[at].range.clone()];
            let kind = match width {
                Some(width) if is_slot_switched_off(line, width) => Some(Kind::Off),
                _ => spelled_somehow(line, domain),
            };
            self.lines[at].kind = kind.unwrap_or(Kind::Foreign);
        }
        if let Some(width) = width {
            self.pool = Some(Pool { lines, width });
        }
    }

    fn remains(&mut self, lines: impl Iterator<Item = usize>, domain: &Name) {
        for at in lines {
            let line = &self.text[self.lines[at].range.clone()];
            match (self.lines[at].kind, spelled_exactly(line, domain)) {
                (Kind::Foreign, Some(kind)) => self.lines[at].kind = kind,
                _ => return,
            }
        }
    }

    /// A line's bytes with its end.
    pub(super) fn bytes(&self, line: &Line) -> &'a [u8] {
        &self.text[line.range.clone()]
    }

    /// The foreign lines with their numbers, counted from 1.
    pub(super) fn foreign(&self) -> impl Iterator<Item = (usize, &'a [u8])> {
        self.lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.kind == Kind::Foreign)
            .map(|(at, line)| (at + 1, self.bytes(line)))
    }

    /// The foreign text before the first line of ours, and the one behind it. A newline that we
    /// added ourselves is not part of it, unless foreign text follows.
    pub(super) fn around(&self) -> (Vec<u8>, Vec<u8>) {
        let first = self
            .lines
            .iter()
            .position(|line| line.kind != Kind::Foreign);
        let (before, after) = self.lines.split_at(first.unwrap_or(self.lines.len()));
        let mut before = self.concat(before);
        let mut after = self.concat(after);
        let last = self
            .lines
            .iter()
            .rposition(|line| line.kind == Kind::Foreign);
        let ours = last.and_then(|last| self.lines.get(last + 1));
        if ours.is_some_and(|line| line.kind == Kind::Begin { joined: true }) {
            let last = if after.is_empty() {
                &mut before
            } else {
                &mut after
            };
            last.pop_if(|byte| *byte == b'\n');
        }
        (before, after)
    }

    /// Whether the first line of ours says that the newline before it is ours, too.
    pub(super) fn first_is_joined(&self) -> bool {
        let mut kinds = self.lines.iter().map(|line| line.kind);
        kinds.find(|kind| *kind != Kind::Foreign) == Some(Kind::Begin { joined: true })
    }

    fn concat(&self, lines: &[Line]) -> Vec<u8> {
        let foreign = lines.iter().filter(|line| line.kind == Kind::Foreign);
        foreign.flat_map(|line| self.bytes(line)).copied().collect()
    }
}

/// An address and names, the first of them below the domain; or the same without its first byte,
/// commented out; or an empty slot.
fn spelled_somehow(line: &[u8], domain: &Name) -> Option<Kind> {
    let below = |name: &str| Name::parse(name).is_ok_and(|name| name.is_below(domain));
    if let Some(rest) = line.strip_prefix(b"#") {
        if rest.trim_ascii().is_empty() {
            return line.len().is_multiple_of(UNIT).then_some(Kind::Off);
        }
        let text = std::str::from_utf8(rest).ok()?;
        let (address, names) = text.split_once(' ')?;
        let address = address
            .bytes()
            .all(|b| b.is_ascii_hexdigit() || b == b'.' || b == b':');
        let ours = address && names.split_ascii_whitespace().next().is_some_and(below);
        return ours.then_some(Kind::Off);
    }
    let (_, names) = mapping(line)?;
    let ours = names.first().is_some_and(|name| below(name));
    ours.then_some(Kind::On)
}

/// The same in exactly the spelling that we use; blanks at the end are the rest of a slot, or a CR.
fn spelled_exactly(line: &[u8], domain: &Name) -> Option<Kind> {
    let kind = spelled_somehow(line, domain)?;
    let text = std::str::from_utf8(line).ok()?.trim_end();
    let mut names = text.split(' ').skip(1);
    let canonical = match kind {
        Kind::On => mapping(line).is_some_and(|(address, names)| render(address, &names) == text),
        _ => names.all(|word| Name::parse(word).is_ok_and(|name| name.as_str() == word)),
    };
    canonical.then_some(kind)
}

/// A slot that is switched off: all blank, or whatever an interrupted write has left there.
fn is_slot_switched_off(line: &[u8], width: usize) -> bool {
    let Some(rest) = line.strip_prefix(b"#") else {
        return false;
    };
    let blank = rest.trim_ascii().is_empty();
    line.len() == width && line.ends_with(b"\n") && (blank || rest[0] != b' ')
}
