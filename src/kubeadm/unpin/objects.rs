//! kubeadm's and kube-proxy's `ConfigMap`s without addresses that can change.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::kubeconfigs::{mended, shown};
use super::pins::Ways;
use super::plan::Change;
use super::{cluster_configuration, difference, rollout};
use crate::kubeadm::cluster_status::{self, Places};

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

    /// The keys of the texts in it that name addresses.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Kubeadm => &[cluster_configuration::KEY, cluster_status::KEY],
            Self::ClusterInfo => &["kubeconfig"],
            Self::KubeProxy => &["kubeconfig.conf"],
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

/// Why one is left to a person. Nothing of its text is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} {reason}")]
pub struct Error {
    /// The text within it.
    pub key: &'static str,
    /// What is wrong there.
    pub reason: String,
}

/// What is known of the masters' addresses.
#[derive(Debug, Clone, Copy)]
pub struct Masters<'a> {
    /// Those that are or were a master's.
    pub known: &'a BTreeSet<IpAddr>,
    /// Where each master is, by its Node's name.
    pub places: &'a Places,
}

/// The `ConfigMap` with names, and the masters' current addresses where it has to be addresses; `None` where
/// nothing is to be changed, or it has no such text.
pub fn config_map(
    map: Map,
    found: &Value,
    masters: Masters<'_>,
    ways: &Ways,
) -> Result<Option<Mend>, Error> {
    let place = map.place();
    let mut new = found.clone();
    let mut diff = String::new();
    for key in map.keys().iter().copied() {
        let Some(old) = found["data"][key].as_str() else {
            continue;
        };
        let mended = mended_text(key, old, masters, ways);
        let mended = mended.map_err(|reason| Error { key, reason })?;
        let Some((text, change)) = mended else {
            continue;
        };
        diff += &change;
        new["data"][key] = text.into();
    }
    if new == *found {
        return Ok(None);
    }
    if map == Map::KubeProxy {
        rollout::mark(&mut new);
    }
    Ok(Some(Mend {
        map,
        old: found.clone(),
        new,
        change: Change { place, diff },
    }))
}

/// One of its texts, and what people are shown of the change.
fn mended_text(
    key: &str,
    old: &str,
    masters: Masters<'_>,
    ways: &Ways,
) -> Result<Option<(String, String)>, String> {
    let by_lines = |text: String| (difference::of_texts("", old, &text).diff, text);
    let shown_and_text = match key {
        cluster_configuration::KEY => cluster_configuration::mended(old, masters.known, ways)
            .map_err(|error| error.to_string())?
            .map(by_lines),
        cluster_status::KEY => cluster_status::current(old, masters.places)
            .map_err(|error| error.to_string())?
            .map(by_lines),
        // A kubeconfig: beside the server there may be secrets.
        _ => mended(old, &ways.endpoint_url(), None, ways)
            .map_err(|error| error.to_string())?
            .map(|mended| (shown("", &mended).diff, mended.text.to_string())),
    };
    Ok(shown_and_text.map(|(diff, text)| (text, diff)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubeadm::unpin::pins::sample;

    fn map(map: Map, text: &str) -> Value {
        json!({
            "metadata": {"name": "x", "resourceVersion": "7"},
            "data": {map.keys()[0]: text, "other": "stays"},
        })
    }

    /// Master 1 is at .31 by now.
    fn mend(which: Map, found: &Value) -> Option<Mend> {
        let known = sample().addresses.keys().copied().collect();
        let places = [("node-1".to_owned(), vec!["10.77.0.31".parse().unwrap()])].into();
        let masters = Masters {
            known: &known,
            places: &places,
        };
        config_map(which, found, masters, &sample()).unwrap()
    }

    fn mended_once(which: Map, found: &Value) -> Option<Mend> {
        let mended = mend(which, found)?;
        assert_eq!(mended.new["metadata"]["resourceVersion"], "7");
        assert_eq!(mended.new["data"]["other"], "stays");
        assert_eq!(
            mend(which, &mended.new),
            None,
            "a second run finds something"
        );
        Some(mended)
    }

    #[test]
    fn kubeconfigs_in_config_maps_are_mended_like_files() {
        let old = "apiVersion: v1\nclusters:\n- cluster:\n    server: https://10.77.0.11:6443\n  name: \"\"\n";
        for which in [Map::ClusterInfo, Map::KubeProxy] {
            let want = old.replace("https://10.77.0.11:6443", "https://api.k8s.internal:8443");
            let mended = mended_once(which, &map(which, old)).unwrap();
            assert_eq!(mended.new["data"][which.keys()[0]], want);
            let diff = "-server: https://10.77.0.11:6443\n+server: https://api.k8s.internal:8443\n";
            assert_eq!(mended.change.diff, diff);
            // Its pods are replaced only where it was changed.
            let marked = !mended.new["metadata"]["annotations"].is_null();
            assert_eq!(marked, which == Map::KubeProxy);
        }
        let empty = map(Map::ClusterInfo, "clusters: []\n");
        assert_eq!(mended_once(Map::ClusterInfo, &empty), None);
        for which in Map::ALL {
            assert_eq!(mend(which, &json!({"metadata": {}})), None);
        }
    }

    #[test]
    fn kubeadms_two_texts_are_mended_in_one_go() {
        const CONFIGURATION: &str = "controlPlaneEndpoint: 10.77.0.11:6443\n";
        const STATUS: &str = "apiEndpoints:\n  node-1:\n    advertiseAddress: 10.77.0.11\n    bindPort: 6443\n  node-2:\n    advertiseAddress: 10.77.0.12\n    bindPort: 6443\n";
        let both = |configuration: &str, status: &str| {
            let mut map = map(Map::Kubeadm, configuration);
            map["data"]["ClusterStatus"] = status.into();
            map
        };
        let (named, current) = (
            "controlPlaneEndpoint: api.k8s.internal:8443\n",
            STATUS.replace("10.77.0.11", "10.77.0.31"),
        );
        for (configuration, status) in [
            (CONFIGURATION, STATUS),
            (named, STATUS),
            (CONFIGURATION, current.as_str()),
        ] {
            let mended = mended_once(Map::Kubeadm, &both(configuration, status)).unwrap();
            assert_eq!(mended.new, both(named, &current));
            let diff = mended.change.diff;
            let told = diff.contains("+    advertiseAddress: 10.77.0.31");
            assert_eq!(told, status == STATUS, "{diff}");
            let told = diff.contains("+controlPlaneEndpoint: api.k8s.internal:8443");
            assert_eq!(told, configuration == CONFIGURATION, "{diff}");
        }
        assert_eq!(mended_once(Map::Kubeadm, &both(named, &current)), None);
        let masters = Masters {
            known: &BTreeSet::new(),
            places: &[("node-1".to_owned(), vec!["10.77.0.31".parse().unwrap()])].into(),
        };
        for (bad, place) in [
            (both("a: [", STATUS), "ClusterConfiguration is no YAML"),
            (both(named, "a: ["), "ClusterStatus is no YAML"),
        ] {
            let error = config_map(Map::Kubeadm, &bad, masters, &sample()).unwrap_err();
            assert!(error.to_string().starts_with(place), "{error}");
        }
    }
}
