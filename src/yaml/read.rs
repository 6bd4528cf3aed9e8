//! A text read into a tree.

use std::cell::Cell;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Visitor};

use super::Tree;
use super::place::{Location, Spot, failing_at, location, without_mark};

/// Why a text is no YAML that can be used at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What is wrong, without its place.
    pub message: String,
    /// Where, if that is known.
    pub location: Option<Location>,
}

/// How many values a document may unfold to; anchors could otherwise make gigabytes of a small file.
const MAX_VALUES: usize = 500_000;

/// How many brackets may be open at once.
const MAX_DEPTH: usize = 1_000;

/// Parses a text that holds exactly one document. A text of blanks and comments is [`Tree::Null`].
pub fn parse(text: &str) -> Result<Tree, Error> {
    let text = without_mark(text);
    if let Some(error) = forbidden_character(text).or_else(|| deep_nesting(text)) {
        return Err(error);
    }
    let mut documents = serde_yaml::Deserializer::from_str(text);
    let Some(document) = documents.next() else {
        return Ok(Tree::Null);
    };
    let left = Cell::new(MAX_VALUES);
    let tree = Build { left: &left }
        .deserialize(document)
        .map_err(|error| described(&error))?;
    match documents.next() {
        None => Ok(tree),
        Some(second) => Err(Error {
            message: "a second document starts here; write one document per file".into(),
            location: failing_at(second, &Spot::default()),
        }),
    }
}

/// The first character that YAML 1.2 (5.1, c-printable) does not allow; the library would tell its
/// offset instead of its place.
fn forbidden_character(text: &str) -> Option<Error> {
    let allowed = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    let (offset, found) = text.char_indices().find(|(_, c)| !allowed(*c))?;
    let code = u32::from(found);
    Some(Error {
        message: format!("the control character U+{code:04X} is not allowed in YAML; remove it"),
        location: Some(Location::behind(&text[..offset])),
    })
}

/// The bracket that is open within too many others: the library's time grows with their square.
/// Brackets in texts and comments count too; nobody leaves a thousand of those open.
fn deep_nesting(text: &str) -> Option<Error> {
    let mut depth = 0_usize;
    for (offset, character) in text.char_indices() {
        match character {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Some(Error {
                message: format!("more than {MAX_DEPTH} brackets are open; close them"),
                location: Some(Location::behind(&text[..offset])),
            });
        }
    }
    None
}

/// The library writes the place into its messages; it is reported apart.
fn described(error: &serde_yaml::Error) -> Error {
    let location = location(error);
    let mut message = error.to_string();
    if let Some(Location { line, column }) = location {
        let place = format!(" at line {line} column {column}");
        message = message.replacen(&place, "", 1);
    }
    Error { message, location }
}

/// Builds the tree.
#[derive(Clone, Copy)]
struct Build<'a> {
    left: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Build<'_> {
    type Value = Tree;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        let Some(left) = self.left.get().checked_sub(1) else {
            let message = format!("more than {MAX_VALUES} values; do not nest anchors");
            return Err(de::Error::custom(message));
        };
        self.left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Build<'_> {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Tree, E> {
        Ok(Tree::Integer(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Tree, E> {
        // No setting comes near: the nearest number is as wrong as the exact one.
        Ok(Tree::Integer(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut sequence = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            sequence.push(item);
        }
        Ok(Tree::Sequence(sequence))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut mapping = Vec::new();
        while let Some(Key(key)) = entries.next_key()? {
            mapping.push((key, entries.next_value_seed(self)?));
        }
        Ok(Tree::Mapping(mapping))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Tree, A::Error> {
        let message = "a tag (!…) has no meaning here; write the plain value";
        Err(de::Error::custom(message))
    }
}

/// A key as it is written: `8443` and `true` are texts here too.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a plain key")
            }
            fn visit_str<E>(self, value: &str) -> Result<Key, E> {
                Ok(Key(value.to_owned()))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_repeated_keys() {
        let tree = parse("b: 1\na: x\nb: [true, 1.50, ~]\n8443: ''\n").unwrap();
        let Tree::Mapping(entries) = tree else {
            panic!("{tree:?}")
        };
        let keys: Vec<_> = entries.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["b", "a", "b", "8443"]);
        let list = vec![Tree::Bool(true), Tree::Float(1.5), Tree::Null];
        assert_eq!(entries[2].1, Tree::Sequence(list));
    }

    #[test]
    fn refuses_what_is_not_one_plain_document() {
        for (text, want, place) in [
            ("a: [1, 2", "did not find expected ',' or ']'", Some((2, 1))),
            (
                "a: 1\n  b: 2\n",
                "mapping values are not allowed",
                Some((2, 4)),
            ),
            ("a: 1\n---\nb: 2\n", "a second document", Some((3, 1))),
            ("a: 1\nb: !secret x\n", "a tag", Some((2, 4))),
            ("? [a]\n: 1\n", "a plain key", Some((1, 3))),
            ("a: *b\n", "unknown anchor", Some((1, 4))),
            ("a: 1\nü: \u{7f}", "U+007F", Some((2, 4))),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.contains(want), "{text:?}: {error}");
            let found = error.location.map(|l| (l.line, l.column));
            assert_eq!(found, place, "{text:?}: {error}");
        }
    }

    #[test]
    fn nothing_is_null() {
        for text in ["", "\n", "# only a comment\n", "---\n", "~"] {
            assert_eq!(parse(text).unwrap(), Tree::Null, "{text:?}");
        }
    }

    #[test]
    fn nested_anchors_and_deep_nesting_end_soon() {
        let mut laughs = vec!["a0: &a0 [x, x, x, x, x, x, x, x, x, x]".to_owned()];
        for n in 1..12 {
            let before = vec![format!("*a{}", n - 1); 10].join(", ");
            laughs.push(format!("a{n}: &a{n} [{before}]"));
        }
        parse(&laughs.join("\n")).unwrap_err();
        parse(&"[".repeat(5_000)).unwrap_err();
        parse(&format!("{}{}", "[".repeat(5_000), "]".repeat(5_000))).unwrap_err();
    }
}
