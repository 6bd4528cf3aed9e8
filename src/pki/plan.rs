//! Decides what is done with each item, and why. Pure: no clock, no files, and no address.
//!
//! - What is present stays, byte for byte, until its time is near or a person orders otherwise.
//! - What is broken, or is not ours, is never replaced by itself: a person has to look.
//! - A new authority is made only where a cluster is made.
//! - What is missing is made by `init`; the pair by which a master speaks by a renewal too.
//! - A renewal that gains no time is not done: a second plan at the same moment keeps everything.

mod init;
#[cfg(test)]
pub(super) mod model;
mod reason;
mod renew;
mod row;
mod signer;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use super::inventory::{Found, Inventory};
use super::issue::Validity;
use super::profile::{Names, Profile};
use super::wanted::{Item, Wanted};

pub use reason::{AuthorityProblem, Reason};
pub use row::Row;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Everything that is missing; authorities and service-account keys only with `new_cluster`.
    /// All or nothing: if any decision is [`Action::Refuse`], none of the others is carried out. Only the
    /// pair by which the master speaks holds up nobody: the control plane runs without it.
    Init {
        /// This machine makes the cluster.
        new_cluster: bool,
    },
    /// What is due, and the pair by which the master speaks where it is missing. Each item by itself: one
    /// that is refused does not hold up the others.
    Renew {
        /// These only; all where empty.
        only: BTreeSet<String>,
        /// Of the items in `only`, also what is not due, and what is broken. It concerns nothing that
        /// is not named.
        force: bool,
        /// Names that new certificates leave out.
        drop: Names,
    },
}

/// What is done with one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The item.
    pub id: String,
    /// What is done.
    pub action: Action,
    /// Why; shown to people.
    pub reason: Reason,
}

/// What can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It stays as it is, byte for byte.
    Keep,
    /// It is made for the first time.
    Issue {
        /// What it says; empty for a key pair.
        profile: Profile,
        /// From when to when; of no meaning for a key pair.
        validity: Validity,
    },
    /// It is replaced by one with a new key. A kubeconfig whose text cannot be used is written anew.
    Renew {
        /// What the new one says.
        profile: Profile,
        /// From when to when.
        validity: Validity,
        /// What it says and the old one did not; empty where the old one cannot be read.
        adds: Names,
        /// What the old one said and it does not.
        drops: Names,
        /// Of a kubeconfig: its server and authority are put right, too.
        corrects: bool,
    },
    /// A key pair's public half is written again, from the private one.
    RestorePublic,
    /// Nothing can be done with it; a person has to look.
    Refuse,
}

impl Action {
    /// Whether files change by it.
    pub fn changes(&self) -> bool {
        !matches!(self, Self::Keep | Self::Refuse)
    }
}

impl Order {
    /// What `only` names and the node does not have: mistakes of whoever gave the order.
    pub fn unknown_items(&self, wanted: &Wanted) -> Vec<String> {
        let Self::Renew { only, .. } = self else {
            return Vec::new();
        };
        let known = |id: &&String| item(wanted, id).is_some();
        only.iter().filter(|id| !known(id)).cloned().collect()
    }

    /// Names to leave out that no certificate has which the order is about: mistakes, too.
    pub fn unknown_drops(&self, wanted: &Wanted, inventory: &Inventory) -> Names {
        let Self::Renew { only, drop, .. } = self else {
            return Names::default();
        };
        let about = |item: &&Item| only.is_empty() || only.contains(&item.id);
        let ours = wanted.items.iter().filter(about);
        let all = ours.fold(Names::default(), |all, item| {
            let all = all.union(&item.profile.names);
            match inventory.of(item) {
                Found::Present(present) => all.union(&present.certificate.profile.names),
                _ => match inventory.remains.get(&item.id) {
                    Some(certificate) => all.union(&certificate.profile.names),
                    None => all,
                },
            }
        });
        drop.without(&all)
    }
}

/// The plan, one decision for each item that the order is about, in the catalogue's order. `now` is
/// the later of the clock and the newest time that the node has seen, in Unix time.
pub fn plan(order: &Order, wanted: &Wanted, inventory: &Inventory, now: i64) -> Vec<Decision> {
    match order {
        Order::Init { new_cluster } => init::plan(*new_cluster, wanted, inventory, now),
        Order::Renew { only, force, drop } => {
            let asked = renew::Asked {
                only,
                force: *force,
                drop,
            };
            renew::plan(&asked, wanted, inventory, now)
        }
    }
}

fn item<'a>(wanted: &'a Wanted, id: &str) -> Option<&'a Item> {
    wanted.items.iter().find(|item| item.id == id)
}
