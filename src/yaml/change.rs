//! One value of somebody else's text changed, and every other byte kept.

use super::{Spot, Tree, extent, parse};

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// In single quotes.
    Single,
    /// In double quotes.
    Double,
}

impl Style {
    /// That of a scalar as it stands in a text, quotes included.
    pub fn of(scalar: &str) -> Self {
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
            // As JSON and YAML both read it.
            Self::Double => serde_json::Value::from(text).to_string(),
        }
    }

    /// The text that `with` makes of a scalar, if it reads as the wanted tree: with the scalar in this
    /// style, or in double quotes where that does not hold it.
    pub fn proven(
        self,
        scalar: &str,
        wanted: &Tree,
        with: impl Fn(&str) -> String,
    ) -> Option<String> {
        let forms = [self, Self::Double].map(|style| style.written(scalar));
        let mut outcomes = forms.iter().map(|form| with(form));
        outcomes.find(|text| parse(text).is_ok_and(|tree| tree == *wanted))
    }
}

/// A text whose tree is `tree` with another text as the value at a spot, and that tree. `None` where
/// the value is no text, or is written in a way that cannot be changed alone ([`extent`]).
pub fn replaced(text: &str, tree: &Tree, spot: &Spot, new: &str) -> Option<(String, Tree)> {
    let mut wanted = tree.clone();
    let value = wanted.at_mut(spot)?;
    let Tree::String(old) = std::mem::replace(value, new.into()) else {
        return None;
    };
    let extent = extent(text, spot, &old)?;
    let style = Style::of(&text[extent.clone()]);
    let (before, behind) = (&text[..extent.start], &text[extent.end..]);
    let with = |scalar: &str| format!("{before}{scalar}{behind}");
    let outcome = style.proven(new, &wanted, with)?;
    Some((outcome, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::At;

    #[test]
    fn one_value_changes_and_every_other_byte_stays() {
        for (text, new, want) in [
            ("a: b # c\r\nd: b\r\n", "x", Some("a: x # c\r\nd: b\r\n")),
            ("a: 'b'\n", "it's", Some("a: 'it''s'\n")),
            ("a: \"b\"\n", "c\"", Some("a: \"c\\\"\"\n")),
            // What plain would be read as something else.
            ("a: b\n", "1.20", Some("a: \"1.20\"\n")),
            ("{a: b}\n", "[x]", Some("{a: \"[x]\"}\n")),
            ("a: \"\"\n", "x", Some("a: \"x\"\n")),
            ("a: &n b\nc: *n\n", "x", None),
            ("a: |\n  b\n", "x", None),
            ("a: 1\n", "x", None),
            ("a:\n", "x", None),
        ] {
            let tree = parse(text).unwrap();
            let spot = At::top(&tree).field("a").unwrap().spot;
            let outcome = replaced(text, &tree, &spot, new);
            let outcome = outcome.map(|(text, tree)| {
                assert_eq!(parse(&text).unwrap(), tree);
                text
            });
            assert_eq!(outcome.as_deref(), want, "{text}");
        }
    }
}
