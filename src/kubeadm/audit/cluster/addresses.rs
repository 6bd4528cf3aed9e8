//! Addresses in what objects say, and which of them can change.

use std::net::IpAddr;

use crate::kubeadm::pin::{Pin, Severity};
use crate::view::View;

/// Whether an address stays what it is: loopback and the like, a master's stable one, a Service's or a
/// pod's. Any other one may be a machine's today and nobody's tomorrow.
pub(super) fn is_fixed(address: IpAddr, view: &View) -> bool {
    let cluster = &view.cluster;
    let kubernetes = &cluster.kubernetes;
    let mut stable = cluster.masters.iter().filter_map(|master| master.stable);
    address.is_loopback()
        || address.is_unspecified()
        || stable.any(|stable| stable == address)
        || kubernetes.service_subnet.contains(&address)
        || kubernetes
            .pod_subnet
            .is_some_and(|pods| pods.contains(&address))
}

/// Whether a master has an address now, or always.
pub(super) fn is_a_masters(address: IpAddr, view: &View) -> bool {
    let mut masters = view.cluster.masters.iter();
    masters.any(|master| {
        master.stable == Some(address) || view.book.addresses(&master.name).contains(&address)
    })
}

/// The host of a URL, of `HOST:PORT`, or of a host alone; without the brackets of IPv6.
pub(super) fn host(text: &str) -> Option<String> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let rest = rest.split('/').next().unwrap_or(rest);
    if rest.parse::<IpAddr>().is_ok() {
        return Some(rest.to_owned());
    }
    let host = match rest.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => rest.rsplit_once(':').map_or(rest, |(host, _)| host),
    };
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

/// The address in such a text, where it can change.
pub(super) fn changing(text: &str, view: &View) -> Option<IpAddr> {
    let address = host(text)?.parse().ok()?;
    (!is_fixed(address, view)).then_some(address)
}

/// The endpoint as a URL.
pub(super) fn endpoint_url(view: &View) -> String {
    let endpoint = &view.cluster.endpoint;
    format!("https://{}:{}", endpoint.name, endpoint.port)
}

/// What is said of one kind of place.
pub(super) struct Saying {
    pub(super) severity: Severity,
    pub(super) place: String,
    pub(super) what: String,
    pub(super) breaks: &'static str,
    pub(super) instead: String,
}

impl Saying {
    /// The pin, where the value has an address that can change.
    pub(super) fn of(self, value: &str, view: &View) -> Option<Pin> {
        let address = changing(value, view)?;
        Some(self.with(value, address))
    }

    /// The pin of an address that is known to be one.
    pub(super) fn with(self, value: &str, address: IpAddr) -> Pin {
        Pin {
            severity: self.severity,
            place: self.place,
            line: None,
            what: self.what,
            value: value.to_owned(),
            addresses: vec![address],
            breaks: self.breaks.to_owned(),
            instead: self.instead,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn hosts_are_found_in_every_form() {
        for (text, want) in [
            ("https://10.0.0.1:6443", Some("10.0.0.1")),
            ("https://10.0.0.1", Some("10.0.0.1")),
            ("10.0.0.1:6443", Some("10.0.0.1")),
            ("10.0.0.1", Some("10.0.0.1")),
            ("https://[fd00::1]:2379/x", Some("fd00::1")),
            ("[fd00::1]:2379", Some("fd00::1")),
            ("fd00::1", Some("fd00::1")),
            ("https://API.example:6443", Some("api.example")),
            ("api.example", Some("api.example")),
            ("", None),
            (":6443", None),
        ] {
            assert_eq!(host(text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn only_a_machines_address_can_change() {
        let view = sample::three([1, 2, 3]);
        for fixed in [
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "::",
            "10.96.0.1",
            "api.example",
        ] {
            assert_eq!(changing(fixed, &view), None, "{fixed}");
        }
        for other in ["10.77.0.1", "https://192.0.2.7:6443"] {
            assert!(changing(other, &view).is_some(), "{other}");
        }
    }
}
