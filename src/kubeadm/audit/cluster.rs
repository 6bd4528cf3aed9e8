//! What pins addresses in the cluster itself: etcd's members, `ConfigMap`s, Endpoints, Nodes.
//!
//! Each kind of object has a pure judgement of what it says; [`look`] alone asks the API, etcd and the
//! kubelet. What does not answer is told as not looked at: silence is never "nothing pins".

mod addresses;
mod endpoints;
mod kubelet;
mod maps;
mod members;
mod nodes;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::endpoints::{endpoint_slice, endpoints};
pub use self::kubelet::kubelet;
pub use self::maps::{cluster_info, kube_proxy, kubeadm_config};
pub use self::members::members;
pub use self::nodes::node;
use crate::api::directory::Directory;
use crate::api::etcd::{Etcd, Member};
use crate::api::kubernetes::{self, ADMIN, KUBELET, Kubernetes};
use crate::config::node::Role;
use crate::kubeadm::pin::Pin;
use crate::kubeadm::url::Url;
use crate::name::Name;
use crate::pki::live;
use crate::root::Root;
use crate::view::View;

/// Where the kubelet serves.
const KUBELET_PORT: u16 = 10_250;
/// A server on this machine answers at once.
const PATIENCE: Duration = Duration::from_secs(3);

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// In the order of the places.
    pub pins: Vec<Pin>,
    /// Of these nothing is known.
    pub not_looked_at: Vec<NotLookedAt>,
}

/// A place that could not be looked at: it may pin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotLookedAt {
    /// An object, or several.
    pub place: String,
    /// Why not.
    pub reason: String,
}

impl fmt::Display for NotLookedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not looked at: {}: {}", self.place, self.reason)
    }
}

impl Found {
    fn miss(&mut self, place: &str, reason: impl ToString) {
        self.not_looked_at.push(NotLookedAt {
            place: place.to_owned(),
            reason: reason.to_string(),
        });
    }
}

/// How an object is judged.
type Judge = fn(&Value, &View) -> Vec<Pin>;

/// Objects by their path in the API.
const OBJECTS: [(&str, &str, Judge); 4] = [
    (
        "ConfigMap kube-system/kubeadm-config",
        "/api/v1/namespaces/kube-system/configmaps/kubeadm-config",
        kubeadm_config,
    ),
    (
        "ConfigMap kube-public/cluster-info",
        "/api/v1/namespaces/kube-public/configmaps/cluster-info",
        cluster_info,
    ),
    (
        "ConfigMap kube-system/kube-proxy",
        "/api/v1/namespaces/kube-system/configmaps/kube-proxy",
        kube_proxy,
    ),
    (
        "Endpoints default/kubernetes",
        "/api/v1/namespaces/default/endpoints/kubernetes",
        endpoints,
    ),
];

/// The slices of the Service `kubernetes`, in the version of 1.21 and later, and before.
const SLICES: [&str; 2] = [
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes",
    "/apis/discovery.k8s.io/v1beta1/namespaces/default/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes",
];

/// Asks etcd, the API and this node's kubelet, as far as they answer. `view` says which addresses are
/// current and which are stable.
pub async fn look(root: &Root, view: &View) -> Found {
    let mut found = Found::default();
    if view.node.master().is_some() {
        look_at_members(root, view, &mut found).await;
    }
    match open(root, view).await {
        Ok(api) => look_at_objects(&api, view, &mut found).await,
        Err(error) => found.miss("ConfigMaps, Endpoints and Nodes", error),
    }
    look_at_kubelet(view, &mut found);
    found.pins.sort();
    found
}

/// etcd on this master, or any other's that answers.
async fn look_at_members(root: &Root, view: &View, found: &mut Found) {
    let directory = Directory::of(view);
    let others = view.cluster.masters.iter().map(|master| &master.name);
    let others = others.filter(|name| view.node.master() != Some(*name));
    let others = others.map(|name| Etcd::of_master(root, name, &directory));
    let mut reasons = Vec::new();
    for etcd in std::iter::once(Etcd::local(root)).chain(others) {
        let list = match etcd {
            Ok(etcd) => etcd.within(PATIENCE).members().await,
            Err(error) => Err(error),
        };
        match list {
            Ok(list) => return found.pins.extend(members(&list, view)),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    reasons.dedup();
    found.miss("etcd's members", reasons.join("; "));
}

/// This master's own kube-apiserver as an administrator; else the endpoint, as whoever this node is.
async fn open(root: &Root, view: &View) -> Result<Kubernetes, kubernetes::Error> {
    let directory = Directory::of(view);
    let by_endpoint = |path| Kubernetes::from_kubeconfig(root, Path::new(path), &directory);
    let Role::Master(_) = view.node.role else {
        return answering(by_endpoint(KUBELET)?).await;
    };
    let local = Kubernetes::local_apiserver(root, Path::new(ADMIN), &view.cluster)?;
    match answering(local).await {
        Ok(local) => Ok(local),
        // The first reason tells more: it is of this machine.
        Err(error) => answering(by_endpoint(ADMIN)?).await.map_err(|_| error),
    }
}

/// The API, if it answers; also one that refuses to tell its version.
async fn answering(api: Kubernetes) -> Result<Kubernetes, kubernetes::Error> {
    match api.get("/version").await {
        Err(error) if error.is_absent() => Err(error),
        _ => Ok(api),
    }
}

async fn look_at_objects(api: &Kubernetes, view: &View, found: &mut Found) {
    for (place, path, judge) in OBJECTS {
        match api.get(path).await {
            Ok(Some(object)) => found.pins.extend(judge(&object, view)),
            // A cluster without kube-proxy, or without a token for joining.
            Ok(None) => {}
            Err(error) => found.miss(place, error),
        }
    }
    match slices(api).await {
        Ok(slices) => {
            let pins = slices.iter().flat_map(|slice| endpoint_slice(slice, view));
            found.pins.extend(pins);
        }
        Err(error) => found.miss("EndpointSlices of default/kubernetes", error),
    }
    match api.list("/api/v1/nodes").await {
        Ok(nodes) => found
            .pins
            .extend(nodes.iter().flat_map(|object| node(object, view))),
        Err(error) => found.miss("Nodes", error),
    }
}

async fn slices(api: &Kubernetes) -> Result<Vec<Value>, kubernetes::Error> {
    let [new, old] = SLICES;
    match api.list(new).await {
        Err(kubernetes::Error::NotFound { .. }) => api.list(old).await,
        other => other,
    }
}

/// What this node's kubelet serves; other nodes are asked on those.
fn look_at_kubelet(view: &View, found: &mut Found) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, KUBELET_PORT));
    let name = view.node.kubernetes_name.as_str();
    match live::ask(address, name, PATIENCE) {
        Ok(chain) => {
            let own = chain.first();
            found
                .pins
                .extend(own.into_iter().flat_map(|own| kubelet(own, view)));
        }
        Err(error) => found.miss("the kubelet's serving certificate", error),
    }
}

/// The name of a master that an object or member belongs to: its whole name, its label, or its relative
/// name.
fn master_called<'a>(view: &'a View, name: &str) -> Option<&'a Name> {
    let cluster = &view.cluster;
    let mut masters = cluster.masters.iter().map(|master| &master.name);
    masters.find(|master| {
        master.as_str() == name
            || master.relative_to(&cluster.domain) == Some(name)
            || master.label() == name
    })
}

/// A member's master: by its name, or by a host in its URLs.
pub(crate) fn master_of<'a>(view: &'a View, member: &Member) -> Option<&'a Name> {
    let urls = member.peer_urls.iter().chain(&member.client_urls);
    master_called(view, &member.name).or_else(|| {
        urls.filter_map(|url| Url::read(url))
            .find_map(|url| master_called(view, &url.host.to_ascii_lowercase()))
    })
}

#[cfg(test)]
mod tests;
