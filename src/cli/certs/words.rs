//! What a run that issues has done, for people and machines.

use std::fmt::Write;

use crate::cli::context::{Context, Failure};
use crate::cli::{exit, output};
use crate::pki::session::{Did, Done, Row};

/// Prints what was done; the exit code tells whether all of it was.
pub(super) fn print(context: &Context, done: &Done) -> Result<u8, Failure> {
    output::print(context.global.output, done, text)?;
    Ok(if done.failed() {
        exit::DISAGREES
    } else {
        exit::OK
    })
}

fn text(done: &Done) -> String {
    let mut text = String::new();
    for notice in &done.notices {
        let _ = writeln!(text, "{notice}");
    }
    let told_below = |row: &Row| row.did.is_bad();
    let rows = done.items.iter().map(|row| {
        let why = if told_below(row) {
            "see below"
        } else {
            &row.reason
        };
        [
            row.id.clone(),
            word(row.did, done.dry_run).to_owned(),
            row.not_after.clone().unwrap_or_else(|| "-".to_owned()),
            why.to_owned(),
        ]
    });
    if done.items.is_empty() {
        text.push_str("nothing to do\n");
    } else {
        let did = if done.dry_run { "PLAN" } else { "DONE" };
        text.push_str(&output::table(["NAME", did, "VALID UNTIL", "WHY"], rows));
    }
    for row in done.items.iter().filter(|row| told_below(row)) {
        let _ = writeln!(text, "{}: {}", row.id, row.reason);
    }
    for row in &done.items {
        for (what, names) in [("adds", &row.adds), ("drops", &row.drops)] {
            if !names.is_empty() {
                let _ = writeln!(text, "{}: {what} {}", row.id, names.join(", "));
            }
        }
    }
    for outcome in &done.after {
        let (step, result) = (&outcome.step, outcome.result.as_str());
        let _ = writeln!(text, "{step}: {result}: {}", outcome.detail);
    }
    if done.dry_run {
        text.push_str("nothing was changed: this is the plan\n");
    }
    text
}

fn word(did: Did, planned: bool) -> &'static str {
    match (did, planned) {
        (Did::Kept, true) => "keep",
        (Did::Kept, false) => "kept",
        (Did::Issued, true) => "issue",
        (Did::Issued, false) => "issued",
        (Did::Renewed, true) => "renew",
        (Did::Renewed, false) => "renewed",
        (Did::Withheld, _) => "withheld",
        (Did::Refused, true) => "REFUSE",
        (Did::Refused, false) => "REFUSED",
        (Did::Failed, _) => "FAILED",
    }
}
