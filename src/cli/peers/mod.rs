//! What concerns signed records and the nodes that spread them: `stayput peers`, `export`, `import`,
//! `remove` and `replace`.

mod export;
mod give;
mod held;
mod import;
mod list;
mod remove;
mod replace;
mod run;
mod speak;

use clap::{Args, Subcommand};

use super::context::{Context, Failure};

#[derive(Debug, Subcommand)]
pub(super) enum RecordsCommand {
    /// Show who takes part in spreading the masters' signed records, and the records
    ///
    /// Asks the peers process of this node. Where none runs it says so, shows what its file holds, and ends
    /// with exit code 69.
    Peers(PeersArgs),
    /// Print the cluster's authority and all signed records, for a new node
    ///
    /// JSON on standard output; nothing in it is secret. On the new node, before it joins:
    /// stayput import --ca-hash sha256:…
    Export,
    /// Take signed records from another node
    ///
    /// Reads what `stayput export` prints there. Each record is verified by the authority whose digest is given,
    /// and where this node has an authority it must be that one. No file of the authority is written.
    Import(import::ImportArgs),
    /// Take a master out of every node's book
    ///
    /// Run it on a master that stays. It signs the removal, which outranks cluster files and holds until
    /// `stayput replace`. Refused while the master is a member of etcd, and for the last master.
    Remove(remove::RemoveArgs),
    /// Give a master's name to a new machine
    ///
    /// Run it on another master. It lifts a removal, and from now on only certificates that are issued
    /// from now on count for that name: whatever the old machine says is not heard any more.
    Replace(replace::ReplaceArgs),
}

#[derive(Debug, Args)]
pub(super) struct PeersArgs {
    #[command(subcommand)]
    command: Option<PeersCommand>,
}

#[derive(Debug, Subcommand)]
enum PeersCommand {
    /// Tell other nodes where this master is, and hear of the others, in the foreground
    ///
    /// Signs this master's address whenever it changes, passes signed records on, and tells the agent what
    /// counts, until SIGTERM. It runs on every node beside the agent; a node takes part once it has a
    /// certificate: a master pki/stayput, every other node its kubelet's.
    Run(run::RunArgs),
}

impl RecordsCommand {
    /// Whether it runs for ever, and logs more by itself.
    pub(super) fn is_process(&self) -> bool {
        matches!(self, Self::Peers(args) if args.command.is_some())
    }
}

pub(super) fn records(context: &Context, command: RecordsCommand) -> Result<u8, Failure> {
    match command {
        RecordsCommand::Peers(args) => match args.command {
            None => list::list(context),
            Some(PeersCommand::Run(args)) => run::run(context, args),
        },
        RecordsCommand::Export => export::export(context),
        RecordsCommand::Import(args) => import::import(context, &args),
        RecordsCommand::Remove(args) => remove::remove(context, &args),
        RecordsCommand::Replace(args) => replace::replace(context, &args),
    }
}
