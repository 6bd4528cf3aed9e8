//! Renews what is due, and what a person names and forces.

use std::collections::BTreeSet;

use super::reason::Reason;
use super::signer::signer;
use super::{Action, Decision};
use crate::pki::inventory::{Exposed, Found, Inventory, KeyState, Present, Signer};
use crate::pki::issue::Validity;
use crate::pki::profile::{Names, Profile};
use crate::pki::wanted::{Item, Kind, Wanted};
use crate::pki::window::Phase;

/// The order, see [`Order::Renew`](super::Order::Renew).
pub(super) struct Asked<'a> {
    pub(super) only: &'a BTreeSet<String>,
    pub(super) force: bool,
    pub(super) drop: &'a Names,
}

pub(super) fn plan(
    asked: &Asked<'_>,
    wanted: &Wanted,
    inventory: &Inventory,
    now: i64,
) -> Vec<Decision> {
    let decide = |item: &Item| {
        let named = asked.only.contains(&item.id);
        if !named && !asked.only.is_empty() {
            return None;
        }
        let renewal = Renewal {
            item,
            named,
            force: named && asked.force,
            drop: asked.drop,
            wanted,
            inventory,
            now,
        };
        let (action, reason) = renewal.decide()?;
        Some(Decision {
            id: item.id.clone(),
            action,
            reason,
        })
    };
    wanted.items.iter().filter_map(decide).collect()
}

/// Why an item is not renewed.
enum Stop {
    /// It stays.
    Keep(Reason),
    /// A person has to look.
    Refuse(Reason),
}

struct Renewal<'a> {
    item: &'a Item,
    named: bool,
    force: bool,
    drop: &'a Names,
    wanted: &'a Wanted,
    inventory: &'a Inventory,
    now: i64,
}

impl Renewal<'_> {
    fn decide(&self) -> Option<(Action, Reason)> {
        let item = self.item;
        let found = self.inventory.of(item);
        if matches!(item.kind, Kind::Authority { .. } | Kind::KeyPair { .. }) {
            return self.named.then_some((Action::Refuse, Reason::NotRenewed));
        }
        if *found == Found::Absent && item.new_cluster_only && !self.named {
            return None;
        }
        let renewed = match found {
            Found::Absent if item.is_stayputs() => self.issue(),
            Found::Absent if item.new_cluster_only => Err(Stop::Refuse(Reason::OfFirstMaster)),
            Found::Absent => Err(Stop::Refuse(Reason::Missing)),
            Found::Half { present, missing } => self.replace(Reason::half(item, present, missing)),
            Found::Unusable { path, reason } => self.replace(Reason::unusable(item, path, reason)),
            Found::KeyPair { .. } => {
                self.replace(Reason::unusable(item, item.path(), "holds no certificate"))
            }
            Found::Present(present) => self.present(present),
        };
        Some(match renewed.and_then(|renewed| self.in_place(renewed)) {
            Ok(renewed) => renewed,
            Err(Stop::Keep(reason)) => (Action::Keep, reason),
            Err(Stop::Refuse(reason)) => (Action::Refuse, reason),
        })
    }

    /// The pair by which this master speaks, made for the first time. It is no part of the control plane,
    /// so nobody else could have made it or misses it, and nothing has to take it: a master that a newer
    /// stayput comes to has it without a person.
    fn issue(&self) -> Result<(Action, Reason), Stop> {
        let issue = Action::Issue {
            profile: self.item.profile.clone(),
            validity: self.validity()?,
        };
        Ok((issue, Reason::Absent))
    }

    /// What is to be replaced has to be a plain file, which is better known before the work than after.
    fn in_place(&self, renewed: (Action, Reason)) -> Result<(Action, Reason), Stop> {
        match self.inventory.links.get(&self.item.id) {
            Some(path) => Err(Stop::Refuse(Reason::Linked { path: path.clone() })),
            None => Ok(renewed),
        }
    }

    /// A pair that cannot be used: replaced only by order. What its certificate still says gives its
    /// names, as a stranger's does.
    fn replace(&self, why_not: Reason) -> Result<(Action, Reason), Stop> {
        if !self.force {
            return Err(Stop::Refuse(why_not));
        }
        let old = self.inventory.remains.get(&self.item.id);
        let old = old.map(|certificate| &certificate.profile.names);
        let profile = self.without_drops(self.named_as(old))?;
        let validity = self.validity()?;
        let renew = Action::Renew {
            adds: old.map_or_else(Names::default, |old| old.lacks(&profile.names)),
            drops: old.map_or_else(Names::default, |old| profile.names.lacks(old)),
            profile,
            validity,
            corrects: false,
        };
        let reason = Reason::Forced {
            shortened: self.shortened(validity),
            corrects: false,
        };
        Ok((renew, reason))
    }

    fn present(&self, present: &Present) -> Result<(Action, Reason), Stop> {
        if present.key == KeyState::Elsewhere && self.item.is_kubelets() {
            return Err(Stop::Keep(Reason::RenewsItself));
        }
        self.trouble(present)?;
        let old = Validity::of(&present.certificate);
        let phase = old.phase(old.window(self.wanted.renew_before), self.now);
        if !self.force {
            self.early(present, old, phase)?;
        }
        let names = &present.certificate.profile.names;
        let profile = self.without_drops(self.union(present))?;
        let validity = self.validity()?;
        if !self.force && validity.not_after <= old.not_after {
            let authority = validity.not_after < self.uncapped().not_after;
            let reason = Reason::GainsNothing {
                ends: validity.not_after,
                authority,
            };
            return Err(Stop::Keep(reason));
        }
        let corrects = self.force && self.points_elsewhere(present);
        let renew = Action::Renew {
            adds: names.lacks(&profile.names),
            drops: profile.names.lacks(names),
            profile,
            validity,
            corrects,
        };
        let shortened = self.shortened(validity);
        let reason = match phase {
            Phase::Due | Phase::Expired if !corrects => Reason::Due {
                ends: old.not_after,
                now: self.now,
                shortened,
            },
            _ => Reason::Forced {
                shortened,
                corrects,
            },
        };
        Ok((renew, reason))
    }

    /// Whether a kubeconfig's server or authority is another one, or its pair is not within it.
    fn points_elsewhere(&self, present: &Present) -> bool {
        if present.key == KeyState::Elsewhere {
            return true;
        }
        match (&present.kubeconfig, &self.item.kind) {
            (Some(is), Kind::Kubeconfig { server, .. }) => {
                !is.trusts_authority || is.server != *server
            }
            _ => false,
        }
    }

    /// What stands in the way of a renewal, even of one that is due. By order it is replaced; a key that
    /// others could read is then closed to them ([`store::NewFile`](crate::pki::store::NewFile)).
    fn trouble(&self, present: &Present) -> Result<(), Stop> {
        let id = || self.item.id.clone();
        let secret = |exposed: &&_| is_secret(self.item, exposed);
        if let Some(exposed) = present.exposed.iter().find(secret)
            && !self.force
        {
            return Err(Stop::Refuse(Reason::Exposed {
                id: id(),
                exposed: exposed.clone(),
            }));
        }
        let early = {
            let validity = Validity::of(&present.certificate);
            validity.phase(validity.window(self.wanted.renew_before), self.now) == Phase::Valid
        };
        let distrusts = present
            .kubeconfig
            .as_ref()
            .is_some_and(|kubeconfig| !kubeconfig.trusts_authority);
        let reason = match (&present.key, &present.signer) {
            (KeyState::Mismatch | KeyState::Absent, _) => Reason::KeyMismatch { id: id() },
            (_, Signer::Foreign(issuer)) => Reason::Foreign {
                id: id(),
                issuer: issuer.clone(),
            },
            (KeyState::Elsewhere, _) => Reason::InFiles { id: id() },
            _ if distrusts => Reason::Distrusts {
                id: id(),
                authority: self.item.authority().unwrap_or_default().to_owned(),
            },
            _ => return Ok(()),
        };
        match reason {
            _ if self.force => Ok(()),
            // Somebody else's on purpose, perhaps. It matters when it ends.
            Reason::Foreign { .. } | Reason::Distrusts { .. } | Reason::InFiles { .. }
                if early && !self.named =>
            {
                Err(Stop::Keep(reason))
            }
            _ => Err(Stop::Refuse(reason)),
        }
    }

    /// Before its time, a certificate stays.
    fn early(&self, present: &Present, old: Validity, phase: Phase) -> Result<(), Stop> {
        let reason = match phase {
            Phase::Due | Phase::Expired => return Ok(()),
            Phase::NotYetValid => Reason::NotYetValid {
                begins: old.not_before,
            },
            Phase::Valid => Reason::NotDue {
                id: self.item.id.clone(),
                ends: old.not_after,
                now: self.now,
                lacks: present
                    .certificate
                    .profile
                    .names
                    .lacks(&self.item.profile.names),
            },
        };
        Err(Stop::Keep(reason))
    }

    /// The old subject and usages, and the names of both. A stranger's certificate gives its DNS names
    /// and addresses only: what a stranger calls itself is not what this authority should vouch for. What a
    /// master speaks by says one name and nothing else, whatever the old one said.
    fn union(&self, present: &Present) -> Profile {
        let old = &present.certificate.profile;
        let wants = &self.item.profile;
        match present.signer {
            _ if self.item.is_stayputs() => wants.clone(),
            Signer::Foreign(_) => self.named_as(Some(&old.names)),
            Signer::Ours | Signer::Unknown => Profile {
                names: old.names.union(&wants.names),
                ..old.clone()
            },
        }
    }

    /// What the catalogue wants, with the DNS names and addresses of another certificate too.
    fn named_as(&self, names: Option<&Names>) -> Profile {
        let wants = self.item.profile.clone();
        if self.item.is_stayputs() {
            return wants;
        }
        let mut names = names.cloned().unwrap_or_default();
        names.others.clear();
        Profile {
            names: names.union(&wants.names),
            ..wants
        }
    }

    fn without_drops(&self, profile: Profile) -> Result<Profile, Stop> {
        let wanted = &self.item.profile.names;
        let names = wanted.without(self.drop).lacks(wanted);
        if !names.is_empty() {
            return Err(Stop::Refuse(Reason::NameWanted { names }));
        }
        Ok(Profile {
            names: profile.names.without(self.drop),
            ..profile
        })
    }

    fn validity(&self) -> Result<Validity, Stop> {
        let authority =
            signer(self.item, self.wanted, self.inventory, self.now).map_err(Stop::Refuse)?;
        Ok(self.uncapped().within(authority))
    }

    fn uncapped(&self) -> Validity {
        Validity::starting(self.now, self.item.validity)
    }

    /// The end of one that is shorter than it should be.
    fn shortened(&self, validity: Validity) -> Option<i64> {
        (validity.not_after < self.uncapped().not_after).then_some(validity.not_after)
    }
}

/// Whether the file holds the item's private key.
fn is_secret(item: &Item, exposed: &Exposed) -> bool {
    match &item.kind {
        Kind::Authority { key, .. } | Kind::Leaf { key, .. } | Kind::KeyPair { key, .. } => {
            exposed.path == *key
        }
        Kind::Kubeconfig { path, .. } => exposed.path == *path,
    }
}
