//! Certificates and keys are replaced together or not at all: with every obstacle in the way, killed
//! at any system call, and under TLS servers that read them at every handshake.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod doubt;
mod failures;
mod handshakes;
#[expect(dead_code, reason = "each test file uses a part of it")]
#[path = "../hosts_sample/mod.rs"]
mod hosts_sample;
mod kills;
mod node;
mod obstacles;
mod pair;
mod replace;
#[path = "../sample/mod.rs"]
mod sample;
mod traced;
