//! A kubeconfig's text and the tree of it: entries are found by their names, and values replaced where
//! they stand.

use zeroize::{Zeroize, Zeroizing};

use super::{Error, unusable};
use crate::yaml::{self, At, Spot, Tree};

/// A text and its tree.
pub(super) struct Document<'a> {
    text: &'a str,
    tree: Wiped,
}

/// A tree that may hold keys.
struct Wiped(Tree);

/// The current context's entries.
pub(super) struct Current<'a> {
    pub(super) cluster: Entry<'a>,
    pub(super) user: Entry<'a>,
}

/// A mapping within the tree, and where it is.
pub(super) struct Entry<'a> {
    fields: &'a [(String, Tree)],
    spot: Spot,
}

/// A text that takes another's place.
pub(super) struct Change<'a> {
    field: &'static str,
    spot: Spot,
    old: &'a str,
    new: &'a str,
}

impl<'a> Document<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, Error> {
        let tree = yaml::parse(text).map_err(|error| {
            // The message may quote the text: only its place is told.
            let place = error.location;
            let place =
                place.map(|place| format!(" (line {}, column {})", place.line, place.column));
            unusable(format!("it is no YAML{}", place.unwrap_or_default()))
        })?;
        Ok(Self {
            text,
            tree: Wiped(tree),
        })
    }

    /// The `cluster` mappings of all clusters.
    pub(super) fn clusters(&self) -> Result<Vec<At<'_>>, Error> {
        if !matches!(self.tree.0, Tree::Mapping(_)) {
            return Err(unusable("it is no mapping"));
        }
        let clusters = At::top(&self.tree.0).field("clusters");
        let items = clusters.iter().flat_map(At::items);
        Ok(items.filter_map(|item| item.field("cluster")).collect())
    }

    pub(super) fn current(&self) -> Result<Current<'_>, Error> {
        let Tree::Mapping(fields) = &self.tree.0 else {
            return Err(unusable("it is no mapping"));
        };
        let top = Entry {
            fields,
            spot: Spot::default(),
        };
        let name = top.text("current-context");
        let name = name.ok_or_else(|| unusable("it has no current-context"))?;
        let context = top.named("contexts", name, "context")?;
        let entry = |list, field, inner| {
            let name = context.text(field);
            let name = name.ok_or_else(|| unusable(format!("its context names no {field}")))?;
            top.named(list, name, inner)
        };
        Ok(Current {
            cluster: entry("clusters", "cluster", "cluster")?,
            user: entry("users", "user", "user")?,
        })
    }

    /// The text with these changes, where they are all that changes.
    pub(super) fn with(&self, changes: &[Change<'_>]) -> Result<Zeroizing<String>, Error> {
        let mut places = Vec::new();
        let mut wanted = Wiped(self.tree.0.clone());
        for change in changes {
            let place = self.place(change);
            places.push((place.ok_or_else(|| not_one_piece(change))?, change));
            if let Some(value) = wanted.0.at_mut(&change.spot) {
                wipe(value);
                *value = Tree::String(change.new.to_owned());
            }
        }
        places.sort_by_key(|((start, _), _)| *start);
        let room = changes.iter().map(|change| change.new.len()).sum::<usize>();
        let mut text = Zeroizing::new(String::with_capacity(self.text.len() + room));
        let mut copied = 0;
        for ((start, end), change) in places {
            // Two that overlap (an alias) leave nothing between them.
            let between = self.text.get(copied..start);
            text.push_str(between.ok_or_else(|| not_one_piece(change))?);
            text.push_str(change.new);
            copied = end;
        }
        text.push_str(&self.text[copied..]);
        let mut outcome = Document::read(&text)?;
        for change in changes {
            // A block scalar has a line break behind its value.
            match outcome.tree.0.at_mut(&change.spot) {
                Some(Tree::String(text)) if text.trim_end() == change.new => {
                    text.truncate(change.new.len());
                }
                _ => return Err(not_one_piece(change)),
            }
        }
        if wanted.0 != outcome.tree.0 {
            let reason = "other values would change with it (an anchor?)";
            return Err(Error::Unchangeable(reason.into()));
        }
        Ok(text)
    }

    /// From where to where a value stands in the text. It may be quoted, or go over several lines.
    fn place(&self, change: &Change<'_>) -> Option<(usize, usize)> {
        let mark = self.text.len() - self.text.trim_start_matches('\u{feff}').len();
        let location = yaml::locate(self.text, &change.spot)?;
        let from = mark + yaml::offset(&self.text[mark..], location)?;
        let rest = &self.text[from..];
        let start = match rest.chars().next()? {
            '"' | '\'' => 1,
            '|' | '>' => rest.find('\n')? + 1,
            _ => 0,
        };
        let lead = rest[start..].len() - rest[start..].trim_start().len();
        let start = from + start + lead;
        // Base64 has no spaces: what is between its parts are line breaks and indentation.
        let mut wanted = change
            .old
            .chars()
            .filter(|c| !c.is_ascii_whitespace())
            .peekable();
        for (offset, found) in self.text[start..].char_indices() {
            if wanted.peek().is_none() {
                return Some((start, start + offset));
            }
            if !found.is_ascii_whitespace() && wanted.next() != Some(found) {
                return None;
            }
        }
        wanted.peek().is_none().then_some((start, self.text.len()))
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(tree: &mut Tree) {
    match tree {
        Tree::String(text) => text.zeroize(),
        Tree::Sequence(items) => items.iter_mut().for_each(wipe),
        Tree::Mapping(entries) => entries.iter_mut().for_each(|(_, value)| wipe(value)),
        Tree::Null | Tree::Bool(_) | Tree::Integer(_) | Tree::Float(_) => {}
    }
}

fn not_one_piece(change: &Change<'_>) -> Error {
    let field = change.field;
    Error::Unchangeable(format!("its {field} is not one piece of text"))
}

impl<'a> Entry<'a> {
    fn find(&self, field: &str) -> Option<(usize, &'a Tree)> {
        // Of a field that is given twice client-go takes the last.
        let mut entries = self.fields.iter().enumerate();
        let (index, (_, value)) = entries.rfind(|(_, (key, _))| key == field)?;
        Some((index, value))
    }

    /// A text that is not empty: client-go takes an empty one for none.
    pub(super) fn text(&self, field: &str) -> Option<&'a str> {
        match self.find(field)?.1 {
            Tree::String(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// The `inner` mapping of a list's entry by its name.
    fn named(&self, list: &str, name: &str, inner: &str) -> Result<Entry<'a>, Error> {
        let found = || {
            let (at, Tree::Sequence(items)) = self.find(list)? else {
                return None;
            };
            let spot = self.spot.child(at);
            let mut entries = items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| match item {
                    Tree::Mapping(fields) => Some(Entry {
                        fields,
                        spot: spot.child(index),
                    }),
                    _ => None,
                });
            let entry = entries.find(|entry| entry.text("name") == Some(name))?;
            let (at, Tree::Mapping(fields)) = entry.find(inner)? else {
                return None;
            };
            Some(Entry {
                fields,
                spot: entry.spot.child(at),
            })
        };
        found().ok_or_else(|| unusable(format!("'{name}' is not among its {list}")))
    }

    pub(super) fn change<'b>(&self, field: &'static str, new: &'b str) -> Result<Change<'b>, Error>
    where
        'a: 'b,
    {
        let missing = || Error::Unchangeable(format!("it has no {field}"));
        let old = self.text(field).ok_or_else(missing)?;
        let (index, _) = self.find(field).ok_or_else(missing)?;
        Ok(Change {
            field,
            spot: self.spot.child(index),
            old,
            new,
        })
    }
}
