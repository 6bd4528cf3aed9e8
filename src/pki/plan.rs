//! Decides what is done with each item, and why. Pure: no clock, no files, and no address.

use std::collections::BTreeSet;

use super::inventory::Inventory;
use super::issue::Validity;
use super::profile::{Names, Profile};
use super::wanted::Wanted;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Everything that is missing; authorities and service-account keys only with `new_cluster`.
    Init {
        /// This machine makes the cluster.
        new_cluster: bool,
    },
    /// What is due.
    Renew {
        /// These only; all where empty.
        only: BTreeSet<String>,
        /// Also what is not due. Only together with names in `only`... see the command.
        force: bool,
        /// Names that the new certificates leave out.
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
    /// Why, for people.
    pub reason: String,
}

/// What can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It stays as it is, byte for byte.
    Keep,
    /// It is made for the first time.
    Issue {
        /// What it says.
        profile: Profile,
        /// From when to when.
        validity: Validity,
    },
    /// It is replaced by one with a new key.
    Renew {
        /// What the new one says.
        profile: Profile,
        /// From when to when.
        validity: Validity,
    },
    /// Nothing can be done with it; a person has to look.
    Refuse,
}

/// The plan, one decision for each item that the order is about, in the catalogue's order. `now` is
/// the later of the clock and the newest time that the node has seen, in Unix time.
pub fn plan(_order: &Order, _wanted: &Wanted, _found: &Inventory, _now: i64) -> Vec<Decision> {
    todo!()
}
