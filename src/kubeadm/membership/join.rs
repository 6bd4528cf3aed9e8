//! A master joins etcd: learner, manifest, vote.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::manifest::{self, Own};
use super::plan::{self, Me, Next};
use super::{Error, MANIFEST, healthy};
use crate::api::directory::Directory;
use crate::api::etcd::{self, Etcd, Member, PEERS};
use crate::api::kubernetes::{ADMIN, Kubernetes};
use crate::file;
use crate::kubeadm::manifest::Manifest;
use crate::name::Name;
use crate::root::Root;
use crate::view::View;

/// How often a learner is tried to be promoted.
const PAUSE: Duration = Duration::from_secs(1);
/// Far above a manifest.
const LIMIT: u64 = 1 << 20;
/// The pods of etcd's members.
const PODS: &str = "/api/v1/namespaces/kube-system/pods?labelSelector=component%3Detcd";

/// How to join.
#[derive(Debug)]
pub struct Join<'a> {
    /// Below it everything is read and written.
    pub root: &'a Root,
    /// Cluster, node and addresses.
    pub view: &'a View,
    /// This master.
    pub master: &'a Name,
    /// The image to run; that of the other members where none is given.
    pub image: Option<String>,
    /// How long the learner may take to catch up.
    pub limit: Duration,
    /// Told what happens meanwhile.
    pub tell: fn(&str),
}

/// What was done.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Joined {
    /// The member.
    pub member: String,
    /// Where the others reach it.
    pub peer_url: String,
    /// It was not in etcd before.
    pub added: bool,
    /// The manifest is new.
    pub manifest_written: bool,
    /// It had no vote before.
    pub promoted: bool,
    /// All members now.
    pub members: Vec<Member>,
}

/// Joins, or goes on where an earlier run has stopped. The caller holds the certificates' lock while
/// nothing but the wait is left.
pub async fn join(join: &Join<'_>, release: impl FnOnce()) -> Result<Joined, Error> {
    let me = Me {
        name: join.view.node.kubernetes_name.as_str().to_owned(),
        peer_url: format!("https://{}:{PEERS}", join.master),
    };
    let written = own_manifest(join.root, &me)?;
    let (etcd, members) = healthy::anyone(join.root, join.view, Some(join.master)).await?;
    let next = plan::next(&members, &me)?;
    let mut joined = Joined {
        member: me.name.clone(),
        peer_url: me.peer_url.clone(),
        added: false,
        manifest_written: false,
        promoted: false,
        members,
    };
    let id = match next {
        Next::Member(_) if written => return Ok(joined),
        Next::Add if written => return Err(Error::Removed(me.name)),
        Next::Promote(id) | Next::Member(id) => {
            if !written {
                let mine = joined.members.iter().find(|member| member.id == id);
                // One that has started has told its name.
                let started = mine.is_some_and(|member| !member.name.is_empty());
                let step =
                    async { write(join, &etcd, &me, prepare(join, &me, started).await?).await };
                joined.manifest_written = step.await.map_err(halfway(&me))?;
            }
            id
        }
        Next::Add => {
            all_well(join, &joined.members).await?;
            let pod = prepare(join, &me, false).await?;
            let id = add(&etcd, &me).await?;
            joined.added = true;
            (join.tell)(&format!("{} is in etcd as a learner", me.name));
            let step = write(join, &etcd, &me, pod).await;
            joined.manifest_written = step.map_err(halfway(&me))?;
            id
        }
    };
    // From here on a second run does no harm, and certificates may be renewed meanwhile.
    release();
    if !matches!(next, Next::Member(_)) {
        promote(join, &etcd, &me, id).await?;
        joined.promoted = true;
    }
    joined.members = etcd.members().await?;
    Ok(joined)
}

fn halfway(me: &Me) -> impl FnOnce(Error) -> Error {
    let name = me.name.clone();
    move |source| Error::Halfway {
        name,
        source: Box::new(source),
    }
}

/// Whether the manifest is there and is this member's; somebody else's is an error.
fn own_manifest(root: &Root, me: &Me) -> Result<bool, Error> {
    let path = Path::new(MANIFEST);
    let look = |source| Error::Look {
        path: path.to_owned(),
        source,
    };
    let Some(bytes) = root.read(path, LIMIT).map_err(look)? else {
        return Ok(false);
    };
    let other = |reason: String| Error::OtherManifest {
        name: me.name.clone(),
        peer_url: me.peer_url.clone(),
        reason,
    };
    let text = String::from_utf8_lossy(&bytes);
    let manifest = Manifest::parse(&text).map_err(|error| other(format!("it {error}")))?;
    for (flag, want) in [
        ("name", &me.name),
        ("initial-advertise-peer-urls", &me.peer_url),
    ] {
        let said = manifest
            .flag(flag)
            .map(|flag| flag.value)
            .unwrap_or_default();
        if said != *want {
            return Err(other(format!("its --{flag} is '{said}'")));
        }
    }
    Ok(true)
}

/// Another member's pod and the image to run.
struct Pod {
    pod: Option<Value>,
    image: String,
}

/// No time for another member while one is not well.
async fn all_well(join: &Join<'_>, members: &[Member]) -> Result<(), Error> {
    let sick = healthy::sick(join.root, join.view, members.iter()).await;
    if sick.is_empty() {
        return Ok(());
    }
    let texts: Vec<String> = sick.into_iter().map(|(_, text)| text).collect();
    Err(Error::Unhealthy(texts.join("; ")))
}

/// What the manifest is made from. A member that has `started` has data, and another one must not have
/// any: etcd would take an old member's for its own.
async fn prepare(join: &Join<'_>, me: &Me, started: bool) -> Result<Pod, Error> {
    let found = pods(join).await;
    let (pod, reason) = match found {
        Ok(pod) => (pod, "the API has no pod of etcd's".to_owned()),
        Err(reason) => (None, reason),
    };
    let theirs = pod.as_ref().and_then(manifest::image).map(str::to_owned);
    let image = join.image.clone().or(theirs);
    let image = image.ok_or_else(|| Error::Image(reason.clone()))?;
    let flags = manifest::flags(pod.as_ref());
    let data = flags.get("data-dir").map_or(manifest::DATA, String::as_str);
    let data = Path::new(data).join("member");
    let exists = join.root.exists(&data).map_err(|source| Error::Look {
        path: data.clone(),
        source,
    })?;
    match (started, exists) {
        (false, true) => return Err(Error::Data(data)),
        (true, false) => return Err(Error::NoData(data)),
        _ => {}
    }
    if pod.is_none() {
        (join.tell)(&format!(
            "the other members' manifests are not known ({reason}): this one is as kubeadm 1.20 writes it"
        ));
    }
    // What cannot be taken over is told before the member is added.
    manifest::manifest(&own(join, me, String::new()), &image, pod.as_ref())?;
    Ok(Pod { pod, image })
}

/// The first pod of etcd's that the API shows.
async fn pods(join: &Join<'_>) -> Result<Option<Value>, String> {
    let text = |error: crate::api::kubernetes::Error| error.to_string();
    let directory = Directory::of(join.view);
    let api = Kubernetes::from_kubeconfig(join.root, Path::new(ADMIN), &directory);
    let pods = api.map_err(text)?.list(PODS).await.map_err(text)?;
    Ok(pods.into_iter().find(|pod| manifest::image(pod).is_some()))
}

/// Adds the learner; one whose answer was lost is found in the list.
async fn add(etcd: &Etcd, me: &Me) -> Result<u64, Error> {
    match healthy::settled(async || etcd.add_learner(&me.peer_url).await).await {
        Ok(member) => Ok(member.id),
        Err(error) if error.is_absent() => match plan::next(&etcd.members().await?, me)? {
            Next::Promote(id) | Next::Member(id) => Ok(id),
            Next::Add => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

fn own(join: &Join<'_>, me: &Me, initial_cluster: String) -> Own {
    Own {
        me: me.clone(),
        host: join.master.as_str().to_owned(),
        initial_cluster,
    }
}

async fn write(join: &Join<'_>, etcd: &Etcd, me: &Me, pod: Pod) -> Result<bool, Error> {
    let members = etcd.members().await?;
    let own = own(join, me, plan::initial_cluster(&members, me));
    let text = manifest::manifest(&own, &pod.image, pod.pod.as_ref())?;
    let path = Path::new(MANIFEST);
    if let Some(folder) = path.parent() {
        let made = join.root.create_folders(folder, 0o700);
        made.map_err(|source| Error::Look {
            path: folder.to_owned(),
            source,
        })?;
    }
    Ok(file::replace(join.root, path, text.as_bytes(), 0o600)?)
}

/// Tries until the learner has its vote.
async fn promote(join: &Join<'_>, etcd: &Etcd, me: &Me, id: u64) -> Result<(), Error> {
    let deadline = Instant::now() + join.limit;
    let mut told = String::new();
    loop {
        let Err(error) = etcd.promote(id).await else {
            return Ok(());
        };
        if !matches!(error, etcd::Error::NotInSync { .. }) && !error.is_absent() {
            // An answer that was lost may have been a yes.
            if etcd.members().await.is_ok_and(|list| has_vote(&list, id)) {
                return Ok(());
            }
            return Err(halfway(me)(error.into()));
        }
        let text = error.to_string();
        if text != told {
            (join.tell)(&format!("waiting: {text}"));
            told.clone_from(&text);
        }
        if Instant::now() + PAUSE >= deadline {
            return Err(Error::NotInTime {
                name: me.name.clone(),
                limit: join.limit,
                last: text,
            });
        }
        sleep(PAUSE).await;
    }
}

fn has_vote(members: &[Member], id: u64) -> bool {
    let mut mine = members.iter().filter(|member| member.id == id);
    mine.any(|member| !member.is_learner)
}
