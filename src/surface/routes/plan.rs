//! From what is found to what is wanted: a pure list of changes.
//!
//! Only what is marked as ours is changed or removed. A foreign address that is one of ours counts
//! as there; a foreign route to the same host is told and left alone. What cannot be done for one
//! master is told, and the others' is done.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use super::wanted::{Wanted, Way};

/// The kernel's state, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// All addresses of this node.
    pub addresses: Vec<Address>,
    /// Host routes of the main table that are ours, or lead where ours would.
    pub routes: Vec<Route>,
    /// How the kernel reaches each address by way of which something is to be reached.
    pub reach: BTreeMap<IpAddr, Reach>,
}

/// An address of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Its interface.
    pub interface: String,
    /// Whether that is loopback.
    #[serde(skip)]
    pub loopback: bool,
    /// Length of the network's prefix.
    #[serde(skip)]
    pub prefix: u8,
    /// Whether it has our mark.
    pub ours: bool,
}

/// A host route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// To this host.
    pub destination: IpAddr,
    /// By way of this one; absent where the host itself is on the link.
    pub via: Option<IpAddr>,
    /// By this interface.
    pub interface: String,
    /// From this address, unless the sender says otherwise.
    pub source: Option<IpAddr>,
    /// `RTA_PRIORITY`; the kernel's default where 0.
    #[serde(skip)]
    pub metric: u32,
    /// Whether it has our mark.
    pub ours: bool,
}

/// How an address is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// It is on the link of this interface.
    Link(String),
    /// Behind this router.
    Router(IpAddr),
    /// It is one of this node's own.
    Local,
    /// Not at all.
    Nowhere,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Put an address on loopback.
    AddAddress(IpAddr),
    /// Take one of ours away.
    RemoveAddress(Address),
    /// Set a route; `replaces` where one of ours is there already.
    SetRoute {
        /// As it is to be.
        route: Route,
        /// Whether an older one of ours has its place.
        replaces: bool,
    },
    /// Take one of ours away.
    RemoveRoute(Route),
}

/// What is to be done, and what cannot be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order: new things first, so that nothing is unreachable in between.
    pub changes: Vec<Change>,
    /// What cannot be done, one line each.
    pub troubles: Vec<String>,
    /// What an operator should know, one line each.
    pub notices: Vec<String>,
}

/// The changes after which everything that is ours is what is wanted, but for what is in the way.
pub fn plan(wanted: &Wanted, found: &Found) -> Plan {
    let mut plan = Plan {
        changes: Vec::new(),
        troubles: wanted.troubles.clone(),
        notices: wanted.notices.clone(),
    };
    for address in &wanted.addresses {
        if let Some(network) = broadcast(found, *address) {
            plan.troubles.push(format!(
                "{address} is the broadcast address of {}'s network; choose another",
                network.interface
            ));
            continue;
        }
        let mut there = found.addresses.iter().filter(|it| it.address == *address);
        if there.clone().any(|it| it.loopback) {
            continue;
        }
        match there.next() {
            None => plan.changes.push(Change::AddAddress(*address)),
            Some(other) => plan.notices.push(format!(
                "{address} is on {} and counts as there; when it goes from there it is put on lo",
                other.interface
            )),
        }
    }
    let mut kept = Vec::new();
    for (destination, way) in &wanted.routes {
        match route(*destination, way, found) {
            Ok(route) => {
                let ours = || ours_to(found, *destination);
                if !ours().any(|it| it.same_way(&route)) {
                    let replaces = ours().next().is_some();
                    kept.extend(ours().next().cloned());
                    plan.changes.push(Change::SetRoute { route, replaces });
                } else if let Some(same) = ours().find(|it| it.same_way(&route)) {
                    kept.push(same.clone());
                }
            }
            Err(trouble) => plan.troubles.push(trouble),
        }
    }
    let left = found
        .routes
        .iter()
        .filter(|it| it.ours && !kept.contains(it));
    plan.changes.extend(left.cloned().map(Change::RemoveRoute));
    let left = found
        .addresses
        .iter()
        .filter(|it| it.ours && it.loopback && !wanted.addresses.contains(&it.address));
    plan.changes
        .extend(left.cloned().map(Change::RemoveAddress));
    plan
}

/// The address of this node in whose network all hosts listen to this one (RFC 919 section 7; a network
/// of two has none, RFC 3021).
fn broadcast(found: &Found, address: IpAddr) -> Option<&Address> {
    found.addresses.iter().find(|it| {
        let network = ipnet::IpNet::new(it.address, it.prefix);
        it.address.is_ipv4()
            && it.prefix < 31
            && network.is_ok_and(|network| network.broadcast() == address)
    })
}

fn ours_to(found: &Found, destination: IpAddr) -> impl Iterator<Item = &Route> {
    let routes = found.routes.iter();
    routes.filter(move |it| it.ours && it.destination == destination)
}

/// The route to a master, or why there can be none.
fn route(destination: IpAddr, way: &Way, found: &Found) -> Result<Route, String> {
    let Way {
        master,
        via,
        source,
    } = way;
    let on_node = found
        .addresses
        .iter()
        .find(|it| it.address == destination && !it.ours);
    if let Some(address) = on_node {
        let interface = &address.interface;
        return Err(format!(
            "{destination}, which is {master}'s, is on this node's {interface} too; take it away there: ip address del {destination}/{} dev {interface}",
            address.prefix
        ));
    }
    let foreign = found
        .routes
        .iter()
        .find(|it| it.destination == destination && !it.ours);
    if let Some(foreign) = foreign {
        return Err(format!(
            "there is a route to {master}'s {destination} already that is not stayput's ({foreign}); take it away: ip route del {destination}"
        ));
    }
    let interface = match found.reach.get(via) {
        Some(Reach::Link(interface)) => interface.clone(),
        Some(Reach::Router(router)) => {
            return Err(format!(
                "{master} is at {via}, which is not on a link of this node but behind {router}; routes of mode direct do not go through routers"
            ));
        }
        Some(Reach::Local) => {
            return Err(format!(
                "{master} is said to be at {via}, which is this node's own; tell where it is with `stayput event {master} ADDRESS`"
            ));
        }
        Some(Reach::Nowhere) | None => {
            return Err(format!(
                "{master} is at {via}, and this node has no way there; is the interface up?"
            ));
        }
    };
    Ok(Route {
        destination,
        via: (*via != destination).then_some(*via),
        interface,
        source: *source,
        metric: 0,
        ours: true,
    })
}

impl Route {
    /// Whether it leads the same way from the same address.
    pub fn same_way(&self, other: &Self) -> bool {
        let way = |it: &Self| (it.destination, it.via, it.source);
        way(self) == way(other) && self.interface == other.interface
    }
}

impl fmt::Display for Route {
    /// As ip-route(8) shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.destination)?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        write!(f, " dev {}", self.interface)?;
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddAddress(address) => write!(f, "add {address} to lo"),
            Self::RemoveAddress(it) => write!(f, "remove {} from {}", it.address, it.interface),
            Self::SetRoute { route, .. } => write!(f, "set the route {route}"),
            Self::RemoveRoute(route) => write!(f, "remove the route {route}"),
        }
    }
}

#[cfg(test)]
mod tests;
