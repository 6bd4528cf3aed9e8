//! Masters tell all nodes where they are, in signed records that anybody may pass on.
//!
//! A [`statement`] is what is said of a master: where it is, that it was removed, that a new machine takes
//! its name. A [`record`] is a statement with its signer's certificate and signature, as bytes that stay as
//! they are on their way.
//!
//! ```text
//! this node's addresses ─▶ duty ─▶ Statement ─▶ Signer::sign ─┐
//!                            ▲                                ├─▶ Record ─▶ verify ─▶ Ledger ─▶ effective
//!                            └── Ledger    from other nodes ──┘            (Trust)      └─▶ file
//! ```
//!
//! - [`certificate`] is the rule of what a master's certificate is, [`sign`] makes records with it, and
//!   [`verify()`](verify::verify) judges those of others by the cluster's authority ([`trust`]).
//! - [`ledger`] is the join of all records that were ever accepted: the order in which they came, and how
//!   often, makes no difference. [`store`] keeps it across restarts.
//! - [`carry`] is how records come to a node by hand; [`control`] how the process that has them is asked.
//! - [`offline`] takes records in where no process does. [`order`] is what an operator may have a master say of others.
//! - [`duty`] tells when a master has to speak, [`pace`] how often against another of its own name.

mod allowance;
pub mod carry;
pub mod certificate;
mod changes;
pub mod control;
pub mod daemon;
pub mod duty;
pub mod gossip;
pub mod ledger;
pub mod offline;
pub mod order;
pub mod pace;
pub mod record;
pub mod sign;
pub mod statement;
pub mod store;
pub mod transport;
pub mod trust;
pub mod verify;

#[cfg(test)]
mod sample;
