//! Decisions as JSON shows them.

use serde::Serialize;

use super::{Action, Decision};
use crate::pki::issue::Validity;
use crate::pki::profile::Names;
use crate::pki::window::date;

/// A decision for JSON. The form is stable: fields are added, never renamed or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The item.
    pub id: String,
    /// `keep`, `issue`, `renew`, `restorePublic` or `refuse`.
    pub action: &'static str,
    /// Why, for people.
    pub reason: String,
    /// The new certificate's first second, in RFC 3339.
    pub not_before: Option<String>,
    /// The new certificate's last second, in RFC 3339.
    pub not_after: Option<String>,
    /// Names that the new certificate has and the old one had not.
    pub adds: Vec<String>,
    /// Names that the old certificate had and the new one has not.
    pub drops: Vec<String>,
}

impl Decision {
    /// The decision for JSON.
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
        let time = |part: fn(&Validity) -> i64| validity.map(|v| date(part(v)));
        Row {
            id: self.id.clone(),
            action,
            reason: self.reason.to_string(),
            not_before: time(|v| v.not_before),
            not_after: time(|v| v.not_after),
            adds: adds.list(),
            drops: drops.list(),
        }
    }
}
