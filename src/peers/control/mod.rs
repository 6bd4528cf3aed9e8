//! What the process of the peers tells and takes: its control socket, and figures for Prometheus.
//!
//! HTTP/1.1 and JSON at [`SOCKET`], for root as the agent's ([`crate::control`]); docs/peers.md has the
//! routes. The figures are also at a loopback port where the cluster file asks for one.

pub mod message;
pub mod metrics;
mod server;

pub use server::{Error, Server};

use crate::control::client::Service;

/// Where the socket lies.
pub const SOCKET: &str = "/run/stayput/peers.sock";

/// The process, for who asks it.
pub const SERVICE: Service = Service {
    name: "peers process",
    socket: SOCKET,
};
