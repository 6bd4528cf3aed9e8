//! The mistakes found in a file, and where each of them stands.

use std::fmt::Display;
use std::path::Path;

use super::problem::{Problem, Problems};
use crate::yaml::{self, Spot};

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

impl Place {
    /// The place of the key instead of its value.
    pub(super) fn key_itself(&self) -> Self {
        Self {
            spot: self.spot.key(),
            ..self.clone()
        }
    }

    /// The value at position `index` of the list here.
    pub(super) fn item(&self, index: usize) -> Self {
        Self {
            key: format!("{}[{index}]", self.key),
            spot: self.spot.child(index),
            given: true,
        }
    }

    /// The value of a key at position `index` of the mapping here.
    pub(super) fn entry(&self, index: usize, key: &str) -> Self {
        Self {
            key: self.key_below(key),
            spot: self.spot.child(index),
            given: true,
        }
    }

    /// The value of a key that the mapping here does not have.
    pub(super) fn absent(&self, key: &str) -> Self {
        Self {
            key: self.key_below(key),
            spot: self.spot.clone(),
            given: false,
        }
    }

    fn key_below(&self, key: &str) -> String {
        match self.key.as_str() {
            "" => key.to_owned(),
            parent => format!("{parent}.{key}"),
        }
    }
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
