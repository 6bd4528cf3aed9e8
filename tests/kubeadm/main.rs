//! `stayput kubeadm config`, `patches`, `audit` and what `join-etcd` and `leave-etcd` refuse, as an operator uses them, on files that a real kubeadm
//! wrote; and with a real kubeadm where `STAYPUT_KUBEADM` names one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::allow_attributes, reason = "as above")]

mod audit;
mod config;
mod foreign;
mod machine;
mod membership;
mod repeated;

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;
