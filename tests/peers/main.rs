//! What nodes tell each other: real TLS over loopback, between honest nodes and others.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::allow_attributes, reason = "as above")]

mod authority;
mod certificates;
mod exchange;
mod files;
mod greedy;
mod lab;
mod log;
mod pulls;
mod raw;
mod strangers;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;
