//! `stayput routes`: stable addresses and the routes to them, on this node.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::context::{Context, Failure, LOCK_PATIENCE, block_on};
use super::{exit, output, show};
use crate::config::rescue;
use crate::config::routes as settings;
use crate::lock;
use crate::surface::routes::plan::Route;
use crate::surface::routes::{self as surface, Shown};

#[derive(Debug, Subcommand)]
pub(super) enum RoutesCommand {
    /// Show what is to be there, what is, and what stands against it
    Show,
    /// Take away every address and route of stayput's on this node
    ///
    /// For a node that stayput leaves. While an agent keeps them, say `routes: {mode: off}` in the
    /// cluster file instead.
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// What is marked with this protocol number [default: that of the cluster file]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    protocol: Option<u8>,
    /// Say what would be taken away, and do nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Removed {
    dry_run: bool,
    removed: Vec<String>,
}

pub(super) fn routes(context: &Context, command: RoutesCommand) -> Result<u8, Failure> {
    match command {
        RoutesCommand::Show => show(context),
        RoutesCommand::Remove(args) => remove(context, &args),
    }
}

fn show(context: &Context) -> Result<u8, Failure> {
    let root = context.root()?;
    let shown = block_on(async {
        let view = show::in_force(context, &root).await?;
        Ok(surface::show(&root, &view).await?)
    })?;
    output::print(context.global.output, &shown, text)?;
    let agrees = shown.changes.is_empty() && shown.troubles.is_empty();
    Ok(if agrees { exit::OK } else { exit::DISAGREES })
}

fn remove(context: &Context, args: &RemoveArgs) -> Result<u8, Failure> {
    let root = context.root()?;
    if !root.is_system() {
        let text = "a sandbox shares the machine's routes, and leaves them alone";
        return Err(Failure::new(exit::BAD_DATA, text));
    }
    // A node that stayput leaves may have no cluster file any more.
    let cluster = context.load(&root).ok().map(|(cluster, _)| cluster);
    let protocol = cluster.map_or(settings::PROTOCOL, |cluster| cluster.routes.protocol);
    let protocol = args.protocol.unwrap_or(protocol);
    let protocol = settings::free(protocol).map_err(|why| {
        let text = format!("nothing is removed by protocol {protocol}: {why}");
        Failure::new(exit::BAD_DATA, text)
    })?;
    if root
        .exists(Path::new(rescue::PATH))
        .is_ok_and(|there| there)
    {
        let text = "a rescue is in force on this node, and needs what would be removed; end it with `stayput kubeadm rescue --end`, and run this again";
        return Err(Failure::new(exit::BAD_DATA, text));
    }
    if args.dry_run {
        return removed(context, protocol, true);
    }
    let _lock = lock::take(&root, lock::BOOK, LOCK_PATIENCE).map_err(|error| match error {
        lock::Error::Held { .. } => Failure::new(
            exit::TEMPORARY,
            "an agent runs on this node and would put them back; end it first, or say `routes: {mode: off}` in the cluster file (`stayput kubeadm rescue --end` where a rescue is in force)",
        ),
        lock::Error::Io { .. } => error.into(),
    })?;
    removed(context, protocol, false)
}

fn removed(context: &Context, protocol: u8, dry_run: bool) -> Result<u8, Failure> {
    let removed = block_on(async { Ok(surface::remove(protocol, dry_run).await?) })?;
    output::print(context.global.output, &Removed { dry_run, removed }, |it| {
        if it.removed.is_empty() {
            return "nothing of stayput's is there\n".to_owned();
        }
        let (before, after) = if it.dry_run {
            ("nothing has been done; this would be:\n", "")
        } else {
            ("", ": done")
        };
        let lines = it.removed.iter().map(|line| format!("{line}{after}\n"));
        std::iter::once(before.to_owned()).chain(lines).collect()
    })?;
    Ok(exit::OK)
}

/// For people; also what a rescue shows of this node.
pub(super) fn text(shown: &Shown) -> String {
    let mut rows: Vec<[String; 4]> = Vec::new();
    let missing = if shown.sandbox {
        "not in a sandbox"
    } else {
        "missing"
    };
    for address in &shown.wanted_addresses {
        let there = shown.addresses.iter().find(|it| it.address == *address);
        let interface = there.map_or("lo", |it| &it.interface);
        let state = match there {
            None => missing,
            Some(it) if it.ours => "ok",
            Some(_) => "ok, not stayput's",
        };
        rows.push(row(
            "own address",
            *address,
            format!("on {interface}"),
            state,
        ));
    }
    for left in &shown.addresses {
        if !shown.wanted_addresses.contains(&left.address) {
            let place = format!("on {}", left.interface);
            rows.push(row("left over", left.address, place, "not wanted"));
        }
    }
    for wanted in &shown.wanted_routes {
        let to = |it: &&Route| it.destination == wanted.destination;
        let there = shown.routes.iter().find(to);
        let direct = wanted.via == wanted.destination;
        let right =
            |it: &Route| it.via == (!direct).then_some(wanted.via) && it.source == wanted.source;
        let state = match there {
            None => missing,
            Some(it) if !it.ours => "not stayput's",
            Some(it) if right(it) => "ok",
            Some(_) => "to be changed",
        };
        let mut way = format!("via {}", wanted.via);
        if let Some(source) = wanted.source {
            let _ = write!(way, " src {source}");
        }
        rows.push(row(&wanted.master, wanted.destination, way, state));
    }
    for left in &shown.routes {
        let wanted = |it: &surface::WantedRoute| it.destination == left.destination;
        if left.ours && !shown.wanted_routes.iter().any(wanted) {
            let way = left
                .via
                .map_or_else(String::new, |via| format!("via {via}"));
            rows.push(row("left over", left.destination, way, "not wanted"));
        }
    }
    let mut text = if rows.is_empty() {
        "no stable address is kept on this node (`routes` in the cluster file)\n".to_owned()
    } else {
        output::table(["OF", "ADDRESS", "WAY", "STATE"], rows)
    };
    for trouble in &shown.troubles {
        let _ = writeln!(text, "trouble: {trouble}");
    }
    for notice in &shown.notices {
        let _ = writeln!(text, "note: {notice}");
    }
    text
}

fn row(of: &str, address: IpAddr, way: String, state: &str) -> [String; 4] {
    [of.to_owned(), address.to_string(), way, state.to_owned()]
}
