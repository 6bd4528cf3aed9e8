//! `stayput certs` as an operator uses it, beside real OpenSSL, etcd and kubectl.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod golden;
mod sandbox;
