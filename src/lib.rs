//! stayput keeps a kubeadm cluster working while its machines' IP addresses change.
//!
//! Certificates are issued on stable names. Names and certificates stay put; only the map from name
//! to address moves. stayput runs on every node beside the kubelet, and keeps that map true.
//!
//! # The idea
//!
//! 1. Every master has one stable name, `master-1.prod.k8s.internal`, and the cluster has one
//!    endpoint name, `api.prod.k8s.internal`.
//! 2. On every node the same address book (name → addresses, [`book`]) is shown by surfaces that
//!    never disagree ([`surface`]): the hosts file and its copies in host-network pods, a small DNS
//!    responder, and a local HAProxy.
//! 3. The endpoint name is loopback on every node: HAProxy takes the connection there and passes it
//!    to a healthy master; on a master that is complete ([`provision`]) to itself only.
//! 4. An address change is one event ([`book::Event`]): told by an operator or a hook ([`request`]),
//!    seen on the node's own interface, followed from an upstream name ([`source`]), or said by a
//!    master itself in a signed record ([`peers`]), which also adds masters and takes them out
//!    ([`masters`]).
//!
//! # The flow
//!
//! ```text
//! cluster file   ─┐                                          ┌─▶ hosts file, and its copies in pods
//! event command  ─┤                                          ├─▶ DNS responder
//! signed records ─┤                                          │
//! own interface  ─┼─▶ Event ─▶ reduce(&Book, Event) ─▶ Book ─┼─▶ HAProxy: Runtime API and file
//! upstream names ─┘          pure, ordered, versioned        └─▶ status
//! ```
//!
//! Decisions are pure functions over values: [`book::reduce`], [`config::Cluster::parse`],
//! [`source::interface::select`], the zone, the hosts block, HAProxy's configuration. Sockets, files,
//! clocks and processes are at the edges. [`agent`] is one task that owns the book; [`engine`] is the
//! order in which an event is saved and shown, shared with the commands that work without an agent.
//! DNS answers on a thread of its own; hosts file, pods' copies and HAProxy each have a task of their
//! own, which is handed the newest view.
//!
//! # Certificates
//!
//! Not a surface of the book, and not the agent's work: [`pki`] issues and renews them, run by a person or
//! a timer. What makes or reads keys is a program of its own, `stayput-certs`, which `stayput certs`
//! becomes ([`cli::Certificates`]).
//!
//! # What holds everywhere
//!
//! - The book is saved, fsynced, before it is shown; where the disk refuses, the change is applied
//!   all the same, reported, and saved later. No source that fails empties the book.
//! - Equal views render equal bytes. Nothing rendered holds a time, and nothing is written unless
//!   its bytes differ.
//! - One surface that fails or hangs holds neither the others nor the next event.
//! - Every path is looked up below one [`root`], so that the whole program runs in a folder without
//!   being root. Every file is written by [`mod@file`], on one thread ([`writer`]).
//! - Names are lower-case from birth ([`name`]); a bad cluster file is refused whole, with every
//!   problem in it named ([`config`]).

pub mod address;
pub mod agent;
pub mod api;
pub mod book;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contest;
pub mod control;
pub mod engine;
pub mod file;
pub mod health;
pub mod kubeadm;
pub mod lock;
pub mod masters;
pub mod name;
pub mod own;
pub mod peers;
pub mod picture;
pub mod pki;
pub mod process;
pub mod provision;
pub mod query;
pub mod report;
pub mod request;
pub mod root;
pub mod run_record;
pub mod source;
pub mod state;
pub mod static_pod;
pub mod status;
pub mod surface;
pub mod view;
pub mod writer;
pub mod yaml;

// The tests beside the code and those in tests/ share a cluster to ask about.
#[cfg(test)]
extern crate self as stayput;
#[cfg(test)]
#[path = "../tests/sample/mod.rs"]
mod sample;
