//! The picture that status shows: made from what the owning task knows, read by anyone.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use crate::book::{Book, Origin, Says, Signed};
use crate::clock;
use crate::config::cluster::Master;
use crate::engine::{ALL, Engine, dns_troubles, shared as shared_by};
use crate::health::Health;
use crate::masters;
use crate::name::Name;
use crate::provision::{How, Provision};
use crate::report::Surface;
use crate::status::{
    AgentStatus, CertificatesStatus, KubeadmStatus, MasterStatus, NodeStatus, ProvisionedStatus,
    RecordStatus, RemovedStatus, ServerStatus, Status, SurfaceStatus,
};
use crate::surface::haproxy::{self, ObservedServer};
use crate::view::View;

/// What the picture is made from.
#[derive(Debug)]
pub struct Input<'a> {
    /// What the surfaces are to show.
    pub view: &'a View,
    /// Whether this master is complete.
    pub provision: Provision,
    /// The agent's engine and since when it runs; `None` where no agent runs.
    pub agent: Option<(&'a Engine, u64)>,
    /// What is wrong with the files that lie there now.
    pub problems: &'a [String],
    /// Signed records that are left out, and why, one line each.
    pub left_out: &'a [String],
    /// Why followed names were not resolved last time.
    pub upstream_errors: &'a BTreeMap<Name, String>,
    /// What is due for renewal.
    pub certificates: Option<CertificatesStatus>,
    /// What kubeadm has pinned.
    pub kubeadm: Option<KubeadmStatus>,
}

/// Everything that an operator may want to know.
pub fn of(input: &Input<'_>) -> Status {
    let view = input.view;
    let now = clock::unix_now();
    let master = |master| master_status(view, master, input.upstream_errors, now);
    let mut status = Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        agent: input.agent.map(|(_, since)| AgentStatus {
            pid: std::process::id(),
            since: clock::rfc3339(since),
        }),
        domain: view.cluster.domain.clone(),
        endpoint: format!(
            "{}:{}",
            view.cluster.endpoint.name, view.cluster.endpoint.port
        ),
        node: node_status(view, input.provision),
        generation: view.book.generation,
        masters: view.cluster.masters.iter().map(master).collect(),
        removed: removed(&view.book),
        surfaces: surfaces(input.agent.map(|(engine, _)| engine)),
        servers: input
            .agent
            .map_or_else(Vec::new, |(engine, _)| servers(engine)),
        conflicts: [
            masters::problems(view),
            input.left_out.to_vec(),
            conflicts(view),
        ]
        .concat(),
        configuration_problems: input.problems.to_vec(),
        certificates: input.certificates.clone(),
        kubeadm: input.kubeadm.clone(),
        rescue: view.cluster.routes.rescue.clone(),
        degraded: false,
    };
    status.degraded = !status.troubles().is_empty();
    status
}

fn node_status(view: &View, provision: Provision) -> NodeStatus {
    NodeStatus {
        role: view.node.master().map_or("worker", |_| "master").to_owned(),
        name: view.node.master().cloned(),
        kubernetes_name: view.node.kubernetes_name.clone(),
        provisioned: provision.complete.map(|complete| ProvisionedStatus {
            since: clock::rfc3339(complete.since),
            how: match complete.how {
                How::Told => "told",
                How::Detected => "detected",
            }
            .to_owned(),
        }),
    }
}

fn master_status(
    view: &View,
    master: &Master,
    upstream_errors: &BTreeMap<Name, String>,
    now: u64,
) -> MasterStatus {
    let record = view.book.records.get(&master.name);
    MasterStatus {
        name: master.name.clone(),
        addresses: view.book.addresses(&master.name).to_vec(),
        version: record.map(|record| record.version),
        origin: record.map(|record| record.origin),
        changed: record.map(|record| clock::rfc3339(record.version)),
        age_seconds: record.map(|record| now.saturating_sub(record.version)),
        record: signed(&view.book, &master.name),
        file_addresses: outdated(view, &master.name).to_vec(),
        added: !view.book.declared.contains(&master.name),
        follows: master.follow.clone(),
        upstream_error: upstream_errors.get(&master.name).cloned(),
    }
}

/// What the cluster file says of another node's master against its signed record.
fn outdated<'a>(view: &'a View, name: &Name) -> &'a [IpAddr] {
    let record = view.book.signed_addresses(name);
    let said = view.book.said.get(&Origin::ClusterFile);
    let said = said.and_then(|said| said.get(name));
    match (record, said) {
        (Some(record), Some(said)) if record != said && view.node.master() != Some(name) => said,
        _ => &[],
    }
}

fn signed(book: &Book, name: &Name) -> Option<RecordStatus> {
    let version = book.signed.get(name)?.version;
    Some(RecordStatus {
        addresses: book.signed_addresses(name)?.clone(),
        version,
        signed: clock::rfc3339(version),
    })
}

fn removed(book: &Book) -> Vec<RemovedStatus> {
    let signed = book.signed.iter();
    let removed = signed.filter(|(_, signed)| signed.says == Says::Removed);
    let status = |(name, signed): (&Name, &Signed)| RemovedStatus {
        name: name.clone(),
        version: signed.version,
        signed: clock::rfc3339(signed.version),
    };
    removed.map(status).collect()
}

fn surfaces(engine: Option<&Engine>) -> Vec<SurfaceStatus> {
    let now = Instant::now();
    let unknown = Health::default();
    let status = |surface: &Surface| {
        let known = engine.and_then(|engine| engine.health().get(surface));
        let mut status = known.unwrap_or(&unknown).status(*surface, now);
        if *surface == Surface::Dns
            && let Some(dns) = engine.and_then(Engine::dns)
        {
            status.notices = dns_troubles(dns);
        }
        status
    };
    [Surface::State].iter().chain(&ALL).map(status).collect()
}

fn servers(engine: &Engine) -> Vec<ServerStatus> {
    let Some(observation) = engine.observation() else {
        return Vec::new();
    };
    let status = |server: &ObservedServer| ServerStatus {
        name: server.name.label().to_owned(),
        address: server
            .status
            .as_ref()
            .map_or_else(String::new, |s| s.address.clone()),
        status: server
            .status
            .as_ref()
            .map_or("missing", |s| &s.status)
            .to_owned(),
        check: server.status.as_ref().map_or_else(String::new, check),
        sessions: server.status.as_ref().map_or(0, |s| s.sessions),
    };
    observation.servers.iter().map(status).collect()
}

/// The last health check, in HAProxy's words.
fn check(server: &haproxy::answers::ServerStatus) -> String {
    let code = server
        .check_code
        .map_or_else(String::new, |code| format!(" {code}"));
    format!("{}{code}", server.check)
}

/// What contradicts the book or itself.
fn conflicts(view: &View) -> Vec<String> {
    let mut conflicts = view.cluster.routes.stale.clone();
    let shared = view.book.shared_addresses().into_iter();
    conflicts.extend(shared.map(|(address, owners)| shared_by(address, &owners)));
    let Some(own) = view.node.master() else {
        return conflicts;
    };
    let said = view.book.said.get(&Origin::Interface);
    let seen = said.and_then(|said| said.get(own));
    if let Some(record) = view.book.records.get(own)
        && let Some(seen) = seen.filter(|seen| **seen != record.addresses)
    {
        let (book, origin) = (words(&record.addresses), record.origin.as_str());
        conflicts.push(format!(
            "this node's interface has {}, the book says {book} (origin {origin}); \
             tell the right one with `stayput event`",
            words(seen)
        ));
    }
    conflicts
}

fn words(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(" ")
}
