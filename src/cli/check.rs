//! `stayput check` and `stayput resolve`.

use clap::Args;
use serde::Serialize;
use std::fmt::Write;

use super::context::{Context, Failure, block_on, writer};
use super::{exit, output, show};
use crate::check::{self, Row, Said};
use crate::name::Name;
use crate::view::View;

#[derive(Debug, Args)]
pub(super) struct ResolveArgs {
    /// A short or a full name, or an alias
    name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    agrees: bool,
    names: Vec<Row>,
}

pub(super) fn check(context: &Context) -> Result<u8, Failure> {
    ask(context, None)
}

pub(super) fn resolve(context: &Context, args: ResolveArgs) -> Result<u8, Failure> {
    ask(context, Some(&args.name))
}

fn ask(context: &Context, name: Option<&str>) -> Result<u8, Failure> {
    let root = context.root()?;
    let names = block_on(async {
        let view = show::in_force(context, &root).await?;
        let only = name.map(|name| find(&view, name)).transpose()?;
        Ok(check::ask(&root, &writer()?, &view, only.as_ref()).await)
    })?;
    let agrees = names.iter().all(|row| row.agrees);
    let verdict = Verdict { agrees, names };
    output::print(context.global.output, &verdict, text)?;
    Ok(if agrees { exit::OK } else { exit::DISAGREES })
}

/// The full name that a person means.
fn find(view: &View, text: &str) -> Result<Name, Failure> {
    let bad = |error| Failure::new(exit::BAD_DATA, error);
    let name = Name::parse(text).map_err(|error| bad(error.to_string()))?;
    let full = name.below(&view.cluster.domain).ok();
    let known: Vec<Name> = view
        .entries()
        .into_iter()
        .flat_map(|entry| std::iter::once(entry.name).chain(entry.aliases))
        .collect();
    let found = known
        .iter()
        .find(|known| Some(*known) == full.as_ref() || **known == name);
    found.cloned().ok_or_else(|| {
        let known: Vec<&str> = known.iter().map(Name::as_str).collect();
        bad(format!(
            "'{text}' is no name of this cluster; the names are {}",
            known.join(", ")
        ))
    })
}

fn text(verdict: &Verdict) -> String {
    let rows = verdict.names.iter().map(|row| {
        [
            row.name.to_string(),
            output::addresses(&row.book),
            cell(&row.dns),
            cell(&row.hosts),
            cell(&row.haproxy),
            cell(&row.system),
            if row.agrees { "ok" } else { "DISAGREES" }.to_owned(),
        ]
    });
    let header = ["NAME", "BOOK", "DNS", "HOSTS", "HAPROXY", "SYSTEM", ""];
    let mut text = output::table(header, rows);
    for row in verdict.names.iter().filter(|row| !row.agrees) {
        for line in &row.disagreements {
            let _ = writeln!(text, "{}: {line}", row.name);
        }
    }
    text
}

fn cell(said: &Said) -> String {
    match said {
        Said::Addresses(addresses) => output::addresses(addresses),
        Said::NotAsked(_) => "·".to_owned(),
        Said::Error(_) => "error".to_owned(),
    }
}
