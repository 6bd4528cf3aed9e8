//! What the control socket takes, and how an operator's words become an [`Event`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::address::{self, AddressError, Loopback};
use crate::book::{Event, Rejection, Says, Signed};
use crate::name::{Name, NameError};
use crate::peers::statement::ADDRESSES;
use crate::view::View;

/// The masters that signed records speak of, at most.
pub const MASTERS: usize = 1024;

/// `POST /v1/event`: a master has moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// The master: its short or its fully qualified name.
    pub name: String,
    /// Where it is now.
    pub addresses: Vec<String>,
}

/// `POST /v1/records`: what all signed records together say now. Who sends it has verified them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Records {
    /// By the master's fully qualified name.
    pub records: BTreeMap<Name, Signed>,
}

/// `POST /v1/interface`: this node's own address may have changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// The interface that the caller noticed; only for the log, all that count are looked at.
    #[serde(default)]
    pub interface: Option<String>,
}

/// `POST /v1/provisioned`: this master is complete, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provisioned {
    /// Whether it is.
    pub provisioned: bool,
}

/// Any answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was wrong, for a person.
    pub error: String,
}

/// Why an operator's words are refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a host name.
    #[error("{0}")]
    Name(#[from] NameError),
    /// A name of another cluster.
    #[error("'{name}' is not in the domain {domain} of this cluster; the masters are {known}")]
    OtherDomain {
        /// The name.
        name: String,
        /// This cluster's domain.
        domain: Name,
        /// The masters, joined by commas.
        known: String,
    },
    /// Not an address that a master can have.
    #[error("{0}")]
    Address(#[from] AddressError),
    /// The book refuses.
    #[error("{0}")]
    Rejected(#[from] Rejection),
    /// More than any cluster has.
    #[error("{count} signed records; there can be {MASTERS} at most")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// Only a master can be complete.
    #[error(
        "this node ({0}) is a worker; only a master is provisioned (set `name` in /etc/stayput/node.yaml if it is one)"
    )]
    NotAMaster(Name),
}

/// The event that an operator's words mean.
pub fn told(view: &View, told: &Told, loopback: Loopback) -> Result<Event, Refusal> {
    let name = master(view, &told.name)?;
    let addresses = told
        .addresses
        .iter()
        .map(|text| address::parse(text, loopback))
        .collect::<Result<Vec<_>, _>>()?;
    if addresses.is_empty() {
        return Err(Rejection::NoAddress(name).into());
    }
    Ok(if view.node.master() == Some(&name) {
        Event::Moved { name, addresses }
    } else {
        Event::Told { name, addresses }
    })
}

/// The event that signed records mean, and what of them is left out, one line each: a master that nobody
/// could reach is no reason not to hear the others.
pub fn recorded(
    view: &View,
    records: &Records,
    loopback: Loopback,
) -> Result<(Event, Vec<String>), Refusal> {
    let count = records.records.len();
    if count > MASTERS {
        return Err(Refusal::TooMany { count });
    }
    let (mut good, mut left_out) = (BTreeMap::new(), Vec::new());
    for (name, signed) in &records.records {
        match usable(signed, loopback) {
            Ok(signed) => drop(good.insert(name.clone(), signed)),
            Err(why) => left_out.push(format!("the signed record of {name} is left out: {why}")),
        }
    }
    let event = Event::Recorded {
        records: good,
        own: view.node.master().cloned(),
    };
    Ok((event, left_out))
}

fn usable(signed: &Signed, loopback: Loopback) -> Result<Signed, String> {
    let mut signed = signed.clone();
    if let Says::At(addresses) = &mut signed.says {
        let count = addresses.len();
        if !(1..=ADDRESSES).contains(&count) {
            return Err(format!("{count} addresses; a master has 1 to {ADDRESSES}"));
        }
        for address in addresses {
            let usable = address::usable(*address, loopback);
            *address = usable.map_err(|error| error.to_string())?;
        }
    }
    Ok(signed)
}

/// The fully qualified name of the master that `text` means.
fn master(view: &View, text: &str) -> Result<Name, Refusal> {
    let cluster = &view.cluster;
    let name = Name::parse(text)?;
    let full = name.below(&cluster.domain).ok();
    for name in full.iter().chain([&name]) {
        if view.book.is_removed(name) {
            return Err(Rejection::Removed(name.clone()).into());
        }
        if cluster.master(name).is_some() {
            return Ok(name.clone());
        }
    }
    let known = cluster.master_names();
    if name.is_single_label() || name.is_below(&cluster.domain) {
        return Err(Rejection::UnknownMaster {
            name: text.to_owned(),
            known,
        }
        .into());
    }
    Err(Refusal::OtherDomain {
        name: text.to_owned(),
        domain: cluster.domain.clone(),
        known,
    })
}
