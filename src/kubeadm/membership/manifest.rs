//! etcd's manifest for a member that joins: the form of kubeadm (`cmd/kubeadm/app/phases/etcd/local.go`),
//! with names where that has addresses. Pure.
//!
//! What the other members run is taken over: image, flags, environment, ports, probes, resources. Only what
//! says who and where a member is, is this one's own; an address of theirs that is left over is refused.

mod listen;
mod theirs;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::plan::Me;
use crate::api::etcd::{CLIENTS, PEERS};
use crate::kubeadm::annotations::ETCD_CLIENT_URLS;
use crate::yaml::{self, Tree};

pub use theirs::Error;

/// etcd's port for probes, by kubeadm.
const METRICS: u16 = 2381;
/// Where etcd keeps its data, by kubeadm.
pub const DATA: &str = "/var/lib/etcd";

/// What this member's manifest says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// The member.
    pub me: Me,
    /// The master's whole name.
    pub host: String,
    /// All members, as `--initial-cluster` takes them.
    pub initial_cluster: String,
}

/// Flags that begin a cluster, or another one: nothing for a member that joins.
const FOREIGN: [&str; 7] = [
    "force-new-cluster",
    "discovery",
    "discovery-fallback",
    "discovery-proxy",
    "discovery-srv",
    "discovery-srv-name",
    "initial-cluster-token",
];

/// The first container of an etcd pod, as the API shows it.
pub fn container(pod: &Value) -> Option<&Value> {
    pod["spec"]["containers"].get(0)
}

/// The image that a pod runs.
pub fn image(pod: &Value) -> Option<&str> {
    container(pod)?["image"].as_str()
}

/// The flags of a pod, by name without dashes; those of one that is not there are kubeadm's. The last of a
/// flag that is given twice wins.
pub fn flags(pod: Option<&Value>) -> BTreeMap<String, String> {
    let words = |key| {
        let words = pod.and_then(container).and_then(|it| it[key].as_array());
        words.into_iter().flatten().filter_map(Value::as_str)
    };
    let mut flags = BTreeMap::new();
    for word in words("command").skip(1).chain(words("args")) {
        let bare = word.trim_start_matches('-');
        let (name, value) = bare.split_once('=').unwrap_or((bare, "true"));
        flags.insert(name.to_owned(), value.to_owned());
    }
    if flags.is_empty() {
        let pki = "/etc/kubernetes/pki/etcd";
        for (name, value) in [
            ("cert-file", format!("{pki}/server.crt")),
            ("client-cert-auth", "true".to_owned()),
            ("data-dir", DATA.to_owned()),
            ("key-file", format!("{pki}/server.key")),
            ("peer-cert-file", format!("{pki}/peer.crt")),
            ("peer-client-cert-auth", "true".to_owned()),
            ("peer-key-file", format!("{pki}/peer.key")),
            ("peer-trusted-ca-file", format!("{pki}/ca.crt")),
            ("snapshot-count", "10000".to_owned()),
            ("trusted-ca-file", format!("{pki}/ca.crt")),
        ] {
            flags.insert(name.to_owned(), value);
        }
    }
    flags
}

/// The manifest as YAML. `pod` is another member's, as the API shows it; without one, what kubeadm 1.20
/// writes.
pub fn manifest(own: &Own, image: &str, pod: Option<&Value>) -> Result<String, Error> {
    Ok(yaml::write(&tree(&value(own, image, pod)?)))
}

fn value(own: &Own, image: &str, pod: Option<&Value>) -> Result<Value, Error> {
    let mut flags = flags(pod);
    flags.retain(|flag, _| !FOREIGN.contains(&flag.as_str()));
    let client_url = format!("https://{}:{CLIENTS}", own.host);
    let metrics = format!("http://127.0.0.1:{METRICS}");
    for (flag, value) in [
        ("name", own.me.name.clone()),
        ("advertise-client-urls", client_url.clone()),
        ("initial-advertise-peer-urls", own.me.peer_url.clone()),
        ("initial-cluster", own.initial_cluster.clone()),
        ("initial-cluster-state", "existing".to_owned()),
        // Go listens on both families there; a name is refused, and an address would be a pin.
        ("listen-client-urls", format!("https://0.0.0.0:{CLIENTS}")),
        ("listen-peer-urls", format!("https://0.0.0.0:{PEERS}")),
    ] {
        flags.insert(flag.to_owned(), value);
    }
    flags
        .entry("listen-metrics-urls".to_owned())
        .or_insert(metrics);
    for flag in ["listen-metrics-urls", "listen-client-http-urls"] {
        if let Some(value) = flags.get_mut(flag) {
            *value = listen::everywhere(value);
        }
    }
    let data = flags
        .get("data-dir")
        .map_or(DATA, String::as_str)
        .to_owned();
    let mut command = vec!["etcd".to_owned()];
    command.extend(
        flags
            .iter()
            .map(|(flag, value)| format!("--{flag}={value}")),
    );

    let theirs = pod.and_then(container);
    let taken = |key: &str| theirs.map(|it| it[key].clone()).filter(|it| !it.is_null());
    let mut container = json!({
        "command": command,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "name": "etcd",
        "env": taken("env").map(|env| theirs::env(&env, &flags)).unwrap_or_default(),
        "ports": taken("ports").map(theirs::ports).unwrap_or_default(),
        "resources": taken("resources").unwrap_or_else(|| json!(
            {"requests": {"cpu": "100m", "ephemeral-storage": "100Mi", "memory": "100Mi"}}
        )),
        "volumeMounts": [
            {"mountPath": data, "name": "etcd-data"},
            {"mountPath": "/etc/kubernetes/pki/etcd", "name": "etcd-certs"},
        ],
    });
    let default = [
        ("livenessProbe", Some(8)),
        ("startupProbe", Some(24)),
        ("readinessProbe", None),
    ];
    for (key, failures) in default {
        let kubeadms = failures.map(probe);
        if let Some(mut probe) = taken(key).or(kubeadms.filter(|_| theirs.is_none())) {
            theirs::lead(key, &mut probe, &container["ports"], &flags)?;
            container[key] = probe;
        }
    }
    for key in ["env", "ports"] {
        if let Some(container) = container.as_object_mut()
            && container[key].as_array().is_none_or(Vec::is_empty)
        {
            container.remove(key);
        }
    }
    if let Some(pod) = pod {
        theirs::refuse(pod, &flags, &container)?;
    }
    let mut spec = json!({
        "containers": [container],
        "hostNetwork": true,
        "priorityClassName": "system-node-critical",
        "volumes": [
            {"hostPath": {"path": "/etc/kubernetes/pki/etcd", "type": "DirectoryOrCreate"}, "name": "etcd-certs"},
            {"hostPath": {"path": data, "type": "DirectoryOrCreate"}, "name": "etcd-data"},
        ],
    });
    for key in ["priorityClassName", "securityContext"] {
        let theirs = pod.map(|pod| &pod["spec"][key]);
        let said = |value: &&Value| !value.is_null() && **value != json!({});
        if let Some(value) = theirs.filter(said) {
            spec[key] = value.clone();
        }
    }
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "annotations": {ETCD_CLIENT_URLS: client_url},
            "labels": {"component": "etcd", "tier": "control-plane"},
            "name": "etcd",
            "namespace": "kube-system",
        },
        "spec": spec,
    }))
}

/// kubeadm's, of 1.20.
fn probe(failures: u8) -> Value {
    json!({
        "failureThreshold": failures,
        "httpGet": {"host": "127.0.0.1", "path": "/health", "port": METRICS, "scheme": "HTTP"},
        "initialDelaySeconds": 10,
        "periodSeconds": 10,
        "timeoutSeconds": 15,
    })
}

/// A JSON value as YAML; keys in their order, which is the alphabet's, as Go writes them.
fn tree(value: &Value) -> Tree {
    match value {
        Value::Null => Tree::Null,
        Value::Bool(flag) => Tree::Bool(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Tree::Integer(number.into()),
            None => Tree::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Tree::String(text.clone()),
        Value::Array(items) => Tree::Sequence(items.iter().map(tree).collect()),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| (key.clone(), tree(value)));
            Tree::Mapping(fields.collect())
        }
    }
}

#[cfg(test)]
mod tests;
