//! What every surface renders from: one consistent picture of cluster, node and book.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::book::Book;
use crate::config::routes::Target;
use crate::config::{Cluster, Node};
use crate::name::Name;

/// The endpoint's address on every node.
pub const ENDPOINT_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// One consistent picture. Equal views render equal bytes on every surface.
#[derive(Debug, Clone)]
pub struct View {
    /// The cluster file.
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
    /// The endpoint first, then the masters in the order of the cluster file.
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
        match stable.and_then(|master| self.cluster.routes.kept(master)) {
            Some(stable) => vec![stable],
            None => self.book.addresses(master).to_vec(),
        }
    }

    fn aliases(&self, target: &Name) -> Vec<Name> {
        self.cluster.aliases_of(target).cloned().collect()
    }
}
