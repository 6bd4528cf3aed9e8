//! A static pod's manifest: what it says, and where; and the same text with other values in it.
//!
//! What a flag says follows Go's flag packages, which kube-apiserver (pflag) and etcd (flag) use:
//! `--name=value` or `--name value`, in the container's `command` and then its `args`, and the last
//! one wins. That the next word is the value holds for flags that take one; nobody asks for others.
//! etcd's lists of URLs have a trap: a value that is one of the URLs that stand there already is passed
//! over, and changes nothing (etcd 3.4, `pkg/flags/unique_urls.go`, `UniqueURLs.Set`).
//!
//! What changes is an [`Edit`].

mod edit;

pub use self::edit::Edit;
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

#[cfg(test)]
mod tests;
