//! `stayput kubeconfig`.

use std::path::Path;

use clap::Args;

use super::context::{Context, Failure, block_on};
use super::{exit, output, show};
use crate::pki::external::{self, Master, Wanted};

/// Where kubeadm keeps the administrator's.
const ADMIN: &str = "/etc/kubernetes/admin.conf";

/// Far above any kubeconfig.
const LIMIT: u64 = 1 << 20;

#[derive(Debug, Args)]
pub(super) struct KubeconfigArgs {
    /// For a laptop: one context per master, by an address that is reachable from there, verified by the
    /// master's name. It holds the administrator's key: keep it to yourself
    #[arg(long, required = true)]
    external: bool,
    /// Servers are the masters' names, for a laptop that can resolve them
    #[arg(long)]
    by_name: bool,
}

pub(super) fn kubeconfig(context: &Context, args: KubeconfigArgs) -> Result<u8, Failure> {
    let root = context.root()?;
    let view = block_on(show::in_force(context, &root))?;
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::new(exit::UNAVAILABLE, format!("cannot read {ADMIN}: {error}"))
    };
    let admin = root.read(Path::new(ADMIN), LIMIT);
    let admin = admin.map_err(|error| unreadable(&error))?;
    let admin = admin.ok_or_else(|| {
        let text = format!("there is no {ADMIN}; run this on a master that has one");
        Failure::new(exit::UNAVAILABLE, text)
    })?;
    let admin = zeroize::Zeroizing::new(admin);
    let admin = std::str::from_utf8(&admin).map_err(|error| unreadable(&error))?;
    let cluster = &view.cluster;
    let masters = cluster.masters.iter().map(|master| Master {
        name: master.name.clone(),
        address: view.book.addresses(&master.name).first().copied(),
    });
    let wanted = Wanted {
        domain: cluster.domain.clone(),
        port: cluster.kubernetes.api_port,
        masters: masters.collect(),
        by_name: args.by_name,
    };
    let text = external::render(admin, &wanted)
        .map_err(|error| Failure::new(exit::UNAVAILABLE, format!("{ADMIN} {error}")))?;
    output::write(text.as_bytes())?;
    Ok(exit::OK)
}
