//! Masters join and leave a real etcd by name. No kubelet: the test starts what the manifest says.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::allow_attributes, reason = "as above")]

#[path = "../cluster/apiserver.rs"]
#[allow(dead_code, reason = "each test takes what it needs")]
mod apiserver;
#[path = "../cluster/authority.rs"]
#[allow(dead_code, reason = "each test takes what it needs")]
mod authority;
#[path = "../cluster/lab.rs"]
#[allow(dead_code, reason = "each test takes what it needs")]
mod lab;
mod life;
mod masters;
#[path = "../cluster/namespace.rs"]
#[allow(dead_code, reason = "each test takes what it needs")]
mod namespace;
#[path = "../cluster/node.rs"]
#[allow(dead_code, reason = "each test takes what it needs")]
mod node;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "each test takes what it needs")]
mod support;
