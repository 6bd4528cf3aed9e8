//! Which members answer, and which of them are well. Edge.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::api::directory::Directory;
use crate::api::etcd::{self, Etcd, Member};
use crate::kubeadm::audit::cluster::master_of;
use crate::name::Name;
use crate::root::Root;
use crate::view::View;

use super::Error;
use super::plan::called;

/// How long members may take to settle, and how often is asked.
const SETTLING: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);

/// A healthy member that is none of `without`, and what it knows of all.
pub(super) async fn anyone(
    root: &Root,
    view: &View,
    without: Option<&Name>,
) -> Result<(Etcd, Vec<Member>), Error> {
    let directory = Directory::of(view);
    let masters = view.cluster.masters.iter().map(|master| &master.name);
    let mut reasons = Vec::new();
    for master in masters.filter(|name| Some(*name) != without) {
        let asked = match Etcd::of_master(root, master, &directory) {
            Ok(etcd) => ask(etcd).await,
            // Without its own files this machine can ask nobody.
            Err(error @ etcd::Error::Identity(_)) => return Err(error.into()),
            Err(error) => Err(error),
        };
        match asked {
            Ok(found) => return Ok(found),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    if reasons.is_empty() {
        reasons.push("the cluster file has no other master".to_owned());
    }
    Err(Error::Nobody(reasons.join("; ")))
}

async fn ask(etcd: Etcd) -> Result<(Etcd, Vec<Member>), etcd::Error> {
    etcd.healthy().await?;
    let members = etcd.members().await?;
    Ok((etcd, members))
}

/// Voters that are not well, with the reason; each is asked itself, by its master's name or by its client
/// URLs.
pub(super) async fn sick(
    root: &Root,
    view: &View,
    members: impl Iterator<Item = &Member>,
) -> Vec<(u64, String)> {
    let mut sick = Vec::new();
    for member in members.filter(|member| !member.is_learner) {
        if let Err(reason) = visit(root, view, member).await {
            sick.push((member.id, format!("{}: {reason}", called(member))));
        }
    }
    sick
}

async fn visit(root: &Root, view: &View, member: &Member) -> Result<(), String> {
    let directory = Directory::of(view);
    let mut ways = Vec::new();
    if let Some(master) = master_of(view, member) {
        ways.push(Etcd::of_master(root, master, &directory));
    }
    let urls = member.client_urls.iter();
    ways.extend(urls.map(|url| Etcd::at(root, url, &directory)));
    let mut last = "it was added and has not started".to_owned();
    for way in ways {
        let asked = match way {
            Ok(etcd) => is(&etcd, member).await,
            Err(error) => Err(error.to_string()),
        };
        match asked {
            Ok(()) => return Ok(()),
            Err(reason) => last = reason,
        }
    }
    Err(last)
}

/// Asks for a change of the members until etcd takes them for settled: right after one has come it does
/// not, for 5 s, and longer where the newcomer is slow.
pub(super) async fn settled<T>(
    mut change: impl AsyncFnMut() -> Result<T, etcd::Error>,
) -> Result<T, etcd::Error> {
    let deadline = Instant::now() + SETTLING;
    loop {
        match change().await {
            Err(etcd::Error::Unsettled { .. }) if Instant::now() < deadline => sleep(PAUSE).await,
            done => return done,
        }
    }
}

/// That one and no other is healthy.
async fn is(etcd: &Etcd, member: &Member) -> Result<(), String> {
    let text = |error: etcd::Error| error.to_string();
    let status = etcd.status().await.map_err(text)?;
    if status.id != member.id {
        return Err(format!("{} is member {:x}", etcd.whom(), status.id));
    }
    etcd.healthy().await.map_err(text)
}
