//! `stayput kubeadm leave-etcd`.

use std::fmt::Write;

use clap::Args;

use super::membership::table;
use crate::cli::context::{Context, Failure, LOCK_PATIENCE, block_on};
use crate::cli::{exit, output, show};
use crate::kubeadm::membership::{self, Leave, Left, plan};
use crate::lock;
use crate::pki::session::on_master;
use crate::static_pod;

#[derive(Debug, Args)]
pub(in crate::cli) struct LeaveEtcdArgs {
    /// Another master's member, whose machine is gone [default: this master's own]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Although other members are not well, as long as there is a majority without it
    #[arg(long)]
    force: bool,
}

pub(super) fn leave_etcd(context: &Context, args: LeaveEtcdArgs) -> Result<u8, Failure> {
    let root = context.root()?;
    let _lock = lock::take(&root, lock::CERTIFICATES, LOCK_PATIENCE)?;
    static_pod::recover(&root).map_err(membership::Error::from)?;
    let (cluster, node) = context.load(&root)?;
    on_master(&cluster, &node)?;
    let left = block_on(async {
        let view = show::in_force(context, &root).await?;
        let leave = Leave {
            root: &root,
            view: &view,
            name: args.name.as_deref(),
            force: args.force,
        };
        Ok(membership::leave(&leave).await?)
    })?;
    let own = args.name.is_none();
    output::print(context.global.output, &left, |left| text(left, own))?;
    Ok(exit::OK)
}

fn text(left: &Left, own: bool) -> String {
    let mut text = String::new();
    let _ = match &left.member {
        Some(member) => writeln!(text, "{} is out of etcd", plan::called(member)),
        None => writeln!(text, "this master has no member in etcd"),
    };
    if let Some(path) = &left.manifest {
        let _ = writeln!(text, "its manifest is now {}", path.display());
    }
    text.push_str(&table(&left.members));
    if own {
        text.push_str(
            "next, to take this master out of the cluster: kubeadm reset --skip-phases=remove-etcd-member, \
             then remove /var/lib/etcd/member, which that phase would have done\n",
        );
    }
    text
}
