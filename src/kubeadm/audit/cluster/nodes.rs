//! Node objects: what they and network plugins say of where a node is.

use std::net::IpAddr;

use serde_json::Value;

use super::addresses::Saying;
use super::master_called;
use crate::kubeadm::pin::{Pin, Severity};
use crate::kubeadm::stable::Stable;
use crate::view::View;

/// Annotations that network plugins and the kubelet write, with what breaks by each. An address may
/// have a prefix length.
const ANNOTATIONS: [(&str, &str); 4] = [
    (
        "projectcalico.org/IPv4Address",
        "Calico's other nodes send this node's pods' packets there",
    ),
    (
        "projectcalico.org/IPv6Address",
        "Calico's other nodes send this node's pods' packets there",
    ),
    (
        "flannel.alpha.coreos.com/public-ip",
        "flannel's other nodes send this node's pods' packets there",
    ),
    (
        "flannel.alpha.coreos.com/public-ipv6",
        "flannel's other nodes send this node's pods' packets there",
    ),
];
/// What the kubelet's `--node-ip` leaves (with an external cloud provider).
const PROVIDED: &str = "alpha.kubernetes.io/provided-node-ip";

/// What of a Node names an address that the node does not have. A master's addresses are those of the
/// book; a worker's are the ones that its kubelet reports, because nothing else is known of it here.
pub fn node(object: &Value, view: &View) -> Vec<Pin> {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    let place = format!("Node {name}");
    let reported = internal(object);
    let master = master_called(view, name);
    let current = match master {
        Some(master) => view.book.addresses(master),
        None => &reported,
    };
    let stable = master.and_then(|master| view.cluster.master(master)?.stable);
    let is_right = |address: IpAddr| current.contains(&address) || stable == Some(address);
    let now = match current {
        [] => "the node's current address".to_owned(),
        current => current[0].to_string(),
    };
    let mut pins = Vec::new();
    let known = !current.is_empty();
    for address in reported
        .iter()
        .filter(|address| known && !is_right(**address))
    {
        let saying = Saying {
            severity: Severity::Degraded,
            place: place.clone(),
            what: "InternalIP".to_owned(),
            breaks: "logs, exec and metrics do not reach this node; its host-network pods say they are there",
            instead: format!("{now}; a kubelet that runs without --node-ip finds it"),
        };
        pins.push(saying.with(&address.to_string(), *address));
    }
    let annotations = &metadata["annotations"];
    for (key, breaks) in ANNOTATIONS {
        let Some(value) = annotations[key].as_str() else {
            continue;
        };
        let bare = value.split('/').next().unwrap_or(value);
        let Ok(address) = bare.parse() else { continue };
        if !known || is_right(address) {
            continue;
        }
        let saying = Saying {
            severity: Severity::Degraded,
            place: place.clone(),
            what: format!("annotation {key}"),
            breaks,
            instead: format!("{now}; the plugin writes it when its pod on this node is restarted"),
        };
        pins.push(saying.with(value, address));
    }
    let provided = annotations[PROVIDED].as_str().unwrap_or_default();
    for address in Stable::of(&view.cluster).changing(provided) {
        let saying = Saying {
            severity: Severity::Degraded,
            place: place.clone(),
            what: format!("annotation {PROVIDED}"),
            breaks: "the kubelet was told this address (--node-ip) and keeps to it when the node has another one",
            instead: "no --node-ip in /var/lib/kubelet/kubeadm-flags.env of that node".to_owned(),
        };
        pins.push(saying.with(&address.to_string(), address));
    }
    pins
}

/// What the kubelet reports.
fn internal(object: &Value) -> Vec<IpAddr> {
    let list = object["status"]["addresses"].as_array();
    let list = list.into_iter().flatten();
    let internal = list.filter(|entry| entry["type"] == "InternalIP");
    internal
        .filter_map(|entry| entry["address"].as_str()?.parse().ok())
        .collect()
}
