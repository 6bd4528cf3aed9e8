//! What the control socket takes, and how an operator's words become an [`Event`].

use serde::{Deserialize, Serialize};

use crate::address::{self, AddressError, Loopback};
use crate::book::{Event, Rejection};
use crate::config::Cluster;
use crate::name::{Name, NameError};

/// `POST /v1/event`: a master has moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// The master: its short or its fully qualified name.
    pub name: String,
    /// Where it is now.
    pub addresses: Vec<String>,
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
    /// Only a master can be complete.
    #[error(
        "this node ({0}) is a worker; only a master is provisioned (set `name` in /etc/stayput/node.yaml if it is one)"
    )]
    NotAMaster(Name),
}

/// The event that an operator's words mean.
pub fn told(cluster: &Cluster, told: &Told, loopback: Loopback) -> Result<Event, Refusal> {
    let name = master(cluster, &told.name)?;
    let addresses = told
        .addresses
        .iter()
        .map(|text| address::parse(text, loopback))
        .collect::<Result<Vec<_>, _>>()?;
    if addresses.is_empty() {
        return Err(Rejection::NoAddress(name).into());
    }
    Ok(Event::Told { name, addresses })
}

/// The fully qualified name of the master that `text` means.
fn master(cluster: &Cluster, text: &str) -> Result<Name, Refusal> {
    let name = Name::parse(text)?;
    if let Ok(full) = name.below(&cluster.domain)
        && cluster.master(&full).is_some()
    {
        return Ok(full);
    }
    if cluster.master(&name).is_some() {
        return Ok(name);
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
