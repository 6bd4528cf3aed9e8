//! Stable addresses on real kernels: masters and a worker, each a network namespace with a root of its
//! own in which a real `stayput run` works as on a node.
//!
//! What is there is asked of the kernel (`ip -json`), and whether it works of real traffic: a ping, a
//! connection whose sender is looked at, etcd members that check each other's address.

#![expect(clippy::unwrap_used, reason = "tests")]

#[expect(dead_code, reason = "the cluster's tests use the rest")]
#[path = "../cluster/authority.rs"]
mod authority;
mod conflicts;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/etcd.rs"]
mod etcd_program;
mod lab;
mod moves;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/namespace.rs"]
mod namespace;
#[expect(dead_code, reason = "the cluster's tests use the rest")]
#[path = "../support/node.rs"]
mod node;
mod removal;
mod rescue;
#[expect(dead_code, reason = "the tests of the agent use the rest")]
#[path = "../support/mod.rs"]
mod support;
