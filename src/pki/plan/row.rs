//! Decisions as people are told of them.

use super::{Action, Decision};
use crate::pki::profile::Names;
use crate::pki::window::date;

/// A decision in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The item.
    pub id: String,
    /// `keep`, `issue`, `renew`, `restorePublic` or `refuse`.
    pub action: &'static str,
    /// Why.
    pub reason: String,
    /// The new certificate's last second, in RFC 3339.
    pub not_after: Option<String>,
    /// Names that the new certificate has and the old one had not.
    pub adds: Vec<String>,
    /// Names that the old certificate had and the new one has not.
    pub drops: Vec<String>,
}

impl Decision {
    /// The decision in words.
    pub fn row(&self) -> Row {
        let none = Names::default();
        let (action, validity, adds, drops) = match &self.action {
            Action::Keep => ("keep", None, &none, &none),
            Action::Issue { profile, validity } => {
                let key_pair = profile.common_name.is_empty();
                ("issue", (!key_pair).then_some(validity), &none, &none)
            }
            Action::Renew {
                validity,
                adds,
                drops,
                ..
            } => ("renew", Some(validity), adds, drops),
            Action::RestorePublic => ("restorePublic", None, &none, &none),
            Action::Refuse => ("refuse", None, &none, &none),
        };
        Row {
            id: self.id.clone(),
            action,
            reason: self.reason.to_string(),
            not_after: validity.map(|validity| date(validity.not_after)),
            adds: adds.list(),
            drops: drops.list(),
        }
    }
}
