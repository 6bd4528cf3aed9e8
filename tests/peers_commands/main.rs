//! The commands for signed records in sandboxes, with the masters' real certificates: without the process
//! that spreads records, and with two of them on loopback.
#![expect(clippy::unwrap_used, reason = "tests")]

mod attacks;
mod carry;
mod etcd;
mod joining;
mod masters;
mod orders;
mod process;
mod renewal;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../agent/sandbox.rs"]
mod sandbox;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/mod.rs"]
mod support;
