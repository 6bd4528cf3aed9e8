//! What counts, as the agent's book takes it.

use std::collections::BTreeMap;

use super::{Ledger, Word};
use crate::book::{Says, Signed};
use crate::name::Name;

impl Ledger {
    /// What counts of each master, for `POST /v1/records` of the agent.
    pub fn said(&self) -> BTreeMap<Name, Signed> {
        let effective = self.effective().into_iter();
        let signed = effective.map(|(name, effective)| {
            let says = match effective.word {
                Word::At(addresses) => Says::At(addresses),
                Word::Removed => Says::Removed,
            };
            let version = effective.version;
            (name, Signed { version, says })
        });
        signed.collect()
    }
}
