//! `stayput kubeadm leave-etcd`.

use std::fmt::Write;

use clap::Args;

use super::membership::table;
use crate::cli::context::{Context, Failure, LOCK_PATIENCE, block_on};
use crate::cli::{exit, output, show};
use crate::config::Cluster;
use crate::kubeadm::membership::{self, Leave, Left, plan};
use crate::lock;
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
    let (cluster, node) = context.load(&root)?;
    super::membership::master(&node)?;
    let odd = |c: char| c.is_whitespace() || c.is_control();
    let stranger = args
        .name
        .as_deref()
        .filter(|name| !names_a_master(&cluster, name));
    if let Some(name) = stranger.filter(|name| name.is_empty() || name.contains(odd)) {
        let text = format!(
            "'{}' is no name of a master or a member; give one such as {}",
            name.escape_debug(),
            cluster.master_names()
        );
        return Err(Failure::new(exit::BAD_DATA, text));
    }
    let _lock = lock::take(&root, lock::CERTIFICATES, LOCK_PATIENCE)?;
    static_pod::recover(&root).map_err(membership::Error::from)?;
    let left = block_on(async {
        let view = show::in_force(context, &root).await?;
        let leave = Leave {
            root: &root,
            view: &view,
            name: args.name.as_deref(),
            force: args.force,
        };
        let left = membership::leave(&leave).await.map_err(Failure::from);
        left.map_err(|failure| match stranger {
            // Only etcd could know it: a member may outlive its line in the cluster file.
            Some(name) if failure.code == exit::UNAVAILABLE => Failure::new(
                exit::BAD_DATA,
                format!(
                    "no master is called {name} (the masters are {}), and whether a member is cannot be told: {}",
                    cluster.master_names(),
                    failure.message
                ),
            ),
            _ => failure,
        })
    })?;
    let own = args.name.is_none();
    output::print(context.global.output, &left, |left| text(left, own))?;
    Ok(exit::OK)
}

/// Whether the cluster file has a master of that name: whole, relative to the domain, or its label.
fn names_a_master(cluster: &Cluster, name: &str) -> bool {
    cluster.masters.iter().any(|master| {
        let master = &master.name;
        master.as_str() == name
            || master.relative_to(&cluster.domain) == Some(name)
            || master.label() == name
    })
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
