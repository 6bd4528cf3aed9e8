//! The masters of the cluster file: a name and exactly one source of addresses each.

use std::collections::HashMap;
use std::net::IpAddr;

use super::cluster::Master;
use super::names::Reader;
use super::read::{Fields, Value};
use super::report::Located;
use crate::address::{self, Loopback};
use crate::name::Name;
use crate::pki::identity;

/// The keys of which a master has exactly one.
const SOURCES: [&str; 3] = ["address", "addresses", "follow"];

/// A master as far as it could be read.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) name: Option<Name>,
    pub(super) addresses: Vec<Located<IpAddr>>,
    pub(super) follow: Option<Located<Name>>,
    pub(super) stable: Option<Located<IpAddr>>,
    /// One was given that is not usable, which is told.
    pub(super) bad_stable: bool,
}

impl Draft {
    /// Its addresses, the one that never changes behind those that can.
    pub(super) fn all_addresses(&self) -> impl Iterator<Item = &Located<IpAddr>> {
        self.addresses.iter().chain(&self.stable)
    }

    pub(super) fn finish(self) -> Option<Master> {
        Some(Master {
            name: self.name?,
            addresses: self.addresses.into_iter().map(|a| a.value).collect(),
            follow: self.follow.map(|follow| follow.value),
            stable: self.stable.map(|stable| stable.value),
        })
    }
}

impl Reader<'_> {
    /// The masters in the order of the file.
    pub(super) fn masters(&mut self, value: &Value<'_>) -> Vec<Draft> {
        let of = "masters, such as {name: master-1, address: 10.77.0.11}";
        let items = value.list(of, self.report).unwrap_or_default();
        if value.is_empty_list() {
            let message = "is empty; list at least one control-plane node";
            self.report.add(&value.place, message);
        }
        let drafts: Vec<Draft> = items.iter().map(|item| self.master(item)).collect();
        self.check_addresses(&drafts);
        drafts
    }

    fn master(&mut self, item: &Value<'_>) -> Draft {
        let known = ["name", "address", "addresses", "follow", "stable"];
        let Some(fields) = item.fields(&known, self.report) else {
            return Draft::default();
        };
        self.check_sources(&fields, item);
        let stable = fields.get("stable");
        let good_stable = stable.and_then(|value| self.stable(value));
        let name = fields.required("name", "write a label such as master-1", self.report);
        Draft {
            name: name.and_then(|value| self.speaking(value)),
            addresses: self.addresses(&fields),
            follow: fields.get("follow").and_then(|value| self.follow(value)),
            bad_stable: stable.is_some() && good_stable.is_none(),
            stable: good_stable,
        }
    }

    /// A name that leaves room for the one by which the master speaks.
    fn speaking(&mut self, value: &Value<'_>) -> Option<Name> {
        let name = self.own_name(value)?;
        if let Some(domain) = &self.domain
            && identity::name(&name, domain).is_err()
        {
            let message = format!(
                "is too long; a master speaks as {name} with .{} before the domain, which has 253 characters at most",
                identity::LABEL
            );
            self.report.add(&value.place, message);
            return None;
        }
        Some(name)
    }

    fn check_sources(&mut self, fields: &Fields<'_>, item: &Value<'_>) {
        let given: Vec<&str> = SOURCES
            .into_iter()
            .filter(|key| fields.get(key).is_some())
            .collect();
        if given.len() != 1 {
            let found = match given.len() {
                0 => "has no address".to_owned(),
                _ => format!("has {}", given.join(" and ")),
            };
            let message = format!("{found}; give exactly one of address, addresses and follow");
            self.report.add(&item.place, message);
        }
    }

    fn addresses(&mut self, fields: &Fields<'_>) -> Vec<Located<IpAddr>> {
        let mut values: Vec<Value<'_>> = fields.get("address").into_iter().cloned().collect();
        if let Some(value) = fields.get("addresses") {
            let of = "addresses, such as [10.77.0.12, \"fd77::12\"]";
            let items = value.list(of, self.report).unwrap_or_default();
            if value.is_empty_list() {
                let message = "is empty; list at least one address";
                self.report.add(&value.place, message);
            }
            values.extend(items);
        }
        let rules = self.rules;
        let parse = |text: &str| address::parse(text, rules);
        values
            .iter()
            .filter_map(|value| Some(value.located(value.parsed_by(parse, self.report)?)))
            .collect()
    }

    /// Never on loopback's own network, not in a sandbox either: it is routed to.
    fn stable(&mut self, value: &Value<'_>) -> Option<Located<IpAddr>> {
        let parse = |text: &str| address::parse(text, Loopback::Refused);
        let address = value.parsed_by(parse, self.report)?;
        Some(value.located(address))
    }

    fn follow(&mut self, value: &Value<'_>) -> Option<Located<Name>> {
        let name = value.parsed_by(Name::parse, self.report)?;
        if name.is_single_label() {
            let message = format!("'{name}' is a single label; write the whole upstream name");
            self.report.add(&value.place, message);
            return None;
        }
        Some(value.located(name))
    }

    fn check_addresses(&mut self, drafts: &[Draft]) {
        let mut owners: HashMap<IpAddr, &str> = HashMap::new();
        for Located { value, place } in drafts.iter().flat_map(Draft::all_addresses) {
            match owners.get(value) {
                Some(owner) => {
                    let message = format!("{value} is in {owner} already; give each address once");
                    self.report.add(place, message);
                }
                None => {
                    owners.insert(*value, &place.key);
                }
            }
        }
    }

    /// No followed name may lead back to us, and no two masters may follow the same one. Call it
    /// when all names are taken.
    pub(super) fn check_followed(&mut self, drafts: &[Draft]) {
        let mut owners: HashMap<&Name, &str> = HashMap::new();
        for Located { value, place } in drafts.iter().filter_map(|draft| draft.follow.as_ref()) {
            let ours = self.domain.as_ref();
            let inside = ours.filter(|domain| value == *domain || value.is_below(domain));
            if let Some(domain) = inside {
                let message = format!(
                    "'{value}' lies in {domain}, so the master would follow itself; follow a name that another server answers for"
                );
                self.report.add(place, message);
            } else if let Some(owner) = self.owner(value) {
                let message = format!(
                    "'{value}' is {owner}, so the master would follow itself; follow a name that another server answers for"
                );
                self.report.add(place, message);
            } else if let Some(owner) = owners.insert(value, &place.key) {
                let message =
                    format!("'{value}' is followed in {owner} already; follow each name once");
                self.report.add(place, message);
            }
        }
    }
}
