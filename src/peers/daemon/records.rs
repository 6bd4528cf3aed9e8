//! The ledger as gossip uses it: bytes come in and are judged, what is held goes out.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::address::Loopback;
use crate::book::Signed;
use crate::clock;
use crate::name::Name;
use crate::peers::daemon::command::Verdict;
use crate::peers::daemon::notes::Notes;
use crate::peers::gossip::{self, Stamp, Who};
use crate::peers::ledger::{Ledger, Outcome};
use crate::peers::record::{Digest, Record};
use crate::peers::statement::{Says, Statement};
use crate::peers::trust::{Time, Trust};
use crate::peers::verify::{Refused, read, verify};
use crate::pki::moment::{Moment, Synchronised};

/// All records of this node, and what they are judged by.
#[derive(Debug)]
pub(super) struct Records {
    ledger: Ledger,
    /// Without an authority nothing is believed.
    trust: Option<Trust>,
    /// The newest time that this node has seen, and when its own certificate began; Unix times.
    least: i64,
    /// All digests that are held, ascending, and the one over all of them.
    held: Vec<gossip::Digest>,
    digest: Digest,
    /// Grows with everything that is taken.
    version: u64,
    /// What was refused since the start.
    refused: u64,
    /// What was said of records for which there is no room.
    notes: Notes,
}

impl Records {
    pub(super) fn new() -> Self {
        let mut records = Self {
            ledger: Ledger::default(),
            trust: None,
            least: 0,
            held: Vec::new(),
            digest: Digest([0; 32]),
            version: 0,
            refused: 0,
            notes: Notes::default(),
        };
        records.count();
        records
    }

    /// Believes another authority, or none. What is held and was not signed under it does not count any more;
    /// tells what.
    pub(super) fn believe(&mut self, trust: Option<Trust>) -> Vec<Refused> {
        let mut refused = Vec::new();
        if let Some(trust) = &trust {
            let any = trust.at(Time::Any);
            let mut kept = Ledger::default();
            for held in self.ledger.records() {
                match verify(held.verified.record(), &any) {
                    Ok(verified) => drop(kept.offer(verified, held.received)),
                    Err(why) => refused.push(why),
                }
            }
            if !refused.is_empty() {
                self.ledger = kept;
                self.version += 1;
                self.count();
            }
        }
        self.trust = trust;
        refused
    }

    /// It is later than this, by all that is there now: Unix time. A certificate that came from a wrong
    /// clock proves nothing any more once it was replaced.
    pub(super) fn not_before(&mut self, least: i64) {
        self.least = least;
    }

    /// Adds what was saved.
    pub(super) fn load(&mut self, saved: Ledger) {
        for held in saved.records() {
            let _: Outcome = self.ledger.offer(held.verified.clone(), held.received);
        }
        self.count();
    }

    /// Judges a record and takes it if it adds anything.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Verdict {
        if self.held.binary_search(&Digest::of(bytes).0).is_ok() {
            return Verdict::Known;
        }
        let verdict = self.judge(bytes);
        if matches!(verdict, Verdict::Refused(_)) {
            self.refused += 1;
        }
        verdict
    }

    fn judge(&mut self, bytes: &[u8]) -> Verdict {
        let Some(trust) = &self.trust else {
            let why = "this node does not know the cluster's authority yet";
            return Verdict::Refused(why.to_owned());
        };
        let claim = Record::decode(bytes).map_err(Refused::from);
        let judged = match claim.and_then(|record| read(&record, trust)) {
            // Whether it is true makes no difference, and would cost more than to ask.
            Ok(claim) if self.ledger.outdoes(&claim) => return Verdict::Outdone,
            Ok(claim) => claim.verify(&trust.at(self.time(trust))),
            Err(why) => Err(why),
        };
        let verified = match judged {
            Ok(verified) => verified,
            Err(why) => return Verdict::Refused(why.to_string()),
        };
        let master = verified.statement().master.clone();
        let outcome = self.ledger.offer(verified, clock::unix_now());
        // A good record all the same: who passes it on has not lied, and may have had room for it.
        if let Some(warning) = outcome.warning()
            && self.notes.is_new("", warning, Instant::now())
        {
            tracing::warn!("a record for {master} is not taken: {warning}");
        }
        match outcome {
            taken if taken.is_taken() => {
                self.version += 1;
                self.count();
                Verdict::News
            }
            Outcome::Known => Verdict::Known,
            _ => Verdict::Outdone,
        }
    }

    /// By what time a record is judged that is seen for the first time.
    fn time(&self, trust: &Trust) -> Time {
        Time::judged(&moment(self.least), trust.begun())
    }

    fn count(&mut self) {
        let digests = self.ledger.records().map(|held| held.verified.digest().0);
        self.held = digests.collect();
        self.held.sort_unstable();
        self.digest = Digest::of(self.held.as_flattened());
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Whether there is an authority to judge by.
    pub(super) fn can_judge(&self) -> bool {
        self.trust.is_some()
    }

    /// Another one whenever something was taken.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// The present time for what is signed: a clock that stands before what is known is wrong.
    pub(super) fn now(&self) -> u64 {
        let begun = self.trust.iter().flat_map(Trust::begun);
        let least = begun.fold(self.least, i64::max);
        clock::unix_now().max(u64::try_from(least).unwrap_or(0))
    }

    /// What the agent is told.
    pub(super) fn counting(&self) -> BTreeMap<Name, Signed> {
        self.ledger.said()
    }
}

/// What time it is, given the newest time that this node has seen.
pub(super) fn moment(seen: i64) -> Moment {
    Moment {
        clock: i64::try_from(clock::unix_now()).unwrap_or(i64::MAX),
        seen,
        synchronised: Synchronised::Unknown,
        trusted: false,
    }
}

impl gossip::Ledger for Records {
    fn offer(&mut self, record: &[u8], _from: &Who) -> gossip::Verdict {
        match self.take(record) {
            Verdict::News => gossip::Verdict::News,
            Verdict::Known => gossip::Verdict::Known,
            Verdict::Outdone => gossip::Verdict::Outdone,
            Verdict::Refused(why) => gossip::Verdict::Refused(why),
        }
    }

    fn digest(&self) -> gossip::Digest {
        self.digest.0
    }

    fn held(&self) -> Vec<gossip::Digest> {
        self.held.clone()
    }

    fn get(&self, digest: &gossip::Digest) -> Option<Vec<u8>> {
        self.held.binary_search(digest).ok()?;
        let mut records = self.ledger.records();
        let held = records.find(|held| held.verified.digest().0 == *digest)?;
        Some(held.verified.bytes().to_vec())
    }

    /// Of one master, of one kind, and for its own words under one certificate: others do not outdo each
    /// other.
    fn stamp(record: &[u8]) -> Option<Stamp> {
        let record = Record::decode(record).ok()?;
        let statement = Statement::decode(&record.statement, Loopback::Allowed).ok()?;
        let mut key = statement.master.as_str().as_bytes().to_vec();
        if let Says::At(_) = statement.says {
            key.extend(Digest::of(&record.certificate).0);
        }
        Some(Stamp {
            key,
            version: statement.version,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::Says as BookSays;
    use crate::peers::gossip::Ledger as _;
    use crate::peers::sample::{
        NOW, VALIDITY, at, authority, issued, master, pair, profile, statement, trust,
    };

    fn records() -> (Records, crate::pki::authority::Authority) {
        let authority = authority("kubernetes");
        let mut records = Records::new();
        records.not_before(NOW);
        assert!(records.believe(Some(trust(&[&authority]))).is_empty());
        (records, authority)
    }

    #[test]
    fn what_is_taken_is_held_and_what_is_not_is_counted() {
        let (mut records, authority) = records();
        let m1 = pair(&authority, "m1");
        let empty = records.digest();
        let [old, new] = [5, 6].map(|version| m1.say(&at("m1", version, "10.0.0.1")).encode());
        let (old, new) = (old.unwrap(), new.unwrap());
        assert_eq!(records.take(&new), Verdict::News);
        assert_eq!(records.take(&new), Verdict::Known);
        assert_eq!(records.take(&old), Verdict::Outdone);
        let forged = m1.say(&at("m2", 9, "10.0.0.1")).encode().unwrap();
        assert!(matches!(records.take(&forged), Verdict::Refused(_)));
        assert!(matches!(records.take(b"nothing"), Verdict::Refused(_)));
        // What would not be taken is not verified either; one that would be is.
        let bent = |mut record: Record| {
            record.signature[20] ^= 1;
            record.encode().unwrap()
        };
        let [low, high] = [4, 7].map(|version| bent(m1.say(&at("m1", version, "10.0.0.9"))));
        assert_eq!(records.take(&low), Verdict::Outdone);
        assert!(matches!(records.take(&high), Verdict::Refused(_)));
        assert_eq!((records.refused(), records.version()), (3, 1));
        assert_ne!(records.digest(), empty);
        assert_eq!(records.digest(), records.ledger().digest().0);
        let [held] = records.held()[..] else { panic!() };
        assert_eq!(records.get(&held), Some(new));
        assert_eq!(records.get(&[0; 32]), None);
        let counting = records.counting();
        let BookSays::At(addresses) = &counting[&master("m1")].says else {
            panic!("{counting:?}");
        };
        assert_eq!(addresses[0].to_string(), "10.0.0.1");
    }

    #[test]
    fn nothing_is_believed_without_an_authority_or_by_another() {
        let (mut records, authority) = records();
        let m1 = pair(&authority, "m1");
        let record = m1.say(&at("m1", 5, "10.0.0.1")).encode().unwrap();
        records.believe(None);
        assert!(matches!(records.take(&record), Verdict::Refused(_)));
        records.believe(Some(trust(&[&authority])));
        assert_eq!(records.take(&record), Verdict::News);
        // Without one what is held stays; under another it does not.
        assert!(records.believe(None).is_empty());
        assert_eq!(records.held().len(), 1);
        let other = crate::peers::sample::authority("kubernetes");
        assert_eq!(records.believe(Some(trust(&[&other]))).len(), 1);
        assert!(records.held().is_empty());
    }

    #[test]
    fn a_certificate_of_the_future_counts_only_while_it_is_there() {
        let mut records = Records::new();
        let far = i64::MAX / 2;
        records.not_before(far);
        assert_eq!(records.now(), u64::try_from(far).unwrap());
        records.not_before(NOW);
        assert!(records.now() < u64::try_from(far).unwrap());
    }

    #[test]
    fn who_passes_on_more_than_there_is_room_for_has_not_lied() {
        let (mut records, authority) = records();
        let validity = |day| crate::pki::issue::Validity {
            not_before: VALIDITY.not_before + day * crate::peers::sample::DAY,
            ..VALIDITY
        };
        let word = |day: u8| {
            let pair = issued(&authority, &profile("m1"), validity(i64::from(day)));
            // The later a certificate began the lower its version: none outdoes another.
            let said = at("m1", 100 - u64::from(day), &format!("10.0.0.{}", day + 1));
            pair.say(&said).encode().unwrap()
        };
        let words = u8::try_from(crate::peers::ledger::WORDS).unwrap();
        for day in 0..words {
            assert_eq!(records.take(&word(day)), Verdict::News, "{day}");
        }
        assert_eq!(records.take(&word(words)), Verdict::Outdone);
        assert_eq!(records.refused(), 0);
    }

    #[test]
    fn words_of_different_kinds_do_not_stand_for_each_other() {
        let authority = authority("kubernetes");
        let m1 = pair(&authority, "m1");
        let renewed = issued(&authority, &profile("m1"), VALIDITY);
        let stamp = |record: Record| Records::stamp(&record.encode().unwrap()).unwrap();
        let first = stamp(m1.say(&at("m1", 5, "10.0.0.1")));
        let next = stamp(m1.say(&at("m1", 6, "10.0.0.2")));
        let other = stamp(renewed.say(&at("m1", 6, "10.0.0.2")));
        let removed = stamp(m1.say(&statement("m1", 7, Says::Removed)));
        assert_eq!(first.key, next.key);
        assert_eq!((first.version, next.version), (5, 6));
        assert_ne!(next.key, other.key);
        assert_ne!(next.key, removed.key);
        assert_eq!(Records::stamp(b"nothing"), None);
    }
}
