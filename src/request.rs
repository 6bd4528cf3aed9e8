//! What the control socket takes, and how an operator's words become an [`Event`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::address::{self, AddressError, Loopback};
use crate::book::{Event, Rejection, Says, Signed};
use crate::config::peers::Mode;
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
    /// The cluster file does without records.
    #[error(
        "the cluster file says `peers: {{mode: off}}`, so signed records are not followed; take that out to have them followed"
    )]
    PeersOff,
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
    if view.cluster.peers.mode == Mode::Off && !records.records.is_empty() {
        return Err(Refusal::PeersOff);
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Node;
    use crate::config::node::Role;
    use crate::sample;

    fn name(label: &str) -> Name {
        Name::parse(&format!("{label}.k8s.internal")).unwrap()
    }

    /// The view of the first master.
    fn first() -> View {
        let view = sample::three([1, 2, 3]);
        let mut node = Node::clone(&view.node);
        node.role = Role::Master(name("master-1"));
        View::new(view.cluster, node.into(), view.book, false)
    }

    #[test]
    fn what_is_told_of_the_own_master_is_to_be_signed() {
        for (text, own) in [
            ("master-1", true),
            ("MASTER-1.k8s.internal.", true),
            ("master-2", false),
        ] {
            let said = Told {
                name: text.to_owned(),
                addresses: vec!["10.77.0.9".to_owned()],
            };
            let event = told(&first(), &said, Loopback::Refused).unwrap();
            assert_eq!(
                matches!(event, Event::Moved { .. }),
                own,
                "{text}: {event:?}"
            );
            let worker = sample::three([1, 2, 3]);
            let event = told(&worker, &said, Loopback::Refused).unwrap();
            assert!(matches!(event, Event::Told { .. }), "{text}: {event:?}");
        }
    }

    #[test]
    fn records_are_taken_in_canonical_form_and_bad_ones_left_out() {
        let says = |texts: &[&str]| Signed {
            version: 7,
            says: Says::At(sample::ips(texts)),
        };
        let many: Vec<String> = (1..=17).map(|octet| format!("10.77.1.{octet}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let removed = Signed {
            version: 8,
            says: Says::Removed,
        };
        let records = BTreeMap::from([
            (name("good"), says(&["::ffff:10.77.0.4", "fd77::4"])),
            (name("gone"), removed.clone()),
            (name("full"), says(&many[..16])),
            (name("many"), says(&many)),
            (name("none"), says(&[])),
            (name("loop"), says(&["10.77.0.5", "127.0.0.1"])),
            (name("all"), says(&["0.0.0.0"])),
            (name("link"), says(&["fe80::1"])),
        ]);
        let (event, left_out) =
            recorded(&first(), &Records { records }, Loopback::Refused).unwrap();
        let Event::Recorded { records, own } = event else {
            panic!("{event:?}");
        };
        assert_eq!(own, Some(name("master-1")));
        assert_eq!(records.len(), 3);
        assert_eq!(records[&name("good")], says(&["10.77.0.4", "fd77::4"]));
        assert_eq!(records[&name("gone")], removed);
        assert_eq!(left_out.len(), 5, "{left_out:?}");
    }
}
