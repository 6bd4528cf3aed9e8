//! DNS names, lower-case from birth.
//!
//! A [`Name`] is a host name by RFC 1123 section 2.1: labels of letters, digits and inner hyphens,
//! at most 63 octets each and 253 in all, without the final dot. Names compare without regard to
//! case (RFC 4343) because no other case can exist in one.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A valid host name in lower case, without the final dot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a text is not a host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing before, between or after the dots.
    #[error("'{0}' has an empty label; write labels joined by single dots")]
    EmptyLabel(String),
    /// A label over 63 octets, or a name over 253.
    #[error("'{0}' is too long; a label has at most 63 characters and a name 253 (RFC 1123)")]
    TooLong(String),
    /// A character that no host name has, or a hyphen at a label's edge.
    #[error("'{0}' is not a host name; use letters, digits and inner hyphens (RFC 1123)")]
    BadCharacter(String),
    /// The last label is all digits, so that the name could be taken for an address.
    #[error("'{0}' ends in a number and could be taken for an address (RFC 1123)")]
    Numeric(String),
}

impl Name {
    /// Parses a host name; upper case is folded, one final dot is dropped.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let bare = text.strip_suffix('.').unwrap_or(text);
        if bare.len() > 253 {
            return Err(NameError::TooLong(shortened(bare)));
        }
        for label in bare.split('.') {
            if label.is_empty() {
                return Err(NameError::EmptyLabel(text.to_owned()));
            }
            if label.len() > 63 {
                return Err(NameError::TooLong(text.to_owned()));
            }
            let inner = label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if !inner || label.starts_with('-') || label.ends_with('-') {
                return Err(NameError::BadCharacter(text.to_owned()));
            }
        }
        let last = bare.rsplit('.').next().unwrap_or(bare);
        if last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NameError::Numeric(text.to_owned()));
        }
        Ok(Self(bare.to_ascii_lowercase()))
    }

    /// The name `self.parent`, for a `self` that is relative to `parent`.
    pub fn below(&self, parent: &Self) -> Result<Self, NameError> {
        Self::parse(&format!("{self}.{parent}"))
    }

    /// Whether this name lies below `parent` (and is not `parent` itself).
    pub fn is_below(&self, parent: &Self) -> bool {
        self.0
            .strip_suffix(&parent.0)
            .is_some_and(|rest| rest.ends_with('.'))
    }

    /// What precedes `.parent`, for a name below it: `master-1` of `master-1.k8s.internal`.
    pub fn relative_to(&self, parent: &Self) -> Option<&str> {
        self.0.strip_suffix(&parent.0)?.strip_suffix('.')
    }

    /// The first label.
    pub fn label(&self) -> &str {
        self.0.split('.').next().unwrap_or(&self.0)
    }

    /// Whether the name is a single label.
    pub fn is_single_label(&self) -> bool {
        !self.0.contains('.')
    }

    /// The name as text, lower-case, without the final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The first 60 characters of a text that is too long to repeat in a message.
fn shortened(text: &str) -> String {
    text.chars().take(60).chain("…".chars()).collect()
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_case_and_drops_the_final_dot() {
        let name = Name::parse("Master-1.K8s.INTERNAL.").unwrap();
        assert_eq!(name.as_str(), "master-1.k8s.internal");
        assert_eq!(name.label(), "master-1");
    }

    #[test]
    fn refuses_what_rfc_1123_refuses() {
        let long_label = "a".repeat(64);
        let long_name = ["a".repeat(63).as_str(); 4].join(".") + ".a";
        for (text, want) in [
            ("", "empty label"),
            (".", "empty label"),
            ("a..b", "empty label"),
            ("-a", "not a host name"),
            ("a-", "not a host name"),
            ("a_b", "not a host name"),
            ("ä", "not a host name"),
            ("a b", "not a host name"),
            ("a\n10.0.0.1 b", "not a host name"),
            ("10.0.0.1", "taken for an address"),
            (&long_label, "too long"),
            (&long_name, "too long"),
        ] {
            let error = Name::parse(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text:?}: {error}");
        }
    }

    #[test]
    fn knows_what_is_below_a_domain() {
        let domain = Name::parse("k8s.internal").unwrap();
        let inside = Name::parse("master-1.k8s.internal").unwrap();
        assert!(inside.is_below(&domain));
        assert_eq!(inside.relative_to(&domain), Some("master-1"));
        for outside in ["k8s.internal", "xk8s.internal", "internal", "a.example.com"] {
            let name = Name::parse(outside).unwrap();
            assert!(!name.is_below(&domain), "{outside}");
        }
    }
}
