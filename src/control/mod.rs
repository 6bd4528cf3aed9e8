//! The control socket: HTTP/1.1 and JSON over a Unix socket.
//!
//! `curl --unix-socket /run/stayput/stayput.sock http://stayput/v1/status` works. The socket is 0600
//! and the peer's credentials are checked as well (unix(7), `SO_PEERCRED`): only root, or in a
//! sandbox the user who runs the agent, is heard. Routes and bodies: docs/control.md.

pub mod client;
pub mod door;
pub mod published;
pub mod reply;
pub mod server;

/// Where the socket lies.
pub const SOCKET: &str = "/run/stayput/stayput.sock";
