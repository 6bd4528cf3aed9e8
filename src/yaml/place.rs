//! Where everything in a text stands.

use std::fmt;

use serde::Serialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A place in a text; both numbers start at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Location {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl Location {
    /// The place that follows a text.
    pub fn behind(text: &str) -> Self {
        let line = text.rsplit('\n').next().unwrap_or_default();
        Self {
            line: text.matches('\n').count() + 1,
            column: line.chars().count() + 1,
        }
    }
}

/// The way from the top of a tree to one spot in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spot {
    pub(super) steps: Vec<usize>,
    at_key: bool,
}

impl Spot {
    /// The value at position `index` of this sequence or mapping.
    #[must_use]
    pub fn child(&self, index: usize) -> Self {
        let mut steps = self.steps.clone();
        steps.push(index);
        Self {
            steps,
            at_key: false,
        }
    }

    /// The key of this value, where its parent is a mapping.
    #[must_use]
    pub fn key(&self) -> Self {
        Self {
            steps: self.steps.clone(),
            at_key: true,
        }
    }
}

/// A byte order mark is no text (YAML 1.2, 5.2); the library would count it as a column.
pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Where a spot lies in a text that [`parse`](super::parse) took.
pub fn locate(text: &str, spot: &Spot) -> Option<Location> {
    let document = serde_yaml::Deserializer::from_str(without_mark(text)).next()?;
    failing_at(document, spot)
}

/// The byte at which a place in a text begins. Lines end with a line feed here; in a text where other
/// characters end lines too, the place may be another one or none.
pub fn offset(text: &str, place: Location) -> Option<usize> {
    let line = match place.line.checked_sub(2) {
        None => 0,
        Some(breaks) => text.match_indices('\n').nth(breaks)?.0 + 1,
    };
    let mut columns = text[line..].char_indices().map(|(offset, _)| line + offset);
    columns.nth(place.column.checked_sub(1)?)
}

/// From where to where in a text the scalar of that value stands at a spot, quotes included: `None`
/// where it is written in a way that cannot be told (a block scalar, several lines, an anchor).
pub fn extent(text: &str, spot: &Spot, value: &str) -> Option<std::ops::Range<usize>> {
    let mark = text.len() - without_mark(text).len();
    let start = mark + offset(&text[mark..], locate(text, spot)?)?;
    let rest = &text[start..];
    let length = match rest.chars().next()? {
        '"' => {
            let mut escaped = false;
            let end = |c| match c {
                '"' if !escaped => true,
                c => {
                    escaped = c == '\\' && !escaped;
                    false
                }
            };
            rest[1..].find(end)? + 2
        }
        '\'' => {
            // A quote within is doubled.
            let mut from = 1;
            loop {
                from += rest[from..].find('\'')? + 1;
                if !rest[from..].starts_with('\'') {
                    break from;
                }
                from += 1;
            }
        }
        _ if rest.starts_with(value) && !value.is_empty() => value.len(),
        _ => return None,
    };
    let one_line = !rest[..length].contains('\n');
    one_line.then(|| start..start + length)
}

pub(super) fn failing_at(document: serde_yaml::Deserializer<'_>, spot: &Spot) -> Option<Location> {
    let seek = Seek {
        steps: &spot.steps,
        at_key: spot.at_key,
    };
    let error = seek.deserialize(document).err()?;
    location(&error)
}

pub(super) fn location(error: &serde_yaml::Error) -> Option<Location> {
    error.location().map(|place| Location {
        line: place.line(),
        column: place.column(),
    })
}

/// Walks along a path and fails at its end, so that the library tells the place.
#[derive(Clone, Copy)]
struct Seek<'a> {
    steps: &'a [usize],
    at_key: bool,
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.steps.is_empty() {
            // Any scalar is a text here, and all else is of a wrong type: both fail at their place.
            deserializer.deserialize_str(Fail)
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence or a mapping")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Some((position, rest)) = self.steps.split_first() else {
            return Ok(());
        };
        for _ in 0..*position {
            items.next_element::<IgnoredAny>()?;
        }
        let next = Seek {
            steps: rest,
            ..self
        };
        items.next_element_seed(next).map(|_| ())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Some((position, rest)) = self.steps.split_first() else {
            return Ok(());
        };
        for _ in 0..*position {
            entries.next_entry::<IgnoredAny, IgnoredAny>()?;
        }
        if rest.is_empty() && self.at_key {
            return entries.next_key_seed(Fail).map(|_| ());
        }
        entries.next_key::<IgnoredAny>()?;
        let next = Seek {
            steps: rest,
            ..self
        };
        entries.next_value_seed(next)
    }
}

/// Fails on whatever it meets.
#[derive(Clone, Copy)]
struct Fail;

impl<'de> DeserializeSeed<'de> for Fail {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Fail {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the end of the way")
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        Err(E::custom("here"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Tree;
    use crate::yaml::{At, parse};

    /// `line:column` of the spot that the steps lead to.
    fn at(text: &str, steps: &[usize], at_key: bool) -> String {
        let spot = Spot {
            steps: steps.to_vec(),
            at_key,
        };
        match locate(text, &spot) {
            Some(Location { line, column }) => format!("{line}:{column}"),
            None => "nowhere".into(),
        }
    }

    #[test]
    fn finds_every_spot() {
        let text =
            "# note\na: 1\nb:\n  - {c: x, d: [7, \"ü\", 8]}\n  -\n  - e:\n      f: y\na: 2\n";
        for (steps, at_key, want) in [
            (&[0][..], true, "2:1"),
            (&[0], false, "2:4"),
            (&[1], true, "3:1"),
            (&[1, 0, 0], true, "4:6"),
            (&[1, 0, 0], false, "4:9"),
            (&[1, 0, 1], false, "4:15"),
            (&[1, 0, 1, 2], false, "4:24"),
            (&[1, 2, 0, 0], true, "7:7"),
            (&[1, 2, 0, 0], false, "7:10"),
            (&[2], true, "8:1"),
            (&[2], false, "8:4"),
            (&[], false, "2:1"),
        ] {
            assert_eq!(at(text, steps, at_key), want, "{steps:?} key {at_key}");
        }
        assert_eq!(at(text, &[9], true), "nowhere");
    }

    #[test]
    fn a_spot_leads_to_the_same_value_in_text_and_tree() {
        let text = "a: 1\nb:\n  - {c: \u{fc}, d: [7, \"\u{fc}\", word]}\n";
        let mut tree = parse(text).unwrap();
        for (steps, want) in [
            (&[0][..], "1"),
            (&[1, 0, 0], "\u{fc}"),
            (&[1, 0, 1, 2], "word"),
        ] {
            let spot = Spot {
                steps: steps.to_vec(),
                at_key: false,
            };
            let start = offset(text, locate(text, &spot).unwrap()).unwrap();
            assert!(text[start..].starts_with(want), "{steps:?}: {start}");
            let value = tree.at_mut(&spot).unwrap();
            assert!(*value == Tree::String(want.into()) || *value == Tree::Integer(1));
            *value = Tree::Null;
            assert_eq!(tree.at_mut(&spot), Some(&mut Tree::Null));
        }
        assert_eq!(tree.at_mut(&Spot::default().child(0).child(0)), None);
        let place = |line, column| Location { line, column };
        assert_eq!(offset("a\nb", place(2, 1)), Some(2));
        for beyond in [place(3, 1), place(2, 2), place(1, 9), place(1, 0)] {
            assert_eq!(offset("a\nb", beyond), None, "{beyond:?}");
        }
    }

    #[test]
    fn a_scalar_has_an_extent() {
        let text = "\u{feff}a: x y # c\nb: 'it''s' # 'c'\nc: \"q\\\"\\\\\" # \"c\"\nd: >-\n  x\ne: x\n  y\n";
        let tree = parse(text).unwrap();
        let Tree::Mapping(entries) = &tree else {
            panic!("{tree:?}")
        };
        let extents: Vec<Option<&str>> = (0..entries.len())
            .map(|index| {
                let at = At::top(&tree).field(&entries[index].0).unwrap();
                extent(text, &at.spot, at.text().unwrap()).map(|range| &text[range])
            })
            .collect();
        let want = [
            Some("x y"),
            Some("'it''s'"),
            Some("\"q\\\"\\\\\""),
            None,
            None,
        ];
        assert_eq!(extents, want);
    }
}
