//! What a run that issues has done, for people and machines.

use std::fmt::Write;

use crate::cli::context::{Context, Failure};
use crate::cli::{exit, output};
use crate::clock;
use crate::pki::session::{Done, Row};

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
            row.not_after.map_or_else(|| "-".to_owned(), clock::day),
            row.reason.clone(),
        ]
    });
    if done.items.is_empty() {
        text.push_str("nothing to do\n");
    } else {
        text.push_str(&output::table(["NAME", "DONE", "VALID UNTIL", "WHY"], rows));
    }
    for outcome in &done.after {
        let _ = writeln!(text, "{outcome}");
    }
    if done.dry_run {
        text.push_str("nothing was changed: this is the plan\n");
    }
    let _: Option<&Row> = None;
    text
}
