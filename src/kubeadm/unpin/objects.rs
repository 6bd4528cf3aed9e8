//! The cluster's own objects without addresses: kubeadm's and kube-proxy's `ConfigMap`s, and kube-proxy's
//! pods, which read theirs only when they start.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::difference;
use super::kubeconfigs::{self, Error, mended, shown};
use super::pins::Ways;
use super::plan::Change;
use crate::kubeadm::url::Url;
use crate::yaml::{self, At, Tree};

/// kube-proxy's pods.
pub const DAEMON_SET: &str = "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy";
/// Its pods, as kubeadm labels them.
pub const PODS: &str = "/api/v1/namespaces/kube-system/pods?labelSelector=k8s-app%3Dkube-proxy";

/// On kube-proxy's `ConfigMap`, when it was changed here: which contents its pods have to have started
/// with. On the pods' template: which they do. As `kubectl rollout restart` does, a new value in the
/// template replaces the pods one by one.
pub const ROLLED: &str = "stayput/kube-proxy-config";

/// A `ConfigMap` that kubeadm makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Map {
    /// What `kubeadm upgrade` and `kubeadm join` read back.
    Kubeadm,
    /// What a joining node learns first.
    ClusterInfo,
    /// kube-proxy's kubeconfig.
    KubeProxy,
}

impl Map {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Kubeadm, Self::ClusterInfo, Self::KubeProxy];

    /// Its path in the API.
    pub fn path(self) -> String {
        let (namespace, name) = self.name();
        format!("/api/v1/namespaces/{namespace}/configmaps/{name}")
    }

    /// What people call it.
    pub fn place(self) -> String {
        let (namespace, name) = self.name();
        format!("ConfigMap {namespace}/{name}")
    }

    fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::Kubeadm => ("kube-system", "kubeadm-config"),
            Self::ClusterInfo => ("kube-public", "cluster-info"),
            Self::KubeProxy => ("kube-system", "kube-proxy"),
        }
    }

    /// The key of the text in it that names the server.
    fn key(self) -> &'static str {
        match self {
            Self::Kubeadm => "ClusterConfiguration",
            Self::ClusterInfo => "kubeconfig",
            Self::KubeProxy => "kubeconfig.conf",
        }
    }
}

/// A `ConfigMap` to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Mend {
    /// Which.
    pub map: Map,
    /// As it was read.
    pub old: Value,
    /// As it is to be, with the `resourceVersion` that was read.
    pub new: Value,
    /// For people.
    pub change: Change,
}

/// The `ConfigMap` with names, or `None` where it pins nothing, or has no such text. `masters` are
/// addresses that are or were a master's.
pub fn config_map(
    map: Map,
    found: &Value,
    masters: &BTreeSet<IpAddr>,
    ways: &Ways,
) -> Result<Option<Mend>, Error> {
    let Some(old) = found["data"][map.key()].as_str() else {
        return Ok(None);
    };
    let place = map.place();
    let mended = match map {
        Map::Kubeadm => cluster_configuration(old, masters, ways)?
            .map(|text| (difference::of_texts(&place, old, &text), text)),
        Map::ClusterInfo | Map::KubeProxy => mended(old, &ways.endpoint_url(), None, ways)?
            .map(|mended| (shown(&place, &mended), mended.text.to_string())),
    };
    let Some((change, text)) = mended else {
        return Ok(None);
    };
    let mut new = found.clone();
    new["data"][map.key()] = text.into();
    if map == Map::KubeProxy {
        let digest = format!("{:016x}", digest(&new["data"]));
        new["metadata"]["annotations"][ROLLED] = digest.into();
    }
    Ok(Some(Mend {
        map,
        old: found.clone(),
        new,
        change,
    }))
}

/// kubeadm's `ClusterConfiguration` with the endpoint's name as `controlPlaneEndpoint`, where that is an
/// address, or nothing. A name that somebody else keeps true stays. An address that is no master's, such
/// as a load balancer's, stays in kube-apiserver's certificates: it is asked for by `certSANs` from now on.
fn cluster_configuration(
    text: &str,
    masters: &BTreeSet<IpAddr>,
    ways: &Ways,
) -> Result<Option<String>, Error> {
    const KEY: &str = "controlPlaneEndpoint";
    let tree = kubeconfigs::parse(text)?;
    let endpoint = format!("{}:{}", ways.endpoint.0, ways.endpoint.1);
    let field = At::top(&tree).field(KEY);
    let Some(field) = field else {
        let added = added(text, &tree, KEY, &endpoint);
        return added.map(Some).ok_or(Error::Unchangeable(1));
    };
    let old = field.text().unwrap_or_default();
    let host = Url::read(old).map_or("", |url| url.host);
    if !old.is_empty() && !ways.stable.host_can_change(host) {
        return Ok(None);
    }
    let line = yaml::locate(text, &field.spot).map_or(1, |place| place.line);
    let new = yaml::replaced(text, &tree, &field.spot, &endpoint);
    let (new, _) = new.ok_or(Error::Unchangeable(line))?;
    let foreign = host.parse().ok().map(|host: IpAddr| host.to_canonical());
    match foreign.filter(|host| !masters.contains(host)) {
        Some(host) => asking_for(&new, host)
            .map(Some)
            .ok_or(Error::Unchangeable(line)),
        None => Ok(Some(new)),
    }
}

/// A `ClusterConfiguration` that asks for an address in kube-apiserver's certificates. It is written anew
/// where it does not yet: kubeadm does so too.
fn asking_for(text: &str, address: IpAddr) -> Option<String> {
    let mut tree = yaml::parse(text).ok()?;
    let names = entry(
        entry(&mut tree, "apiServer", || Tree::Mapping(Vec::new()))?,
        "certSANs",
        || Tree::Sequence(Vec::new()),
    )?;
    if matches!(names, Tree::Null) {
        *names = Tree::Sequence(Vec::new());
    }
    let Tree::Sequence(names) = names else {
        return None;
    };
    let is_it = |name: &Tree| matches!(name, Tree::String(name) if name.parse() == Ok(address));
    if names.iter().any(is_it) {
        return Some(text.to_owned());
    }
    names.push(Tree::String(address.to_string()));
    let outcome = yaml::write(&tree);
    (yaml::parse(&outcome).ok()? == tree).then_some(outcome)
}

/// A mapping's value of a key, which is put there if it is not.
fn entry<'a>(tree: &'a mut Tree, key: &str, empty: fn() -> Tree) -> Option<&'a mut Tree> {
    if matches!(tree, Tree::Null) {
        *tree = Tree::Mapping(Vec::new());
    }
    let Tree::Mapping(entries) = tree else {
        return None;
    };
    if let Some(index) = entries.iter().position(|(name, _)| name == key) {
        return entries.get_mut(index).map(|(_, value)| value);
    }
    let index = entries.iter().position(|(name, _)| name.as_str() > key);
    let index = index.unwrap_or(entries.len());
    entries.insert(index, (key.to_owned(), empty()));
    entries.get_mut(index).map(|(_, value)| value)
}

/// A mapping's text with one more key, where the order of keys asks for it.
fn added(text: &str, tree: &Tree, key: &str, value: &str) -> Option<String> {
    let Tree::Mapping(entries) = tree else {
        return None;
    };
    let index = entries.iter().position(|(other, _)| other.as_str() > key);
    let at = match index {
        Some(index) => {
            let spot = yaml::Spot::default().child(index).key();
            yaml::offset(text, yaml::locate(text, &spot)?)?
        }
        None => text.len(),
    };
    let (before, behind) = text.split_at(at);
    let end = match before {
        "" => "",
        before if before.ends_with('\n') => "",
        _ if index.is_none() => "\n",
        _ => return None,
    };
    let outcome = format!("{before}{end}{key}: {value}\n{behind}");
    let mut wanted = entries.clone();
    let place = index.unwrap_or(entries.len());
    wanted.insert(place, (key.to_owned(), Tree::String(value.to_owned())));
    (yaml::parse(&outcome).ok()? == Tree::Mapping(wanted)).then_some(outcome)
}

fn digest(data: &Value) -> u64 {
    let digest = Sha256::digest(data.to_string().as_bytes());
    let short = digest.iter().take(8);
    short.fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
}

/// How far kube-proxy's pods are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rollout {
    /// All have read what their `ConfigMap` holds, as far as it was changed here.
    Done,
    /// The template has to be changed like this (RFC 7396).
    Patch(Value),
    /// These nodes' pods are still to be replaced.
    Waits(Vec<String>),
}

/// What is left to do, by the `ConfigMap`, the `DaemonSet` and its pods; not on nodes that are left out.
pub fn rollout(
    map: Option<&Value>,
    set: Option<&Value>,
    pods: &[Value],
    without: &BTreeSet<String>,
) -> Rollout {
    let wanted = map.and_then(annotation);
    let (Some(wanted), Some(set)) = (wanted, set) else {
        return Rollout::Done;
    };
    if annotation(&set["spec"]["template"]) != Some(wanted) {
        return Rollout::Patch(json!({
            "spec": {"template": {"metadata": {"annotations": {ROLLED: wanted}}}}
        }));
    }
    let is_ready = |pod: &&Value| {
        let conditions = pod["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        let ready = conditions.any(|it| it["type"] == "Ready" && it["status"] == "True");
        ready && annotation(pod) == Some(wanted) && pod["metadata"]["deletionTimestamp"].is_null()
    };
    let node = |pod: &Value| pod["spec"]["nodeName"].as_str().unwrap_or("?").to_owned();
    let counts = |name: &String| !without.contains(name);
    let all: BTreeSet<String> = pods.iter().map(node).filter(counts).collect();
    let ready: BTreeSet<String> = pods
        .iter()
        .filter(is_ready)
        .map(node)
        .filter(counts)
        .collect();
    let mut waits: Vec<String> = all.difference(&ready).cloned().collect();
    let count = |field: &Value| {
        field
            .as_u64()
            .and_then(|it| usize::try_from(it).ok())
            .unwrap_or(0)
    };
    let desired = count(&set["status"]["desiredNumberScheduled"]);
    let seen =
        set["status"]["observedGeneration"].as_u64() >= set["metadata"]["generation"].as_u64();
    if waits.is_empty() && (!seen || ready.len() + without.len() < desired) {
        waits.push("some".to_owned());
    }
    if waits.is_empty() {
        Rollout::Done
    } else {
        Rollout::Waits(waits)
    }
}

fn annotation(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][ROLLED].as_str()
}

/// Addresses that kubeadm's configuration asks for in certificates: of kube-apiserver, of etcd's server
/// and of its peers. A person wanted them there, so they stay.
pub fn wanted_addresses(kubeadm: &Value) -> Result<[Vec<IpAddr>; 3], Error> {
    let text = kubeadm["data"][Map::Kubeadm.key()].as_str();
    let tree = kubeconfigs::parse(text.unwrap_or_default())?;
    let top = At::top(&tree);
    let list = |path: &[&str]| {
        let names = top.path(path);
        let names = names.iter().flat_map(At::items);
        names.filter_map(|name| name.text()?.parse().ok()).collect()
    };
    Ok([
        list(&["apiServer", "certSANs"]),
        list(&["etcd", "local", "serverCertSANs"]),
        list(&["etcd", "local", "peerCertSANs"]),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubeadm::unpin::pins::sample;

    const CLUSTER: &str = "apiServer:\n  certSANs:\n  - 203.0.113.9\n  - a.example\napiVersion: kubeadm.k8s.io/v1beta2\nclusterName: kubernetes\ncontrollerManager: {}\nkind: ClusterConfiguration\n";

    fn map(map: Map, text: &str) -> Value {
        json!({
            "metadata": {"name": "x", "resourceVersion": "7"},
            "data": {map.key(): text, "other": "stays"},
        })
    }

    fn masters() -> BTreeSet<IpAddr> {
        sample().addresses.keys().copied().collect()
    }

    /// The text afterwards.
    fn text(which: Map, text: &str) -> Option<String> {
        let mend = config_map(which, &map(which, text), &masters(), &sample()).unwrap()?;
        assert_eq!(mend.new["metadata"]["resourceVersion"], "7");
        assert_eq!(mend.new["data"]["other"], "stays");
        let again = config_map(which, &mend.new, &masters(), &sample()).unwrap();
        assert_eq!(again, None, "a second run finds something");
        Some(mend.new["data"][which.key()].as_str().unwrap().to_owned())
    }

    #[test]
    fn the_endpoint_goes_where_the_order_of_keys_has_it() {
        let line = "controlPlaneEndpoint: api.k8s.internal:8443\n";
        let want = CLUSTER.replace("controllerManager", &format!("{line}controllerManager"));
        assert_eq!(text(Map::Kubeadm, CLUSTER).unwrap(), want);
        let last = "apiVersion: kubeadm.k8s.io/v1beta3";
        assert_eq!(text(Map::Kubeadm, last).unwrap(), format!("{last}\n{line}"));
        for old in ["10.77.0.11:6443", "\"\"", "10.77.0.11"] {
            let given = want.replace("api.k8s.internal:8443", old);
            let new = text(Map::Kubeadm, &given).unwrap().replace('"', "");
            assert_eq!(new, want, "{old}");
        }
        for stays in ["api.k8s.internal:8443", "k8s.example.com:6443"] {
            let given = want.replace("api.k8s.internal:8443", stays);
            assert_eq!(text(Map::Kubeadm, &given), None, "{stays}");
        }
    }

    #[test]
    fn a_load_balancer_stays_in_the_certificates() {
        let vip: IpAddr = "10.77.0.100".parse().unwrap();
        for server in [
            "apiServer:\n  certSANs:\n  - 203.0.113.9\n  timeoutForControlPlane: 4m0s\n",
            "apiServer:\n  timeoutForControlPlane: 4m0s\n",
            "apiServer: {}\n",
            "apiServer:\n",
            "",
        ] {
            let old = format!(
                "{server}apiVersion: kubeadm.k8s.io/v1beta2\ncontrolPlaneEndpoint: {vip}:6443\nkubernetesVersion: \"1.20\"\n"
            );
            let new = text(Map::Kubeadm, &old).unwrap();
            let [api, ..] = wanted_addresses(&map(Map::Kubeadm, &new)).unwrap();
            assert!(api.contains(&vip), "{new}");
            assert_eq!(api.len(), 1 + usize::from(server.contains("203")), "{new}");
            let tree = yaml::parse(&new).unwrap();
            let at = |key| {
                At::top(&tree)
                    .field(key)
                    .and_then(|it| it.text().map(str::to_owned))
            };
            assert_eq!(at("controlPlaneEndpoint").unwrap(), "api.k8s.internal:8443");
            assert_eq!(at("kubernetesVersion").unwrap(), "1.20");
            assert_eq!(new.contains("4m0s"), server.contains("4m0s"));
        }
        // One that is asked for already is asked for once, and the text stays as it was.
        let old = CLUSTER.replace(
            "controllerManager",
            "controlPlaneEndpoint: 203.0.113.9:6443\ncontrollerManager",
        );
        let want = old.replace("203.0.113.9:6443", "api.k8s.internal:8443");
        assert_eq!(text(Map::Kubeadm, &old).unwrap(), want);
    }

    #[test]
    fn kubeconfigs_in_config_maps_are_mended_like_files() {
        let old = "apiVersion: v1\nclusters:\n- cluster:\n    server: https://10.77.0.11:6443\n  name: \"\"\n";
        for which in [Map::ClusterInfo, Map::KubeProxy] {
            let want = old.replace("https://10.77.0.11:6443", "https://api.k8s.internal:8443");
            assert_eq!(text(which, old).unwrap(), want);
        }
        assert_eq!(text(Map::ClusterInfo, "clusters: []\n"), None);
        let nothing = json!({"metadata": {}});
        assert_eq!(
            config_map(Map::KubeProxy, &nothing, &masters(), &sample()).unwrap(),
            None
        );
    }

    #[test]
    fn kube_proxy_is_rolled_out_once_after_its_map_was_changed() {
        let old = "clusters:\n- cluster:\n    server: https://10.77.0.11:6443\n";
        let before = map(Map::KubeProxy, old);
        let mend = config_map(Map::KubeProxy, &before, &masters(), &sample())
            .unwrap()
            .unwrap();
        let none = BTreeSet::new();
        let mut set = json!({
            "metadata": {"generation": 1},
            "spec": {"template": {"metadata": {}}},
            "status": {"observedGeneration": 1, "desiredNumberScheduled": 2},
        });
        // What was never changed here restarts nothing.
        assert_eq!(
            rollout(Some(&before), Some(&set), &[], &none),
            Rollout::Done
        );
        assert_eq!(rollout(Some(&mend.new), None, &[], &none), Rollout::Done);
        let Rollout::Patch(patch) = rollout(Some(&mend.new), Some(&set), &[], &none) else {
            panic!("no patch");
        };
        set["spec"]["template"]["metadata"] = patch["spec"]["template"]["metadata"].clone();
        set["metadata"]["generation"] = 2.into();
        let pod = |node: &str, new: bool, ready: &str| {
            let annotation = if new {
                &mend.new["metadata"]["annotations"][ROLLED]
            } else {
                &Value::Null
            };
            json!({
                "metadata": {"annotations": {ROLLED: annotation}},
                "spec": {"nodeName": node},
                "status": {"conditions": [{"type": "Ready", "status": ready}]},
            })
        };
        let look = |set: &Value, pods: &[Value], without: &BTreeSet<String>| match rollout(
            Some(&mend.new),
            Some(set),
            pods,
            without,
        ) {
            Rollout::Waits(nodes) => nodes.join(" "),
            Rollout::Done => "done".to_owned(),
            Rollout::Patch(_) => "patch".to_owned(),
        };
        let both = [pod("a", true, "True"), pod("b", true, "True")];
        // The controller has not seen the change yet.
        assert_eq!(look(&set, &both, &none), "some");
        set["status"]["observedGeneration"] = 2.into();
        assert_eq!(look(&set, &both, &none), "done");
        assert_eq!(look(&set, &both[..1], &none), "some");
        let old = [pod("a", true, "True"), pod("b", false, "True")];
        assert_eq!(look(&set, &old, &none), "b");
        let starting = [pod("a", true, "False"), pod("b", true, "True")];
        assert_eq!(look(&set, &starting, &none), "a");
        assert_eq!(look(&set, &old, &["b".to_owned()].into()), "done");
    }

    #[test]
    fn addresses_that_kubeadm_was_asked_for_are_known() {
        let text = format!("{CLUSTER}etcd:\n  local:\n    serverCertSANs: [10.1.1.1, x]\n");
        let [api, server, peer] = wanted_addresses(&map(Map::Kubeadm, &text)).unwrap();
        assert_eq!(api, ["203.0.113.9".parse::<IpAddr>().unwrap()]);
        assert_eq!(server, ["10.1.1.1".parse::<IpAddr>().unwrap()]);
        assert!(peer.is_empty());
        assert!(
            wanted_addresses(&json!({}))
                .unwrap()
                .iter()
                .all(Vec::is_empty)
        );
    }
}
