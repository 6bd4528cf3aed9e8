//! A cluster of three masters and two workers, each a network namespace with a root of its own in
//! which a real `stayput run` works as on a node: its own `/etc/hosts`, `/run` and `/var/lib`, its
//! own host name, its own `eth0`.
//!
//! On the masters run real etcd members whose certificates carry names only, and servers that say
//! who they are; on every node a real HAProxy. Then machines change their addresses.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod apiserver;
mod authority;
mod etcd;
#[path = "../support/etcd.rs"]
mod etcd_program;
#[path = "../support/issue.rs"]
mod issue;
mod issued;
mod lab;
mod moves;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/namespace.rs"]
mod namespace;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/node.rs"]
mod node;
mod provisioned;
#[expect(dead_code, reason = "the tests of the agent use the rest")]
#[path = "../support/mod.rs"]
mod support;
