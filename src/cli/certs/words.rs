//! What a run that issues has done, for people and machines.

use std::fmt::Write;

use crate::cli::context::{Context, Failure};
use crate::cli::{exit, output};
use crate::pki::session::Done;

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
    let rows = done.items.iter().map(|row| {
        [
            row.id.clone(),
            row.did.to_string(),
            row.not_after.clone().unwrap_or_else(|| "-".to_owned()),
            row.reason.clone(),
        ]
    });
    if done.items.is_empty() {
        text.push_str("nothing to do\n");
    } else {
        text.push_str(&output::table(["NAME", "DONE", "VALID UNTIL", "WHY"], rows));
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
