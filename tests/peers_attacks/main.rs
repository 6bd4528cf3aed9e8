//! What others try against whole nodes that run: three masters and a worker on loopback, each with an agent
//! and a process for peers. After each attempt nothing has moved, memory, open files and disk are within
//! bounds, the log has said once who it was, and a true change still reaches every book.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::allow_attributes, reason = "as above")]

mod attacker;
mod authority;
#[path = "../support/book.rs"]
mod book;
mod forge;
mod lab;
#[path = "../peers_commands/masters.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod masters;
#[path = "../support/measured.rs"]
mod measured;
mod members;
mod middle;
#[path = "../peers/raw.rs"]
mod raw;
mod records;
#[path = "../agent/sandbox.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod sandbox;
mod strangers;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;
mod watch;
