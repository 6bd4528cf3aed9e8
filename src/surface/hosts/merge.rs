//! Replacing the whole file: the new text, given the old one.

use std::collections::HashSet;

use super::block::{self, Scan};
use super::lines::{self, Conflicts, mapping};
use crate::view::View;

/// A new text and what an operator should know of the old one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The whole file. Equal to the old bytes if nothing is to be done.
    pub bytes: Vec<u8>,
    /// How many lines map our names.
    pub lines: usize,
    /// Foreign lines that give our names other addresses; they are kept.
    pub conflicts: Conflicts,
}

/// The hosts file `old` with one block that shows the view: where the first one stood, or at the
/// end. Everything else is kept byte for byte; a second merge changes nothing.
pub fn merge(old: &[u8], view: &View) -> Merged {
    let domain = &view.cluster.domain;
    let scan = Scan::of(old, domain);
    let wanted = lines::wanted(view, &foreign_names(&scan));
    let (mut bytes, after) = scan.around();
    let open_end = !bytes.is_empty() && !bytes.ends_with(b"\n");
    if open_end {
        bytes.push(b'\n');
    }
    let joined = open_end || (scan.first_is_joined() && !bytes.is_empty());
    bytes.extend_from_slice(block::begin(domain, joined, None).as_bytes());
    for line in &wanted {
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(block::end(domain).as_bytes());
    bytes.extend_from_slice(&after);
    Merged {
        bytes,
        lines: wanted.len(),
        conflicts: lines::conflicts(view, scan.foreign()),
    }
}

/// The hosts file `old` without anything of ours.
pub fn without(old: &[u8], view: &View) -> Vec<u8> {
    let (mut bytes, after) = Scan::of(old, &view.cluster.domain).around();
    bytes.extend_from_slice(&after);
    bytes
}

/// All names that foreign lines map to anything.
pub(super) fn foreign_names(scan: &Scan<'_>) -> HashSet<String> {
    scan.foreign()
        .filter_map(|(_, line)| mapping(line))
        .flat_map(|(_, names)| names)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{three, view};
    use proptest::prelude::*;

    const BLOCK: &str = "\
# BEGIN stayput k8s.internal (do not edit)
127.0.0.1 api.k8s.internal api k8s.example.com
10.77.0.11 master-1.k8s.internal master-1 old.k8s.internal old
10.77.0.12 master-2.k8s.internal master-2
10.77.0.13 master-3.k8s.internal master-3
# END stayput k8s.internal
";

    fn merged(old: &str, view: &View) -> String {
        String::from_utf8(merge(old.as_bytes(), view).bytes).unwrap()
    }

    #[test]
    fn the_block_goes_to_the_end_and_then_stays_where_it_is() {
        let view = three([11, 12, 13]);
        let first = merged("127.0.0.1 localhost\n", &view);
        assert_eq!(first, format!("127.0.0.1 localhost\n{BLOCK}"));
        let edited = format!("{first}10.0.0.1 later\n");
        let moved = merged(&edited, &three([11, 12, 99]));
        assert_eq!(moved, edited.replace("10.77.0.13", "10.77.0.99"));
        assert_eq!(merged("", &view), BLOCK);
    }

    #[test]
    fn a_short_name_is_left_to_a_foreign_line() {
        let view = three([11, 12, 13]);
        let text = merged("192.0.2.1 other Master-1\n192.0.2.2 OLD\n", &view);
        assert!(
            text.contains("10.77.0.11 master-1.k8s.internal old.k8s.internal\n"),
            "{text}"
        );
    }

    #[test]
    fn addresses_and_names_that_are_unusual() {
        let many: Vec<String> = (0..60)
            .map(|i| format!("alias-{i:02}.example.com"))
            .collect();
        let aliases: Vec<(&str, &str)> = many.iter().map(|a| (a.as_str(), "master-1")).collect();
        let masters: &[(&str, &[&str])] = &[
            ("master-1", &["10.77.0.11", "fd77::11"]),
            ("master-2", &[]),
            ("a.b", &["10.77.0.12"]),
        ];
        let text = merged("", &view(masters, &aliases));
        assert!(!text.contains("master-2"), "no address, no line: {text}");
        assert!(
            text.contains("\n10.77.0.12 a.b.k8s.internal a.b\n"),
            "{text}"
        );
        for line in text.lines() {
            assert!(line.len() < 512, "musl would cut: {line}");
        }
        for alias in &many {
            let lines = text.lines().filter(|line| line.contains(alias.as_str()));
            assert_eq!(lines.count(), 2, "{alias}, once per address");
        }
    }

    #[test]
    fn conflicts_are_reported_and_kept() {
        let view = three([11, 12, 13]);
        let old = "127.0.0.1 localhost\n# 10.0.0.9 master-1.k8s.internal\n\
                   10.0.0.9\tMASTER-1.k8s.internal x # here\n10.77.0.12 master-2.k8s.internal\n\
                   ::1 k8s.example.com\n";
        let merge = merge(old.as_bytes(), &view);
        let told: Vec<String> = merge
            .conflicts
            .listed
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            told,
            [
                "line 3 gives master-1.k8s.internal the address 10.0.0.9, which is not its own; remove that line",
                "line 5 gives k8s.example.com the address ::1, which is not its own; remove that line",
            ]
        );
        assert!(merge.bytes.starts_with(old.as_bytes()));
    }

    #[test]
    fn conflicts_without_end_are_counted_not_kept() {
        let view = three([11, 12, 13]);
        let lines = "10.0.0.9 master-1.k8s.internal\n".repeat(1000);
        let names = " master-2.k8s.internal".repeat(1000);
        let old = format!("{lines}10.0.0.9{names}\n");
        let conflicts = merge(old.as_bytes(), &view).conflicts;
        let notices = conflicts.notices(std::path::Path::new("/etc/hosts"));
        assert_eq!((conflicts.listed.len(), notices.len()), (5, 6));
        assert!(
            notices[4].starts_with("/etc/hosts: line 5 gives master-1"),
            "{notices:?}"
        );
        assert_eq!(notices[5], "/etc/hosts: and 1995 more like these");
    }

    #[test]
    fn foreign_text_survives_byte_for_byte() {
        let view = three([11, 12, 13]);
        for foreign in [
            &b"127.0.0.1 localhost\r\n10.0.0.1\tfoo\r\n"[..],
            b"no newline at the end",
            b"\xff\xfe not UTF-8 \x00\n",
            b"\n\n\n",
            b"# BEGIN stayput other.internal (do not edit)\n10.0.0.1 x.other.internal\n# END stayput other.internal\n",
            b"# BEGIN stayput k8s.internal.more (do not edit)\n",
            b" # BEGIN stayput k8s.internal (do not edit)\n",
            b"a".repeat(100_000).leak(),
        ] {
            let once = merge(foreign, &view).bytes;
            let twice = merge(&once, &three([1, 2, 3])).bytes;
            assert!(twice.starts_with(foreign), "{}", foreign.escape_ascii());
            assert_eq!(without(&twice, &view), foreign, "{}", foreign.escape_ascii());
        }
    }

    #[test]
    fn an_editors_crlf_makes_no_second_block() {
        let view = three([11, 12, 13]);
        let crlf = merged("127.0.0.1 localhost\n", &view).replace('\n', "\r\n");
        assert_eq!(
            merged(&crlf, &view),
            format!("127.0.0.1 localhost\r\n{BLOCK}")
        );
    }

    #[test]
    fn broken_markers_are_repaired() {
        let view = three([11, 12, 13]);
        let begin = BLOCK.lines().next().unwrap();
        let end = "# END stayput k8s.internal";
        let inner = "10.77.0.1 master-1.k8s.internal master-1\n10.77.0.2 master-2.k8s.internal\n";
        let (a, b) = ("10.0.0.1 a\n", "10.0.0.2 b\n");
        for (what, old, foreign) in [
            (
                "no END",
                format!("{a}{begin}\n{inner}{b}"),
                format!("{a}@{b}"),
            ),
            (
                "no BEGIN",
                format!("{a}{inner}{end}\n{b}"),
                format!("{a}@{b}"),
            ),
            (
                "BEGIN alone",
                format!("{a}{begin}\n{b}"),
                format!("{a}@{b}"),
            ),
            ("END alone", format!("{a}{end}\n{b}"), format!("{a}@{b}")),
            (
                "two blocks",
                format!("{begin}\n{inner}{end}\n{a}{begin}\n{inner}{end}\n{b}"),
                format!("@{a}{b}"),
            ),
            (
                "two BEGINs",
                format!("{a}{begin}\n{inner}{begin}\n{inner}{end}\n{b}"),
                format!("{a}@{b}"),
            ),
            (
                "two ENDs",
                format!("{a}{begin}\n{inner}{end}\n{inner}{end}\n{b}"),
                format!("{a}@{b}"),
            ),
            (
                "foreign inside",
                format!("{a}{begin}\n{inner}{b}{inner}{end}\n"),
                format!("{a}@{b}"),
            ),
            (
                "END before BEGIN",
                format!("{end}\n{a}{begin}\n{b}"),
                format!("@{a}{b}"),
            ),
            (
                "lost in the middle",
                format!("{begin}\n{inner}{a}{b}{inner}{end}\n"),
                format!("@{a}{b}"),
            ),
            (
                "no newline at all",
                format!("{a}{begin}\n{inner}{end}"),
                format!("{a}@"),
            ),
            (
                "bare BEGIN",
                format!("{a}# BEGIN stayput k8s.internal\n{inner}{end}\n"),
                format!("{a}@"),
            ),
            (
                "foreign spelling outside",
                format!("10.0.0.3\tmaster-1.k8s.internal\n{end}\n"),
                "10.0.0.3\tmaster-1.k8s.internal\n@".into(),
            ),
        ] {
            assert_eq!(merged(&old, &view), foreign.replace('@', BLOCK), "{what}");
        }
    }

    #[test]
    fn a_hundred_runs_are_stable() {
        let view = three([11, 12, 13]);
        let mut text = merge(b"x", &three([1, 2, 3])).bytes;
        let once = merge(&text, &view).bytes;
        for _ in 0..100 {
            text = merge(&text, &view).bytes;
        }
        assert_eq!(text, once);
    }

    /// Pieces of a file: foreign lines, and any mixture of our markers and lines.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let foreign = prop_oneof![
            Just(&b"10.0.0.1 a\n"[..]),
            Just(&b"\r\n"[..]),
            Just(&b"# comment\n"[..]),
            Just(&b"#\n"[..]),
            Just(&b"\xff\x00\n"[..]),
            Just(&b"\t10.0.0.3\tb.example.com \n"[..]),
        ];
        let ours = prop_oneof![
            Just(&b"# BEGIN stayput k8s.internal (do not edit)\n"[..]),
            Just(&b"# BEGIN stayput k8s.internal (do not edit; lines of 64 bytes)\n"[..]),
            Just(&b"# END stayput k8s.internal\n"[..]),
            Just(&b"10.77.0.1 master-1.k8s.internal master-1\n"[..]),
            Just(&b"#0.77.0.1 master-1.k8s.internal master-1\n"[..]),
        ];
        prop_oneof![foreign, ours].prop_map(<[u8]>::to_vec)
    }

    fn foreign_only(text: &[u8]) -> Vec<u8> {
        let ours = |line: &&[u8]| !line.windows(12).any(|w| w == b"k8s.internal");
        text.split_inclusive(|b| *b == b'\n')
            .filter(ours)
            .collect::<Vec<_>>()
            .concat()
    }

    proptest! {
        #[test]
        fn whatever_the_file_foreign_lines_stay_and_the_merge_is_idempotent(
            pieces in proptest::collection::vec(piece(), 0..20),
            tail in "[ -~]{0,20}",
            octets in any::<[u8; 3]>(),
        ) {
            let old = [pieces.concat(), tail.into_bytes()].concat();
            let view = three(octets);
            let new = merge(&old, &view).bytes;
            prop_assert_eq!(&merge(&new, &view).bytes, &new);
            prop_assert_eq!(foreign_only(&without(&new, &view)), foreign_only(&old));
            let again = merge(&without(&new, &view), &view).bytes;
            prop_assert_eq!(foreign_only(&without(&again, &view)), foreign_only(&old));
        }

        #[test]
        fn any_bytes_survive_any_sequence_of_merges(
            foreign in proptest::collection::vec(any::<u8>(), 0..200),
            sequence in proptest::collection::vec(any::<[u8; 3]>(), 1..5),
        ) {
            let mut text = foreign.clone();
            for octets in sequence {
                text = merge(&text, &three(octets)).bytes;
                prop_assert!(text.starts_with(&foreign));
            }
            prop_assert_eq!(without(&text, &three([1, 2, 3])), foreign);
        }
    }
}
