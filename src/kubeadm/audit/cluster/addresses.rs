//! Addresses in what objects say, and what is said of them.

use std::net::IpAddr;

use crate::kubeadm::pin::{Pin, Severity};
use crate::kubeadm::stable::Stable;
use crate::view::View;

/// Whether a master has an address now, or always.
pub(super) fn is_a_masters(address: IpAddr, view: &View) -> bool {
    let mut masters = view.cluster.masters.iter();
    masters.any(|master| {
        master.stable == Some(address) || view.book.addresses(&master.name).contains(&address)
    })
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
        let addresses = Stable::of(&view.cluster).changing(value);
        (!addresses.is_empty()).then(|| self.pin(value, addresses))
    }

    /// The pin of an address that is known to be one.
    pub(super) fn with(self, value: &str, address: IpAddr) -> Pin {
        self.pin(value, vec![address])
    }

    fn pin(self, value: &str, addresses: Vec<IpAddr>) -> Pin {
        Pin {
            severity: self.severity,
            place: self.place,
            line: None,
            what: self.what,
            value: value.to_owned(),
            addresses,
            breaks: self.breaks.to_owned(),
            instead: self.instead,
        }
    }
}
