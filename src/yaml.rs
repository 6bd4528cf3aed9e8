//! YAML as a tree, and the place of everything in it.
//!
//! The only module that knows which YAML library is in use. Deserialising straight into structs
//! would stop at the first mistake and would not see a key that is given twice, so a text becomes
//! a [`Tree`] first and is judged afterwards. The library tells a place only with an error:
//! [`locate`] reads the text once more and fails on purpose at the spot asked for. That costs
//! nothing for a file without mistakes.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserialize, Serialize};

/// A YAML document. Keys are texts, in the order of the file, and may repeat.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// `null`, `~`, or nothing behind a key.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i128),
    /// A number that is not whole, such as an unquoted `1.34`.
    Float(f64),
    /// Text.
    String(String),
    /// A list.
    Sequence(Vec<Tree>),
    /// Keys and values.
    Mapping(Vec<(String, Tree)>),
}

impl Tree {
    /// The value at a spot.
    pub fn at_mut(&mut self, spot: &Spot) -> Option<&mut Self> {
        let mut tree = self;
        for step in &spot.steps {
            tree = match tree {
                Self::Sequence(items) => items.get_mut(*step)?,
                Self::Mapping(entries) => &mut entries.get_mut(*step)?.1,
                _ => return None,
            };
        }
        Some(tree)
    }
}

impl From<&str> for Tree {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Tree {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

/// A mapping of these keys and values, in this order.
pub fn mapping<'a>(entries: impl IntoIterator<Item = (&'a str, Tree)>) -> Tree {
    let owned = |(key, value): (&str, Tree)| (key.to_owned(), value);
    Tree::Mapping(entries.into_iter().map(owned).collect())
}

/// A list of texts.
pub fn texts(items: impl IntoIterator<Item = impl Into<String>>) -> Tree {
    let text = |item: _| Tree::String(Into::into(item));
    Tree::Sequence(items.into_iter().map(text).collect())
}

/// A tree as YAML in block style. Texts are quoted where any version of YAML takes them for something
/// else: Kubernetes' own reader takes `yes` and `on` for true (YAML 1.1, bool).
pub fn write(tree: &Tree) -> String {
    let mut text = String::new();
    block(tree, 0, &mut text);
    if !matches!(tree, Tree::Sequence(_) | Tree::Mapping(_)) {
        text.push('\n');
    }
    text
}

/// Writes a value whose first line is indented already.
fn block(tree: &Tree, indent: usize, text: &mut String) {
    match tree {
        Tree::Sequence(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                margin(index, indent, text);
                text.push_str("- ");
                block(item, indent + 2, text);
                end_line(text);
            }
        }
        Tree::Mapping(entries) if !entries.is_empty() => {
            for (index, (key, value)) in entries.iter().enumerate() {
                margin(index, indent, text);
                text.push_str(&word(key));
                text.push(':');
                match value {
                    Tree::Sequence(items) if !items.is_empty() => {
                        text.push('\n');
                        margin(1, indent, text);
                        block(value, indent, text);
                    }
                    Tree::Mapping(entries) if !entries.is_empty() => {
                        text.push('\n');
                        margin(1, indent + 2, text);
                        block(value, indent + 2, text);
                    }
                    _ => {
                        text.push(' ');
                        block(value, indent, text);
                    }
                }
                end_line(text);
            }
        }
        Tree::Sequence(_) => text.push_str("[]"),
        Tree::Mapping(_) => text.push_str("{}"),
        Tree::Null => text.push_str("null"),
        Tree::Bool(flag) => text.push_str(&flag.to_string()),
        Tree::Integer(number) => text.push_str(&number.to_string()),
        Tree::Float(number) => text.push_str(&serde_json::Value::from(*number).to_string()),
        Tree::String(string) => text.push_str(&word(string)),
    }
}

fn margin(index: usize, indent: usize, text: &mut String) {
    if index > 0 {
        text.extend(std::iter::repeat_n(' ', indent));
    }
}

fn end_line(text: &mut String) {
    if !text.ends_with('\n') {
        text.push('\n');
    }
}

/// What YAML 1.1 takes for true, false or nothing.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// A text, plain where that is safe, else in double quotes as JSON has it.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "./:@_-+=,".contains(c);
    let safe = text.chars().all(plain)
        && !text.ends_with(':')
        && !text.starts_with(['@', ',', '='])
        // Numbers may have underscores in YAML 1.1.
        && (!text.contains('_') || text.starts_with(|c: char| c.is_ascii_alphabetic()))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
        && parse(text) == Ok(Tree::String(text.to_owned()));
    if safe {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

/// A value of a tree, and the way to it.
#[derive(Debug, Clone)]
pub struct At<'a> {
    /// The value.
    pub tree: &'a Tree,
    /// Where it is.
    pub spot: Spot,
}

impl<'a> At<'a> {
    /// The top of a tree.
    pub fn top(tree: &'a Tree) -> Self {
        Self {
            tree,
            spot: Spot::default(),
        }
    }

    /// The value of a mapping's key; of a key that is given twice the last one, as Go takes it.
    pub fn field(&self, key: &str) -> Option<Self> {
        let Tree::Mapping(entries) = self.tree else {
            return None;
        };
        let mut entries = entries.iter().enumerate();
        let (index, (_, tree)) = entries.rfind(|(_, (name, _))| name == key)?;
        Some(Self {
            tree,
            spot: self.spot.child(index),
        })
    }

    /// The value behind several keys, one within the other.
    pub fn path(&self, keys: &[&str]) -> Option<Self> {
        let mut keys = keys.iter();
        keys.try_fold(self.clone(), |at, key| at.field(key))
    }

    /// The items of a list; none of anything else.
    pub fn items(&self) -> impl DoubleEndedIterator<Item = Self> + use<'a> {
        let items: &[Tree] = match self.tree {
            Tree::Sequence(items) => items,
            _ => &[],
        };
        let spot = self.spot.clone();
        items.iter().enumerate().map(move |(index, tree)| Self {
            tree,
            spot: spot.child(index),
        })
    }

    /// The value where it is text.
    pub fn text(&self) -> Option<&'a str> {
        match self.tree {
            Tree::String(text) => Some(text),
            _ => None,
        }
    }
}

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
    steps: Vec<usize>,
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

/// A byte order mark is no text (YAML 1.2, 5.2); the library would count it as a column.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
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

/// Where a spot lies in a text that [`parse`] took.
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

fn failing_at(document: serde_yaml::Deserializer<'_>, spot: &Spot) -> Option<Location> {
    let seek = Seek {
        steps: &spot.steps,
        at_key: spot.at_key,
    };
    let error = seek.deserialize(document).err()?;
    location(&error)
}

fn location(error: &serde_yaml::Error) -> Option<Location> {
    error.location().map(|place| Location {
        line: place.line(),
        column: place.column(),
    })
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
    fn what_is_written_is_read_back() {
        let text = "a: 1\nb: [true, ~, 1.5, 2.0, '1.5', 'true', '', '10.0.0.1', 'a: b', '# c', \"d\\ne\", '- f', '1_0']\nc: {}\nd: [[], [x, [y]], {e: {f: [1]}, g: ''}]\nyes: [{h: [i]}]\n";
        let tree = parse(text).unwrap();
        let written = write(&tree);
        assert_eq!(parse(&written).unwrap(), tree, "{written}");
        for scalar in ["x", "''", "1", "[]", "{}"] {
            let tree = parse(scalar).unwrap();
            assert_eq!(parse(&write(&tree)).unwrap(), tree);
        }
    }

    #[test]
    fn what_is_written_looks_as_kubeadm_writes_it() {
        let inner = mapping([
            ("name", "a".into()),
            ("args", texts(["--b=https://0.0.0.0:1", "x"])),
        ]);
        let tree = mapping([
            ("on", texts(["yes", "Off", "n", "1_0", "::1", "sha256:0a"])),
            ("list", Tree::Sequence(vec![inner])),
            ("at", "10.0.0.1:6443".into()),
            ("token", "123456.0123456789012345".into()),
        ]);
        assert_eq!(
            write(&tree),
            "\"on\":\n- \"yes\"\n- \"Off\"\n- \"n\"\n- \"1_0\"\n- ::1\n- sha256:0a\nlist:\n- name: a\n  args:\n  - --b=https://0.0.0.0:1\n  - x\nat: 10.0.0.1:6443\ntoken: \"123456.0123456789012345\"\n"
        );
    }

    #[test]
    fn a_way_leads_to_a_value() {
        let tree = parse("a: {b: [x, {c: y}]}\na: {b: [z]}\n").unwrap();
        let top = At::top(&tree);
        let list = top.path(&["a", "b"]).unwrap();
        let texts: Vec<_> = list.items().map(|at| at.text()).collect();
        assert_eq!(texts, [Some("z")], "the last of two");
        assert!(top.path(&["a", "x"]).is_none() && top.path(&["a", "b", "c"]).is_none());
        assert_eq!(top.items().count(), 0);
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
