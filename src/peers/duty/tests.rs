use super::*;
use crate::peers::ledger::Outcome;
use crate::peers::sample::{
    DAY, NOW, Pair, VALIDITY, at, authority, issued, master, name, pair, profile, statement,
};
use crate::pki::authority::Authority;
use crate::pki::issue::{BACKDATED, Validity};
use crate::pki::key::PrivateKey;

const UNIX: u64 = NOW.unsigned_abs();

struct Node {
    ca: Authority,
    pair: Pair,
    ledger: Ledger,
    made: Option<Made>,
}

impl Node {
    fn new() -> Self {
        let ca = authority("kubernetes");
        Self {
            pair: pair(&ca, "m1"),
            ca,
            ledger: Ledger::default(),
            made: None,
        }
    }

    fn duty(&self, address: &str, now: u64) -> Duty {
        let certificate = &self.pair.certificate;
        let own = Speaker {
            cluster: name("k8s.internal"),
            master: master("m1"),
            not_before: certificate.not_before,
            certificate: certificate.der.clone(),
            made: self.made.clone(),
        };
        self.ledger
            .must_sign(&own, &[address.parse().unwrap()], now)
    }

    fn take(&mut self, by: &Pair, said: &Statement) {
        self.ledger.offer(by.verified(&self.ca, said), 1);
    }

    /// Another machine with this one's files.
    fn clone_of(&self) -> Pair {
        let key = self.pair.key.to_pem().unwrap();
        Pair {
            certificate: self.pair.certificate.clone(),
            key: PrivateKey::from_pem(key.as_bytes()).unwrap(),
        }
    }

    /// Does what there is to do, and says why and by which version.
    fn speak(&mut self, address: &str, now: u64) -> Option<(Why, u64)> {
        let Duty::Sign { statement, why } = self.duty(address, now) else {
            return None;
        };
        let verified = self.pair.verified(&self.ca, &statement);
        self.made = Some(Made {
            digest: verified.digest(),
            addresses: vec![address.parse().unwrap()],
        });
        assert!(matches!(
            self.ledger.offer(verified, now),
            Outcome::News | Outcome::Kept
        ));
        assert_eq!(self.duty(address, now), Duty::Nothing);
        Some((why, statement.version))
    }
}

#[test]
fn a_master_speaks_when_what_counts_is_not_true() {
    let mut node = Node::new();
    assert_eq!(node.speak("10.0.0.1", UNIX), Some((Why::First, UNIX)));
    assert_eq!(node.speak("10.0.0.1", UNIX + 9), None);
    // Ten times in a second: versions grow all the same.
    assert_eq!(node.speak("10.0.0.2", UNIX), Some((Why::Moved, UNIX + 1)));
    assert_eq!(node.speak("10.0.0.3", UNIX), Some((Why::Moved, UNIX + 2)));
    // By a clock that went back.
    assert_eq!(node.speak("10.0.0.4", 5), Some((Why::Moved, UNIX + 3)));
    // After a restart it does not know which it made itself.
    node.made = None;
    assert_eq!(node.speak("10.0.0.5", UNIX), Some((Why::Moved, UNIX + 4)));
    // A clone, or what it said before its files were lost.
    let clone = node.clone_of();
    node.take(&clone, &at("m1", UNIX + 100, "10.0.0.66"));
    assert_eq!(
        node.speak("10.0.0.5", UNIX + 7),
        Some((Why::Contradicted, UNIX + 101))
    );
    // A move beside that is one.
    node.take(&clone, &at("m1", UNIX + 150, "10.0.0.66"));
    let duty = node.duty("10.0.0.6", UNIX + 7);
    assert!(matches!(
        duty,
        Duty::Sign {
            why: Why::Moved,
            ..
        }
    ));
    // One that says the same is no contradiction.
    node.take(&clone, &at("m1", UNIX + 200, "10.0.0.5"));
    assert_eq!(node.duty("10.0.0.5", UNIX + 8), Duty::Nothing);
    // A new certificate: the record is signed anew, once.
    let validity = Validity {
        not_before: NOW,
        not_after: NOW + 365 * DAY,
    };
    node.pair = issued(&node.ca, &profile("m1"), validity);
    assert_eq!(
        node.speak("10.0.0.5", UNIX + 9),
        Some((Why::Renewed, UNIX + 201))
    );
}

#[test]
fn without_an_address_there_is_nothing_to_say() {
    let node = Node::new();
    let own = Speaker {
        cluster: name("k8s.internal"),
        master: master("m1"),
        not_before: 0,
        certificate: Vec::new(),
        made: None,
    };
    assert_eq!(node.ledger.must_sign(&own, &[], UNIX), Duty::Nothing);
}

#[test]
fn it_is_silent_where_nobody_listens() {
    let mut node = Node::new();
    let m2 = pair(&node.ca, "m2");
    node.speak("10.0.0.1", UNIX);
    let removal = node
        .ledger
        .removal(&name("k8s.internal"), &master("m1"), UNIX);
    node.take(&m2, &removal);
    let Duty::Silent(silence @ Silence::Removed { .. }) = node.duty("10.0.0.9", UNIX) else {
        panic!("it speaks");
    };
    let words = silence.to_string();
    assert!(
        words.starts_with("m1.k8s.internal was removed by m2.k8s.internal"),
        "{words}"
    );
    // Replaced: the old machine still has its old certificate.
    let replacement = node
        .ledger
        .replacement(&name("k8s.internal"), &master("m1"), UNIX);
    node.take(&m2, &replacement);
    assert_eq!(node.ledger.effective_of(&master("m1")), None);
    assert!(matches!(
        node.duty("10.0.0.9", UNIX),
        Duty::Silent(Silence::Replaced { .. })
    ));
    // The new one is issued a moment later, backdated.
    let validity = Validity {
        not_before: NOW + 1 - BACKDATED,
        ..VALIDITY
    };
    node.pair = issued(&node.ca, &profile("m1"), validity);
    let spoken = node.speak("10.0.0.9", UNIX + 1);
    assert_eq!(spoken, Some((Why::First, UNIX + 1)));
}

#[test]
fn the_greatest_number_is_not_signed_against_for_ever() {
    let mut node = Node::new();
    let thief = node.clone_of();
    node.take(&thief, &at("m1", u64::MAX, "10.0.0.66"));
    assert!(matches!(
        node.duty("10.0.0.1", UNIX),
        Duty::Silent(Silence::Unsurpassable(_))
    ));
    // Somebody had m2's key too, and removed it for ever.
    let m2 = pair(&node.ca, "m2");
    node.take(&m2, &statement("m1", u64::MAX, Says::Removed));
    // A replacement takes both away: it is above all that counts, or its bytes come later.
    let replacement = node
        .ledger
        .replacement(&name("k8s.internal"), &master("m1"), UNIX);
    assert_eq!(replacement.version, u64::MAX);
    node.take(&m2, &replacement);
    assert_eq!(node.ledger.effective_of(&master("m1")), None);
    // Once more does not help.
    node.take(&m2, &statement("m1", u64::MAX, Says::Removed));
    assert_eq!(node.ledger.effective_of(&master("m1")), None);
    // Versions are small again.
    let validity = Validity {
        not_before: NOW,
        ..VALIDITY
    };
    node.pair = issued(&node.ca, &profile("m1"), validity);
    for (address, want) in [
        ("10.0.0.1", (Why::First, UNIX)),
        ("10.0.0.2", (Why::Moved, UNIX + 1)),
    ] {
        assert_eq!(node.speak(address, UNIX), Some(want));
    }
}
