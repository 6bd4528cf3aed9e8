//! Masters and workers, each a network namespace with an agent and a process for peers, and with nothing
//! but the cluster file and certificates. Machines change their addresses, and nobody runs a command.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::allow_attributes, reason = "as above")]

mod attacks;
mod away;
#[path = "../support/book.rs"]
mod book;
mod certificates;
mod clock;
#[path = "../support/issue.rs"]
mod issue;
#[path = "../support/kubelet.rs"]
mod kubelet;
mod lab;
#[path = "../support/measured.rs"]
mod measured;
mod moves;
#[path = "../support/namespace.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod namespace;
#[path = "../support/node.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod node;
mod seeds;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;
mod surfaces;
