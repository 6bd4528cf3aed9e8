//! This node's own address: look at its interfaces, and tell the book if it is a master's.

use crate::book::{Event, Origin, Rejection};
use crate::config::Node;
use crate::config::node::Selection;
use crate::engine::{Engine, Pending};
use crate::root::Root;
use crate::source::interface::{self, Snapshot};
use crate::source::netlink;
use crate::view::View;

/// The event that a picture of this node's interfaces means; none on a worker, and none when no
/// usable address is there (a source that has nothing to say never empties the book).
pub fn event(view: &View, snapshot: &Snapshot) -> Option<Event> {
    let name = view.node.master()?.clone();
    let known = view.book.addresses(&name);
    let master = view.cluster.master(&name);
    let kept = master.into_iter();
    let kept: Vec<_> = kept
        .flat_map(|master| view.cluster.routes.kept(master))
        .collect();
    let snapshot = snapshot.without_kept(&kept);
    let addresses = interface::select(&snapshot, &view.node.selection, known);
    (!addresses.is_empty()).then_some(Event::Observed {
        origin: Origin::Interface,
        name,
        addresses,
    })
}

/// Whether this node's interfaces speak for a master. In a sandbox the machine's interfaces are not
/// the pretend node's, unless they were named.
pub fn counts(engine: &Engine, node: &Node) -> bool {
    node.master().is_some() && are_ours(engine.root(), node)
}

/// Whether the machine's interfaces are this node's.
pub fn are_ours(root: &Root, node: &Node) -> bool {
    root.is_system() || node.selection != Selection::DefaultRoute
}

/// Why this node's own address is not known now. The book keeps what it has.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel was not to be asked.
    #[error("cannot look at this node's addresses: {0}")]
    Netlink(#[from] netlink::Error),
    /// Nothing usable is there at the moment.
    #[error("this master has no usable address now ({0}); the book keeps what it has")]
    Absent(String),
    /// The book refuses.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

/// Looks now, and acts if this node's address changed.
pub async fn look(engine: &mut Engine) -> Result<Pending, Error> {
    let view = engine.view();
    if !counts(engine, &view.node) {
        // A worker's address is in no book: surfaces are verified, nothing moves.
        return Ok(engine.repair(&crate::engine::ALL).await);
    }
    let snapshot = netlink::snapshot().await?;
    let Some(event) = event(&view, &snapshot) else {
        let absence = interface::absence(&snapshot, &view.node.selection);
        return Err(Error::Absent(absence));
    };
    Ok(engine.handle(&event).await?)
}
