//! Three masters and a worker with real Kubernetes 1.20.2, each a network namespace with a root of its
//! own: etcd, kube-apiserver, kube-controller-manager and kube-scheduler as kubeadm's static pods run
//! them, but as plain processes, on what stayput issued; beside them a real agent and a real HAProxy.
//! Then masters change their addresses, and users go on writing.
//!
//! There is no kubelet here. So nobody restarts a kube-apiserver whose `--advertise-address` is no
//! longer this master's: `default/kubernetes` is looked at only where that address never changes.

#![expect(clippy::unwrap_used, reason = "tests")]

mod changes;
mod checks;
mod components;
mod etcd;
mod kubernetes;
mod lab;
mod master;
#[path = "../support/measured.rs"]
mod measured;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/namespace.rs"]
mod namespace;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/node.rs"]
mod node;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod way;
mod worker;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Two such clusters at a time would be too much for a small machine.
pub(crate) fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
