//! Signed records beside a foreign implementation: openssl makes the certificates, verifies what stayput
//! signs, and signs what stayput verifies, each by the bytes of docs/protocol.md.

#![expect(clippy::unwrap_used, reason = "tests")]

mod foreign;
#[expect(dead_code, reason = "the tests of certificates use the rest")]
#[path = "../certs_foreign/openssl.rs"]
mod openssl;
#[expect(dead_code, reason = "the tests of the agent use the rest")]
#[path = "../support/mod.rs"]
mod support;
