//! What is wrong with a file: all of it at once, each thing with its place.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::yaml::Location;

/// One thing that is wrong, for people as `FILE:LINE:COLUMN: KEY: MESSAGE`, for programs as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Line and column, from 1; absent where the file as a whole is meant.
    #[serde(flatten)]
    pub location: Option<Location>,
    /// The key, such as `masters[1].address`; empty for the file as a whole.
    pub key: String,
    /// What is wrong and, behind a semicolon, what would be right.
    pub message: String,
}

/// Everything that is wrong; never empty. In the order of file and line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// One problem of a file as a whole, or of its syntax.
    pub(super) fn of_file(
        file: &Path,
        location: Option<Location>,
        message: impl Into<String>,
    ) -> Self {
        Self(vec![Problem {
            file: file.to_owned(),
            location,
            key: String::new(),
            message: message.into(),
        }])
    }

    /// The problems of one file, sorted by line; `None` where there are none.
    pub(super) fn new(mut all: Vec<Problem>) -> Option<Self> {
        all.sort_by_key(|problem| problem.location);
        (!all.is_empty()).then_some(Self(all))
    }

    /// The problems of two files.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(Location { line, column }) = self.location {
            write!(f, ":{line}:{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let line_end = if index == 0 { "" } else { "\n" };
            write!(f, "{line_end}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
