//! A master leaves etcd: its member is removed, then its manifest.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::plan::{self, Bar, Leaver};
use super::{Error, LEFT, MANIFEST, healthy};
use crate::api::etcd::{Etcd, Member};
use crate::file::{self, Moved};
use crate::name::Name;
use crate::root::Root;
use crate::view::View;

/// This machine's own member answers at once, or is not there.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many manifests of earlier leaves are kept.
const KEPT: u32 = 100;

/// Who leaves.
#[derive(Debug)]
pub struct Leave<'a> {
    /// Below it everything is read and moved.
    pub root: &'a Root,
    /// Cluster, node and addresses.
    pub view: &'a View,
    /// Another master's member, by the name that the cluster file or etcd has for it; none for this
    /// master's own.
    pub name: Option<&'a str>,
    /// Although not all of the others are well, as long as there is a majority.
    pub force: bool,
}

/// What was done.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Left {
    /// The member; none where this master's was not in etcd any more.
    pub member: Option<Member>,
    /// Where this master's manifest lies now, if there was one.
    pub manifest: Option<PathBuf>,
    /// All members now.
    pub members: Vec<Member>,
}

/// Removes a member. This machine's own manifest goes with its member; a second run finishes what an
/// interrupted one has left. The caller holds the certificates' lock.
pub async fn leave(leave: &Leave<'_>) -> Result<Left, Error> {
    let (leaver, master) = who(leave).await?;
    let (etcd, members) = healthy::anyone(leave.root, leave.view, master.as_ref()).await?;
    let target = plan::find(&members, &leaver)?.cloned();
    let mut left = Left {
        member: target.clone(),
        manifest: None,
        members,
    };
    match (target, leave.name) {
        (Some(target), _) => left.members = remove(leave, &etcd, &left.members, &target).await?,
        (None, Some(name)) => {
            let all: Vec<String> = left.members.iter().map(plan::called).collect();
            return Err(Error::Unknown {
                name: name.to_owned(),
                members: all.join(", "),
            });
        }
        (None, None) => {}
    }
    if leave.name.is_none() {
        left.manifest = put_away(leave.root)?;
    }
    Ok(left)
}

/// The member of a master, if it has one, as the other masters' members know it: one that answers and is
/// healthy is asked.
pub async fn member_of(root: &Root, view: &View, master: &Name) -> Result<Option<Member>, Error> {
    let (_, members) = healthy::anyone(root, view, Some(master)).await?;
    let mut leaver = leaver_of(view, Some(master));
    if view.node.master() == Some(master) {
        let own = view.node.kubernetes_name.as_str();
        leaver.names.push(own.to_owned());
    }
    Ok(plan::find(&members, &leaver)?.cloned())
}

/// Who is meant, and which master that is.
async fn who(leave: &Leave<'_>) -> Result<(Leaver, Option<Name>), Error> {
    let view = leave.view;
    let own = view.node.master();
    let Some(name) = leave.name else {
        let local = Etcd::local(leave.root)?.within(PATIENCE);
        // One that has stopped is found by its name.
        let id = local.status().await.ok().map(|status| status.id);
        // Nobody else can tell the last one that it is the last.
        if let (Some(id), Ok(members)) = (id, local.members().await) {
            let mut voters = members.iter().filter(|member| !member.is_learner);
            if let (Some(only), None) = (voters.next(), voters.next())
                && only.id == id
            {
                return Err(Bar::Last(plan::called(only)).into());
            }
        }
        let mut leaver = leaver_of(view, own);
        leaver.id = id;
        leaver
            .names
            .push(view.node.kubernetes_name.as_str().to_owned());
        return Ok((leaver, own.cloned()));
    };
    let called = |master: &&Name| {
        let relative = master.relative_to(&view.cluster.domain);
        master.as_str() == name || relative == Some(name)
    };
    let mut masters = view.cluster.masters.iter().map(|master| &master.name);
    let master = masters.find(called);
    if name == view.node.kubernetes_name.as_str() || (master.is_some() && master == own) {
        return Err(Error::Myself(name.to_owned()));
    }
    let mut leaver = leaver_of(view, master);
    leaver.names.insert(0, name.to_owned());
    Ok((leaver, master.cloned()))
}

/// A master's names and addresses, as members may have them.
fn leaver_of(view: &View, master: Option<&Name>) -> Leaver {
    let Some(master) = master else {
        return Leaver::default();
    };
    let names = [master.as_str(), master.label()].map(str::to_owned);
    let stable = view.cluster.master(master).and_then(|it| it.stable);
    let addresses = view.book.addresses(master).iter().copied().chain(stable);
    let others = view.cluster.masters.iter().map(|other| &other.name);
    let others = others.filter(|other| *other != master);
    let both = |other: &Name| [other.as_str(), other.label()].map(str::to_owned);
    Leaver {
        id: None,
        others: others.flat_map(both).collect(),
        names: names.to_vec(),
        hosts: names
            .into_iter()
            .chain(addresses.map(|address| address.to_string()))
            .collect(),
    }
}

async fn remove(
    leave: &Leave<'_>,
    etcd: &Etcd,
    members: &[Member],
    target: &Member,
) -> Result<Vec<Member>, Error> {
    let others = members.iter().filter(|member| member.id != target.id);
    let sick = healthy::sick(leave.root, leave.view, others).await;
    match plan::may_leave(members, target, &sick) {
        Err(bar) if !(leave.force && bar.gives_way()) => return Err(bar.into()),
        _ => {}
    }
    match healthy::settled(async || etcd.remove(target.id).await).await {
        Ok(members) => Ok(members),
        Err(error) => match etcd.members().await {
            // An answer that was lost was a yes.
            Ok(members) if members.iter().all(|member| member.id != target.id) => Ok(members),
            _ => Err(error.into()),
        },
    }
}

/// Takes the manifest out of the kubelet's sight; never over an earlier one.
fn put_away(root: &Root) -> Result<Option<PathBuf>, Error> {
    for number in 1..=KEPT {
        let to = match number {
            1 => PathBuf::from(LEFT),
            number => PathBuf::from(format!("{LEFT}.{number}")),
        };
        match file::move_file(root, Path::new(MANIFEST), &to)? {
            Moved::Done => return Ok(Some(to)),
            Moved::Absent => return Ok(None),
            Moved::Occupied => {}
        }
    }
    Err(Error::Crowded)
}
