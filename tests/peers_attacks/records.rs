//! Members bring records that nobody may make, that are old, or that are too much.

use foca::Message;
use stayput::peers::statement::Says;

use crate::attacker::{Insider, attack};
use crate::authority::{Authority, ClientAuth, DAY, Leaf, Pair, ServerAuth, now};
use crate::forge::{Frame, at, bytes, of, signed};
use crate::lab::{Lab, Plan, one_at_a_time};
use crate::masters::name;
use crate::support::here;
use crate::watch::{Told, in_vain};

/// Where liars want masters to be.
const EVIL: &str = "127.66.6.6";

/// What is said of a certificate as the signers of the CSR API issue them.
const ONE_USAGE: &str = "is not for servers and clients both (extended key usage)";

/// The records that one member brings, and what each node's log says of them.
struct Lie {
    by: &'static str,
    records: Vec<Vec<u8>>,
    told: &'static [&'static str],
}

/// Brings the records to every node, by themselves and behind a packet of the membership protocol.
fn bring(lab: &Lab, lie: &Lie) -> Told {
    let insider = Insider::new(&lab.authority, lie.by);
    attack(async {
        for member in &lab.members {
            let mut session = insider.joins(member.listens).await;
            for record in &lie.records {
                assert!(session.say(&Frame::records(&[record])).await);
                let (me, them) = (&insider.me, session.them.clone());
                for message in [Message::Gossip, Message::Broadcast] {
                    let packet = Frame::packet(me, &them, message, &[], &[record]);
                    assert!(session.say(&packet).await);
                }
            }
            session.is_heard_out().await;
        }
    });
    Told::new(lie.by, lie.told)
}

/// What each lie needs.
struct Truth {
    pairs: Vec<Pair>,
    version: u64,
    /// The first master's record, of a moment ago.
    old: Vec<u8>,
}

impl Truth {
    fn of(lab: &Lab) -> Self {
        let (old, version) = lab.record(0);
        Self {
            pairs: (0..3).map(|master| lab.pair(master)).collect(),
            version: version + 1000,
            old,
        }
    }

    /// The first master is moved under a certificate, by its key.
    fn moved_by(&self, pair: &Pair) -> Vec<u8> {
        bytes(&signed(&at(1, self.version, &[EVIL]), pair, pair))
    }
}

fn forged(lab: &Lab, truth: &Truth) -> Vec<Lie> {
    let [first, second, _] = &truth.pairs[..] else {
        panic!("three masters")
    };
    let own = lab.authority.issue(&Leaf::node("cuckoo"));
    let moved = at(1, truth.version, &[EVIL]);
    let mut broken = signed(&moved, first, first);
    *broken.signature.last_mut().unwrap() ^= 1;
    let mut altered = signed(&moved, first, first);
    *altered.statement.last_mut().unwrap() ^= 1;
    let removed = of(1, truth.version, Says::Removed);
    let replaced = of(1, truth.version, Says::Replaced { not_before: now() });
    let by_nobody = [&moved, &removed, &replaced].map(|said| bytes(&signed(said, first, &own)));
    let mut wrong = vec![bytes(&broken), bytes(&altered)];
    wrong.extend(by_nobody);
    let by_node = [&moved, &removed, &replaced].map(|said| bytes(&signed(said, &own, &own)));
    vec![
        Lie {
            by: "forger",
            records: wrong,
            told: &["the signature is not by its certificate's key"],
        },
        Lie {
            by: "borrower",
            records: vec![bytes(&signed(&moved, second, second))],
            told: &["only master-1.prod.k8s.internal itself says where it is"],
        },
        Lie {
            by: "cuckoo",
            records: by_node.to_vec(),
            told: &["its certificate's organization is system:nodes, and a master's"],
        },
    ]
}

fn certified_wrongly(lab: &Lab, truth: &Truth) -> Vec<Lie> {
    let label = || Leaf::master("master-1");
    let ours = |leaf: &Leaf| truth.moved_by(&lab.authority.issue(leaf));
    let stranger = Authority::stranger();
    let mut elsewhere = at(1, truth.version, &[EVIL]);
    elsewhere.cluster = name("else.internal");
    elsewhere.master = name("master-1.else.internal");
    let first = &truth.pairs[0];
    vec![
        Lie {
            by: "foreigner",
            records: vec![truth.moved_by(&stranger.issue(&label()))],
            told: &["its certificate is not accepted"],
        },
        Lie {
            by: "traveller",
            records: vec![bytes(&signed(&elsewhere, first, first))],
            told: &["the record is for the cluster else.internal"],
        },
        Lie {
            by: "client-signer",
            records: vec![ours(&label().usages(&[ClientAuth]))],
            told: &[ONE_USAGE],
        },
        Lie {
            by: "server-signer",
            records: vec![ours(&label().usages(&[ServerAuth]))],
            told: &[ONE_USAGE],
        },
        Lie {
            by: "late",
            records: vec![ours(&label().valid(now() - DAY..now() - 10))],
            told: &["its certificate is not accepted"],
        },
        Lie {
            by: "early",
            records: vec![ours(&label().valid(now() + DAY..now() + 2 * DAY))],
            told: &["its certificate is not accepted"],
        },
    ]
}

fn too_much(truth: &Truth) -> Vec<Lie> {
    let first = &truth.pairs[0];
    let with = |count: u16| {
        let all: Vec<String> = (0..count)
            .map(|number| format!("127.66.{}.{}", number / 250, number % 250 + 1))
            .collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        // By the master's own key: also it may not.
        signed(&at(1, truth.version, &all), first, first)
    };
    // The count says 10,000, and hardly one is there.
    let mut promised = with(1);
    let end = promised.statement.len() - 6;
    promised.statement.splice(end..=end, [0x90, 0x4e]);
    let lies = (0..40_u8).map(|number| vec![number; 900]).collect();
    vec![
        Lie {
            by: "crowder",
            records: vec![bytes(&with(10_000))],
            told: &["a frame above 16384 bytes"],
        },
        Lie {
            by: "crowder-2",
            records: vec![bytes(&with(1_500))],
            told: &["bytes"],
        },
        Lie {
            by: "crowder-3",
            records: vec![bytes(&with(17)), bytes(&with(200)), bytes(&promised)],
            told: &["the statement"],
        },
        Lie {
            by: "liar",
            records: lies,
            told: &[
                "the record",
                "too many records that were not to be believed",
            ],
        },
    ]
}

#[test]
fn records_that_are_not_to_be_believed_move_nothing() {
    if !here(false, &[]) {
        return;
    }
    let _turn = one_at_a_time();
    let mut lab = Lab::start(Plan::default()).settled();
    let truth = Truth::of(&lab);
    // What is brought below is old by then.
    for _ in 0..3 {
        lab.a_change_arrives("a master moves");
    }
    // Who passes on what was true has not lied.
    let replayed = Lie {
        by: "replayer",
        records: vec![truth.old.clone(); 20],
        told: &[],
    };
    let wrongly = certified_wrongly(&lab, &truth);
    for (what, lies) in [
        ("forged records", &forged(&lab, &truth)),
        ("records under wrong certificates", &wrongly),
        ("too much in a record", &too_much(&truth)),
        ("an old record", &vec![replayed]),
        // Of which nothing is said again.
        ("wrong certificates again", &wrongly),
    ] {
        in_vain(&mut lab, what, |lab| {
            lies.iter().map(|lie| bring(lab, lie)).collect()
        });
    }
}
