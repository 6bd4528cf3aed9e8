//! `stayput certs init`.

use clap::Args;

use super::holding::holding;
use super::words;
use crate::cli::context::{Context, Failure, block_on};
use crate::pki::moment::Moment;
use crate::pki::session::Session;

#[derive(Debug, Args)]
pub(in crate::cli) struct InitArgs {
    /// This machine makes the cluster: mint its authorities and service-account keys too
    #[arg(long)]
    new_cluster: bool,
    /// Issue although the clock stands before the newest time that this node has seen
    #[arg(long)]
    trust_clock: bool,
}

pub(super) fn init(context: &Context, args: InitArgs) -> Result<u8, Failure> {
    let root = context.root()?;
    let done = holding(&root, |hold| {
        let (cluster, node) = context.load(&root)?;
        let session = Session::open(hold, &cluster, &node)?;
        let moment = Moment::read(&root, args.trust_clock)?;
        block_on(async { Ok(session.init(args.new_cluster, &moment).await?) })
    })?;
    words::print(context, &done)
}
