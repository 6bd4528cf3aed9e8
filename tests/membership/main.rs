//! Masters join and leave a real etcd by name. No kubelet: the test starts what the manifest says.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::allow_attributes, reason = "as above")]

#[path = "../cluster/apiserver.rs"]
mod apiserver;
#[path = "../cluster/authority.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod authority;
#[path = "../support/etcd.rs"]
mod etcd_program;
#[path = "../support/issue.rs"]
mod issue;
#[path = "../cluster/lab.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod lab;
mod life;
mod masters;
#[path = "../support/namespace.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod namespace;
#[path = "../support/node.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod node;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;
