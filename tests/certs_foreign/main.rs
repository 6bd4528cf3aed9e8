//! Certificates of others: sets made by openssl in every form that Kubernetes takes are read and
//! judged, what is issued below their authorities is accepted by openssl and webpki, and what is
//! damaged is told as such.

#![expect(clippy::unwrap_used, reason = "tests")]

mod damaged;
mod forms;
mod go;
mod issued;
mod openssl;
#[expect(dead_code, reason = "the tests of the agent use the rest")]
#[path = "../support/mod.rs"]
mod support;
