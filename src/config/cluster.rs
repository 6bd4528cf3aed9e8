//! What the cluster file says, once it is known to be good.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::kubeadm::Kubeadm;
use super::peers::Peers;
use super::routes::Routes;
use crate::name::Name;
use crate::pki::catalogue::Row;
use crate::pki::key::KeyType;

/// A validated cluster file. Every name in it is fully qualified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The domain that stayput is authoritative for.
    pub domain: Name,
    /// The cluster's endpoint: loopback on every node.
    pub endpoint: Endpoint,
    /// In the order of the file; at least one.
    pub masters: Vec<Master>,
    /// Alias → the endpoint's or a master's name. An alias may lie outside of the domain.
    pub aliases: BTreeMap<Name, Name>,
    /// Facts of the Kubernetes cluster.
    pub kubernetes: Kubernetes,
    /// The responder.
    pub dns: Dns,
    /// The hosts file.
    pub hosts: Hosts,
    /// The local HAProxy.
    pub haproxy: Haproxy,
    /// What is issued, and when it is renewed.
    pub certificates: Certificates,
    /// How masters are reached at addresses that do not change.
    pub routes: Routes,
    /// What is done about kubeadm's files.
    pub kubeadm: Kubeadm,
    /// How nodes tell each other where masters are.
    pub peers: Peers,
}

/// The name and port that kubeconfigs point to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Fully qualified.
    pub name: Name,
    /// Where the local HAProxy listens, on 127.0.0.1.
    pub port: u16,
}

/// One control-plane machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    /// Fully qualified.
    pub name: Name,
    /// The addresses that the file gives; empty when `follow` is set.
    pub addresses: Vec<IpAddr>,
    /// The upstream name whose addresses the master has.
    pub follow: Option<Name>,
    /// An address of the master that never changes; it may stand in certificates.
    pub stable: Option<IpAddr>,
}

/// Facts of the Kubernetes cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubernetes {
    /// Minor release: 34 for "1.34".
    pub minor: u32,
    /// Patch release: 2 for "1.34.2"; `None` for "1.34".
    pub patch: Option<u32>,
    /// Range of Service addresses.
    pub service_subnet: IpNet,
    /// Range of pods' addresses, where each node gets a part of it by kube-controller-manager.
    pub pod_subnet: Option<IpNet>,
    /// The cluster's own DNS domain.
    pub dns_domain: Name,
    /// kube-apiserver's port on the masters.
    pub api_port: u16,
}

/// The DNS responder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Each bound by itself, over UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// Of every answer, in seconds.
    pub ttl: u32,
    /// Servers that resolve followed names; those of resolv.conf where empty.
    pub upstream: Vec<SocketAddr>,
}

/// The hosts file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// Usually `/etc/hosts`.
    pub path: PathBuf,
    /// How it is written.
    pub mode: HostsMode,
}

/// How the hosts file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostsMode {
    /// By rename, in place where a rename is impossible.
    Auto,
    /// By rename only.
    Rename,
    /// In place only, for a file that is bind-mounted into containers.
    InPlace,
}

/// The local HAProxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Haproxy {
    /// The configuration that stayput writes.
    pub config: PathBuf,
    /// The Runtime API's socket.
    pub socket: PathBuf,
    /// Program and arguments that make HAProxy read its configuration again; empty: none.
    pub reload: Vec<String>,
    /// The program that validates configurations.
    pub binary: PathBuf,
    /// User and group that HAProxy drops to; `None` leaves it as started.
    pub user: Option<String>,
    /// A provisioned master keeps the other masters as backup servers.
    pub fallback: bool,
    /// Where the statistics page and the Prometheus exporter listen.
    pub stats: SocketAddr,
}

/// What is issued, and when it is renewed. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificates {
    /// How long before its end a certificate is renewed; at most half of its lifetime counts.
    pub renew_before: u64,
    /// Of leaves.
    pub validity: u64,
    /// Of authorities.
    pub authority_validity: u64,
    /// Of new keys.
    pub key_type: KeyType,
    /// More names, as templates of the catalogue, by the row's id.
    pub extra_names: BTreeMap<String, Vec<String>>,
    /// More rows.
    pub extra: Vec<Row>,
    /// What is done after a renewal, in this order.
    pub after_renew: Vec<AfterRenew>,
}

/// Something that is done after a renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AfterRenew {
    /// Static pods that do not read their files again are restarted.
    StaticPods,
    /// A program of the operator.
    Program(Hook),
}

/// A program of the operator, started without a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Absolute path, then arguments.
    pub command: Vec<String>,
    /// The rows whose renewal it is for; all where empty.
    pub certificates: BTreeSet<String>,
    /// How long it may take, in seconds.
    pub limit: u64,
}

const DAY: u64 = 86_400;

impl Default for Certificates {
    /// kubeadm's lifetimes: a year, and ten for authorities.
    fn default() -> Self {
        Self {
            renew_before: 30 * DAY,
            validity: 365 * DAY,
            authority_validity: 3650 * DAY,
            key_type: KeyType::Rsa2048,
            extra_names: BTreeMap::new(),
            extra: Vec::new(),
            after_renew: vec![AfterRenew::StaticPods],
        }
    }
}

impl Cluster {
    /// The master of that fully qualified name.
    pub fn master(&self, name: &Name) -> Option<&Master> {
        self.masters.iter().find(|master| master.name == *name)
    }

    /// The master that a person means: its short or its fully qualified name.
    pub fn master_called(&self, name: &Name) -> Option<&Master> {
        let full = name.clone().below(&self.domain).ok();
        let below = full.and_then(|full| self.master(&full));
        below.or_else(|| self.master(name))
    }

    /// The aliases of the endpoint or of a master, in the order of names.
    pub fn aliases_of<'a>(&'a self, target: &'a Name) -> impl Iterator<Item = &'a Name> {
        self.aliases
            .iter()
            .filter(move |(_, to)| *to == target)
            .map(|(alias, _)| alias)
    }

    /// The names of all masters, relative to the domain, joined by commas.
    pub fn master_names(&self) -> String {
        let names: Vec<&str> = self
            .masters
            .iter()
            .map(|m| m.name.relative_to(&self.domain).unwrap_or(m.name.as_str()))
            .collect();
        names.join(", ")
    }
}
