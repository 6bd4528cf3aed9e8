<<<<<<< HEAD
//! `stayput certs` as an operator uses it, beside real OpenSSL, etcd and kubectl.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod golden;
mod sandbox;
=======
//! Certificates between machines: bundles that travel, servers that are asked, kubeconfigs for laptops.
//! What is made here is read by openssl, tar, etcd and kubectl.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::allow_attributes, reason = "as above")]

mod bundle;
mod external;
mod live;
mod made;

#[path = "../sample/mod.rs"]
mod sample;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "each test takes what it needs")]
mod support;
>>>>>>> edges
