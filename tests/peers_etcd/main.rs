//! Three masters and a worker, each a network namespace with a root of its own: real etcd members on what
//! stayput issued, and beside them a real agent, a real HAProxy, and a process for peers. The masters
//! change their addresses, and nobody runs a command on any node.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../kubernetes_trio/etcd.rs"]
mod etcd;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/etcd.rs"]
mod etcd_program;
#[path = "../support/issue.rs"]
mod issue;
#[path = "../support/kubelet.rs"]
mod kubelet;
mod lab;
mod machine;
#[path = "../support/measured.rs"]
mod measured;
mod moves;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/namespace.rs"]
mod namespace;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/node.rs"]
mod node;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/mod.rs"]
mod support;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../kubernetes_trio/way.rs"]
mod way;
