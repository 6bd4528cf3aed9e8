//! Lines of a hosts file: those that a view wants, and how a resolver reads any.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use crate::name::Name;
use crate::view::{Entry, View};

/// How long a line of ours grows before the remaining names go to another one. musl reads lines
/// through a buffer of 512 bytes and loses what is behind.
const LONGEST: usize = 480;

/// What a resolver takes from a line: an address and its names in lower case. A comment ends the
/// line; blanks of any kind (the CR of a CRLF file, too) separate its words (hosts(5)).
pub(super) fn mapping(line: &[u8]) -> Option<(IpAddr, Vec<String>)> {
    let line = line.split(|byte| *byte == b'#').next()?;
    let mut words = line
        .split(|byte| byte.is_ascii_whitespace() || *byte == 0x0b)
        .filter(|word| !word.is_empty());
    let address: IpAddr = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    let names: Vec<String> = words
        .map(|word| String::from_utf8_lossy(word).to_ascii_lowercase())
        .collect();
    (!names.is_empty()).then(|| (address.to_canonical(), names))
}

/// A line as we write it, without its end.
pub(super) fn render(address: IpAddr, names: &[String]) -> String {
    format!("{address} {}", names.join(" "))
}

/// The lines that a view wants, in the order of its entries, none twice.
///
/// First the name, so that a reverse look-up returns it, then its short form, then the aliases and
/// their short forms. A short form that a foreign line has (`taken`) is left to that line. An entry
/// without an address has no line.
pub(super) fn wanted(view: &View, taken: &HashSet<String>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut seen = HashSet::new();
    for entry in view.entries() {
        let names = names_of(&entry, &view.cluster.domain, taken);
        for address in &entry.addresses {
            for line in split(*address, &names) {
                if seen.insert(line.clone()) {
                    lines.push(line);
                }
            }
        }
    }
    lines
}

fn names_of(entry: &Entry, domain: &Name, taken: &HashSet<String>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in std::iter::once(&entry.name).chain(&entry.aliases) {
        let short = name
            .relative_to(domain)
            .filter(|short| !taken.contains(*short));
        for form in std::iter::once(name.as_str()).chain(short) {
            if !names.iter().any(|known| known == form) {
                names.push(form.to_owned());
            }
        }
    }
    names
}

/// One line, or as many as the names need; the first name leads each.
fn split(address: IpAddr, names: &[String]) -> Vec<String> {
    let Some((first, others)) = names.split_first() else {
        return Vec::new();
    };
    let head = format!("{address} {first}");
    let mut lines = vec![head.clone()];
    for name in others {
        let full = lines
            .last()
            .is_some_and(|line| line.len() > head.len() && line.len() + 1 + name.len() > LONGEST);
        if full {
            lines.push(head.clone());
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(name);
        }
    }
    lines
}

/// A foreign line that gives one of our names an address that is not its own. Resolvers return the
/// addresses of all lines of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Counted from 1.
    pub line: usize,
    /// The name, fully qualified.
    pub name: String,
    /// The address that the line gives it.
    pub address: IpAddr,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            name,
            address,
        } = self;
        write!(
            f,
            "line {line} gives {name} the address {address}, which is not its own; remove that line"
        )
    }
}

/// The conflicts of one file. Only the first ones are kept: who may write into the file, such as a
/// container into its copy, decides how many there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conflicts {
    /// The first ones, in the file's order; at most [`Conflicts::LISTED`].
    pub listed: Vec<Conflict>,
    /// How many more there are.
    pub more: usize,
}

impl Conflicts {
    /// How many conflicts of a file are told one by one.
    pub const LISTED: usize = 5;

    /// One line each for an operator; `path` is the file's.
    pub fn notices(&self, path: &Path) -> Vec<String> {
        let path = path.display();
        let mut notices: Vec<String> = self.listed.iter().map(|c| format!("{path}: {c}")).collect();
        if self.more > 0 {
            notices.push(format!("{path}: and {} more like these", self.more));
        }
        notices
    }

    fn add(&mut self, line: usize, name: String, address: IpAddr) {
        if self.listed.len() < Self::LISTED {
            self.listed.push(Conflict {
                line,
                name,
                address,
            });
        } else {
            self.more += 1;
        }
    }
}

/// The conflicts among foreign lines, which come with their numbers.
pub(super) fn conflicts<'a>(
    view: &View,
    foreign: impl Iterator<Item = (usize, &'a [u8])>,
) -> Conflicts {
    let mut ours: HashMap<String, Vec<IpAddr>> = HashMap::new();
    for entry in view.entries() {
        for name in std::iter::once(&entry.name).chain(&entry.aliases) {
            ours.insert(name.to_string(), entry.addresses.clone());
        }
    }
    let mut found = Conflicts::default();
    for (line, text) in foreign {
        let Some((address, names)) = mapping(text) else {
            continue;
        };
        for name in names {
            if ours.get(&name).is_some_and(|own| !own.contains(&address)) {
                found.add(line, name, address);
            }
        }
    }
    found
}
