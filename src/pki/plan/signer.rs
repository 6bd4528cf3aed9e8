//! Whether an authority can sign, and until when.

use super::item;
use super::reason::{AuthorityProblem, Reason};
use crate::pki::inventory::{Exposed, Found, Inventory, KeyState};
use crate::pki::issue::Validity;
use crate::pki::wanted::{Item, Kind, Wanted};
use crate::pki::window::Phase;

/// From when to when the authority of `leaf` is valid, if it can sign now.
pub(super) fn signer(
    leaf: &Item,
    wanted: &Wanted,
    inventory: &Inventory,
    now: i64,
) -> Result<Validity, Reason> {
    let id = leaf.authority().unwrap_or_default();
    let refuse = |problem| Reason::Authority {
        id: id.to_owned(),
        problem,
    };
    let Some(authority) = item(wanted, id) else {
        return Err(refuse(AuthorityProblem::Missing));
    };
    match inventory.of(authority) {
        Found::Absent => Err(refuse(AuthorityProblem::Missing)),
        Found::Present(present) => {
            let is_key = |exposed: &&Exposed| match &authority.kind {
                Kind::Authority { key, .. } => exposed.path == *key,
                _ => false,
            };
            if let Some(exposed) = present.exposed.iter().find(is_key) {
                return Err(refuse(AuthorityProblem::Exposed(exposed.clone())));
            }
            let validity = Validity::of(&present.certificate);
            can_sign(&present.key, validity, now).map_err(refuse)?;
            Ok(validity)
        }
        Found::Half { .. } | Found::Unusable { .. } | Found::KeyPair { .. } => {
            Err(refuse(AuthorityProblem::Unusable))
        }
    }
}

fn can_sign(key: &KeyState, validity: Validity, now: i64) -> Result<(), AuthorityProblem> {
    match key {
        KeyState::Matches => {}
        KeyState::Mismatch => return Err(AuthorityProblem::Unusable),
        KeyState::Absent | KeyState::Elsewhere => return Err(AuthorityProblem::NoKey),
    }
    match validity.phase(0, now) {
        Phase::Expired => Err(AuthorityProblem::Expired(validity.not_after)),
        Phase::NotYetValid => Err(AuthorityProblem::NotYetValid(validity.not_before)),
        Phase::Valid | Phase::Due => Ok(()),
    }
}
