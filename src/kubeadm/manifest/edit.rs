//! Another text of the same manifest.
//!
//! Bytes are replaced, so that comments, quotes, order and line ends stay as they were. Each change proves
//! itself: its outcome is parsed, and has to be the old tree with exactly that value changed.

use super::{Error, Manifest};
use crate::yaml::{self, At, Style, Tree};

/// A value that takes another's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// A flag of the first container; one that is not there comes behind the others.
    Flag {
        /// Without dashes: `advertise-address`.
        name: String,
        /// What it is to say.
        value: String,
    },
    /// An annotation of the pod; one that is not there comes behind the others.
    Annotation {
        /// Its whole key.
        key: String,
        /// What it is to say.
        value: String,
    },
    /// A probe's host. One that is not there is no pin, and none is added.
    ProbeHost {
        /// `livenessProbe`, `readinessProbe` or `startupProbe`.
        probe: String,
        /// The host.
        host: String,
    },
}

impl Edit {
    /// What it changes, for messages.
    fn what(&self) -> String {
        match self {
            Self::Flag { name, .. } => format!("flag --{name}"),
            Self::Annotation { key, .. } => format!("annotation {key}"),
            Self::ProbeHost { probe, .. } => format!("{probe}.httpGet.host"),
        }
    }
}

impl Manifest {
    /// The text with these values changed and every other byte kept. On an error nothing is changed;
    /// edits that change nothing give the text as it is.
    pub fn with(&self, edits: &[Edit]) -> Result<String, Error> {
        let mut manifest = self.clone();
        for edit in edits {
            manifest = manifest.edited(edit)?;
        }
        Ok(manifest.text)
    }

    fn edited(&self, edit: &Edit) -> Result<Self, Error> {
        match edit {
            Edit::Flag { name, value } => match self.find_flag(name) {
                Some(flag) => {
                    let prefix = &flag.text()[..flag.start];
                    self.replaced(edit, &flag.word, &format!("{prefix}{value}"))
                }
                None => self.flag_added(edit, &format!("--{name}={value}")),
            },
            Edit::Annotation { key, value } => {
                match self.annotations().and_then(|all| all.field(key)) {
                    Some(at) => self.replaced(edit, &at, value),
                    None => self.annotation_added(edit, key, value),
                }
            }
            Edit::ProbeHost { probe, host } => match self.probe_host(probe) {
                Some(at) => self.replaced(edit, &at, host),
                None => Err(Error::Absent(edit.what())),
            },
        }
    }

    /// The manifest with another text as the value at a spot.
    fn replaced(&self, edit: &Edit, at: &At<'_>, new: &str) -> Result<Self, Error> {
        if at.text() == Some(new) {
            return Ok(self.clone());
        }
        let replaced = yaml::replaced(&self.text, &self.tree, &at.spot, new);
        let (text, tree) = replaced.ok_or_else(|| Error::Unchangeable {
            what: edit.what(),
            line: self.line(&at.spot),
        })?;
        Ok(Self { text, tree })
    }

    /// The manifest with one more flag, behind the last word of `command`, or of `args` where there is
    /// no command.
    fn flag_added(&self, edit: &Edit, word: &str) -> Result<Self, Error> {
        let absent = || Error::Absent(edit.what());
        let container = self.container().ok_or_else(absent)?;
        let list = container
            .field("command")
            .or_else(|| container.field("args"));
        let list = list.ok_or_else(absent)?;
        let word_before = list.items().next_back().ok_or_else(absent)?;
        let extent = word_before
            .text()
            .and_then(|old| yaml::extent(&self.text, &word_before.spot, old));
        let extent = extent.ok_or_else(absent)?;
        let mut wanted = self.tree.clone();
        match wanted.at_mut(&list.spot) {
            Some(Tree::Sequence(items)) => items.push(Tree::String(word.to_owned())),
            _ => return Err(absent()),
        }
        let style = Style::of(&self.text[extent.clone()]);
        // In block style the item's line is repeated with another word; in flow style it goes on.
        let line = Line::around(&self.text, extent.start);
        let lead = &self.text[line.start..extent.start];
        let between = if lead.trim_start().starts_with('-') {
            Insert::Line(line, lead.to_owned())
        } else {
            Insert::At(extent.end, ", ".to_owned())
        };
        self.inserted(&wanted, &between, style, word)
            .ok_or_else(absent)
    }

    /// The manifest with one more annotation, behind the last one.
    fn annotation_added(&self, edit: &Edit, key: &str, value: &str) -> Result<Self, Error> {
        let absent = || Error::Absent(edit.what());
        let all = self.annotations().ok_or_else(absent)?;
        let Tree::Mapping(entries) = all.tree else {
            return Err(absent());
        };
        let index = entries.len().checked_sub(1).ok_or_else(absent)?;
        let last = all.spot.child(index);
        let old = At {
            tree: &entries[index].1,
            spot: last.clone(),
        };
        let extent = old
            .text()
            .and_then(|old| yaml::extent(&self.text, &last, old));
        let extent = extent.ok_or_else(absent)?;
        let mut wanted = self.tree.clone();
        match wanted.at_mut(&all.spot) {
            Some(Tree::Mapping(entries)) => {
                entries.push((key.to_owned(), Tree::String(value.to_owned())));
            }
            _ => return Err(absent()),
        }
        let style = Style::of(&self.text[extent.clone()]);
        let line = Line::around(&self.text, extent.start);
        let lead = &self.text[line.start..extent.start];
        let indent = &lead[..lead.len() - lead.trim_start().len()];
        let flow = lead.contains(['{', ',']);
        let quoted = serde_json::Value::from(key).to_string();
        let (before, name) = if flow {
            (", ", quoted)
        } else {
            (indent, key.to_owned())
        };
        let before = format!("{before}{name}: ");
        let between = if flow {
            Insert::At(extent.end, before)
        } else {
            Insert::Line(line, before)
        };
        self.inserted(&wanted, &between, style, value)
            .ok_or_else(absent)
    }

    fn inserted(&self, wanted: &Tree, insert: &Insert, style: Style, new: &str) -> Option<Self> {
        let with = |quoted: &str| match insert {
            Insert::At(at, before) => {
                let (head, tail) = self.text.split_at(*at);
                format!("{head}{before}{quoted}{tail}")
            }
            Insert::Line(line, before) => {
                let (head, tail) = self.text.split_at(line.end);
                let (gap, end) = match line.ending {
                    // The last line of a text that does not end in a line break.
                    "" => (line_ending(&self.text), ""),
                    ending => ("", ending),
                };
                format!("{head}{gap}{before}{quoted}{end}{tail}")
            }
        };
        let text = style.proven(new, wanted, with)?;
        let tree = wanted.clone();
        Some(Self { text, tree })
    }
}

/// Where something new goes, and what stands before it.
enum Insert {
    /// At a byte of the text.
    At(usize, String),
    /// As a line of its own behind this one.
    Line(Line, String),
}

/// A line of a text: its bytes, line break included, and which break that is.
struct Line {
    start: usize,
    end: usize,
    ending: &'static str,
}

impl Line {
    fn around(text: &str, at: usize) -> Self {
        let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let end = text[at..].find('\n').map_or(text.len(), |end| at + end + 1);
        let line = &text[start..end];
        let ending = match line {
            _ if line.ends_with("\r\n") => "\r\n",
            _ if line.ends_with('\n') => "\n",
            _ => "",
        };
        Self { start, end, ending }
    }
}

fn line_ending(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}
