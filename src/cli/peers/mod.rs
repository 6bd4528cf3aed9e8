//! `stayput peers`: nodes tell each other where masters are.

mod run;

use clap::Subcommand;

use super::context::{Context, Failure};

#[derive(Debug, Subcommand)]
pub(super) enum PeersCommand {
    /// Tell other nodes where this master is, and hear of the others, in the foreground
    ///
    /// Signs this master's address whenever it changes, passes signed records on, and tells the agent what
    /// counts, until SIGTERM. It runs on every node beside the agent; a node takes part once it has a
    /// certificate: a master pki/stayput, every other node its kubelet's.
    Run(run::RunArgs),
}

impl PeersCommand {
    /// Whether it runs for ever, and logs more by itself.
    pub(super) fn is_process(&self) -> bool {
        matches!(self, Self::Run(_))
    }
}

pub(super) fn peers(context: &Context, command: PeersCommand) -> Result<u8, Failure> {
    match command {
        PeersCommand::Run(args) => run::run(context, args),
    }
}
