//! The names of the cluster file: domain, endpoint, masters and aliases.
//!
//! They depend on each other: each is qualified by the domain, no two may be the same, an alias
//! leads to the endpoint or to a master, and no followed name may come back to us. Where the domain
//! itself is wrong, the others are still checked as far as that goes.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use super::cluster::Master;
use super::masters::Draft;
use super::read::{Fields, Value};
use super::report::{Located, Place, Report};
use super::reserved;
use crate::address::Loopback;
use crate::name::Name;

/// What was read; a part is absent where something in it is wrong.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) domain: Option<Name>,
    pub(super) endpoint: Option<Name>,
    pub(super) masters: Option<Vec<Master>>,
    pub(super) aliases: Option<BTreeMap<Name, Name>>,
    domain_place: Place,
    /// Masters whose `stable` is not usable, which is told.
    bad_stable: Vec<Name>,
    /// Of all masters, those that never change included.
    addresses: Vec<Located<IpAddr>>,
}

/// Reads the names; `endpoint` is that section.
pub(super) fn read(
    file: &Fields<'_>,
    endpoint: Option<&Fields<'_>>,
    rules: Loopback,
    report: &mut Report,
) -> Names {
    let domain = file.required("domain", "write one such as prod.k8s.internal", report);
    let domain = domain.and_then(|value| value.parsed_by(reserved::domain, report));
    let mut reader = Reader {
        domain,
        rules,
        taken: HashMap::new(),
        report,
    };
    let endpoint = endpoint.and_then(|section| {
        let value = section.required("name", "write a label such as api", reader.report)?;
        reader.own_name(value)
    });
    let masters = file.required("masters", "list the control-plane nodes", reader.report);
    let drafts = masters.map_or_else(Vec::new, |value| reader.masters(value));
    let aliases = match file.get("aliases") {
        Some(value) if !value.is_null() => reader.aliases(value, endpoint.as_ref(), &drafts),
        _ => Some(BTreeMap::new()),
    };
    reader.check_followed(&drafts);
    let addresses = drafts
        .iter()
        .flat_map(Draft::all_addresses)
        .cloned()
        .collect();
    let bad_stable = drafts.iter().filter(|draft| draft.bad_stable);
    let bad_stable = bad_stable.filter_map(|draft| draft.name.clone()).collect();
    let masters = drafts.into_iter().map(Draft::finish).collect();
    Names {
        domain: reader.domain,
        endpoint,
        masters,
        aliases,
        domain_place: file.at("domain"),
        bad_stable,
        addresses,
    }
}

impl Names {
    /// A master's address must not be a Service's.
    pub(super) fn check_service_subnet(&self, range: Option<IpNet>, report: &mut Report) {
        for address in &self.addresses {
            if let Some(range) = range.filter(|range| range.contains(&address.value)) {
                let message = format!(
                    "{} lies within kubernetes.serviceSubnet {range}; give the machine's own address or the right range",
                    address.value
                );
                report.add(&address.place, message);
            }
        }
    }

    /// The masters' addresses that lie within a range.
    pub(super) fn addresses_within(&self, range: IpNet) -> impl Iterator<Item = IpAddr> {
        let addresses = self.addresses.iter().map(|address| address.value);
        addresses.filter(move |address| range.contains(address))
    }

    /// Whether nothing is said yet about a master's stable address.
    pub(super) fn lacks_stable(&self, master: &Master) -> bool {
        master.stable.is_none() && !self.bad_stable.contains(&master.name)
    }

    /// A stable address is reached by way of a current one, of the same family. What a followed name
    /// says is not known here.
    pub(super) fn check_families(&self, report: &mut Report) {
        for master in self.masters.iter().flatten() {
            let Some(stable) = master.stable else {
                continue;
            };
            let mut current = master.addresses.iter();
            if master.follow.is_some() || current.any(|it| it.is_ipv6() == stable.is_ipv6()) {
                continue;
            }
            let family = if stable.is_ipv6() { "IPv6" } else { "IPv4" };
            let message = format!(
                "{stable} cannot be reached: {} has no {family} address; give stable and current ones of the same family",
                master.name.label()
            );
            let place = self.addresses.iter().find(|it| it.value == stable);
            report.add(place.map_or(&self.domain_place, |it| &it.place), message);
        }
    }

    /// The cluster's own DNS answers for `dns_domain`, stayput for the domain.
    pub(super) fn check_dns_domain(&self, dns_domain: Option<&Name>, report: &mut Report) {
        if let (Some(inner), Some(domain)) = (dns_domain, &self.domain)
            && (inner == domain || inner.is_below(domain) || domain.is_below(inner))
        {
            let message = format!(
                "overlaps with kubernetes.dnsDomain {inner}, which the cluster's own DNS answers for; choose one beside it"
            );
            report.add(&self.domain_place, message);
        }
    }
}

/// What the readers of the file's names share.
pub(super) struct Reader<'r> {
    pub(super) domain: Option<Name>,
    pub(super) rules: Loopback,
    pub(super) report: &'r mut Report,
    /// Names in use, with the key that took each.
    taken: HashMap<Name, String>,
}

impl Reader<'_> {
    /// The endpoint's or a master's name, fully qualified.
    pub(super) fn own_name(&mut self, value: &Value<'_>) -> Option<Name> {
        let name = value.parsed_by(Name::parse, self.report)?;
        let name = self.qualify(name, &value.place)?;
        self.take(name, &value.place)
    }

    /// A label becomes a name below the domain; a whole name must lie there already.
    pub(super) fn qualify(&mut self, name: Name, place: &Place) -> Option<Name> {
        let Some(domain) = &self.domain else {
            return Some(name);
        };
        if name.is_single_label() {
            return self.report.take(place, name.below(domain));
        }
        if !name.is_below(domain) {
            let label = name.label();
            let message = format!("'{name}' is not below {domain}; write a label such as {label}");
            self.report.add(place, message);
            return None;
        }
        Some(name)
    }

    /// Takes a qualified name, unless it is taken or reserved.
    pub(super) fn take(&mut self, name: Name, place: &Place) -> Option<Name> {
        if let Err(message) = reserved::check(&name, self.domain.as_ref()) {
            self.report.add(place, message);
            return None;
        }
        if let Some(owner) = self.taken.get(&name) {
            let message = format!("'{name}' is taken by {owner}; each name may occur once");
            self.report.add(place, message);
            return None;
        }
        self.taken.insert(name.clone(), place.key.clone());
        Some(name)
    }

    /// The key that took a name.
    pub(super) fn owner(&self, name: &Name) -> Option<&str> {
        self.taken.get(name).map(String::as_str)
    }
}
