//! The aliases of the cluster file: other names for the endpoint or a master.
//!
//! An alias that is a single label, or that lies below the domain, belongs to the domain and is a
//! CNAME there; any other is known to the hosts file and to certificates only. None leads to
//! another alias: a chain would say nothing more, and could be a loop.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::masters::Draft;
use super::names::Reader;
use super::read::Value;
use super::report::Place;
use crate::name::Name;

/// How many targets a message lists.
const LISTED_TARGETS: usize = 8;

impl Reader<'_> {
    /// Alias → what it stands for, both fully qualified. The endpoint and the masters are taken
    /// already.
    pub(super) fn aliases(
        &mut self,
        value: &Value<'_>,
        endpoint: Option<&Name>,
        masters: &[Draft],
    ) -> Option<BTreeMap<Name, Name>> {
        let of = "aliases, such as {k8s.example.com: api}";
        let entries = value.entries(of, self.report)?;
        let names: Vec<Option<Name>> = entries
            .iter()
            .map(|(key, value)| self.alias(key, &value.place.key_itself()))
            .collect();
        let targets = Targets {
            known: endpoint
                .into_iter()
                .chain(masters.iter().filter_map(|draft| draft.name.as_ref()))
                .collect(),
            complete: endpoint.is_some() && masters.iter().all(|draft| draft.name.is_some()),
            aliases: names.iter().flatten().collect(),
        };
        let resolved: Vec<Option<Name>> = entries
            .iter()
            .map(|(_, value)| self.target(value, &targets))
            .collect();
        let pairs = names.into_iter().zip(resolved);
        pairs.map(|(name, target)| name.zip(target)).collect()
    }

    fn alias(&mut self, key: &str, place: &Place) -> Option<Name> {
        let name = self.report.take(place, Name::parse(key))?;
        let name = self.below_domain(name, place)?;
        self.take(name, place)
    }

    fn target(&mut self, value: &Value<'_>, targets: &Targets<'_>) -> Option<Name> {
        let name = value.parsed_by(Name::parse, self.report)?;
        let name = self.below_domain(name, &value.place)?;
        if targets.known.contains(&name) {
            return Some(name);
        }
        if targets.aliases.contains(&name) {
            let message = format!("'{name}' is an alias too; name what that one stands for");
            self.report.add(&value.place, message);
        } else if targets.complete {
            let message = format!(
                "'{name}' is neither the endpoint nor a master; known: {}",
                targets.list()
            );
            self.report.add(&value.place, message);
        }
        // Otherwise it may be one of those whose names were wrong, and that was noted.
        None
    }

    /// A single label becomes a name below the domain; any other stays as it is.
    fn below_domain(&mut self, name: Name, place: &Place) -> Option<Name> {
        match &self.domain {
            Some(domain) if name.is_single_label() => self.report.take(place, name.below(domain)),
            _ => Some(name),
        }
    }
}

/// What an alias can stand for.
struct Targets<'a> {
    known: BTreeSet<&'a Name>,
    /// Whether `known` holds all of them: no name was wrong.
    complete: bool,
    aliases: HashSet<&'a Name>,
}

impl Targets<'_> {
    fn list(&self) -> String {
        let names = self.known.iter().take(LISTED_TARGETS);
        let mut names: Vec<&str> = names.map(|name| name.as_str()).collect();
        if self.known.len() > LISTED_TARGETS {
            names.push("…");
        }
        names.join(", ")
    }
}
