//! A real agent and the commands, in a sandbox: a folder that stands for a node's root, free ports
//! on loopback, pretend masters at 127.77.0.x. No test needs root but those that say so.

#![expect(clippy::unwrap_used, reason = "tests")]

mod certificates;
mod commands;
mod control;
mod demo;
mod events;
mod files;
mod haproxy;
mod hosts;
mod kubeadm;
mod lifecycle;
mod records;
mod restart;
mod sandbox;
mod state;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/mod.rs"]
mod support;
mod watch;
