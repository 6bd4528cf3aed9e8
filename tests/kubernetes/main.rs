//! A real control plane on this machine: kubeadm, kubelet, containerd, static pods, HAProxy, and
//! stayput beside them. `tests/kubernetes/build` makes what it needs; where that is missing, the tests
//! say `SKIPPED`.
//!
//! Each test has machines of its own: network, mount, process and host name spaces, with a real kubelet
//! and a real containerd in them. There is no systemd and no registry. Nodes have no CNI plugin and stay
//! `NotReady`, which static pods do not mind.
//!
//! Times are printed as `measured: WHAT: 1.23 s` and kept in `target/kubernetes-times.txt`.

#![expect(clippy::unwrap_used, reason = "tests")]

mod cgroup;
mod cold;
mod control_plane;
mod fresh;
mod joining;
mod kit;
mod lab;
mod measure;
mod moves;
mod node;
mod pair;
mod renewal;
mod stock;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod unpin;
