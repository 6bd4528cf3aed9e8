//! Mends what pins addresses on an existing cluster, in an order that holds across nodes.
//!
//! ```text
//! files, agent, API, etcd ─▶ Facts ─▶ plan ─▶ the next stage ─▶ back up, change, wait until healthy ─┐
//!                              ▲       pure                                                          │
//!                              └──────────── looked at anew, said in the Node's annotation ──────────┘
//! ```
//!
//! Each stage is a file: what is to be changed is a pure function of what is there, so that a second
//! run finds nothing, and one that was interrupted goes on.

pub mod agent;
pub mod backup;
pub mod certificates;
pub mod difference;
pub mod error;
pub mod groups;
pub mod guard;
pub mod known;
pub mod kubeconfigs;
pub mod look;
pub mod manifests;
pub mod noted;
pub mod objects;
pub mod owed;
pub mod pins;
pub mod plan;
pub mod report;
pub mod run;
pub mod site;
pub mod stage;
mod well;
