//! `stayput certs renew`.

use std::time::Duration;

use clap::Args;

use super::holding::on_record;
use super::words;
use crate::cli::context::{Context, Failure, block_on};
use crate::config::{self, Cluster, Node};
use crate::pki::moment::Moment;
use crate::pki::session::{self, Done, Hold, Renewal, Session, on_master, preview};
use crate::root::Root;

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command")]
pub(in crate::cli) struct RenewArgs {
    /// Which ones, as `certs status` calls them [default: all that are due]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Also what is not due, or has something wrong that a new one puts right; needs names
    #[arg(long, requires = "names")]
    force: bool,
    /// Leave this name or address out of the new certificate; needs --force; may be given several times
    #[arg(long, value_name = "NAME", requires = "force")]
    drop_name: Vec<String>,
    /// Print the plan, with what would follow, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Nobody is watching: issue only while the clock is synchronised, and do nothing on a worker
    #[arg(long, conflicts_with = "trust_clock")]
    unattended: bool,
    /// Wait first, for a part of this time that follows from the node's name: masters take turns. A run
    /// that has something to make good does not wait. Needs --unattended
    #[arg(long, value_name = "TIME", value_parser = time, requires = "unattended")]
    jitter: Option<Duration>,
    /// Issue although the clock stands before the newest time that this node has seen
    #[arg(long)]
    trust_clock: bool,
}

pub(super) fn renew(context: &Context, args: RenewArgs) -> Result<u8, Failure> {
    let root = context.root()?;
    let renewal = Renewal {
        names: args.names,
        force: args.force,
        drop: args.drop_name,
        unattended: args.unattended,
    };
    if args.dry_run {
        let (cluster, node) = context.load(&root)?;
        let moment = Moment::read(&root, args.trust_clock)?;
        let done = preview(&root, &cluster, &node, &renewal, &moment)?;
        return words::print(context, &done);
    }
    if let Some(period) = args.jitter {
        wait(context, &root, period);
    }
    let done = on_record(&root, renewal.is_complete(), |hold| {
        // Hours may have passed since the wait began.
        let (cluster, node) = context.load(&root)?;
        if renewal.unattended && node.master().is_none() {
            return Ok(nothing(hold, &cluster, &node));
        }
        let session = Session::open(hold, &cluster, &node)?;
        let moment = Moment::read(&root, args.trust_clock)?;
        block_on(async { Ok(session.renew(&renewal, &moment).await?) })
    })?;
    words::print(context, &done)
}

/// Waits for this node's turn. What is wrong is for the run to tell, at once.
fn wait(context: &Context, root: &Root, period: Duration) {
    if let Ok((_, node)) = context.load(root) {
        std::thread::sleep(session::turn(root, &node, period));
    }
}

/// What a timer's run does where nobody is issued anything: the timer may be enabled on every node.
fn nothing(hold: &Hold, cluster: &Cluster, node: &Node) -> Done {
    let refusal = on_master(cluster, node)
        .err()
        .map(|error| error.to_string());
    Done {
        notices: hold.notices().iter().cloned().chain(refusal).collect(),
        ..Done::default()
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let seconds = config::span(text).ok_or("write a time such as 4h")?;
    Ok(Duration::from_secs(seconds))
}
