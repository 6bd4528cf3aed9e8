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
pub mod stable;

use std::net::IpAddr;

use serde::Serialize;

use self::files::{Files, Kind};
use self::stable::Stable;
use super::pin::Pin;
use crate::root::Root;
use crate::view::View;

/// What was found. The JSON form is stable: fields are added, never renamed or removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// What pins, the worst first.
    pub pins: Vec<Pin>,
    /// What could not be looked at, in words.
    pub unread: Vec<String>,
}

impl Audit {
    /// Whether everything was looked at and nothing pins.
    pub fn is_clean(&self) -> bool {
        self.pins.is_empty() && self.unread.is_empty()
    }

    /// Takes in what was found elsewhere.
    pub fn add(&mut self, other: Self) {
        self.pins.extend(other.pins);
        self.unread.extend(other.unread);
        self.pins.sort();
        self.pins.dedup();
    }
}

impl From<cluster::Found> for Audit {
    fn from(found: cluster::Found) -> Self {
        let reason = |missed: &cluster::NotLookedAt| format!("{}: {}", missed.place, missed.reason);
        Self {
            unread: found.not_looked_at.iter().map(reason).collect(),
            pins: found.pins,
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
    /// The names, and what each of them is at.
    pub view: &'a View,
}

impl<'a> Facts<'a> {
    /// The facts of a node.
    pub fn of(view: &'a View) -> Self {
        Self {
            stable: Stable::of(&view.cluster),
            current: match view.node.master() {
                Some(master) => view.book.addresses(master),
                None => &[],
            },
            follows: !view.cluster.kubeadm.follow.is_empty(),
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
        let endpoint = &self.view.cluster.endpoint;
        format!("https://{}:{}", endpoint.name, endpoint.port)
    }

    /// The master's own kube-apiserver as a URL.
    fn local(&self) -> String {
        format!(
            "https://127.0.0.1:{}",
            self.view.cluster.kubernetes.api_port
        )
    }
}

/// Audits this node. Blocks on the disk.
pub fn node(root: &Root, view: &View) -> Audit {
    judge(&files::read(root), &Facts::of(view))
}

/// What the files of a node pin.
pub fn judge(files: &Files, facts: &Facts<'_>) -> Audit {
    let mut audit = Audit {
        pins: Vec::new(),
        unread: files.unread.clone(),
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
