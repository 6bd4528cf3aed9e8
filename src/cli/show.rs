//! `stayput hosts show` and `stayput haproxy show`: what would be written, and nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::context::{Context, Failure, block_on, writer};
use super::{exit, output};
use crate::book::{Book, Record, Says, Signed};
use crate::clock;
use crate::control::client;
use crate::engine::declare;
use crate::provision::Provision;
use crate::root::Root;
use crate::state::{self, Loaded, State};
use crate::status::Status;
use crate::surface::haproxy::Haproxy;
use crate::surface::hosts;
use crate::view::View;

#[derive(Debug, Subcommand)]
pub(super) enum HostsCommand {
    /// Show the block that belongs into the hosts file
    Show,
}

#[derive(Debug, Subcommand)]
pub(super) enum HaproxyCommand {
    /// Show the configuration that belongs to HAProxy
    Show,
}

/// What would be written, and where.
#[derive(Debug, Serialize)]
struct Shown {
    path: PathBuf,
    text: String,
}

pub(super) fn hosts(context: &Context, command: HostsCommand) -> Result<u8, Failure> {
    let HostsCommand::Show = command;
    let root = context.root()?;
    let view = block_on(in_force(context, &root))?;
    let block = hosts::show(&root, &view);
    let block = block.map_err(|error| Failure::new(exit::UNAVAILABLE, error))?;
    let shown = Shown {
        path: view.cluster.hosts.path.clone(),
        text: String::from_utf8_lossy(&block).into_owned(),
    };
    output::print(context.global.output, &shown, |shown| shown.text.clone())?;
    Ok(exit::OK)
}

pub(super) fn haproxy(context: &Context, command: HaproxyCommand) -> Result<u8, Failure> {
    let HaproxyCommand::Show = command;
    let root = context.root()?;
    let shown = block_on(async {
        let view = in_force(context, &root).await?;
        let text = Haproxy::new(root.clone(), writer()?).show(&view).await;
        let text = text.map_err(|error| Failure::new(exit::UNAVAILABLE, error))?;
        let path = view.cluster.haproxy.config.clone();
        Ok(Shown { path, text })
    })?;
    output::print(context.global.output, &shown, |shown| shown.text.clone())?;
    Ok(exit::OK)
}

/// What the surfaces are to show: by the agent, or where none runs by the saved book. Reads only.
pub(super) async fn in_force(context: &Context, root: &Root) -> Result<View, Failure> {
    match client::get::<Status>(root, "/v1/status").await {
        Ok(status) => {
            let (cluster, node) = context.load(root)?;
            let complete = status.node.provisioned.is_some();
            let book = book_of(&status).into();
            Ok(View::new(cluster.into(), node.into(), book, complete))
        }
        Err(error) if error.is_absent() => Ok(saved(context, root)?.0),
        Err(error) => Err(error.into()),
    }
}

/// The agent's book as far as status shows it: what sources said is not part of it.
fn book_of(status: &Status) -> Book {
    let records = status.masters.iter().filter_map(|master| {
        let record = Record {
            addresses: master.addresses.clone(),
            version: master.version?,
            origin: master.origin?,
        };
        Some((master.name.clone(), record))
    });
    let signed = status.masters.iter().filter_map(|master| {
        let record = master.record.clone()?;
        let says = Says::At(record.addresses);
        let version = record.version;
        Some((master.name.clone(), Signed { version, says }))
    });
    let removed = status.removed.iter().map(|removed| {
        let says = Says::Removed;
        let version = removed.version;
        (removed.name.clone(), Signed { version, says })
    });
    let declared = status.masters.iter().filter(|master| !master.added);
    Book {
        generation: status.generation,
        records: records.collect(),
        said: BTreeMap::new(),
        declared: declared.map(|master| master.name.clone()).collect(),
        signed: signed.chain(removed).collect(),
        own: status.node.name.clone(),
    }
}

/// What the surfaces are to show by the saved book and the files. Reads only.
pub(super) fn saved(context: &Context, root: &Root) -> Result<(View, Provision), Failure> {
    let (cluster, node) = context.load(root)?;
    let state = match state::peek(root) {
        Loaded::Good(state) => state,
        Loaded::Fresh => State::default(),
        Loaded::Damaged { reason, .. } => {
            let path = state::PATH;
            eprintln!("stayput: {path} is damaged ({reason}); this is what the cluster file says");
            State::default()
        }
        Loaded::Unreadable(unreadable) => return Err(unreadable.into()),
    };
    let book = declare(&state.book, &cluster, clock::unix_now())?;
    let complete = state.provision.complete.is_some();
    let view = View::new(cluster.into(), node.into(), book.into(), complete);
    Ok((view, state.provision))
}
