//! One peer has two names here: by its certificate for the transport, and among the members for gossip.

use crate::peers::gossip::{NodeName, Who};
use crate::peers::transport::Peer;

/// Who a peer is among the members; `None` for a name that Kubernetes does not give to a node.
pub(super) fn who(peer: &Peer) -> Option<Who> {
    match peer {
        Peer::Master(name) => Some(Who::Master(name.clone())),
        Peer::Node(name) => NodeName::parse(name).ok().map(Who::Worker),
    }
}

/// By which certificate a member is known.
pub(super) fn peer(who: &Who) -> Peer {
    match who {
        Who::Master(name) => Peer::Master(name.clone()),
        Who::Worker(name) => Peer::Node(name.as_str().to_owned()),
    }
}
