//! What takes the place of addresses that are to go.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::config::Cluster;
use crate::kubeadm::stable::Stable;
use crate::name::Name;

/// What is known of the cluster's addresses and names.
#[derive(Debug, Clone)]
pub struct Ways {
    /// Which addresses are to go: those that can change.
    pub stable: Stable,
    /// The endpoint's name and HAProxy's port.
    pub endpoint: (Name, u16),
    /// The port of kube-apiserver.
    pub api_port: u16,
    /// etcd's names of its members, which are those of their Nodes, and the masters' names.
    pub members: BTreeMap<String, Name>,
    /// Where masters are or were, as far as that is known.
    pub addresses: BTreeMap<IpAddr, Name>,
}

impl Ways {
    /// What the cluster file says.
    pub fn of(cluster: &Cluster) -> Self {
        let masters = || cluster.masters.iter();
        let given = masters().flat_map(|master| {
            let addresses = master.addresses.iter();
            addresses.map(|address| (*address, master.name.clone()))
        });
        Self {
            stable: Stable::of(cluster),
            endpoint: (cluster.endpoint.name.clone(), cluster.endpoint.port),
            api_port: cluster.kubernetes.api_port,
            members: masters()
                .map(|master| (master.name.label().to_owned(), master.name.clone()))
                .collect(),
            addresses: given.collect(),
        }
    }

    /// Where everybody but a master's own programs finds kube-apiserver.
    pub fn endpoint_url(&self) -> String {
        format!("https://{}:{}", self.endpoint.0, self.endpoint.1)
    }

    /// Where a master's own programs find it.
    pub fn local_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.api_port)
    }
}

#[cfg(test)]
pub(super) fn sample() -> Ways {
    let name = |label: &str| Name::parse(&format!("{label}.k8s.internal")).unwrap();
    let masters = [("master-1", "10.77.0.11"), ("master-2", "10.77.0.12")];
    Ways {
        stable: Stable {
            masters: ["10.254.0.1".parse().unwrap()].into(),
            services: "10.96.0.0/12".parse().unwrap(),
            pods: None,
        },
        endpoint: (name("api"), 8443),
        api_port: 6443,
        members: masters
            .map(|(label, _)| (label.to_owned(), name(label)))
            .into(),
        addresses: masters
            .map(|(label, address)| (address.parse().unwrap(), name(label)))
            .into(),
    }
}
