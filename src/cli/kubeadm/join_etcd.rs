//! `stayput kubeadm join-etcd`.

use std::fmt::Write;
use std::io::Write as _;
use std::time::Duration;

use clap::Args;

use super::membership::{is_image, ready};
use crate::cli::context::{Context, Failure, LOCK_PATIENCE, block_on};
use crate::cli::{exit, output, show};
use crate::config::{self, Cluster};
use crate::kubeadm::membership::{self, Join, Joined, MANIFEST};
use crate::lock;
use crate::name::Name;
use crate::pki::inventory;
use crate::pki::moment::Moment;
use crate::pki::proof::prove;
use crate::pki::session::on_master;
use crate::static_pod;

/// Several gigabytes take a while.
const PATIENCE: Duration = Duration::from_mins(10);

#[derive(Debug, Args)]
pub(in crate::cli) struct JoinEtcdArgs {
    /// The image to run [default: that of the other members, by the API]
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// How long it may take to catch up [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = time)]
    within: Option<Duration>,
}

pub(super) fn join_etcd(context: &Context, args: JoinEtcdArgs) -> Result<u8, Failure> {
    let root = context.root()?;
    let (cluster, node) = context.load(&root)?;
    let name = super::membership::master(&node)?;
    check(&cluster, name, args.image.as_deref())?;
    let lock = lock::take(&root, lock::CERTIFICATES, LOCK_PATIENCE)?;
    static_pod::recover(&root).map_err(membership::Error::from)?;
    let wanted = on_master(&cluster, &node)?;
    let now = Moment::read(&root, false)?.judged();
    let inventory = inventory::take(&root, &wanted);
    ready(&prove(&wanted, &inventory, now))?;
    let joined = block_on(async {
        let view = show::in_force(context, &root).await?;
        let join = Join {
            root: &root,
            view: &view,
            master: name,
            image: args.image,
            limit: args.within.unwrap_or(PATIENCE),
            tell,
        };
        Ok(membership::join(&join, || drop(lock)).await?)
    })?;
    output::print(context.global.output, &joined, text)?;
    Ok(exit::OK)
}

/// What can be told without asking anybody.
fn check(cluster: &Cluster, name: &Name, image: Option<&str>) -> Result<(), Failure> {
    let stable = cluster.master(name).and_then(|master| master.stable);
    if let Some(stable) = stable {
        let text = format!(
            "{name} has the stable address {stable}, at which `kubeadm join` adds its member by itself; do not skip its etcd phase (see `stayput kubeadm config --join`)"
        );
        return Err(Failure::new(exit::BAD_DATA, text));
    }
    match image {
        Some(image) if !is_image(image) => {
            let text = format!(
                "'{}' is no image; write one such as registry.k8s.io/etcd:3.5.15-0",
                image.escape_debug()
            );
            Err(Failure::new(exit::BAD_DATA, text))
        }
        _ => Ok(()),
    }
}

fn text(joined: &Joined) -> String {
    let mut text = String::new();
    let name = &joined.member;
    let did = [
        (joined.added, "added it as a learner"),
        (joined.manifest_written, "wrote its manifest"),
        (joined.promoted, "gave it its vote"),
    ];
    let did: Vec<&str> = did
        .iter()
        .filter(|(did, _)| *did)
        .map(|(_, what)| *what)
        .collect();
    let _ = match did[..] {
        [] => writeln!(
            text,
            "{name} is a member at {} already: nothing to do",
            joined.peer_url
        ),
        _ => writeln!(
            text,
            "{name} is a member at {}: {}",
            joined.peer_url,
            did.join(", ")
        ),
    };
    if joined.manifest_written {
        let _ = writeln!(text, "the kubelet runs it by {MANIFEST}");
    }
    text.push_str(&super::membership::table(&joined.members));
    text
}

fn time(text: &str) -> Result<Duration, String> {
    let seconds = config::span(text).ok_or("write a time such as 10m")?;
    Ok(Duration::from_secs(seconds))
}

/// A terminal that is gone stops nothing.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "stayput: {line}");
}
