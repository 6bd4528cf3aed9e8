//! The other nodes, and what each says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::Value;

use super::Look;
use crate::kubeadm::cluster_status;
use crate::kubeadm::unpin::error::Error;
use crate::kubeadm::unpin::plan::Other;
use crate::kubeadm::unpin::site::Here;
use crate::kubeadm::unpin::stage::{ANNOTATION, Record};
use crate::name::Name;

impl Look {
    /// The other nodes, and what they say.
    pub(super) fn nodes(&mut self, here: &Here, nodes: Vec<Value>) -> Result<(), Error> {
        let name_of = |node: &Value| {
            node["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let masters = nodes.iter().filter(|node| is_control_plane(node));
        self.masters.extend(masters.flat_map(internal_addresses));
        let mut left: BTreeMap<String, Option<Record>> = nodes
            .iter()
            .map(|node| (name_of(node), record(node)))
            .collect();
        let mut known: BTreeSet<String> = left.keys().cloned().collect();
        left.remove(here.node.kubernetes_name.as_str());
        for master in &here.cluster.masters {
            let own = here.names_of(&master.name);
            known.extend(own.map(str::to_owned));
            let mine = here.node.master() == Some(&master.name);
            let node = node_of(&left, &master.name).filter(|_| !mine);
            if let Some(node) = &node {
                let book = here.book.addresses(&master.name);
                let addresses = cluster_status::addresses(&here.cluster, master, book);
                self.places.insert(node.clone(), addresses);
            }
            let record = node.as_ref().and_then(|node| left.remove(node)).flatten();
            let called = own.into_iter().chain(node.as_deref());
            self.facts.masters.push(Other {
                name: master.name.to_string(),
                record,
                without: here.is_left_out(called),
                serves_names: None,
            });
        }
        self.facts.workers = left
            .into_iter()
            .map(|(name, record)| Other {
                without: here.is_left_out([name.as_str()]),
                name,
                record,
                serves_names: None,
            })
            .collect();
        let mut unknown = here.without.difference(&known);
        unknown
            .next()
            .map_or(Ok(()), |name| Err(Error::Unknown(name.clone())))
    }
}

/// What a Node says of itself.
pub(super) fn record(node: &Value) -> Option<Record> {
    let text = node["metadata"]["annotations"][ANNOTATION].as_str()?;
    let mut record = Record::read(text)?;
    // A worker's kubelet may annotate its own Node, but not label it as a master.
    if !is_control_plane(node) {
        record.master = None;
    }
    Some(record)
}

/// Whether kubeadm has labelled a Node as a master.
fn is_control_plane(node: &Value) -> bool {
    let labels = &node["metadata"]["labels"];
    let is = |role: &str| !labels[format!("node-role.kubernetes.io/{role}")].is_null();
    is("control-plane") || is("master")
}

/// The addresses at which a Node is reached within the cluster.
pub fn internal_addresses(node: &Value) -> Vec<IpAddr> {
    let all = node["status"]["addresses"].as_array();
    let all = all.into_iter().flatten();
    let internal = all.filter(|it| it["type"] == "InternalIP");
    internal
        .filter_map(|it| it["address"].as_str()?.parse().ok())
        .collect()
}

/// The Node of a master: the one that says so, else the one of its name.
fn node_of(nodes: &BTreeMap<String, Option<Record>>, master: &Name) -> Option<String> {
    let says = |record: &Option<Record>| {
        let record = record.as_ref();
        record.and_then(|it| it.master.as_ref()) == Some(master)
    };
    let by_word = nodes.iter().find(|(_, record)| says(record));
    let by_name = || {
        nodes
            .get_key_value(master.label())
            .or_else(|| nodes.get_key_value(master.as_str()))
    };
    by_word.or_else(by_name).map(|(name, _)| name.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubeadm::unpin::stage::Stage;

    #[test]
    fn only_a_master_s_node_is_believed_to_be_one() {
        let said = r#"{"at":null,"done":"peer","master":"master-1.k8s.internal"}"#;
        let node = |label: &str| {
            json!({
                "metadata": {"annotations": {ANNOTATION: said}, "labels": {label: ""}},
                "status": {"addresses": [
                    {"type": "Hostname", "address": "w"},
                    {"type": "InternalIP", "address": "10.77.0.11"},
                ]},
            })
        };
        for (label, is) in [
            ("node-role.kubernetes.io/control-plane", true),
            ("node-role.kubernetes.io/master", true),
            ("kubernetes.io/os", false),
        ] {
            let record = record(&node(label)).unwrap();
            assert_eq!(record.master.is_some(), is, "{label}");
            assert_eq!(record.done, Some(Stage::Peer));
        }
        let address: IpAddr = "10.77.0.11".parse().unwrap();
        assert_eq!(internal_addresses(&node("x")), [address]);
        assert!(internal_addresses(&json!({})).is_empty());
    }
}
