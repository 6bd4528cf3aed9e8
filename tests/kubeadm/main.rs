//! `stayput kubeadm config`, `patches` and `audit` as an operator uses them, on files that a real kubeadm
//! wrote; and with a real kubeadm where `STAYPUT_KUBEADM` names one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![allow(clippy::allow_attributes, reason = "as above")]

mod audit;
mod config;
mod foreign;
mod machine;
mod repeated;

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "each test takes what it needs")]
mod support;
