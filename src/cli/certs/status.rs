//! `stayput certs status`.

use std::fmt::Write;

use serde::Serialize;

use crate::cli::context::{Context, Failure};
use crate::cli::{exit, output};
use crate::clock;
use crate::pki::health::{Health, health};
use crate::pki::inventory;
use crate::pki::moment::Moment;
use crate::pki::session::{on_master, unfinished};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    attention: bool,
    certificates: Vec<Health>,
    notices: Vec<String>,
}

pub(super) fn status(context: &Context) -> Result<u8, Failure> {
    let root = context.root()?;
    let (cluster, node) = context.load(&root)?;
    let wanted = on_master(&cluster, &node)?;
    let mut notices = Vec::new();
    // Looking goes on where the newest time cannot be read: by the clock.
    let moment = Moment::read(&root, false).or_else(|error| {
        notices.push(error.to_string());
        Moment::read(&root, true)
    })?;
    let inventory = inventory::take(&root, &wanted);
    notices.extend(unfinished(&root, &cluster, &wanted, &inventory));
    if let Err(refusal) = moment.may_issue(true) {
        notices.push(refusal.to_string());
    }
    let certificates = health(&wanted, &inventory, moment.judged());
    let shown = Shown {
        attention: !notices.is_empty() || certificates.iter().any(|row| row.attention),
        certificates,
        notices,
    };
    output::print(context.global.output, &shown, text)?;
    Ok(if shown.attention {
        exit::DISAGREES
    } else {
        exit::OK
    })
}

fn text(shown: &Shown) -> String {
    let rows = shown.certificates.iter().map(|row| {
        let dash = || "-".to_owned();
        [
            row.id.clone(),
            row.state.to_string(),
            row.expires_in.map_or_else(dash, remaining),
            row.authority.clone().unwrap_or_else(dash),
            takes(row),
        ]
    });
    let header = ["NAME", "STATE", "EXPIRES IN", "AUTHORITY", "RESTART"];
    let mut text = output::table(header, rows) + "\n";
    for row in &shown.certificates {
        let _ = write!(text, "{}: {}", row.id, row.path.display());
        if let Some(subject) = &row.subject {
            let _ = write!(text, ", {subject}");
        }
        if !row.names.is_empty() {
            let _ = write!(text, ", for {}", row.names.join(", "));
        }
        text.push('\n');
    }
    if shown.attention {
        text.push('\n');
    }
    for row in shown.certificates.iter().filter(|row| row.attention) {
        for detail in &row.details {
            let _ = writeln!(text, "{}: {detail}", row.id);
        }
    }
    for notice in &shown.notices {
        let _ = writeln!(text, "{notice}");
    }
    text
}

fn remaining(seconds: i64) -> String {
    match u64::try_from(seconds) {
        Ok(seconds) => clock::age(seconds),
        Err(_) => format!("{} ago", clock::age(seconds.unsigned_abs())),
    }
}

/// Who has to be restarted to take a new one.
fn takes(row: &Health) -> String {
    match row.restarts() {
        restarts if restarts.is_empty() => "-".to_owned(),
        restarts => restarts.join(" "),
    }
}
