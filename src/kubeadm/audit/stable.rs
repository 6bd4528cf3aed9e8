//! Which addresses can change, and which there are in a text.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::config::Cluster;

/// The addresses that never change. Loopback and the unspecified address are among them without being
/// listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stable {
    /// The masters' stable ones. What a rescue gives back for a while is not among them.
    pub addresses: BTreeSet<IpAddr>,
    /// The range of Services.
    pub services: IpNet,
}

impl Stable {
    /// Those of the cluster file.
    pub fn of(cluster: &Cluster) -> Self {
        let stable = cluster.masters.iter().filter_map(|master| master.stable);
        Self {
            addresses: stable.map(|address| address.to_canonical()).collect(),
            services: cluster.kubernetes.service_subnet,
        }
    }

    /// Whether an address can change, so that what depends on it breaks.
    pub fn can_change(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        !(address.is_loopback()
            || address.is_unspecified()
            || self.services.contains(&address)
            || self.addresses.contains(&address))
    }

    /// The addresses in a value that can change, each once, in their order.
    pub fn changing(&self, value: &str) -> Vec<IpAddr> {
        let mut changing = Vec::new();
        for address in addresses(value) {
            if self.can_change(address) && !changing.contains(&address) {
                changing.push(address);
            }
        }
        changing
    }
}

/// The addresses in a flag's value, a URL or a list of either: `https://10.0.0.1:2379,m=https://[fd00::1]`.
/// A range (`10.0.0.0/8`) is none.
fn addresses(value: &str) -> impl Iterator<Item = IpAddr> {
    let parts = value.split(|c: char| c == ',' || c == '=' || c.is_whitespace());
    parts.filter_map(address)
}

/// The address of `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]:PORT` or a URL.
fn address(part: &str) -> Option<IpAddr> {
    let host = match part.split_once("://") {
        Some((_, rest)) => rest.split('/').next()?,
        None => part,
    };
    let host = host.rsplit('@').next()?;
    let bare = || host.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address: Option<IpAddr> = host.parse().ok().or_else(bare);
    let with_port = || host.parse().ok().map(|socket: SocketAddr| socket.ip());
    address
        .or_else(with_port)
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_change_is_found_in_values() {
        let stable = Stable {
            addresses: ["10.254.0.1".parse().unwrap()].into(),
            services: "10.96.0.0/12".parse().unwrap(),
        };
        for (value, want) in [
            ("10.0.0.1", &["10.0.0.1"][..]),
            ("10.0.0.1:6443", &["10.0.0.1"]),
            ("https://10.0.0.1:6443", &["10.0.0.1"]),
            ("https://10.0.0.1/path", &["10.0.0.1"]),
            ("https://[fd00::1]:6443", &["fd00::1"]),
            ("https://[fd00::1]", &["fd00::1"]),
            ("fd00::1", &["fd00::1"]),
            ("::ffff:10.0.0.1", &["10.0.0.1"]),
            ("https://user@10.0.0.1:1", &["10.0.0.1"]),
            (
                "a=https://10.0.0.1:2380,b=https://10.0.0.2:2380,c=https://10.0.0.1:2380",
                &["10.0.0.1", "10.0.0.2"],
            ),
            ("localhost,10.0.0.0/8,10.0.0.3 .svc", &["10.0.0.3"]),
            ("https://127.0.0.1:2379,https://0.0.0.0:1", &[]),
            ("::1", &[]),
            ("10.96.0.1", &[]),
            ("10.254.0.1:6443", &[]),
            ("::ffff:10.254.0.1", &[]),
            ("https://master-1.prod.k8s.internal:2379", &[]),
            ("1.20", &[]),
            ("", &[]),
        ] {
            let want: Vec<IpAddr> = want.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(stable.changing(value), want, "{value}");
        }
    }
}
