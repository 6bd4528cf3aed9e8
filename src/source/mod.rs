//! Where events come from, apart from the cluster file and the control socket.
//!
//! - [`interface`] chooses this node's own addresses; [`netlink`] looks and listens for it.
//! - [`upstream`] follows names that others resolve.
//! - [`watch`] tells which files were changed by others.
//!
//! A source only says what it sees. What becomes of it is decided by [`crate::book::reduce`], and a
//! source that fails says nothing: it never empties the book.

pub mod interface;
pub mod netlink;
pub mod upstream;
pub mod watch;
