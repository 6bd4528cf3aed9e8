//! `stayput check` and `stayput resolve`.

use clap::Args;
use serde::Serialize;
use std::fmt::Write;

use super::context::{Context, Failure, block_on, writer};
use super::{exit, output, show};
use crate::check::{self, Row, Said};
use crate::name::Name;
use crate::root::Root;
use crate::surface::routes;
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
    /// What is wrong with stable addresses and the routes to them, one line each.
    routes: Vec<String>,
}

pub(super) fn check(context: &Context) -> Result<u8, Failure> {
    ask(context, None)
}

pub(super) fn resolve(context: &Context, args: ResolveArgs) -> Result<u8, Failure> {
    ask(context, Some(&args.name))
}

fn ask(context: &Context, name: Option<&str>) -> Result<u8, Failure> {
    let root = context.root()?;
    let (names, routes) = block_on(async {
        let view = show::in_force(context, &root).await?;
        let only = name.map(|name| find(&view, name)).transpose()?;
        let names = check::ask(&root, &writer()?, &view, only.as_ref()).await;
        let routes = match name {
            None => ask_kernel(&root, &view).await,
            Some(_) => Vec::new(),
        };
        Ok((names, routes))
    })?;
    let agrees = names.iter().all(|row| row.agrees) && routes.is_empty();
    let verdict = Verdict {
        agrees,
        names,
        routes,
    };
    output::print(context.global.output, &verdict, text)?;
    Ok(if agrees { exit::OK } else { exit::DISAGREES })
}

/// How this node's addresses and routes differ from what is wanted, where anything is.
async fn ask_kernel(root: &Root, view: &View) -> Vec<String> {
    if !root.is_system() || !view.cluster.routes.in_force() {
        return Vec::new();
    }
    match routes::show(root, view).await {
        Ok(shown) => {
            let missing = shown
                .changes
                .iter()
                .map(|change| format!("not done: {change}"));
            shown.troubles.iter().cloned().chain(missing).collect()
        }
        Err(error) => vec![error.to_string()],
    }
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
    for line in &verdict.routes {
        let _ = writeln!(text, "routes: {line}");
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
