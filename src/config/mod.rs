//! The cluster file and the node file.
//!
//! ```yaml
//! domain: prod.k8s.internal                # two labels or more
//! endpoint: {name: api, port: 8443}        # 127.0.0.1 on every node; the port is the default
//! masters:                                 # each with exactly one of address, addresses, follow
//!   - {name: master-1, address: 10.77.0.11}
//!   - {name: master-2, addresses: [10.77.0.12, "fd77::12"]}
//!   - {name: master-3, follow: ip-10-77-0-13.eu.example.com}
//! ```
//!
//! All else has a default. A file is judged as a whole: [`Problems`] holds everything that is wrong
//! with it, each thing with line, column, key and what would be right. What passes is a
//! [`Cluster`] in which every name is fully qualified, no name and no address occurs twice, and
//! every alias leads to the endpoint or a master.
//!
//! Reading a text is pure; only [`load`] touches files.

mod added;
mod aliases;
pub(crate) mod catalogue;
mod certificates;
mod claims;
pub mod cluster;
mod identities;
pub mod kubeadm;
mod load;
mod masters;
mod names;
pub mod node;
mod node_file;
mod parse;
pub mod peers;
mod problem;
mod read;
mod report;
pub mod rescue;
pub(crate) mod reserved;
pub mod routes;
mod row;
mod scalar;

pub use cluster::Cluster;
pub use load::{Error, load, where_looked_up};
pub use node::{Node, NodeError};
pub use node_file::NodeSettings;
pub use problem::{Problem, Problems};
pub use scalar::span;

#[cfg(test)]
mod tests;
