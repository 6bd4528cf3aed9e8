//! `stayput kubeadm follow`.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::api::kubernetes::{ADMIN, Kubernetes};
use crate::cli::context::{Context, Failure, LOCK_PATIENCE, block_on};
use crate::cli::{exit, output, show};
use crate::clock;
use crate::kubeadm::advertise::{Addresses, Keep};
use crate::kubeadm::audit::{self, Audit};
use crate::kubeadm::cluster_status::{self, Outcome};
use crate::kubeadm::follow::{self, Followed, present};
use crate::kubeadm::outlook::{self, Own};
use crate::kubeadm::record::{self, Record};
use crate::kubeadm::turn;
use crate::lock;
use crate::own;
use crate::pki::session;
use crate::report::milliseconds;
use crate::root::Root;
use crate::source::netlink;
use crate::static_pod::processes::Processes;
use crate::static_pod::stop::Stop;
use crate::static_pod::{self, Limits, Restarted};
use crate::view::View;

/// How long a kube-apiserver that was just restarted may take until it answers.
const STARTS: Duration = Duration::from_mins(1);

#[derive(Debug, Args)]
pub(in crate::cli) struct FollowArgs {}

/// What was done, and what the node's audit has found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    /// What an earlier run had left undone, in words.
    notices: Vec<String>,
    /// Whether there was anything of kubeadm's to look at.
    #[serde(skip)]
    whole: bool,
    advertise: Advertise,
    /// What came of this master's entry in kubeadm's `ClusterStatus`: `changed`, `current`, `absent` where
    /// the cluster has none, `failed`; null where it was not asked for.
    cluster_status: Option<&'static str>,
    #[serde(flatten)]
    record: Record,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Advertise {
    /// `changed`, `failed`, `none` without a manifest; else why it stays.
    result: &'static str,
    /// What kube-apiserver advertised.
    from: Option<IpAddr>,
    /// What it advertises.
    to: Option<IpAddr>,
    /// For people.
    detail: String,
    /// How long the old container took to end.
    gone_milliseconds: Option<f64>,
    /// How long the new one took to come.
    back_milliseconds: Option<f64>,
}

pub(super) fn follow(context: &Context, _args: FollowArgs) -> Result<u8, Failure> {
    let root = context.root()?;
    // Nothing has begun, so that nobody else has to wait with it.
    block_on(async {
        let view = show::in_force(context, &root).await?;
        in_turn(&root, &view).await;
        Ok::<_, Failure>(())
    })?;
    let lock = lock::take(&root, lock::CERTIFICATES, LOCK_PATIENCE)?;
    let recovered = static_pod::recover(&root).map_err(session::Error::from)?;
    let mut notices: Vec<String> = recovered.iter().map(ToString::to_string).collect();
    for notice in &notices {
        eprintln!("stayput: {notice}");
    }
    let view = block_on(show::in_force(context, &root))?;
    let followed = block_on(advertise(&root, &view));
    let Audit {
        pins,
        unread,
        not_looked_at,
    } = audit::node(&root, &view);
    notices.extend(not_looked_at.iter().map(ToString::to_string));
    let record = Record {
        at: clock::unix_now(),
        pins,
        unread,
        failure: followed
            .as_ref()
            .err()
            .map(|failure| failure.message.clone()),
    };
    record::write(&root, &record).map_err(|error| Failure::new(exit::OS_ERROR, error))?;
    let followed = followed?;
    // From here on no file is changed, and others need not wait for kube-apiserver.
    drop(lock);
    let cluster_status = match block_on(async { Ok(note(&root, &view, &followed).await) })? {
        Ok(word) => word,
        Err(notice) => {
            eprintln!("stayput: {notice}");
            notices.push(notice);
            Some("failed")
        }
    };
    let done = Done {
        notices,
        whole: not_looked_at.is_empty(),
        advertise: told(followed),
        cluster_status,
        record,
    };
    output::print(context.global.output, &done, text)?;
    Ok(exit::OK)
}

/// Lets the masters before this one restart their kube-apiserver first, if this one's is to be restarted.
async fn in_turn(root: &Root, view: &View) {
    let sandboxed = !own::are_ours(root, &view.node);
    let before = turn::before(view);
    if sandboxed || before.is_empty() || !outlook::look(root, &Own::of(view)).is_behind() {
        return;
    }
    let limit = turn::limit(before.len());
    eprintln!(
        "stayput: waiting for the masters before this one, at most {} s",
        limit.as_secs()
    );
    turn::wait(root, view, &before, limit).await;
}

/// Brings the manifest to where this master is.
async fn advertise(root: &Root, view: &View) -> Result<Followed, Failure> {
    let own = Own::of(view);
    // In a sandbox the machine's interfaces are not the pretend node's.
    let here = if view.node.master().is_some() && own::are_ours(root, &view.node) {
        let snapshot = netlink::snapshot().await;
        present(&snapshot.map_err(|error| Failure::new(exit::UNAVAILABLE, error))?)
    } else {
        own.addresses.clone()
    };
    let addresses = Addresses {
        own: &own.addresses,
        here: &here,
        stable: own.stable,
    };
    let machine = (&Processes::new(Path::new("/proc")), &Limits::default());
    let port = view.cluster.kubernetes.api_port;
    let mut stop = Stop::listen();
    let following = follow::follow(root, addresses, port, machine, stop.asked());
    Ok(following.await?)
}

/// Brings this master's entry in kubeadm's `ClusterStatus` to where its kube-apiserver is. That is only a
/// note for kubeadm, and the cluster may be down: a failure is a notice, and the next run tries again.
async fn note(
    root: &Root,
    view: &View,
    followed: &Followed,
) -> Result<Option<&'static str>, String> {
    let (advertises, limit) = match followed {
        Followed::Changed { to, .. } => (Some(*to), STARTS),
        Followed::Kept(address, Keep::Current | Keep::Stable | Keep::NoFlag) => {
            (*address, Duration::ZERO)
        }
        Followed::Kept(..) | Followed::NoManifest => return Ok(None),
    };
    // In a sandbox the machine's kube-apiserver is not the pretend node's.
    let Some(places) = cluster_status::own(view, advertises).filter(|_| root.is_system()) else {
        return Ok(None);
    };
    let mut stop = Stop::listen();
    let brought = async {
        let api = Kubernetes::local_apiserver(root, Path::new(ADMIN), &view.cluster);
        cluster_status::bring_up(&api?, &places, limit).await
    };
    let reason = tokio::select! {
        () = stop.asked() => "told to end".to_owned(),
        brought = brought => match brought {
            Ok(outcome) => return Ok(Some(outcome.as_str())),
            Err(failure) => failure.to_string(),
        },
    };
    Err(format!(
        "kubeadm's ClusterStatus may still name this master's old address: {reason}; the next `stayput kubeadm follow` tries again"
    ))
}

fn told(followed: Followed) -> Advertise {
    let detail = followed.to_string();
    match followed {
        Followed::NoManifest => Advertise {
            result: "none",
            detail,
            ..Advertise::default()
        },
        Followed::Kept(address, keep) => Advertise {
            result: keep.as_str(),
            from: address,
            to: address,
            detail,
            ..Advertise::default()
        },
        Followed::Changed {
            from,
            to,
            restarted,
        } => {
            let (gone, back) = match restarted {
                Restarted::Done { gone, back } => (Some(gone), Some(back)),
                Restarted::NoManifest | Restarted::NotRunning => (None, None),
            };
            let number = |time: Option<Duration>| time.map(milliseconds);
            Advertise {
                result: "changed",
                from: Some(from),
                to: Some(to),
                detail,
                gone_milliseconds: number(gone),
                back_milliseconds: number(back),
            }
        }
    }
}

fn text(done: &Done) -> String {
    let mut lines = vec![done.advertise.detail.clone()];
    if done.cluster_status == Some(Outcome::Changed.as_str()) {
        lines.push("kubeadm's ClusterStatus has this master's address now".to_owned());
    }
    let unread = done.record.unread.iter();
    lines.extend(unread.map(|reason| format!("not looked at: {}", reason.escape_debug())));
    lines.push(match (done.record.pins.len(), done.record.worst()) {
        (_, None) if !done.whole => "there are no kubeadm files here to look at".to_owned(),
        (_, None) => "nothing pins an address that can change".to_owned(),
        (many, Some(worst)) => format!(
            "{many} {} addresses that can change, the worst {}: `stayput kubeadm audit` shows them",
            if many == 1 {
                "place pins"
            } else {
                "places pin"
            },
            worst.as_str()
        ),
    });
    lines.join("\n") + "\n"
}

impl From<follow::Error> for Failure {
    fn from(error: follow::Error) -> Self {
        match error {
            follow::Error::Read(_) | follow::Error::Unseen(_) => Self::new(exit::OS_ERROR, error),
            follow::Error::Manifest(_) => Self::new(exit::BAD_DATA, error),
            follow::Error::Down { .. } => Self::new(exit::UNAVAILABLE, error),
            follow::Error::Exchange { ref source, .. } => {
                let code = match source {
                    static_pod::Error::Stopped(_)
                    | static_pod::Error::Changed { .. }
                    | static_pod::Error::Displaced { .. } => exit::TEMPORARY,
                    static_pod::Error::StillRuns { .. } | static_pod::Error::NotUp { .. } => {
                        exit::UNAVAILABLE
                    }
                    _ => exit::OS_ERROR,
                };
                Self::new(code, error)
            }
        }
    }
}
