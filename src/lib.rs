//! stayput keeps a kubeadm cluster working while its machines' IP addresses change.

pub mod address;
pub mod book;
pub mod config;
pub mod file;
pub mod name;
pub mod query;
pub mod root;
pub mod surface;
pub mod view;
pub mod writer;

// The tests beside the code and those in tests/ share a cluster to ask about.
#[cfg(test)]
extern crate self as stayput;
