//! kubeadm's `ClusterConfiguration` by names, and the addresses that it asks for in certificates.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::kubeconfigs::{self, Error};
use super::pins::Ways;
use crate::kubeadm::url::Url;
use crate::yaml::{self, At, Tree};

/// Its key in the `ConfigMap` `kube-system/kubeadm-config`.
pub const KEY: &str = "ClusterConfiguration";
const ENDPOINT: &str = "controlPlaneEndpoint";

/// kubeadm's `ClusterConfiguration` with the endpoint's name as `controlPlaneEndpoint`, where that is an
/// address, or nothing. A name that somebody else keeps true stays. An address that is no master's, such
/// as a load balancer's, stays in kube-apiserver's certificates: it is asked for by `certSANs` from now on.
pub fn mended(
    text: &str,
    masters: &BTreeSet<IpAddr>,
    ways: &Ways,
) -> Result<Option<String>, Error> {
    let tree = kubeconfigs::parse(text)?;
    let endpoint = format!("{}:{}", ways.endpoint.0, ways.endpoint.1);
    let field = At::top(&tree).field(ENDPOINT);
    let Some(field) = field else {
        let added = added(text, &tree, ENDPOINT, &endpoint);
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

/// Addresses that kubeadm's configuration asks for in certificates: of kube-apiserver, of etcd's server
/// and of its peers. A person wanted them there, so they stay.
pub fn wanted_addresses(kubeadm: &Value) -> Result<[Vec<IpAddr>; 3], Error> {
    let text = kubeadm["data"][KEY].as_str();
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
    use serde_json::json;

    use super::*;
    use crate::kubeadm::unpin::pins::sample;

    const CLUSTER: &str = "apiServer:\n  certSANs:\n  - 203.0.113.9\n  - a.example\napiVersion: kubeadm.k8s.io/v1beta2\nclusterName: kubernetes\ncontrollerManager: {}\nkind: ClusterConfiguration\n";

    /// The text afterwards.
    fn text(text: &str) -> Option<String> {
        let masters = sample().addresses.keys().copied().collect();
        let new = mended(text, &masters, &sample()).unwrap()?;
        let again = mended(&new, &masters, &sample()).unwrap();
        assert_eq!(again, None, "a second run finds something");
        Some(new)
    }

    fn asked_for(text: &str) -> [Vec<IpAddr>; 3] {
        wanted_addresses(&json!({"data": {KEY: text}})).unwrap()
    }

    #[test]
    fn the_endpoint_goes_where_the_order_of_keys_has_it() {
        let line = "controlPlaneEndpoint: api.k8s.internal:8443\n";
        let want = CLUSTER.replace("controllerManager", &format!("{line}controllerManager"));
        assert_eq!(text(CLUSTER).unwrap(), want);
        let last = "apiVersion: kubeadm.k8s.io/v1beta3";
        assert_eq!(text(last).unwrap(), format!("{last}\n{line}"));
        for old in ["10.77.0.11:6443", "\"\"", "10.77.0.11"] {
            let given = want.replace("api.k8s.internal:8443", old);
            let new = text(&given).unwrap().replace('"', "");
            assert_eq!(new, want, "{old}");
        }
        for stays in ["api.k8s.internal:8443", "k8s.example.com:6443"] {
            let given = want.replace("api.k8s.internal:8443", stays);
            assert_eq!(text(&given), None, "{stays}");
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
            let new = text(&old).unwrap();
            let [api, ..] = asked_for(&new);
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
        assert_eq!(text(&old).unwrap(), want);
    }

    #[test]
    fn addresses_that_kubeadm_was_asked_for_are_known() {
        let text = format!("{CLUSTER}etcd:\n  local:\n    serverCertSANs: [10.1.1.1, x]\n");
        let [api, server, peer] = asked_for(&text);
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
