//! `stayput hosts show` and `stayput haproxy show`: what would be written, and nothing else.

use clap::Subcommand;

use super::context::{Context, Failure, block_on, writer};
use super::{exit, output};
use crate::book;
use crate::clock;
use crate::engine::declared;
use crate::provision::Provision;
use crate::root::Root;
use crate::state::{self, Loaded, State};
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

pub(super) fn hosts(context: &Context, command: HostsCommand) -> Result<u8, Failure> {
    let HostsCommand::Show = command;
    let root = context.root()?;
    let (view, _) = last_known(context, &root)?;
    let block = hosts::show(&root, &view);
    output::write(&block.map_err(|error| Failure::new(exit::UNAVAILABLE, error))?)?;
    Ok(exit::OK)
}

pub(super) fn haproxy(context: &Context, command: HaproxyCommand) -> Result<u8, Failure> {
    let HaproxyCommand::Show = command;
    let root = context.root()?;
    let (view, _) = last_known(context, &root)?;
    let text = block_on(async {
        let text = Haproxy::new(root.clone(), writer()?).show(&view).await;
        text.map_err(|error| Failure::new(exit::UNAVAILABLE, error))
    })?;
    output::write(text.as_bytes())?;
    Ok(exit::OK)
}

/// What the surfaces are to show by the saved book and the files. Reads only.
pub(super) fn last_known(context: &Context, root: &Root) -> Result<(View, Provision), Failure> {
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
    let book = book::reduce(&state.book, &declared(&cluster), clock::unix_now())?;
    let view = View {
        cluster: cluster.into(),
        node: node.into(),
        book: book.into(),
        provisioned: state.provision.complete.is_some(),
    };
    Ok((view, state.provision))
}
