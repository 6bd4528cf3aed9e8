//! Which of this node's own addresses are announced: a pure choice over a snapshot of the kernel's
//! tables.
//!
//! The rules, in the order in which they apply:
//!
//! 1. *Usable* is an address of global scope, on a link that is up, that other nodes can reach
//!    ([`crate::address`]). Addresses that are tentative or failed duplicate detection (RFC 4862),
//!    deprecated, or temporary (RFC 8981) are not.
//! 2. The *families* that are announced are those that the book knows of this master. Where it knows
//!    nothing: IPv4 if there is any, else IPv6. To change families is the operator's decision.
//! 3. An address that the book knows and that is still usable *stays*, whatever else came: a new
//!    address that replaces nothing is no event. With [`Selection::DefaultRoute`] it may be on
//!    another interface than the default route's, so that a cluster on a private network is not
//!    moved to the public one. A container's link does not count.
//! 4. Otherwise one address per family is chosen from the *selected* links: the interface of the
//!    default route with the lowest metric (a family without one uses the other family's), the named
//!    interface, or any link that has an address in the range and belongs to no container network.
//! 5. What *comes and goes* is never chosen: secondary addresses (IPv4), and host prefixes (/32,
//!    /128) beside a wider one, which is what keepalived and kube-vip add. Clouds give a host prefix
//!    as the only address, `DHCPv6` gives one with a lifetime: those are chosen.
//! 6. Of several, the first by: in the same network as an address that the book knows, preferred
//!    source of the default route, in the gateway's network (as the kernel does), permanent, given by
//!    `DHCPv6` rather than made by SLAAC, numerically lowest.
//! 7. A family of which nothing is usable keeps what the book knows. If that holds for all families
//!    the result is empty: it is no event.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::address::{AddressFlags, AddressScope};

use crate::address::{Loopback, usable};
use crate::config::node::Selection;

/// The kernel's links, addresses and default routes at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// All links.
    pub links: Vec<Link>,
    /// The addresses on them, of both families.
    pub addresses: Vec<Address>,
    /// The unicast default routes of the main table; one entry for each next hop.
    pub routes: Vec<DefaultRoute>,
}

impl Snapshot {
    /// The same without a stable address that is kept on loopback: it says nothing of where the node
    /// is. On another interface it is an address like any other.
    #[must_use]
    pub fn without_kept(&self, kept: &[IpAddr]) -> Self {
        let mut snapshot = self.clone();
        let loopback = |index| self.links.iter().any(|l| l.index == index && l.loopback);
        snapshot
            .addresses
            .retain(|it| !kept.contains(&it.address) || !loopback(it.index));
        snapshot
    }
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number of it.
    pub index: u32,
    /// For example `eth0`.
    pub name: String,
    /// `IFLA_INFO_KIND`: `bridge`, `veth`, `dummy`; none for hardware.
    pub kind: Option<String>,
    /// `IFF_UP`.
    pub up: bool,
    /// `IFF_LOOPBACK`.
    pub loopback: bool,
}

/// An address on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The link's number.
    pub index: u32,
    /// The node's own address: `IFA_LOCAL`, not the other end of a point-to-point link.
    pub address: IpAddr,
    /// Length of the network's prefix.
    pub prefix: u8,
    /// `RT_SCOPE_UNIVERSE` is what others reach.
    pub scope: AddressScope,
    /// `IFA_F_*` of `if_addr.h`; `Secondary` means temporary for IPv6.
    pub flags: AddressFlags,
}

/// One next hop of a default route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultRoute {
    /// The link that it leaves by.
    pub index: u32,
    /// Whether it is `::/0` (else `0.0.0.0/0`).
    pub ipv6: bool,
    /// The lowest is used.
    pub metric: u32,
    /// `RTA_PREFSRC`.
    pub source: Option<IpAddr>,
    /// The router.
    pub gateway: Option<IpAddr>,
    /// `RTNH_F_ONLINK`: the router is reached without a network that contains it, as with host
    /// prefixes.
    pub onlink: bool,
}

/// The addresses to announce for a master of which the book knows `known`.
///
/// Families come in the order of `known`, IPv4 first where it is empty. Empty where nothing usable
/// was found: then nothing has happened.
pub fn select(snapshot: &Snapshot, selection: &Selection, known: &[IpAddr]) -> Vec<IpAddr> {
    let look = Look {
        snapshot,
        selection,
        known,
    };
    if known.is_empty() {
        return [false, true]
            .into_iter()
            .map(|ipv6| look.family(ipv6))
            .find(|found| !found.is_empty())
            .unwrap_or_default();
    }
    let mut families: Vec<bool> = known.iter().map(IpAddr::is_ipv6).collect();
    families.dedup();
    if families.len() > 2 {
        families.truncate(2);
    }
    let found: Vec<_> = families.iter().map(|ipv6| look.family(*ipv6)).collect();
    if found.iter().all(Vec::is_empty) {
        return Vec::new();
    }
    let kept = |ipv6: bool| known.iter().copied().filter(move |k| k.is_ipv6() == ipv6);
    families
        .into_iter()
        .zip(found)
        .flat_map(|(ipv6, found)| {
            if found.is_empty() {
                kept(ipv6).collect()
            } else {
                found
            }
        })
        .collect()
}

/// Why nothing is found in a snapshot, and what to do about it, for people: the first thing that is
/// missing.
pub fn absence(snapshot: &Snapshot, selection: &Selection) -> String {
    /// The keys of the node file, and the option that stands in for one.
    const ANOTHER: &str = "set `interface` or `cidr` in /etc/stayput/node.yaml to where this \
                           node's address is, or use --own-interface";
    let names = |indices: &[u32]| {
        let links = snapshot.links.iter().filter(|l| indices.contains(&l.index));
        let names: Vec<&str> = links.map(|link| link.name.as_str()).collect();
        names.join(", ")
    };
    match selection {
        Selection::DefaultRoute if snapshot.routes.is_empty() => {
            format!("there is no default route to take this node's address from; {ANOTHER}")
        }
        Selection::DefaultRoute => {
            let indices: Vec<u32> = snapshot.routes.iter().map(|route| route.index).collect();
            let names = names(&indices);
            format!("no usable address on {names}, where the default route leaves; {ANOTHER}")
        }
        Selection::Interface(name) => match snapshot.links.iter().find(|l| l.name == *name) {
            None => {
                let indices: Vec<u32> = snapshot.links.iter().map(|link| link.index).collect();
                format!(
                    "there is no interface {name}; there are {}; {ANOTHER}",
                    names(&indices)
                )
            }
            Some(link) if !link.up => format!("interface {name} is down; {ANOTHER}"),
            Some(_) => format!("no usable address on {name}; {ANOTHER}"),
        },
        Selection::Within(range) => {
            format!("no usable address within {range} on any interface; {ANOTHER}")
        }
    }
}

/// The arguments of [`select`], so that the rules need not pass them around.
#[derive(Clone, Copy)]
struct Look<'a> {
    snapshot: &'a Snapshot,
    selection: &'a Selection,
    known: &'a [IpAddr],
}

impl<'a> Look<'a> {
    /// Rules 3 to 6 for one family.
    fn family(self, ipv6: bool) -> Vec<IpAddr> {
        let stays = |known: &&IpAddr| {
            let mut same = self.usable(ipv6).filter(|a| a.address == **known);
            same.any(|address| self.may_stay(address))
        };
        let staying: Vec<IpAddr> = self.known.iter().filter(stays).copied().collect();
        if !staying.is_empty() {
            return staying;
        }
        let chosen = self
            .usable(ipv6)
            .filter(|address| self.is_selected(address))
            .filter(|address| !self.comes_and_goes(address))
            .min_by_key(|address| self.rank(address));
        chosen.map(|address| address.address).into_iter().collect()
    }

    /// Rule 1.
    fn usable(self, ipv6: bool) -> impl Iterator<Item = &'a Address> {
        let never = AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Deprecated;
        self.snapshot.addresses.iter().filter(move |address| {
            let temporary = ipv6 && address.flags.contains(AddressFlags::Secondary);
            address.address.is_ipv6() == ipv6
                && address.scope == AddressScope::Universe
                && !address.flags.intersects(never)
                && !temporary
                && usable(address.address, Loopback::Refused).is_ok()
                && self.link(address).is_some_and(|link| link.up)
        })
    }

    /// Rule 3: whether a known address is in a place where it counts.
    fn may_stay(self, address: &Address) -> bool {
        match self.selection {
            Selection::DefaultRoute => self.is_node_link(address),
            Selection::Interface(_) | Selection::Within(_) => self.is_selected(address),
        }
    }

    /// Rule 4.
    fn is_selected(self, address: &Address) -> bool {
        match self.selection {
            Selection::DefaultRoute => self
                .best_routes(address.address.is_ipv6())
                .any(|route| route.index == address.index),
            Selection::Interface(name) => self.link(address).is_some_and(|l| l.name == *name),
            Selection::Within(range) => {
                range.contains(&address.address) && self.is_node_link(address)
            }
        }
    }

    /// Rule 5.
    fn comes_and_goes(self, address: &Address) -> bool {
        let ipv6 = address.address.is_ipv6();
        if !ipv6 && address.flags.contains(AddressFlags::Secondary) {
            return true;
        }
        let routes = || self.routes(ipv6).filter(|r| r.index == address.index);
        let has_lifetime = !address.flags.contains(AddressFlags::Permanent);
        if !is_host(address) || routes().any(|r| r.source == Some(address.address)) {
            return false;
        }
        let beside_wider = self
            .usable(ipv6)
            .any(|other| other.index == address.index && !is_host(other));
        if beside_wider {
            return !(ipv6 && has_lifetime);
        }
        // Alone and permanent, while the book knows another one and no route speaks for this one: a
        // VIP that is left behind while the lease beside it is being replaced.
        let at_home = self
            .link(address)
            .is_some_and(|l| l.loopback || l.kind.as_deref() == Some("dummy"));
        let others_known = self.known.iter().any(|known| known.is_ipv6() == ipv6);
        !has_lifetime && !at_home && others_known && !routes().any(|route| route.onlink)
    }

    /// Rule 6: the lowest is chosen.
    fn rank(self, address: &Address) -> impl Ord + use<> {
        let ipv6 = address.address.is_ipv6();
        // DHCPv6 gives no prefix, and an IPv6 network is a /64 (RFC 4291 section 2.5.4).
        let prefix = address.prefix.min(if ipv6 { 64 } else { 32 });
        let network = IpNet::new(address.address, prefix).ok();
        let holds = |other: &IpAddr| network.is_some_and(|network| network.contains(other));
        let routes = || self.best_routes(ipv6).filter(|r| r.index == address.index);
        let beside_known = self.known.iter().any(holds);
        let source = routes().any(|route| route.source == Some(address.address));
        let beside_gateway = routes().any(|r| r.gateway.as_ref().is_some_and(holds));
        let permanent = address.flags.contains(AddressFlags::Permanent);
        let managed = ipv6 && is_host(address);
        (
            [
                !beside_known,
                !source,
                !beside_gateway,
                !permanent,
                !managed,
            ],
            address.address,
            address.index,
        )
    }

    /// The default routes of a family that are used: those with the lowest metric. A family that
    /// has none leaves by the other one's interface.
    fn best_routes(self, ipv6: bool) -> impl Iterator<Item = &'a DefaultRoute> {
        let family = if self.routes(ipv6).next().is_some() {
            ipv6
        } else {
            !ipv6
        };
        let lowest = self.routes(family).map(|route| route.metric).min();
        self.routes(family)
            .filter(move |route| Some(route.metric) == lowest)
    }

    fn routes(self, ipv6: bool) -> impl Iterator<Item = &'a DefaultRoute> {
        let up = move |index| self.snapshot.links.iter().any(|l| l.index == index && l.up);
        let routes = self.snapshot.routes.iter();
        routes.filter(move |route| route.ipv6 == ipv6 && up(route.index))
    }

    fn link(self, address: &Address) -> Option<&'a Link> {
        let mut links = self.snapshot.links.iter();
        links.find(|link| link.index == address.index)
    }

    /// Whether the address is on a link of the node itself: not loopback, not of a container network.
    /// Veth and dummy links are the node's own where a default route leaves by them, as in a node
    /// that is a container itself.
    fn is_node_link(self, address: &Address) -> bool {
        let Some(link) = self.link(address) else {
            return false;
        };
        let default = self.snapshot.routes.iter().any(|r| r.index == link.index);
        let virtual_kind = matches!(link.kind.as_deref(), Some("veth" | "netkit" | "dummy"));
        !link.loopback && !is_container_link(&link.name) && (default || !virtual_kind)
    }
}

fn is_host(address: &Address) -> bool {
    address.prefix == if address.address.is_ipv6() { 128 } else { 32 }
}

/// Whether a link of this name is a container engine's, a CNI's or a hypervisor's, by the names
/// that these give.
pub fn is_container_link(name: &str) -> bool {
    const PREFIXES: [&str; 27] = [
        "antrea-",
        "cali",
        "cbr",
        "cilium",
        "cni",
        "crio",
        "docker",
        "flannel",
        "genev_sys",
        "kube-",
        "lxc",
        "lxdbr",
        "nerdctl",
        "nodelocaldns",
        "ovn-k8s",
        "ovs-system",
        "podman",
        "tap",
        "tunl",
        "veth",
        "virbr",
        "vnet",
        "vxlan.calico",
        "vxlan-v6.calico",
        "weave",
        "wg-v6.cali",
        "wireguard.cali",
    ];
    // Docker's and Compose's networks: br- and the first twelve digits of an identifier.
    let engine_bridge = name.strip_prefix("br-").is_some_and(|id| {
        id.len() == 12 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    });
    engine_bridge || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests;
