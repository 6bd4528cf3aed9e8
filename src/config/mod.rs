//! The cluster file and the node file.

pub mod cluster;
pub mod node;

pub use cluster::Cluster;
pub use node::Node;
