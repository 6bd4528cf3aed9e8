//! What every surface renders from: one consistent picture of cluster, node and book.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::book::Book;
use crate::config::routes::Target;
use crate::config::{Cluster, Node};
use crate::masters;
use crate::name::Name;

/// The endpoint's address on every node.
pub const ENDPOINT_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// One consistent picture. Equal views render equal bytes on every surface.
#[derive(Debug, Clone)]
pub struct View {
    /// The cluster file, with the masters that count ([`masters::effective`]).
    pub cluster: Arc<Cluster>,
    /// This node's part.
    pub node: Arc<Node>,
    /// The masters' addresses.
    pub book: Arc<Book>,
    /// This node is a master that is complete: its HAProxy points to itself only.
    pub provisioned: bool,
}

/// A name with its addresses and the other names for the same thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Fully qualified.
    pub name: Name,
    /// Empty while a followed master's addresses are not known.
    pub addresses: Vec<IpAddr>,
    /// Fully qualified, in the order of names; inside the domain or outside of it.
    pub aliases: Vec<Name>,
}

impl View {
    /// The view of a cluster file and a book. `complete` tells whether this master is; one that was
    /// removed is a client of the others, like a worker.
    pub fn new(file: Arc<Cluster>, node: Arc<Node>, book: Arc<Book>, complete: bool) -> Self {
        let removed = node.master().is_some_and(|own| book.is_removed(own));
        Self {
            cluster: masters::effective(&file, &book),
            node,
            book,
            provisioned: complete && !removed,
        }
    }

    /// The endpoint first, then the masters in the order of the cluster file, then those that signed
    /// records add.
    pub fn entries(&self) -> Vec<Entry> {
        let endpoint = Entry {
            name: self.cluster.endpoint.name.clone(),
            addresses: vec![ENDPOINT_ADDRESS],
            aliases: self.aliases(&self.cluster.endpoint.name),
        };
        let masters = self.cluster.masters.iter().map(|master| Entry {
            name: master.name.clone(),
            addresses: self.addresses(&master.name),
            aliases: self.aliases(&master.name),
        });
        std::iter::once(endpoint).chain(masters).collect()
    }

    /// Where a master's name leads, and HAProxy's server for it: to its stable address where
    /// `routes.names` says so, else to where it is now. Empty while that is not known.
    pub fn addresses(&self, master: &Name) -> Vec<IpAddr> {
        let stable = match self.cluster.routes.names {
            Target::Current => None,
            Target::Stable => self.cluster.master(master),
        };
        match stable.and_then(|master| self.cluster.routes.stable(master)) {
            Some(stable) => vec![stable],
            None => self.book.addresses(master).to_vec(),
        }
    }

    fn aliases(&self, target: &Name) -> Vec<Name> {
        self.cluster.aliases_of(target).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::routes::Mode;
    use crate::sample;
    use crate::surface::haproxy::render::servers;

    #[test]
    fn names_lead_to_stable_addresses_where_that_is_said() {
        let name = |label: &str| Name::parse(&format!("{label}.k8s.internal")).unwrap();
        let ips = sample::ips;
        for (names, mode, want) in [
            (Target::Current, Mode::Direct, ips(&["10.77.0.2"])),
            (Target::Stable, Mode::Direct, ips(&["10.254.0.2"])),
        ] {
            let mut view = sample::three([1, 2, 3]);
            let mut cluster = Cluster::clone(&view.cluster);
            cluster.routes.names = names;
            cluster.routes.mode = mode;
            cluster.masters[1].stable = Some(ips(&["10.254.0.2"])[0]);
            view.cluster = cluster.into();
            assert_eq!(view.addresses(&name("master-2")), want);
            assert_eq!(view.entries()[2].addresses, want);
            assert_eq!(servers(&view)[1].address, want.first().copied());
            // One without: it is where it is.
            assert_eq!(view.addresses(&name("master-1")), ips(&["10.77.0.1"]));
        }
    }
}
