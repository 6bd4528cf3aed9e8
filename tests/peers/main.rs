//! What nodes tell each other: real TLS over loopback, between honest nodes and others.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::allow_attributes, reason = "as above")]

mod authority;
mod certificates;
mod cluster;
mod exchange;
mod files;
mod greedy;
#[path = "../support/issue.rs"]
mod issue;
mod lab;
mod log;
#[path = "../support/measured.rs"]
mod measured;
#[path = "../support/namespace.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod namespace;
#[path = "../support/node.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod node;
mod pulls;
mod raw;
mod strangers;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;
