//! The HAProxy surface with a real HAProxy, and masters that are TLS servers on loopback.
//!
//! Each test has a sandbox, addresses and ports of its own, and ends the processes it started.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod absent;
mod health;
mod lab;
mod masters;
mod moves;
#[path = "../sample/mod.rs"]
mod sample;
mod structure;
