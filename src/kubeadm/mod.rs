//! What kubeadm pins to addresses: found, written without, mended, and kept up to date.
//!
//! ```text
//! cluster file, node ─▶ configuration, patches          a new cluster pins nothing
//! manifests, kubeconfigs, certificates ─▶ audit ─▶ pins  what an existing one pins
//! pins ─▶ unpin                                          mended step by step, across nodes
//! ```
//!
//! There are two ways out. With a stable address per master ([`surface::routes`](crate::surface)) what
//! is pinned never changes, and kubeadm is used as it is. Without one, everything is written by name
//! but kube-apiserver's `--advertise-address`, which has to be an address and is kept at the current
//! one.

pub mod advertise;
pub mod annotations;
pub mod audit;
pub mod configuration;
pub mod follow;
pub mod manifest;
pub mod membership;
pub mod outlook;
pub mod patches;
pub mod pin;
pub mod record;
pub mod rescue;
pub mod stable;
pub mod turn;
pub mod unpin;
pub mod upgrade;
pub mod url;
