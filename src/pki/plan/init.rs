//! Makes what is missing, and touches nothing that is there.

use std::collections::BTreeMap;

use super::reason::Reason;
use super::signer::signer;
use super::{Action, Decision};
use crate::pki::health;
use crate::pki::inventory::{Found, Inventory};
use crate::pki::issue::Validity;
use crate::pki::profile::Profile;
use crate::pki::wanted::{Item, Kind, Wanted};

pub(super) fn plan(
    new_cluster: bool,
    wanted: &Wanted,
    inventory: &Inventory,
    now: i64,
) -> Vec<Decision> {
    let mut init = Init {
        new_cluster,
        wanted,
        inventory,
        now,
        made: BTreeMap::new(),
    };
    let items = wanted.items.iter();
    items.filter_map(|item| init.decide(item)).collect()
}

struct Init<'a> {
    new_cluster: bool,
    wanted: &'a Wanted,
    inventory: &'a Inventory,
    now: i64,
    /// The authorities that the plan makes, by id. They come before what they sign.
    made: BTreeMap<String, Validity>,
}

impl Init<'_> {
    fn decide(&mut self, item: &Item) -> Option<Decision> {
        let elsewhere = item.new_cluster_only && !self.new_cluster;
        let (action, reason) = match self.inventory.of(item) {
            Found::Absent if elsewhere => return None,
            Found::Absent => self.absent(item),
            Found::Half { present, missing } if !elsewhere => half(item, present, missing),
            Found::Unusable { path, reason } if !elsewhere => {
                (Action::Refuse, Reason::unusable(item, path, reason))
            }
            _ => (Action::Keep, self.in_place(item)),
        };
        Some(Decision {
            id: item.id.clone(),
            action,
            reason,
        })
    }

    fn absent(&mut self, item: &Item) -> (Action, Reason) {
        let issued = match &item.kind {
            Kind::Authority { .. } => self.authority(item),
            Kind::KeyPair { .. } => self.key_pair(item),
            Kind::Leaf { .. } | Kind::Kubeconfig { .. } => self.leaf(item),
        };
        match issued {
            Ok(action) => (action, Reason::Absent),
            Err(reason) => (Action::Refuse, reason),
        }
    }

    /// A second authority beside certificates of a first one would make all of them strangers.
    fn authority(&mut self, item: &Item) -> Result<Action, Reason> {
        self.only_new(item)?;
        let there = |leaf: &&Item| {
            leaf.authority() == Some(&item.id) && *self.inventory.of(leaf) != Found::Absent
        };
        let leaves = self.wanted.items.iter().filter(there);
        let leaves: Vec<_> = leaves.map(|leaf| leaf.path().to_owned()).collect();
        if !leaves.is_empty() {
            return Err(Reason::WouldNotFit {
                path: item.path().to_owned(),
                leaves,
            });
        }
        let validity = Validity::starting(self.now, item.validity);
        self.made.insert(item.id.clone(), validity);
        Ok(Action::Issue {
            profile: item.profile.clone(),
            validity,
        })
    }

    fn key_pair(&self, item: &Item) -> Result<Action, Reason> {
        self.only_new(item)?;
        Ok(Action::Issue {
            profile: Profile::default(),
            validity: Validity::starting(self.now, item.validity),
        })
    }

    fn leaf(&self, item: &Item) -> Result<Action, Reason> {
        let made = item.authority().and_then(|id| self.made.get(id));
        let authority = match made {
            Some(validity) => *validity,
            None => signer(item, self.wanted, self.inventory, self.now)?,
        };
        Ok(Action::Issue {
            profile: item.profile.clone(),
            validity: Validity::starting(self.now, item.validity).within(authority),
        })
    }

    /// What all masters share is made once, by the first of them.
    fn only_new(&self, item: &Item) -> Result<(), Reason> {
        if self.new_cluster {
            return Ok(());
        }
        Err(Reason::Shared {
            path: item.path().to_owned(),
        })
    }

    fn in_place(&self, item: &Item) -> Reason {
        let findings = health::findings(item, self.wanted, self.inventory, self.now);
        let odd = findings
            .into_iter()
            .filter(|f| f.state != health::State::Ok);
        Reason::InPlace {
            remarks: odd.map(|finding| finding.text).collect(),
        }
    }
}

/// One half of a pair. Only a public key can be made again, from its private one.
fn half(item: &Item, present: &std::path::Path, missing: &std::path::Path) -> (Action, Reason) {
    match &item.kind {
        Kind::KeyPair { key, .. } if key == present => {
            (Action::RestorePublic, Reason::PublicAbsent)
        }
        _ => (Action::Refuse, Reason::half(item, present, missing)),
    }
}
