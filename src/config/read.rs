//! Reads settings out of a YAML tree and notes every mistake on the way.
//!
//! A reader gives `None` only after it has noted why in the [`Report`]: a file whose report stays
//! empty has all of its settings, and one mistake never hides the next.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;

use super::problem::{Problem, Problems};
use crate::yaml::{self, Spot, Tree};

/// How many problems of one file are told; finding the place of each reads the file again.
const MAX_PROBLEMS: usize = 100;

/// Where a setting stands: its key for people, its spot for the line number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) key: String,
    /// The nearest spot that is in the file.
    spot: Spot,
    /// Whether the setting itself is in the file; otherwise its default holds.
    pub(super) given: bool,
}

/// A value that was read, with its place, for the checks across settings.
#[derive(Debug, Clone)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

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

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<(Place, String)>);

impl Report {
    /// Notes a mistake; `message` says what is wrong and, behind a semicolon, what would be right.
    pub(super) fn add(&mut self, place: &Place, message: impl Display) {
        self.0
            .push((place.clone(), printable(&message.to_string())));
    }

    /// The value, or a note of why there is none.
    pub(super) fn take<T, E: Display>(&mut self, place: &Place, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(place, error)).ok()
    }

    /// Whether nothing was noted so far.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value if nothing is wrong, and otherwise everything that is.
    pub(super) fn conclude<T>(
        mut self,
        value: Option<T>,
        file: &Path,
        text: &str,
    ) -> Result<T, Problems> {
        if let (Some(value), true) = (value, self.is_empty()) {
            return Ok(value);
        }
        let more = self.0.len().saturating_sub(MAX_PROBLEMS);
        self.0.truncate(MAX_PROBLEMS);
        let located = |(place, message): (Place, String)| Problem {
            file: file.to_owned(),
            location: yaml::locate(text, &place.spot),
            key: printable(&place.key),
            message,
        };
        let problems = Problems::new(self.0.into_iter().map(located).collect());
        let whole = |message: String| Problems::of_file(file, None, message);
        // A reader that gives nothing and says nothing is a mistake of stayput's own.
        let problems =
            problems.unwrap_or_else(|| whole("cannot be used; please report this".into()));
        Err(match more {
            0 => problems,
            _ => problems.and(whole(format!("{more} more problems"))),
        })
    }
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

    /// Whether it is a number.
    pub(super) fn is_number(&self) -> bool {
        matches!(self.tree, Tree::Integer(_) | Tree::Float(_))
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
            place: Place {
                key: format!("{}[{index}]", self.place.key),
                spot: self.place.spot.child(index),
                given: true,
            },
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// The entries of a mapping with keys of the operator's own choice.
    pub(super) fn entries(&self, of: &str, report: &mut Report) -> Option<Vec<(&'a str, Self)>> {
        let Tree::Mapping(entries) = self.tree else {
            return self.mismatch(&format!("a mapping of {of}"), report);
        };
        let entry = |(index, (key, tree)): (usize, &'a (String, Tree))| {
            let place = Place {
                key: self.place.key_below(key),
                spot: self.place.spot.child(index),
                given: true,
            };
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
            None => Place {
                key: self.place.key_below(key),
                spot: self.place.spot.clone(),
                given: false,
            },
        }
    }
}

impl Place {
    /// The place of the key instead of its value.
    pub(super) fn key_itself(&self) -> Self {
        Self {
            spot: self.spot.key(),
            ..self.clone()
        }
    }

    fn key_below(&self, key: &str) -> String {
        match self.key.as_str() {
            "" => key.to_owned(),
            parent => format!("{parent}.{key}"),
        }
    }
}

/// Suggests a known key where a third of its letters or fewer would have to change.
fn unknown_key(key: &str, known: &[&str]) -> String {
    let lower = key.to_lowercase();
    let distance = |known: &str| strsim::osa_distance(&lower, &known.to_lowercase());
    let nearest = known.iter().map(|known| (distance(known), known)).min();
    match nearest {
        Some((distance, nearest)) if distance * 3 <= nearest.len() => {
            format!("is not a known key; did you mean '{nearest}'?")
        }
        _ => format!("is not a known key; known here: {}", known.join(", ")),
    }
}

/// A text for one line of a terminal: control characters escaped, and no longer than a few lines.
fn printable(text: &str) -> String {
    const MAX_CHARACTERS: usize = 400;
    let mut line = String::new();
    for character in text.chars().take(MAX_CHARACTERS) {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    if text.chars().nth(MAX_CHARACTERS).is_some() {
        line.push('…');
    }
    line
}
