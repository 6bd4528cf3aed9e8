//! The `ConfigMap`s that kubeadm writes and reads back.

use serde_json::Value;

use super::addresses::{Saying, is_a_masters};
use crate::kubeadm::audit::endpoint_url;
use crate::kubeadm::pin::{Pin, Severity};
use crate::view::View;
use crate::yaml::{self, At, Tree};

const KUBEADM_CONFIG: &str = "ConfigMap kube-system/kubeadm-config";

/// `kube-system/kubeadm-config`: what `kubeadm join`, `upgrade` and `reset` start from. A key that is no
/// YAML is passed over: kubeadm does not read it either.
pub fn kubeadm_config(map: &Value, view: &View) -> Vec<Pin> {
    let mut pins = Vec::new();
    if let Some(tree) = document(map, "ClusterConfiguration") {
        cluster_configuration(&At::top(&tree), view, &mut pins);
    }
    // Up to 1.21: where each master is, for etcd's member list. kubeadm itself writes it, so one that is
    // current is no pin; one that is no master's is stale.
    if let Some(tree) = document(map, "ClusterStatus") {
        let top = At::top(&tree);
        let endpoints = top.field("apiEndpoints");
        for (node, entry) in entries(endpoints.as_ref()) {
            let address = entry.field("advertiseAddress").filter(|at| {
                let address = at.text().and_then(|text| text.parse().ok());
                !address.is_some_and(|address| is_a_masters(address, view))
            });
            let saying = Saying {
                severity: Severity::Misleading,
                place: KUBEADM_CONFIG.to_owned(),
                what: format!("ClusterStatus: apiEndpoints.{node}.advertiseAddress"),
                breaks: "kubeadm join and reset (up to 1.21) look for etcd there",
                instead: "the master's current address, before kubeadm is used".to_owned(),
            };
            pins.extend(address.and_then(|at| saying.of(at.text()?, view)));
        }
    }
    pins
}

fn cluster_configuration(top: &At<'_>, view: &View, pins: &mut Vec<Pin>) {
    let endpoint = &view.cluster.endpoint;
    let saying = |what: String, severity, breaks, instead| Saying {
        severity,
        place: KUBEADM_CONFIG.to_owned(),
        what: format!("ClusterConfiguration: {what}"),
        breaks,
        instead,
    };
    if let Some(at) = top.field("controlPlaneEndpoint") {
        let saying = saying(
            "controlPlaneEndpoint".to_owned(),
            Severity::Degraded,
            "kubeadm join and upgrade do not reach the cluster, and new kubeconfigs point there",
            format!("{}:{}", endpoint.name, endpoint.port),
        );
        pins.extend(at.text().and_then(|text| saying.of(text, view)));
    }
    for path in [
        &["apiServer", "certSANs"][..],
        &["etcd", "local", "serverCertSANs"],
        &["etcd", "local", "peerCertSANs"],
    ] {
        for item in top.path(path).iter().flat_map(At::items) {
            let saying = saying(
                path.join("."),
                Severity::Misleading,
                "kubeadm puts it into certificates, which then name a machine that moved",
                "names".to_owned(),
            );
            pins.extend(item.text().and_then(|text| saying.of(text, view)));
        }
    }
    let external = top.path(&["etcd", "external", "endpoints"]);
    for item in external.iter().flat_map(At::items) {
        let saying = saying(
            "etcd.external.endpoints".to_owned(),
            Severity::Degraded,
            "a kube-apiserver that kubeadm sets up there does not reach etcd",
            "etcd's names".to_owned(),
        );
        pins.extend(item.text().and_then(|text| saying.of(text, view)));
    }
    for path in [
        &["apiServer", "extraArgs"][..],
        &["controllerManager", "extraArgs"],
        &["scheduler", "extraArgs"],
        &["etcd", "local", "extraArgs"],
    ] {
        for (flag, value) in extra_args(top.path(path).as_ref()) {
            // Several URLs, and NAME=URL in etcd's.
            for part in value.split(',') {
                let url = part
                    .split_once("=http")
                    .map_or(part, |(name, _)| &part[name.len() + 1..]);
                let saying = saying(
                    format!("{}.{flag}", path.join(".")),
                    Severity::Degraded,
                    "every master that kubeadm sets up or upgrades gets this flag",
                    "a name, or a patch for each node".to_owned(),
                );
                pins.extend(saying.of(url, view));
            }
        }
    }
}

/// A map up to v1beta3, a list of `name` and `value` from v1beta4 on.
fn extra_args(at: Option<&At<'_>>) -> Vec<(String, String)> {
    let listed = at.iter().flat_map(|at| at.items()).filter_map(|item| {
        let text = |key| Some(item.field(key)?.text()?.to_owned());
        Some((text("name")?, text("value")?))
    });
    let mapped = entries(at)
        .into_iter()
        .filter_map(|(flag, value)| Some((flag.to_owned(), value.text()?.to_owned())));
    listed.chain(mapped).collect()
}

/// `kube-public/cluster-info`: what `kubeadm join` finds the cluster by.
pub fn cluster_info(map: &Value, view: &View) -> Vec<Pin> {
    let saying = || Saying {
        severity: Severity::Degraded,
        place: "ConfigMap kube-public/cluster-info".to_owned(),
        what: "kubeconfig: server".to_owned(),
        breaks: "kubeadm join of new nodes does not reach the cluster",
        instead: endpoint_url(view),
    };
    servers(map, "kubeconfig", view, saying)
}

/// `kube-system/kube-proxy`: by which each node's kube-proxy reaches the API.
pub fn kube_proxy(map: &Value, view: &View) -> Vec<Pin> {
    let saying = || Saying {
        severity: Severity::Fatal,
        place: "ConfigMap kube-system/kube-proxy".to_owned(),
        what: "kubeconfig.conf: server".to_owned(),
        breaks: "no node's kube-proxy reaches the API, so that Services lead to pods that are gone",
        instead: endpoint_url(view),
    };
    servers(map, "kubeconfig.conf", view, saying)
}

/// The servers of all clusters of a kubeconfig in a `ConfigMap`.
fn servers(map: &Value, key: &str, view: &View, saying: impl Fn() -> Saying) -> Vec<Pin> {
    let Some(tree) = document(map, key) else {
        return Vec::new();
    };
    let clusters = At::top(&tree).field("clusters");
    let clusters = clusters.iter().flat_map(At::items);
    let servers = clusters.filter_map(|cluster| cluster.path(&["cluster", "server"]));
    servers
        .filter_map(|server| saying().of(server.text()?, view))
        .collect()
}

/// A document within a `ConfigMap`.
fn document(map: &Value, key: &str) -> Option<Tree> {
    yaml::parse(map["data"][key].as_str()?).ok()
}

/// Keys and values of a mapping.
fn entries<'a>(at: Option<&At<'a>>) -> Vec<(&'a str, At<'a>)> {
    let Some(Tree::Mapping(list)) = at.map(|at| at.tree) else {
        return Vec::new();
    };
    let list = list
        .iter()
        .map(|(key, value)| (key.as_str(), At::top(value)));
    list.collect()
}
