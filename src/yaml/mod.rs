//! YAML as a tree, and the place of everything in it.
//!
//! The only module that knows which YAML library is in use. Deserialising straight into structs
//! would stop at the first mistake and would not see a key that is given twice, so a text becomes
//! a [`Tree`] first ([`read`]) and is judged afterwards. The library tells a place only with an error:
//! [`locate`] reads the text once more and fails on purpose at the spot asked for ([`place`]). That
//! costs nothing for a file without mistakes. A new text is written as a whole ([`mod@write`]), one of
//! somebody else is changed in one value, every other byte kept ([`change`]).

pub mod change;
pub mod place;
pub mod read;
pub mod write;

pub use self::change::{Style, replaced};
pub use self::place::{Location, Spot, extent, locate, offset};
pub use self::read::{Error, parse};
pub use self::write::write;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
