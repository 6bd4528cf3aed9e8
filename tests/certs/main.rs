//! `stayput certs` as an operator uses it, beside real OpenSSL, etcd, tar and kubectl.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::allow_attributes, reason = "as above")]

mod adopt;
mod bad;
mod beside;
mod bundle;
mod calendar;
mod edges;
mod external;
mod golden;
mod handshakes;
mod inherited;
mod json;
mod kill;
mod live;
mod made;
mod owed;
mod sandbox;
mod speaks;
mod strace;
mod whole;

#[path = "../sample/mod.rs"]
mod sample;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "each test takes what it needs")]
mod support;
