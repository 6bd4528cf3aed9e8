//! Every place that pins an address which can change: on a node, and in the [`cluster`] itself.
//!
//! ```text
//! manifests ─────────▶ manifests ──┐
//! kubeconfigs ───────▶ kubeconfigs ┤
//! kubelet's flags ───▶ kubelet ────┼─▶ pins, the worst first
//! certificates ──────▶ certificates┤
//! pods' hosts copies ▶ hosts ──────┘
//! ```
//!
//! [`files`] reads, everything else of a node is a function of what was read. A file that is not there pins nothing;
//! one that cannot be read or understood is told as such, never as one that pins nothing.

pub mod certificates;
pub mod cluster;
pub mod files;
pub mod hosts;
pub mod kubeconfigs;
pub mod kubelet;
pub mod manifests;

use std::net::IpAddr;

use serde::Serialize;

use self::cluster::NotLookedAt;
use self::files::{Files, Kind};
use self::kubeconfigs::User;
use super::outlook::{self, Kept};
use super::pin::Pin;
use super::stable::Stable;
use crate::root::Root;
use crate::view::View;

/// What was found. The JSON form is stable: fields are added, never renamed or removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// What pins, the worst first.
    pub pins: Vec<Pin>,
    /// Files that could not be read or understood, in words.
    pub unread: Vec<String>,
    /// What did not answer, or is not there although this node cannot be judged without it.
    pub not_looked_at: Vec<NotLookedAt>,
}

impl Audit {
    /// Whether everything was looked at and nothing pins.
    pub fn is_clean(&self) -> bool {
        self.pins.is_empty() && self.is_whole()
    }

    /// Whether everything was looked at.
    pub fn is_whole(&self) -> bool {
        self.unread.is_empty() && self.not_looked_at.is_empty()
    }

    /// Takes in what was found elsewhere.
    pub fn add(&mut self, other: Self) {
        self.pins.extend(other.pins);
        self.unread.extend(other.unread);
        self.not_looked_at.extend(other.not_looked_at);
        self.pins.sort();
        self.pins.dedup();
    }
}

impl From<cluster::Found> for Audit {
    fn from(found: cluster::Found) -> Self {
        Self {
            pins: found.pins,
            unread: Vec::new(),
            not_looked_at: found.not_looked_at,
        }
    }
}

/// What the places are judged by.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Which addresses can change, and this node's own.
    pub stable: Stable,
    /// This master's addresses by the book; none on a worker.
    pub current: &'a [IpAddr],
    /// Whether the agent keeps kube-apiserver's advertise address at the current one.
    pub follows: bool,
    /// Whether the node is a pretended one in a folder, where the agent never follows by itself.
    pub sandbox: bool,
    /// This master's address that never changes, or that a rescue has given back for a while.
    pub kept: Option<Kept>,
    /// The names, and what each of them is at.
    pub view: &'a View,
}

impl<'a> Facts<'a> {
    /// The facts of a node; `sandbox` where it is a pretended one.
    pub fn of(view: &'a View, sandbox: bool) -> Self {
        Self {
            stable: Stable::of(&view.cluster),
            current: match view.node.master() {
                Some(master) => view.book.addresses(master),
                None => &[],
            },
            follows: !view.cluster.kubeadm.follow.is_empty(),
            sandbox,
            kept: outlook::kept(&view.cluster, &view.node),
            view,
        }
    }

    /// This master's name, for what is to be put in an address's place.
    fn own_name(&self) -> &str {
        let name = self.view.node.master();
        name.map_or("MASTER", |name| name.as_str())
    }

    /// The endpoint as a URL.
    fn endpoint(&self) -> String {
        endpoint_url(self.view)
    }

    /// The master's own kube-apiserver as a URL.
    fn local(&self) -> String {
        format!(
            "https://127.0.0.1:{}",
            self.view.cluster.kubernetes.api_port
        )
    }
}

/// The endpoint as a URL.
fn endpoint_url(view: &View) -> String {
    let endpoint = &view.cluster.endpoint;
    format!("https://{}:{}", endpoint.name, endpoint.port)
}

/// Audits this node. Blocks on the disk.
pub fn node(root: &Root, view: &View) -> Audit {
    judge(&files::read(root), &Facts::of(view, !root.is_system()))
}

/// What is missing where kubeadm has not been, or has left its files elsewhere: such a node is not clean,
/// it has not been looked at. A file that is there and cannot be read is told by itself.
fn absent(files: &Files, facts: &Facts<'_>) -> Option<NotLookedAt> {
    let is_master = facts.view.node.master().is_some();
    let counts = |kind| match kind {
        Kind::Kubeconfig(User::Person) => false,
        Kind::Kubeconfig(User::Kubelet | User::Bootstrap) => true,
        Kind::Manifest(_) | Kind::Kubeconfig(_) => is_master,
        _ => false,
    };
    if files.found.iter().any(|file| counts(file.kind)) || !files.unread.is_empty() {
        return None;
    }
    let (place, reason) = if is_master {
        (
            "/etc/kubernetes/manifests and /etc/kubernetes/*.conf",
            "there are no kubeadm files here; run this where kubeadm has made a master",
        )
    } else {
        (
            "/etc/kubernetes/kubelet.conf",
            "there are no kubeadm files here; run this where kubeadm has joined a node",
        )
    };
    Some(NotLookedAt {
        place: place.to_owned(),
        reason: reason.to_owned(),
    })
}

/// What the files of a node pin.
pub fn judge(files: &Files, facts: &Facts<'_>) -> Audit {
    let mut audit = Audit {
        pins: Vec::new(),
        unread: files.unread.clone(),
        not_looked_at: absent(files, facts).into_iter().collect(),
    };
    let authority = files.of(Kind::Authority).next();
    for file in &files.found {
        let found = match file.kind {
            Kind::Manifest(pod) => manifests::pins(pod, file, facts),
            Kind::Kubeconfig(user) => {
                let authority = authority.map(|file| &file.bytes[..]);
                kubeconfigs::pins(user, file, authority, facts)
            }
            Kind::KubeletFlags => kubelet::flags(file, facts),
            Kind::KubeletSettings => kubelet::settings(file, facts),
            Kind::Certificate(server) => certificates::pins(server, file, facts),
            Kind::HostsCopy => Ok(hosts::pins(file, facts)),
            Kind::Authority => continue,
        };
        match found {
            Ok(pins) => audit.pins.extend(pins),
            Err(reason) => audit
                .unread
                .push(format!("{} {reason}", file.path.display())),
        }
    }
    audit.pins.sort();
    audit
}
