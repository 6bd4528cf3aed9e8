use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::peers::sample::{
    DAY, NOW, Pair, VALIDITY, at, authority, issued, master, name, pair, profile, statement, trust,
};
use crate::peers::statement::{Says, Statement};
use crate::peers::trust::Time;
use crate::peers::verify::read;
use crate::pki::authority::Authority;
use crate::pki::issue::Validity;

/// A master's certificate that begins so many days after [`NOW`] less ten.
fn pair_from(ca: &Authority, label: &str, days: i64) -> Pair {
    let validity = Validity {
        not_before: VALIDITY.not_before + days * DAY,
        ..VALIDITY
    };
    issued(ca, &profile(label), validity)
}

/// The cutoff that lets certificates of that day and later count.
fn cutoff(days: i64) -> Says {
    Says::Replaced {
        not_before: VALIDITY.not_before + days * DAY,
    }
}

fn addresses(ledger: &Ledger, label: &str) -> Option<String> {
    match ledger.effective_of(&master(label))?.word {
        Word::At(addresses) => Some(addresses[0].to_string()),
        Word::Removed => Some("removed".into()),
    }
}

#[test]
fn the_higher_version_wins_and_equal_ones_by_bytes() {
    let ca = authority("kubernetes");
    let m1 = pair(&ca, "m1");
    let word = |version, address| m1.verified(&ca, &at("m1", version, address));
    let mut ledger = Ledger::default();
    let first = word(5, "10.0.0.5");
    assert!(!ledger.holds(first.digest()));
    assert_eq!(ledger.offer(first.clone(), 77), Outcome::News);
    assert!(ledger.holds(first.digest()));
    assert_eq!(ledger.offer(first.clone(), 99), Outcome::Known);
    assert_eq!(ledger.effective()[&master("m1")].received, 77);
    // An old one, replayed.
    assert_eq!(ledger.offer(word(4, "10.0.0.4"), 1), Outcome::Outdone);
    assert_eq!(addresses(&ledger, "m1").unwrap(), "10.0.0.5");
    assert_eq!(ledger.offer(word(6, "10.0.0.5"), 1), Outcome::Kept);
    assert_eq!(ledger.offer(word(7, "10.0.0.7"), 1), Outcome::News);
    assert_eq!(ledger.records().count(), 1);
    let (low, high) = (word(8, "10.0.0.1"), word(8, "10.0.0.2"));
    for order in [[&low, &high], [&high, &low]] {
        let mut ledger = ledger.clone();
        for verified in order {
            ledger.offer(verified.clone(), 1);
        }
        assert_eq!(addresses(&ledger, "m1").unwrap(), "10.0.0.2");
        assert_eq!(ledger.records().count(), 1);
    }
}

#[test]
fn a_removal_stays_until_a_replacement_lifts_it() {
    let ca = authority("kubernetes");
    let (m1, m2) = (pair(&ca, "m1"), pair(&ca, "m2"));
    let mut ledger = Ledger::default();
    let mut say = |by: &Pair, statement: &Statement| {
        let outcome = ledger.offer(by.verified(&ca, statement), 1);
        (outcome, addresses(&ledger, "m1"))
    };
    let removed = Some("removed".to_owned());
    let there = |address: &str| Some(address.to_owned());
    let word = |version, says| statement("m1", version, says);
    assert_eq!(say(&m1, &at("m1", 5, "10.0.0.5")).1, there("10.0.0.5"));
    assert_eq!(
        say(&m2, &word(3, Says::Removed)),
        (Outcome::News, removed.clone())
    );
    // Whatever it says itself, however late.
    assert_eq!(
        say(&m1, &at("m1", 900, "10.0.0.9")),
        (Outcome::Kept, removed.clone())
    );
    // An older replacement does not lift it.
    assert_eq!(say(&m2, &word(2, cutoff(5))), (Outcome::Outdone, removed));
    assert_eq!(say(&m2, &word(4, cutoff(5))), (Outcome::News, None));
    assert_eq!(say(&m1, &at("m1", 901, "10.0.0.9")), (Outcome::Kept, None));
    // The new machine, whose versions begin anew.
    let new = pair_from(&ca, "m1", 5);
    assert_eq!(
        say(&new, &at("m1", 6, "10.0.0.6")),
        (Outcome::News, there("10.0.0.6"))
    );
    // The old one goes on.
    assert_eq!(say(&m1, &at("m1", 999, "10.0.0.9")).1, there("10.0.0.6"));
    // Removed once more.
    assert_eq!(say(&m2, &word(5, Says::Removed)).0, Outcome::News);
    assert_eq!(ledger.effective()[&master("m1")].signer, master("m2"));
}

#[test]
fn the_next_version_is_above_all_that_counts() {
    let ca = authority("kubernetes");
    let (m1, m2) = (pair(&ca, "m1"), pair(&ca, "m2"));
    let mut ledger = Ledger::default();
    assert_eq!(ledger.next_version(&master("m1"), 70), 70);
    ledger.offer(m1.verified(&ca, &at("m1", 100, "10.0.0.5")), 1);
    assert_eq!(ledger.next_version(&master("m1"), 70), 101);
    assert_eq!(ledger.next_version(&master("m1"), 170), 170);
    assert_eq!(ledger.next_version(&master("m2"), 70), 70);
    let (cluster, now) = (name("k8s.internal"), NOW.unsigned_abs());
    // Its newest certificate is years ahead by this clock, or it was issued long ago.
    for (now, not_before) in [(70, VALIDITY.not_before + 1), (now, NOW - 300)] {
        let replacement = ledger.replacement(&cluster, &master("m1"), now);
        assert_eq!(replacement.says, Says::Replaced { not_before });
    }
    ledger.offer(m2.verified(&ca, &statement("m1", 300, cutoff(1))), 1);
    ledger.offer(m1.verified(&ca, &at("m1", 5000, "10.0.0.5")), 1);
    // What was taken away is forgotten; words about it count apart.
    assert_eq!(ledger.next_version(&master("m1"), 70), 70);
    assert_eq!(ledger.removal(&cluster, &master("m1"), 70).version, 301);
}

#[test]
fn one_master_has_a_bounded_number_of_words() {
    let ca = authority("kubernetes");
    let pairs: Vec<Pair> = (-2..10).map(|day| pair_from(&ca, "m1", day)).collect();
    let mut ledger = Ledger::default();
    // Older certificates with greater versions: none outdoes another.
    for (index, pair) in pairs.iter().enumerate().rev() {
        let version = 100 - u64::try_from(index).unwrap();
        let outcome = ledger.offer(pair.verified(&ca, &at("m1", version, "10.0.0.1")), 1);
        assert!(outcome.is_taken());
    }
    assert_eq!(ledger.records().count(), WORDS);
    let below = pairs[11].verified(&ca, &at("m1", 50, "10.0.0.2"));
    assert_eq!(ledger.offer(below, 1), Outcome::TooManyWords);
    assert!(Outcome::TooManyWords.warning().is_some());
    assert_eq!(ledger.effective()[&master("m1")].version, 100);
    // The next word of the master itself ends it.
    let version = ledger.next_version(&master("m1"), 1);
    ledger.offer(pairs[11].verified(&ca, &at("m1", version, "10.0.0.3")), 1);
    assert_eq!(ledger.records().count(), 1);
}

#[test]
fn there_is_a_bounded_number_of_masters() {
    let ca = authority("kubernetes");
    let m1 = pair(&ca, "m1");
    let mut ledger = Ledger::default();
    for number in 0..MASTERS {
        let invented = statement(&format!("x{number}"), 1, Says::Removed);
        assert_eq!(ledger.offer(m1.verified(&ca, &invented), 1), Outcome::News);
    }
    let more = m1.verified(&ca, &statement("more", 1, Says::Removed));
    assert_eq!(ledger.offer(more, 1), Outcome::TooManyMasters);
    assert_eq!(ledger.summary().len(), MASTERS);
    // Those who are there go on.
    let again = m1.verified(&ca, &statement("x7", 2, Says::Removed));
    assert_eq!(ledger.offer(again, 1), Outcome::Kept);
}

#[test]
fn a_summary_tells_what_the_other_lacks() {
    let ca = authority("kubernetes");
    let (m1, m2) = (pair(&ca, "m1"), pair(&ca, "m2"));
    let (mut here, mut there) = (Ledger::default(), Ledger::default());
    assert_eq!(here.digest(), there.digest());
    assert!(here.missing(&there.summary()).is_empty());
    here.offer(m1.verified(&ca, &at("m1", 5, "10.0.0.5")), 1);
    there.offer(m1.verified(&ca, &at("m1", 6, "10.0.0.6")), 1);
    here.offer(m2.verified(&ca, &statement("m1", 7, Says::Removed)), 1);
    assert_ne!(here.digest(), there.digest());
    let versions = |missing: Vec<&Held>| -> Vec<u64> {
        let versions = missing.iter();
        versions
            .map(|held| held.verified.statement().version)
            .collect()
    };
    // Of its own words, the other would not take the older one.
    assert_eq!(versions(here.missing(&there.summary())), [7]);
    assert_eq!(versions(there.missing(&here.summary())), [6]);
    // A summary of lies gets no more than everything.
    let mut lies = there.summary();
    lies[0].version = u64::MAX;
    assert_eq!(versions(here.missing(&lies)), [7]);
    assert_eq!(versions(here.missing(&[])), [7, 5]);
    // The digest is what docs/protocol.md says.
    let (one, two) = (here.summary()[0].digest, here.summary()[1].digest);
    let both = if one < two {
        [one.0, two.0]
    } else {
        [two.0, one.0]
    };
    assert_eq!(here.digest(), Digest::of(&both.concat()));
}

/// Words of three masters, each under three certificates, and about each: removed and replaced, with equal
/// versions among them.
static POOL: LazyLock<Vec<Verified>> = LazyLock::new(|| {
    let ca = authority("kubernetes");
    let mut pool = Vec::new();
    let other = pair(&ca, "m9");
    for label in ["m0", "m1", "m2"] {
        for day in [0, 3, 6] {
            let pair = pair_from(&ca, label, day);
            for version in [1, 2, 5, 5, 6, 9] {
                let address = format!("10.0.{day}.{}", pool.len());
                pool.push(pair.verified(&ca, &at(label, version, &address)));
            }
        }
        for version in [1, 3, 5] {
            pool.push(other.verified(&ca, &statement(label, version, Says::Removed)));
            for day in [0, 2, 5, 9] {
                pool.push(other.verified(&ca, &statement(label, version, cutoff(day))));
            }
        }
    }
    pool
});

/// What counts, by the rule itself: from all records that there are, without any that are left out.
fn by_the_rule(records: &[&Verified]) -> BTreeMap<Name, (Word, u64)> {
    let mut masters: BTreeMap<Name, Vec<&Verified>> = BTreeMap::new();
    for verified in records {
        let name = verified.statement().master.clone();
        masters.entry(name).or_default().push(verified);
    }
    let rank = |verified: &&&Verified| (verified.statement().version, verified.bytes().to_vec());
    let counts = |records: Vec<&Verified>| {
        let own = |verified: &Verified| matches!(verified.statement().says, Says::At(_));
        let control = records
            .iter()
            .filter(|verified| !own(verified))
            .max_by_key(rank);
        let cutoff = match control.map(|control| (control, &control.statement().says)) {
            Some((control, Says::Removed)) => {
                return Some((Word::Removed, control.statement().version));
            }
            Some((_, Says::Replaced { not_before })) => *not_before,
            _ => i64::MIN,
        };
        let own = records
            .iter()
            .filter(|verified| own(verified) && verified.not_before() >= cutoff);
        let greatest = own.max_by_key(rank)?.statement();
        match &greatest.says {
            Says::At(addresses) => Some((Word::At(addresses.clone()), greatest.version)),
            _ => None,
        }
    };
    let masters = masters.into_iter();
    masters
        .filter_map(|(name, records)| Some((name, counts(records)?)))
        .collect()
}

fn shown(ledger: &Ledger) -> BTreeMap<Name, (Word, u64)> {
    let effective = ledger.effective().into_iter();
    effective
        .map(|(name, effective)| (name, (effective.word, effective.version)))
        .collect()
}

/// One exchange of summaries: each gets what it lacks.
fn exchange(ledgers: &mut [Ledger], a: usize, b: usize) {
    let send = |from: &Ledger, to: &Ledger| -> Vec<Verified> {
        let missing = from.missing(&to.summary()).into_iter();
        missing.map(|held| held.verified.clone()).collect()
    };
    let there = send(&ledgers[a], &ledgers[b]);
    let here = send(&ledgers[b], &ledgers[a]);
    for verified in there {
        ledgers[b].offer(verified, 2);
    }
    for verified in here {
        ledgers[a].offer(verified, 3);
    }
}

const NODES: usize = 4;

proptest! {
    /// Any order, duplication and loss of any set of records leads all to the same, and to what the rule says.
    #[test]
    fn all_ledgers_become_the_same(
        // Each delivery: which record, to which node. What is delivered to nobody does not exist.
        deliveries in prop::collection::vec((any::<prop::sample::Index>(), 0..NODES), 0..60),
    ) {
        let pool = &*POOL;
        let mut ledgers = vec![Ledger::default(); NODES];
        let mut all: Vec<&Verified> = Vec::new();
        for (index, node) in &deliveries {
            let verified = index.get(pool);
            ledgers[*node].offer(verified.clone(), 1);
            all.push(verified);
        }
        // Along a line and back: each hears of everything.
        for node in (1..NODES).chain((1..NODES).rev()) {
            exchange(&mut ledgers, node - 1, node);
        }
        let want = by_the_rule(&all);
        for ledger in &ledgers {
            prop_assert_eq!(ledger, &ledgers[0]);
            prop_assert_eq!(ledger.digest(), ledgers[0].digest());
            prop_assert_eq!(ledger.summary(), ledgers[0].summary());
            prop_assert_eq!(&shown(ledger), &want);
            prop_assert!(ledger.missing(&ledgers[0].summary()).is_empty());
        }
        // One that hears everything at once, backwards and twice.
        let mut late = Ledger::default();
        for verified in all.iter().rev().chain(&all) {
            late.offer((*verified).clone(), 9);
        }
        prop_assert_eq!(&late, &ledgers[0]);
    }

    /// Whatever was taken changes what a node holds, and nothing else does; what is news is seen.
    #[test]
    fn outcomes_are_true(indices in prop::collection::vec(any::<prop::sample::Index>(), 0..40)) {
        let mut ledger = Ledger::default();
        for index in indices {
            let verified = index.get(&POOL).clone();
            let (held, before) = (ledger.clone(), ledger.effective());
            let known = ledger.holds(verified.digest());
            let claim = read(verified.record(), &trust(&[]).at(Time::Any)).unwrap();
            let outdone = ledger.outdoes(&claim);
            let outcome = ledger.offer(verified.clone(), 1);
            let not_taken = matches!(outcome, Outcome::Outdone | Outcome::Known);
            prop_assert_eq!(outdone, not_taken);
            prop_assert_eq!(outcome.is_taken(), ledger != held);
            prop_assert_eq!(known, outcome == Outcome::Known);
            prop_assert!(!outcome.is_taken() || ledger.holds(verified.digest()));
            let word = |effective: &BTreeMap<Name, Effective>| {
                let of = effective.get(&verified.statement().master);
                of.map(|effective| effective.word.clone())
            };
            prop_assert_eq!(outcome == Outcome::News, word(&before) != word(&ledger.effective()));
        }
    }
}
