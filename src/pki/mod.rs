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
//!   each with its reason. [`health()`](health::health) shows the same to people; both reckon with [`window`].
//! - [`issue`] makes keys and certificates in memory, [`verify`] checks them with webpki, and only then
//!   [`store`] lets them take the old ones' places: a key and its certificate change as one. [`prepare`] goes
//!   that way for a plan; [`session`] is a whole run.
//! - [`after`] restarts what does not read its files again; [`live`] asks the running servers.
//! - [`record`] is what a run leaves for the agent, which cannot look itself; [`outlook`] is what it makes
//!   of that. [`spread`] keeps masters from renewing at the same time.
//!
//! Keys are never logged, never kept in copies, and wiped from memory where the libraries allow it.
//! A key that was loaded is never written again.

pub mod after;
pub mod authority;
pub mod bundle;
pub mod catalogue;
pub mod certificate;
pub mod external;
pub mod health;
pub mod identity;
pub mod inventory;
pub mod issue;
pub mod key;
pub mod kubeconfig;
pub mod live;
pub mod moment;

pub mod outlook;
mod pem;
pub mod plan;
pub mod prepare;
pub mod profile;
pub mod proof;
pub mod record;
mod service_account;
pub mod session;
pub mod spread;
pub mod store;
mod tbs;
pub mod template;
pub mod verify;
pub mod wanted;
pub mod window;

pub use plan::plan;

/// Where kubeadm keeps everything that is issued.
pub const FOLDER: &str = "/etc/kubernetes";
