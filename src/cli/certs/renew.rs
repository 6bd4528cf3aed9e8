//! `stayput certs renew`.

use clap::Args;

use super::words;
use crate::cli::context::{Context, Failure, block_on};
use crate::pki::moment::Moment;
use crate::pki::session::{Renewal, Session, preview};

#[derive(Debug, Args)]
pub(in crate::cli) struct RenewArgs {
    /// Which ones, as `certs status` calls them [default: all that are due]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Also what is not due, or has something wrong that a new one puts right
    #[arg(long, requires = "names")]
    force: bool,
    /// Leave this name or address out of the new certificate; may be given several times
    #[arg(long, value_name = "NAME", requires = "names")]
    drop_name: Vec<String>,
    /// Print the plan and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Nobody is watching: issue only while the clock is synchronised
    #[arg(long, conflicts_with = "trust_clock")]
    unattended: bool,
    /// Issue although the clock stands before the newest time that this node has seen
    #[arg(long)]
    trust_clock: bool,
}

pub(super) fn renew(context: &Context, args: RenewArgs) -> Result<u8, Failure> {
    let root = context.root()?;
    let (cluster, node) = context.load(&root)?;
    let renewal = Renewal {
        names: args.names,
        force: args.force,
        drop: args.drop_name,
        unattended: args.unattended,
    };
    if args.dry_run {
        let moment = Moment::read(&root, args.trust_clock)?;
        let done = preview(&root, &cluster, &node, &renewal, &moment)?;
        return words::print(context, &done);
    }
    let session = Session::open(&root, &cluster, &node)?;
    let moment = Moment::read(&root, args.trust_clock)?;
    let done = block_on(async { Ok(session.renew(&renewal, &moment).await?) })?;
    words::print(context, &done)
}
