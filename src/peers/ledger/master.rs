//! What is held of one master.

use super::{Effective, Held, Outcome, WORDS, Word};
use crate::peers::statement::Says;
use crate::peers::verify::Claim;

/// The records of one master; see [`ledger`](super).
#[derive(Debug, Clone, Default)]
pub(super) struct Master {
    /// The greatest word about it.
    control: Option<Held>,
    /// Its own words that none outdoes, the greatest first: so their certificates begin ever later.
    own: Vec<Held>,
}

/// By this the greater of two words is told.
fn rank(held: &Held) -> (u64, &[u8]) {
    (held.verified.statement().version, held.verified.bytes())
}

/// Whether what `other` says can never count again beside `held`.
fn outdoes(held: &Held, other: &Held) -> bool {
    rank(held) >= rank(other) && held.verified.not_before() >= other.verified.not_before()
}

impl Master {
    /// Whether a record would not be taken, were it true.
    pub(super) fn outdoes(&self, claim: &Claim) -> bool {
        let rank_of = (claim.statement().version, claim.bytes());
        let not_before = claim.not_before();
        if matches!(claim.statement().says, Says::At(_)) {
            let mut own = self.own.iter();
            own.any(|held| rank(held) >= rank_of && held.verified.not_before() >= not_before)
        } else {
            self.control
                .as_ref()
                .is_some_and(|held| rank(held) >= rank_of)
        }
    }

    pub(super) fn offer(&mut self, new: Held) -> Outcome {
        let digest = new.verified.digest();
        if self.records().any(|held| held.verified.digest() == digest) {
            return Outcome::Known;
        }
        let before = self.effective().map(|effective| effective.word);
        let own = matches!(new.verified.statement().says, Says::At(_));
        let refused = if own {
            self.offer_own(new)
        } else {
            self.offer_control(new)
        };
        if let Some(refused) = refused {
            return refused;
        }
        if self.effective().map(|effective| effective.word) == before {
            Outcome::Kept
        } else {
            Outcome::News
        }
    }

    fn offer_control(&mut self, new: Held) -> Option<Outcome> {
        let control = self.control.as_ref();
        if control.is_some_and(|held| rank(held) > rank(&new)) {
            return Some(Outcome::Outdone);
        }
        self.control = Some(new);
        None
    }

    fn offer_own(&mut self, new: Held) -> Option<Outcome> {
        if self.own.iter().any(|held| outdoes(held, &new)) {
            return Some(Outcome::Outdone);
        }
        self.own.retain(|held| !outdoes(&new, held));
        let place = self.own.partition_point(|held| rank(held) > rank(&new));
        if place >= WORDS {
            return Some(Outcome::TooManyWords);
        }
        self.own.insert(place, new);
        self.own.truncate(WORDS);
        None
    }

    /// What counts.
    pub(super) fn effective(&self) -> Option<Effective> {
        if let Some(control) = &self.control
            && control.verified.statement().says == Says::Removed
        {
            return Some(effective(control, Word::Removed));
        }
        let held = self.counting().next()?;
        match &held.verified.statement().says {
            Says::At(addresses) => Some(effective(held, Word::At(addresses.clone()))),
            Says::Removed | Says::Replaced { .. } => None,
        }
    }

    /// Its own words that are not before the cutoff, the greatest first; a removal does not matter here.
    fn counting(&self) -> impl Iterator<Item = &Held> {
        let cutoff = self.cutoff().unwrap_or(i64::MIN);
        let own = self.own.iter();
        own.filter(move |held| held.verified.not_before() >= cutoff)
    }

    /// Since when its certificates count.
    pub(super) fn cutoff(&self) -> Option<i64> {
        match self.control.as_ref()?.verified.statement().says {
            Says::Replaced { not_before } => Some(not_before),
            Says::At(_) | Says::Removed => None,
        }
    }

    /// The version of the greatest of its own words that counts.
    pub(super) fn version(&self) -> Option<u64> {
        Some(self.counting().next()?.verified.statement().version)
    }

    /// That of the greatest word about it. The two are never compared.
    pub(super) fn control_version(&self) -> Option<u64> {
        Some(self.control.as_ref()?.verified.statement().version)
    }

    /// When the newest certificate began under which it has spoken.
    pub(super) fn newest_certificate(&self) -> Option<i64> {
        self.own.iter().map(|held| held.verified.not_before()).max()
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Held> {
        self.control.iter().chain(&self.own)
    }
}

fn effective(held: &Held, word: Word) -> Effective {
    Effective {
        word,
        version: held.verified.statement().version,
        signer: held.verified.signer().clone(),
        received: held.received,
        digest: held.verified.digest(),
    }
}
