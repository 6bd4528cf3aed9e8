//! What a run did, item by item: planned first, corrected as it goes.

use std::path::PathBuf;

use serde::Serialize;

use crate::pki::after::{Outcome, StepResult};
use crate::pki::certificate::Certificate;
use crate::pki::plan::{Action, Decision};
use crate::pki::wanted::Wanted;
use crate::pki::window::date;

/// What a run did.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// Only the plan was asked for.
    pub dry_run: bool,
    /// By item, in the catalogue's order.
    pub items: Vec<Row>,
    /// What followed.
    pub after: Vec<Outcome>,
    /// What a person should know.
    pub notices: Vec<String>,
}

/// What was done with one item.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The item.
    pub id: String,
    /// Its file.
    pub path: PathBuf,
    /// What was done.
    pub did: Did,
    /// Why.
    pub reason: String,
    /// Until when a new one is valid, in RFC 3339.
    pub not_after: Option<String>,
    /// Names that the new one has and the old one had not.
    pub adds: Vec<String>,
    /// Names that the old one had and the new one has not.
    pub drops: Vec<String>,
}

/// What can be done with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Did {
    /// It stays as it was.
    Kept,
    /// It is there for the first time.
    Issued,
    /// A new one has taken its place.
    Renewed,
    /// Nothing was done, because something else was refused.
    Withheld,
    /// Nothing was done; a person has to look.
    Refused,
    /// Something was tried and did not work; nothing has changed.
    Failed,
}

impl Done {
    /// Whether anything was refused or did not work.
    pub fn failed(&self) -> bool {
        self.complaint().is_err()
    }

    /// What went wrong, in one line.
    pub(super) fn complaint(&self) -> Result<(), String> {
        let rows = self.items.iter().filter(|row| row.did.is_bad());
        let rows = rows.map(|row| format!("{}: {}", row.id, row.reason));
        let steps = self.after.iter();
        let steps = steps.filter(|step| step.result == StepResult::Failed);
        let steps = steps.map(|step| format!("{}: {}", step.step, step.detail));
        let all: Vec<String> = rows.chain(steps).collect();
        if all.is_empty() {
            return Ok(());
        }
        Err(all.join("; "))
    }
}

/// What will be done, before it is.
pub(super) fn rows(wanted: &Wanted, decisions: &[Decision]) -> Vec<Row> {
    let row = |decision: &Decision| {
        let item = wanted.items.iter().find(|item| item.id == decision.id)?;
        let did = match decision.action {
            Action::Keep => Did::Kept,
            Action::Issue { .. } | Action::RestorePublic => Did::Issued,
            Action::Renew { .. } => Did::Renewed,
            Action::Refuse => Did::Refused,
        };
        let shown = decision.row();
        Some(Row {
            id: shown.id,
            path: item.path().to_owned(),
            did,
            reason: shown.reason,
            not_after: shown.not_after,
            adds: shown.adds,
            drops: shown.drops,
        })
    };
    decisions.iter().filter_map(row).collect()
}

/// Nothing of a plan is carried out while a part of it is refused.
pub(super) fn withhold(rows: &mut [Row]) {
    for row in rows.iter_mut().filter(|row| row.did == Did::Issued) {
        row.did = Did::Withheld;
        row.not_after = None;
        "not issued while another one is refused".clone_into(&mut row.reason);
    }
}

pub(super) fn succeed(rows: &mut [Row], id: &str, certificate: Option<&Certificate>) {
    for row in rows.iter_mut().filter(|row| row.id == id) {
        row.not_after = certificate.map(|certificate| date(certificate.not_after));
    }
}

pub(super) fn fail(rows: &mut [Row], id: &str, reason: &str) {
    for row in rows.iter_mut().filter(|row| row.id == id) {
        row.did = Did::Failed;
        row.not_after = None;
        reason.clone_into(&mut row.reason);
    }
}

impl Did {
    /// Whether a person has to look.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Refused | Self::Failed)
    }
}
