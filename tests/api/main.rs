//! The clients of kube-apiserver and etcd: against a real etcd, a real kube-apiserver where there is
//! one, and servers of the test that fail in each way in which a server can.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::allow_attributes, reason = "as above")]

#[path = "../cluster/authority.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod authority;
mod etcd;
mod files;
mod https;
mod kubeconfigs;
mod kubernetes;
mod member;
#[path = "../sample/mod.rs"]
mod sample;
mod server;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;
