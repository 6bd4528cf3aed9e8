//! Whether an address can change, so that what depends on it breaks: decided here, for all who ask.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::url::{self, Url};
use crate::config::Cluster;

/// The addresses that stay what they are. Loopback and the unspecified address are among them without
/// being listed. Any other one may be a machine's today and nobody's tomorrow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stable {
    /// The masters' stable ones. What a rescue gives back for a while is not among them.
    pub masters: BTreeSet<IpAddr>,
    /// The range of Services.
    pub services: IpNet,
    /// The range of pods, where it is known; no master has an address of it.
    pub pods: Option<IpNet>,
}

impl Stable {
    /// Those of the cluster file.
    pub fn of(cluster: &Cluster) -> Self {
        let stable = cluster.masters.iter().filter_map(|master| master.stable);
        Self {
            masters: stable.map(|address| address.to_canonical()).collect(),
            services: cluster.kubernetes.service_subnet,
            pods: cluster.kubernetes.pod_subnet,
        }
    }

    /// Whether an address can change.
    pub fn can_change(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        !(address.is_loopback()
            || address.is_unspecified()
            || self.services.contains(&address)
            || self.pods.is_some_and(|pods| pods.contains(&address))
            || self.masters.contains(&address))
    }

    /// Whether a host is an address that can change.
    pub fn host_can_change(&self, host: &str) -> bool {
        host.parse().is_ok_and(|address| self.can_change(address))
    }

    /// Whether a URL's host, or that of `HOST:PORT`, is one.
    pub fn url_can_change(&self, url: &str) -> bool {
        Url::read(url).is_some_and(|url| self.host_can_change(url.host))
    }

    /// The addresses in a value that can change, each once, in their order.
    pub fn changing(&self, value: &str) -> Vec<IpAddr> {
        let mut changing = Vec::new();
        for address in url::addresses(value) {
            if self.can_change(address) && !changing.contains(&address) {
                changing.push(address);
            }
        }
        changing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stable() -> Stable {
        Stable {
            masters: ["10.254.0.1".parse().unwrap()].into(),
            services: "10.96.0.0/12".parse().unwrap(),
            pods: Some("10.244.0.0/16".parse().unwrap()),
        }
    }

    #[test]
    fn only_a_machines_address_can_change() {
        for (host, can) in [
            ("10.77.0.11", true),
            ("203.0.113.9", true),
            ("fd77::11", true),
            ("::ffff:10.77.0.11", true),
            ("127.0.0.1", false),
            ("127.0.1.1", false),
            ("::1", false),
            ("0.0.0.0", false),
            ("::", false),
            ("10.96.0.1", false),
            ("10.254.0.1", false),
            ("::ffff:10.254.0.1", false),
            ("10.244.3.4", false),
            ("10.245.3.4", true),
            ("master-1.k8s.internal", false),
            ("", false),
        ] {
            assert_eq!(stable().host_can_change(host), can, "{host}");
            assert_eq!(stable().url_can_change(host), can, "{host}");
            let bracketed = if host.contains(':') {
                format!("[{host}]")
            } else {
                host.to_owned()
            };
            let url = format!("https://{bracketed}:2379/");
            assert_eq!(stable().url_can_change(&url), can, "{url}");
        }
        let without = Stable {
            pods: None,
            ..stable()
        };
        assert!(without.host_can_change("10.244.3.4"));
    }

    #[test]
    fn what_can_change_is_told_once() {
        for (value, want) in [
            ("10.0.0.1:6443", &["10.0.0.1"][..]),
            (
                "a=https://10.0.0.1:2380,b=https://10.0.0.2:2380,c=https://10.0.0.1:2380",
                &["10.0.0.1", "10.0.0.2"],
            ),
            ("::ffff:10.0.0.1", &["10.0.0.1"]),
            ("https://127.0.0.1:2379,https://0.0.0.0:1", &[]),
            ("10.254.0.1:6443", &[]),
            ("10.244.0.0/16", &[]),
        ] {
            let want: Vec<IpAddr> = want.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(stable().changing(value), want, "{value}");
        }
    }
}
