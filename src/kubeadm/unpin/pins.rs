//! Which addresses are to go, and what takes their place.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::Cluster;
use crate::name::Name;

/// What is known of the cluster's addresses and names.
#[derive(Debug, Clone)]
pub struct Ways {
    /// Addresses that never change, by the cluster file. Those of a rescue are not among them.
    pub stable: BTreeSet<IpAddr>,
    /// The range of Services.
    pub services: IpNet,
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
            stable: masters().filter_map(|master| master.stable).collect(),
            services: cluster.kubernetes.service_subnet,
            endpoint: (cluster.endpoint.name.clone(), cluster.endpoint.port),
            api_port: cluster.kubernetes.api_port,
            members: masters()
                .map(|master| (master.name.label().to_owned(), master.name.clone()))
                .collect(),
            addresses: given.collect(),
        }
    }

    /// Whether an address can change, so that what depends on it breaks.
    pub fn pins(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        !(address.is_loopback()
            || address.is_unspecified()
            || self.services.contains(&address)
            || self.stable.contains(&address))
    }

    /// Whether a URL's host is such an address.
    pub fn url_pins(&self, url: &str) -> bool {
        Url::read(url).is_some_and(|url| self.host_pins(url.host))
    }

    /// The same for a host by itself.
    pub fn host_pins(&self, host: &str) -> bool {
        host.parse().is_ok_and(|address| self.pins(address))
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

/// The parts of a URL such as `https://10.0.0.1:2379`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Url<'a> {
    /// With its colon and slashes; empty where there is none.
    pub scheme: &'a str,
    /// Without the brackets of IPv6.
    pub host: &'a str,
    /// With its colon, and whatever follows; may be empty.
    pub rest: &'a str,
}

impl<'a> Url<'a> {
    /// Takes a URL, or `HOST:PORT`, apart; `None` for what has no host.
    pub fn read(text: &'a str) -> Option<Self> {
        let (scheme, rest) = match text.find("://") {
            Some(at) => text.split_at(at + 3),
            None => ("", text),
        };
        let (host, rest) = match rest.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once(']')?,
            None => rest.split_at(rest.find([':', '/']).unwrap_or(rest.len())),
        };
        (!host.is_empty()).then_some(Self { scheme, host, rest })
    }

    /// The port, if it is given.
    pub fn port(self) -> Option<u16> {
        let rest = self.rest.strip_prefix(':')?;
        rest.split('/').next()?.parse().ok()
    }

    /// The same URL with another host.
    pub fn at(self, host: &str) -> String {
        format!("{}{host}{}", self.scheme, self.rest)
    }
}

#[cfg(test)]
pub(super) fn sample() -> Ways {
    let name = |label: &str| Name::parse(&format!("{label}.k8s.internal")).unwrap();
    let masters = [("master-1", "10.77.0.11"), ("master-2", "10.77.0.12")];
    Ways {
        stable: ["10.254.0.1".parse().unwrap()].into(),
        services: "10.96.0.0/12".parse().unwrap(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_change_pins() {
        for (host, pins) in [
            ("10.77.0.11", true),
            ("203.0.113.9", true),
            ("fd77::11", true),
            ("::ffff:10.77.0.11", true),
            ("127.0.0.1", false),
            ("127.0.1.1", false),
            ("::1", false),
            ("0.0.0.0", false),
            ("10.96.0.1", false),
            ("10.254.0.1", false),
            ("::ffff:10.254.0.1", false),
            ("master-1.k8s.internal", false),
            ("", false),
        ] {
            assert_eq!(sample().host_pins(host), pins, "{host}");
        }
    }

    #[test]
    fn a_url_keeps_all_but_its_host() {
        for (text, host, moved) in [
            ("https://10.0.0.1:2379", "10.0.0.1", "https://m:2379"),
            ("https://[fd00::1]:2379/", "fd00::1", "https://m:2379/"),
            ("http://10.0.0.1", "10.0.0.1", "http://m"),
            ("10.0.0.1:6443", "10.0.0.1", "m:6443"),
            ("10.0.0.1", "10.0.0.1", "m"),
        ] {
            let url = Url::read(text).unwrap();
            assert_eq!((url.host, url.at("m").as_str()), (host, moved));
        }
        for text in ["", "https://", ":6443", "https://[::1"] {
            assert_eq!(Url::read(text), None, "{text}");
        }
    }
}
