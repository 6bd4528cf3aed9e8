//! Certificates on stable names: issued once, renewed when their time is near and never otherwise.
//!
//! ```text
//! certs/kubeadm.yaml ─▶ Catalogue ─┐
//! cluster file, node ──────────────┴▶ Wanted ─┐
//! /etc/kubernetes ───────▶ Inventory ─────────┼─▶ plan ─▶ Decisions ─▶ issue, verify ─▶ Store
//! clock ─────────────────▶ Moment ────────────┘   pure
//! ```
//!
//! - [`catalogue`] is the one list of what a kubeadm control plane needs; [`wanted`] fills in this
//!   node's names. An address that can change is not an input of either.
//! - [`inventory`] reads what is there, whoever made it. [`plan()`] decides: keep, issue, renew, refuse,
//!   each with its reason.
//! - [`issue`] makes keys and certificates in memory, [`verify`] checks them with webpki, and only then
//!   [`store`] lets them take the old ones' places: a key and its certificate change as one.
//! - [`after`] restarts what does not read its files again; `live` asks the running servers.
//! - [`record`] is what a run leaves for the agent, which cannot look itself; [`outlook`] is what it makes
//!   of that. [`spread`] keeps masters from renewing at the same time.
//!
//! Keys are never logged, never kept in copies, and wiped from memory where the libraries allow it.
//! A key that was loaded is never written again.

pub mod after;
pub mod authority;
pub mod catalogue;
pub mod certificate;
pub mod inventory;
pub mod issue;
pub mod key;
pub mod kubeconfig;
pub mod outlook;
pub mod plan;
pub mod profile;
pub mod record;
pub mod spread;
pub mod store;
pub mod verify;
pub mod wanted;

pub use plan::plan;

/// Where kubeadm keeps everything that is issued.
pub const FOLDER: &str = "/etc/kubernetes";
