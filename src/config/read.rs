//! Reads settings out of a YAML tree and notes every mistake on the way.
//!
//! A reader gives `None` only after it has noted why in the [`Report`]: a file whose report stays
//! empty has all of its settings, and one mistake never hides the next.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;

use super::problem::Problems;
use super::report::{Located, Place, Report};
use crate::yaml::{self, Tree};

/// A value of the tree, at its place.
#[derive(Debug, Clone)]
pub(super) struct Value<'a> {
    tree: &'a Tree,
    pub(super) place: Place,
}

/// The keys and values of a mapping, each key known and given once.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    place: Place,
    entries: Vec<(&'a str, Value<'a>)>,
}

/// Parses a file of settings: its tree goes through `read`, whose notes become problems.
pub(super) fn file<T>(
    text: &str,
    path: &Path,
    read: impl FnOnce(&Value<'_>, &mut Report) -> Option<T>,
) -> Result<T, Problems> {
    match yaml::parse(text) {
        Ok(tree) => {
            let mut report = Report::default();
            let place = Place::default();
            let value = read(&Value { tree: &tree, place }, &mut report);
            report.conclude(value, path, text)
        }
        Err(error) => Err(Problems::of_file(path, error.location, error.message)),
    }
}

impl<'a> Value<'a> {
    /// Whether there is nothing behind the key.
    pub(super) fn is_null(&self) -> bool {
        *self.tree == Tree::Null
    }

    /// Whether it is a list of nothing.
    pub(super) fn is_empty_list(&self) -> bool {
        matches!(self.tree, Tree::Sequence(items) if items.is_empty())
    }

    /// Whether it is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.tree, Tree::Sequence(_))
    }

    /// Whether it is a number.
    pub(super) fn is_number(&self) -> bool {
        matches!(self.tree, Tree::Integer(_) | Tree::Float(_))
    }

    /// Whether it is a mapping.
    pub(super) fn is_mapping(&self) -> bool {
        matches!(self.tree, Tree::Mapping(_))
    }

    /// What was read from here, with this place.
    pub(super) fn located<T>(&self, value: T) -> Located<T> {
        Located {
            value,
            place: self.place.clone(),
        }
    }

    /// Text without control characters.
    pub(super) fn text(&self, report: &mut Report) -> Option<&'a str> {
        match self.tree {
            Tree::String(text) if text.chars().any(char::is_control) => {
                report.add(
                    &self.place,
                    "holds a line break or another control character; write it on one line",
                );
                None
            }
            Tree::String(text) => Some(text),
            Tree::Bool(_) | Tree::Integer(_) | Tree::Float(_) => {
                let kind = self.kind();
                report.add(
                    &self.place,
                    format!("is {kind}; write text, in quotes if it looks like {kind}"),
                );
                None
            }
            _ => self.mismatch("text", report),
        }
    }

    /// Text that `parse` turns into something else: a name, an address, a range.
    pub(super) fn parsed_by<T, E: Display>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, E>,
        report: &mut Report,
    ) -> Option<T> {
        let text = self.text(report)?;
        report.take(&self.place, parse(text))
    }

    /// A whole number within a range.
    pub(super) fn number<T>(&self, range: RangeInclusive<T>, report: &mut Report) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + Display,
    {
        let (first, last) = (range.start(), range.end());
        let Tree::Integer(number) = self.tree else {
            return self.mismatch(&format!("a whole number from {first} to {last}"), report);
        };
        let inside = T::try_from(*number).ok().filter(|n| range.contains(n));
        if inside.is_none() {
            report.add(
                &self.place,
                format!("{number} is out of range; use {first} to {last}"),
            );
        }
        inside
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, report: &mut Report) -> Option<bool> {
        match self.tree {
            Tree::Bool(flag) => Some(*flag),
            _ => self.mismatch("true or false", report),
        }
    }

    /// A list; `of` names its items in the plural.
    pub(super) fn list(&self, of: &str, report: &mut Report) -> Option<Vec<Value<'a>>> {
        let Tree::Sequence(items) = self.tree else {
            return self.mismatch(&format!("a list of {of}"), report);
        };
        let item = |(index, tree)| Value {
            tree,
            place: self.place.item(index),
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// The entries of a mapping with keys of the operator's own choice.
    pub(super) fn entries(&self, of: &str, report: &mut Report) -> Option<Vec<(&'a str, Self)>> {
        let Tree::Mapping(entries) = self.tree else {
            return self.mismatch(&format!("a mapping of {of}"), report);
        };
        let entry = |(index, (key, tree)): (usize, &'a (String, Tree))| {
            let place = self.place.entry(index, key);
            (key.as_str(), Value { tree, place })
        };
        Some(entries.iter().enumerate().map(entry).collect())
    }

    /// A mapping of which only the `known` keys may occur, each once.
    pub(super) fn fields(&self, known: &[&str], report: &mut Report) -> Option<Fields<'a>> {
        let mut fields = Fields {
            place: self.place.clone(),
            entries: Vec::new(),
        };
        for (key, value) in self.entries("settings", report)? {
            let place = value.place.key_itself();
            if !known.contains(&key) {
                report.add(&place, unknown_key(key, known));
            } else if fields.get(key).is_some() {
                report.add(&place, "is given twice; keep one");
            } else {
                fields.entries.push((key, value));
            }
        }
        Some(fields)
    }

    fn mismatch<T>(&self, wanted: &str, report: &mut Report) -> Option<T> {
        let kind = self.kind();
        report.add(&self.place, format!("is {kind}; write {wanted}"));
        None
    }

    fn kind(&self) -> &'static str {
        match self.tree {
            Tree::Null => "empty",
            Tree::Bool(_) => "true or false",
            Tree::Integer(_) | Tree::Float(_) => "a number",
            Tree::String(_) => "text",
            Tree::Sequence(_) => "a list",
            Tree::Mapping(_) => "a mapping",
        }
    }
}

impl<'a> Fields<'a> {
    /// The value of a key, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.entries
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }

    /// The value of a key that must be there; `purpose` says what it is for.
    pub(super) fn required(
        &self,
        key: &str,
        purpose: &str,
        report: &mut Report,
    ) -> Option<&Value<'a>> {
        let found = self.get(key);
        if found.is_none() {
            report.add(&self.at(key), format!("is missing; {purpose}"));
        }
        found
    }

    /// What `read` makes of a key's value, or the default where the key is not there.
    pub(super) fn or<T>(
        &self,
        key: &str,
        default: impl FnOnce() -> T,
        report: &mut Report,
        read: impl FnOnce(&Value<'a>, &mut Report) -> Option<T>,
    ) -> Option<T> {
        match self.get(key) {
            Some(value) => read(value, report),
            None => Some(default()),
        }
    }

    /// What `parse` makes of a key's text, or of the default text where the key is not there.
    pub(super) fn or_parsed<T, E: Display>(
        &self,
        key: &str,
        default: &str,
        report: &mut Report,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match self.get(key) {
            Some(value) => value.parsed_by(parse, report),
            None => report.take(&self.at(key), parse(default)),
        }
    }

    /// A section that may be left out or empty, with the keys it may have.
    pub(super) fn section(
        &self,
        key: &str,
        known: &[&str],
        report: &mut Report,
    ) -> Option<Fields<'a>> {
        match self.get(key) {
            Some(value) if !value.is_null() => value.fields(known, report),
            _ => Some(Fields {
                place: self.at(key),
                entries: Vec::new(),
            }),
        }
    }

    /// The place of a key's value, whether the key is there or its default holds.
    pub(super) fn at(&self, key: &str) -> Place {
        match self.get(key) {
            Some(value) => value.place.clone(),
            None => self.place.absent(key),
        }
    }
}

fn unknown_key(key: &str, known: &[&str]) -> String {
    match nearest(key, known) {
        Some(nearest) => format!("is not a known key; did you mean '{nearest}'?"),
        None => format!("is not a known key; known here: {}", known.join(", ")),
    }
}

/// The known word that may have been meant: a third of its letters or fewer would have to change.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let distance = |known: &str| strsim::osa_distance(&lower, &known.to_lowercase());
    let nearest = known.iter().map(|known| (distance(known), *known)).min();
    let (distance, nearest) = nearest?;
    (distance * 3 <= nearest.len()).then_some(nearest)
}
