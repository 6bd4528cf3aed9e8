//! What an operator may have a master say of others, and what not. Pure.

use std::collections::BTreeSet;

use super::ledger::{Ledger, Word};
use crate::name::Name;

/// Who is a master and who was one, by the book and by signed records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Those that count.
    pub masters: BTreeSet<Name>,
    /// Those that were removed, and not replaced since.
    pub removed: BTreeSet<Name>,
}

/// Why an operator's wish is refused. Nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody has the name.
    #[error("no master is called '{name}'; the masters are {known}")]
    Unknown {
        /// What was said.
        name: String,
        /// All that could be meant, joined by commas.
        known: String,
    },
    /// This master itself.
    #[error(
        "{0} is this master itself; run this on another one, which stays. If this one is to say it of itself as its last word, give --myself"
    )]
    Myself(Name),
    /// This master itself, where that makes no sense.
    #[error(
        "{0} is this master itself, and its word would count no more from now on; run this on another master"
    )]
    ReplacesItself(Name),
    /// Nobody would be left.
    #[error("{0} is the only master: without it there is no cluster")]
    Last(Name),
}

impl Refusal {
    /// Whether it is the words that are wrong, and not the cluster.
    pub fn is_mistake(&self) -> bool {
        !matches!(self, Self::Last(_))
    }
}

/// What is to be done about a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Sign it.
    Sign,
    /// It was removed already.
    Done,
}

impl Standing {
    /// By the masters of the book in force, the names that it has as removed, and by a ledger, which may
    /// know more than the book.
    pub fn of(
        masters: impl IntoIterator<Item = Name>,
        removed: impl IntoIterator<Item = Name>,
        ledger: &Ledger,
    ) -> Self {
        let mut standing = Self {
            masters: masters.into_iter().collect(),
            removed: removed.into_iter().collect(),
        };
        for (name, effective) in ledger.effective() {
            let (from, to) = match effective.word {
                Word::At(_) => (&mut standing.removed, &mut standing.masters),
                Word::Removed => (&mut standing.masters, &mut standing.removed),
            };
            from.remove(&name);
            to.insert(name);
        }
        standing
    }

    /// Whom a short or a fully qualified name means.
    pub fn find(&self, text: &str, domain: &Name) -> Result<Name, Refusal> {
        let name = Name::parse(text).ok();
        let full = name.as_ref().and_then(|name| name.below(domain).ok());
        let all = || self.masters.iter().chain(&self.removed);
        let found = full
            .into_iter()
            .chain(name)
            .find(|name| all().any(|it| it == name));
        found.ok_or_else(|| Refusal::Unknown {
            name: text.escape_debug().to_string(),
            known: all().map(Name::as_str).collect::<Vec<_>>().join(", "),
        })
    }

    /// Whether `own` may say that a master is one no more; `myself`: also of itself.
    pub fn may_remove(&self, master: &Name, own: &Name, myself: bool) -> Result<Removal, Refusal> {
        if self.removed.contains(master) {
            return Ok(Removal::Done);
        }
        if self.masters.iter().all(|name| name == master) {
            return Err(Refusal::Last(master.clone()));
        }
        if master == own && !myself {
            return Err(Refusal::Myself(master.clone()));
        }
        Ok(Removal::Sign)
    }

    /// Whether `own` may say that a new machine takes a master's name.
    pub fn may_replace(&self, master: &Name, own: &Name) -> Result<(), Refusal> {
        if master == own {
            return Err(Refusal::ReplacesItself(master.clone()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::sample::{at, authority, master, name, pair, statement};
    use crate::peers::statement::Says;

    /// The book has m1, m2 and the removed m0; a record adds m3 and one removes m2, of which the book has
    /// not heard.
    fn standing() -> Standing {
        let ca = authority("kubernetes");
        let mut ledger = Ledger::default();
        let (m1, m3) = (pair(&ca, "m1"), pair(&ca, "m3"));
        ledger.offer(m3.verified(&ca, &at("m3", 7, "10.0.0.3")), 1);
        ledger.offer(m1.verified(&ca, &statement("m2", 7, Says::Removed)), 1);
        Standing::of([master("m1"), master("m2")], [master("m0")], &ledger)
    }

    #[test]
    fn records_know_more_than_the_book() {
        let standing = standing();
        assert_eq!(standing.masters, [master("m1"), master("m3")].into());
        assert_eq!(standing.removed, [master("m0"), master("m2")].into());
    }

    #[test]
    fn masters_are_found_by_both_names_also_removed_ones() {
        let (standing, domain) = (standing(), name("k8s.internal"));
        for (text, want) in [
            ("m1", "m1"),
            ("M3.k8s.internal.", "m3"),
            ("m2", "m2"),
            ("m0.k8s.internal", "m0"),
        ] {
            assert_eq!(standing.find(text, &domain), Ok(master(want)), "{text}");
        }
        for text in ["m9", "", "m1.elsewhere", "m 1", "10.0.0.1", "api"] {
            let refused = standing.find(text, &domain).unwrap_err();
            assert!(refused.is_mistake());
            assert!(refused.to_string().contains("m1.k8s.internal"), "{refused}");
        }
    }

    #[test]
    fn the_last_master_stays_and_none_removes_itself_by_mistake() {
        let mut standing = standing();
        let (m1, m2, m3) = (master("m1"), master("m2"), master("m3"));
        let remove = |standing: &Standing, whom: &Name, myself| {
            standing.may_remove(whom, &master("m1"), myself)
        };
        assert_eq!(remove(&standing, &m3, false), Ok(Removal::Sign));
        assert_eq!(remove(&standing, &m2, false), Ok(Removal::Done));
        let refused = remove(&standing, &m1, false);
        assert_eq!(refused, Err(Refusal::Myself(m1.clone())));
        assert_eq!(remove(&standing, &m1, true), Ok(Removal::Sign));
        standing.masters.remove(&m3);
        for myself in [false, true] {
            let refused = remove(&standing, &m1, myself).unwrap_err();
            assert_eq!(refused, Refusal::Last(m1.clone()));
            assert!(!refused.is_mistake());
        }
        standing.may_replace(&m2, &m1).unwrap();
        assert!(standing.may_replace(&m1, &m1).is_err());
    }
}
