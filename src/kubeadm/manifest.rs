//! A static pod's manifest: what it says, and where; and the same text with other values in it.
//!
//! What a flag says follows Go's flag packages, which kube-apiserver (pflag) and etcd (flag) use:
//! `--name=value` or `--name value`, in the container's `command` and then its `args`, and the last
//! one wins. That the next word is the value holds for flags that take one; nobody asks for others.
//! etcd's lists of URLs have a trap: a value that is one of the URLs that stand there already is passed
//! over, and changes nothing (etcd 3.4, `pkg/flags/unique_urls.go`, `UniqueURLs.Set`).
//!
//! A manifest is changed by replacing bytes, so that comments, quotes, order and line ends stay as
//! they were. Each change proves itself: its outcome is parsed, and has to be the old tree with
//! exactly that value changed.

use crate::yaml::{self, At, Spot, Tree};

/// A static pod's manifest, text and tree.
#[derive(Debug, Clone)]
pub struct Manifest {
    text: String,
    tree: Tree,
}

/// A value, and the line in which it stands, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The value.
    pub value: String,
    /// The line.
    pub line: usize,
}

/// The host that a probe of the first container asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeHost {
    /// `livenessProbe`, `readinessProbe` or `startupProbe`.
    pub probe: &'static str,
    /// Its `httpGet.host`.
    pub host: String,
    /// The line, from 1.
    pub line: usize,
}

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

/// Why a manifest cannot be read or changed. The path is the caller's to tell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not YAML.
    #[error("is no YAML that can be read{}: {message}", line.map_or(String::new(), |line| format!(" (line {line})")))]
    Yaml {
        /// What is wrong.
        message: String,
        /// Where, if that is known.
        line: Option<usize>,
    },
    /// YAML, but no pod.
    #[error("is no pod's manifest: it has no spec.containers")]
    NoPod,
    /// What is to be changed is not there, and cannot be added.
    #[error("has no {0}, and no place where it could be added; add it by hand")]
    Absent(String),
    /// It is written in a way that cannot be changed safely.
    #[error(
        "line {line}: {what} cannot be changed there without changing more (an anchor, or text over several lines); change it by hand"
    )]
    Unchangeable {
        /// What was to be changed.
        what: String,
        /// Where, from 1.
        line: usize,
    },
}

/// A container's probes.
pub const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];

impl Manifest {
    /// Reads a manifest (YAML or JSON).
    pub fn parse(text: &str) -> Result<Self, Error> {
        let tree = yaml::parse(text).map_err(|error| Error::Yaml {
            line: error.location.map(|place| place.line),
            message: error.message,
        })?;
        let manifest = Self {
            text: text.to_owned(),
            tree,
        };
        match manifest.container() {
            Some(_) => Ok(manifest),
            None => Err(Error::NoPod),
        }
    }

    /// What a flag of the first container says; `name` is without dashes.
    pub fn flag(&self, name: &str) -> Option<Located> {
        let found = self.find_flag(name)?;
        Some(self.located(found.value(), &found.word.spot))
    }

    /// An annotation of the pod.
    pub fn annotation(&self, key: &str) -> Option<Located> {
        let found = self.annotations()?.field(key)?;
        Some(self.located(found.text()?, &found.spot))
    }

    /// The hosts that the first container's probes ask, where they name one.
    pub fn probe_hosts(&self) -> Vec<ProbeHost> {
        let host = |probe| {
            let host = self.probe_host(probe)?;
            let Located { value, line } = self.located(host.text()?, &host.spot);
            Some(ProbeHost {
                probe,
                host: value,
                line,
            })
        };
        PROBES.into_iter().filter_map(host).collect()
    }

    /// A variable of the first container's environment; of one that is given twice, the last.
    pub fn env(&self, name: &str) -> Option<Located> {
        let mut entries = self.container()?.field("env")?.items();
        let named = |entry: &At<'_>| entry.field("name").and_then(|at| at.text()) == Some(name);
        let value = entries.rfind(named)?.field("value")?;
        Some(self.located(value.text()?, &value.spot))
    }

    /// The first container's image.
    pub fn image(&self) -> Option<&str> {
        self.container()?.field("image")?.text()
    }

    /// The text with these values changed and every other byte kept. On an error nothing is changed;
    /// edits that change nothing give the text as it is.
    pub fn with(&self, edits: &[Edit]) -> Result<String, Error> {
        let mut manifest = self.clone();
        for edit in edits {
            manifest = manifest.edited(edit)?;
        }
        Ok(manifest.text)
    }

    fn top(&self) -> At<'_> {
        At::top(&self.tree)
    }

    fn container(&self) -> Option<At<'_>> {
        self.top().path(&["spec", "containers"])?.items().next()
    }

    fn annotations(&self) -> Option<At<'_>> {
        self.top().path(&["metadata", "annotations"])
    }

    fn probe_host(&self, probe: &str) -> Option<At<'_>> {
        self.container()?.path(&[probe, "httpGet", "host"])
    }

    fn located(&self, value: &str, spot: &Spot) -> Located {
        Located {
            value: value.to_owned(),
            line: self.line(spot),
        }
    }

    /// A spot of this tree is in its text; where the library does not tell, the first line stands.
    fn line(&self, spot: &Spot) -> usize {
        yaml::locate(&self.text, spot).map_or(1, |place| place.line)
    }

    /// The last word that sets a flag.
    fn find_flag(&self, name: &str) -> Option<Flag<'_>> {
        let container = self.container()?;
        let lists = ["command", "args"].map(|key| container.field(key));
        let words: Vec<At<'_>> = lists.iter().flatten().flat_map(At::items).collect();
        let program = usize::from(lists[0].is_some());
        let mut found: Option<Flag<'_>> = None;
        for (index, word) in words.iter().enumerate().skip(program) {
            let Some(text) = word.text() else { continue };
            if text == "--" {
                break;
            }
            let Some(bare) = text.strip_prefix("--").or_else(|| text.strip_prefix('-')) else {
                continue;
            };
            let flag = match bare.split_once('=') {
                Some((key, value)) if same(key, name) => Flag {
                    word: word.clone(),
                    start: text.len() - value.len(),
                },
                None if same(bare, name) => match words.get(index + 1) {
                    Some(word) if word.text().is_some() => Flag {
                        word: word.clone(),
                        start: 0,
                    },
                    _ => continue,
                },
                _ => continue,
            };
            let passed_over = |earlier: &Flag<'_>| {
                name.ends_with("-urls") && earlier.value().split(',').any(|url| url == flag.value())
            };
            if !found.as_ref().is_some_and(passed_over) {
                found = Some(flag);
            }
        }
        found
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
        let unchangeable = || Error::Unchangeable {
            what: edit.what(),
            line: self.line(&at.spot),
        };
        let old = at.text().ok_or_else(unchangeable)?;
        if old == new {
            return Ok(self.clone());
        }
        let extent = yaml::extent(&self.text, &at.spot, old).ok_or_else(unchangeable)?;
        let mut wanted = self.tree.clone();
        let value = wanted.at_mut(&at.spot).ok_or_else(unchangeable)?;
        *value = Tree::String(new.to_owned());
        let style = Style::of(&self.text[extent.clone()]);
        let (before, behind) = (&self.text[..extent.start], &self.text[extent.end..]);
        Self::proven(
            &wanted,
            |quoted| format!("{before}{quoted}{behind}"),
            style,
            new,
        )
        .ok_or_else(unchangeable)
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
        let (before, name) = if flow {
            (", ", quoted(key))
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
        Self::proven(wanted, with, style, new)
    }

    /// The outcome, if it is the wanted tree: with the scalar in the old one's style, or in double
    /// quotes where that does not hold it.
    fn proven(
        wanted: &Tree,
        with: impl Fn(&str) -> String,
        style: Style,
        new: &str,
    ) -> Option<Self> {
        let forms = [style.written(new), quoted(new)];
        let outcomes = forms.iter().map(|form| with(form));
        let proven = |text: &String| yaml::parse(text).is_ok_and(|tree| tree == *wanted);
        outcomes.into_iter().find(proven).map(|text| Self {
            text,
            tree: wanted.clone(),
        })
    }
}

/// A word that holds a flag's value, from a byte of it on.
struct Flag<'a> {
    word: At<'a>,
    start: usize,
}

impl<'a> Flag<'a> {
    fn text(&self) -> &'a str {
        self.word.text().unwrap_or_default()
    }

    fn value(&self) -> &'a str {
        &self.text()[self.start..]
    }
}

/// Kubernetes' programs take `_` for `-` in flags (component-base, `WordSepNormalizeFunc`).
fn same(found: &str, name: &str) -> bool {
    found.replace('_', "-") == name
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

/// How a scalar is written.
#[derive(Clone, Copy)]
enum Style {
    Plain,
    Single,
    Double,
}

impl Style {
    fn of(scalar: &str) -> Self {
        match scalar.chars().next() {
            Some('"') => Self::Double,
            Some('\'') => Self::Single,
            _ => Self::Plain,
        }
    }

    fn written(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Single => format!("'{}'", text.replace('\'', "''")),
            Self::Double => quoted(text),
        }
    }
}

/// In double quotes, as JSON and YAML both read it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
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

#[cfg(test)]
mod tests;
