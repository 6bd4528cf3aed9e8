//! Who is not of the cluster, or cannot show it: the wrong certificate or none, no TLS, no haste.

use std::net::SocketAddr;
use std::thread::scope;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use stayput::peers::transport::frame::Purpose;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::attacker::{Insider, attack, pause};
use crate::authority::{Authority, ClientAuth, DAY, Leaf, Pair, ServerAuth, now};
use crate::lab::{Lab, Plan, one_at_a_time};
use crate::raw::{Raw, frames, hello, rest, tcp};
use crate::support::here;
use crate::watch::{Told, in_vain};

/// From a frame's first byte to its last.
const FRAME: Duration = Duration::from_secs(10);

/// Whom the log names.
fn source(from: u8) -> String {
    format!("127.0.0.{from}")
}

/// Does the same to every node at the same time.
fn everywhere<F: Future<Output = ()>>(lab: &Lab, what: impl Fn(SocketAddr) -> F + Sync) {
    scope(|scope| {
        for member in &lab.members {
            let (at, what) = (member.listens, &what);
            scope.spawn(move || attack(what(at)));
        }
    });
}

/// Shows a certificate, or none, and brings a record; three times. Nothing is answered.
fn shows(lab: &Lab, from: u8, pair: Option<Pair>, line: &'static str) -> Told {
    let raw = Raw {
        from,
        ..Raw::new(pair)
    };
    let record = lab.record(0).0;
    let brought = frames(&[&crate::forge::Frame::records(&[&record])]);
    everywhere(lab, async |at| {
        for _ in 0..3 {
            if let Ok(mut stream) = raw.say(at, Purpose::Member, &brought).await {
                assert_eq!(rest(&mut stream).await, b"", "{line}");
            }
        }
    });
    Told::new(&source(from), &[line])
}

fn certificates(lab: &mut Lab) {
    in_vain(lab, "strangers' certificates", |lab| {
        let (ours, stranger) = (&lab.authority, Authority::stranger());
        let master = || Leaf::master("master-1");
        let node = || Leaf::node("worker-1");
        let past = now() - 2 * DAY..now() - 10;
        let coming = now() + DAY..now() + 2 * DAY;
        let mut told = Vec::new();
        for (from, pair) in [
            (81, stranger.issue(&master())),
            (82, stranger.issue(&node())),
            (83, ours.issue(&master().usages(&[ClientAuth]))),
            (84, ours.issue(&master().usages(&[ServerAuth]))),
            (85, ours.issue(&master().valid(past.clone()))),
            (86, ours.issue(&master().valid(coming.clone()))),
            (87, ours.issue(&node().valid(past))),
            (88, ours.issue(&node().valid(coming))),
        ] {
            let line = match from {
                83 => "is not for servers and clients both (extended key usage)",
                _ => "is not accepted",
            };
            told.push(shows(lab, from, Some(pair), line));
        }
        let line = "it shows no certificate, and wants more than to pull";
        told.push(shows(lab, 89, None, line));
        told
    });
}

fn garbage(lab: &mut Lab) {
    in_vain(lab, "what is no TLS 1.3", |lab| {
        let noise: Vec<u8> = (0..20_000_u32)
            .map(|it| (it * 7919).to_be_bytes()[2])
            .collect();
        let hello = hello(Purpose::Member);
        let all: [&[u8]; 5] = [
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"SSH-2.0-x\r\n",
            &noise,
            &[0; 5000],
            &hello,
        ];
        everywhere(lab, async |at| {
            for garbage in all.iter().cycle().take(15) {
                let mut stream = tcp(91, at).await.unwrap();
                // It may have enough before all is said.
                let _ = stream.write_all(garbage).await;
                rest(&mut stream).await;
            }
        });
        let old = Raw {
            version: &rustls::version::TLS12,
            from: 92,
            ..Raw::new(Some(lab.authority.issue(&Leaf::node("old"))))
        };
        everywhere(lab, async |at| assert!(old.connect(at).await.is_err()));
        let garbage = Told::new(&source(91), &["no connection with"]);
        vec![garbage, Told::new(&source(92), &["no connection with"])]
    });
}

/// Who has no certificate may pull, and is not sent more than that, nor as often as it likes.
fn pulls(lab: &mut Lab) {
    in_vain(lab, "pulls without a certificate", |lab| {
        let raw = Raw {
            from: 93,
            ..Raw::new(None)
        };
        let records = lab.members[0].records();
        let records = records.as_array().unwrap().iter();
        let mut records: Vec<Vec<u8>> = records
            .map(|it| STANDARD.decode(it["record"].as_str().unwrap()).unwrap())
            .collect();
        records.sort();
        everywhere(lab, async |at| {
            let (mut answered, mut refused) = (0, 0);
            while refused < 3 {
                let Ok(mut stream) = raw.say(at, Purpose::Pull, &[]).await else {
                    refused += 1;
                    continue;
                };
                let mut rest = &rest(&mut stream).await[..];
                let mut said = Vec::new();
                while let Some((length, behind)) = rest.split_first_chunk() {
                    let length: usize = u32::from_be_bytes(*length).try_into().unwrap();
                    said.push(behind[..length].to_vec());
                    rest = &behind[length..];
                }
                if said.is_empty() {
                    refused += 1;
                    continue;
                }
                // The hello, and what every node may know.
                said.remove(0);
                said.sort();
                assert_eq!(said, records);
                answered += 1;
            }
            assert!(answered > 0);
        });
        vec![Told::new(&source(93), &["it pulls too often"])]
    });
}

/// Holds many connections, and says nothing.
async fn holds(from: u8, at: SocketAddr) {
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(tcp(from, at).await.unwrap());
    }
    for stream in &mut held {
        rest(stream).await;
    }
}

/// Says a byte now and then, as long as it is listened to.
async fn drips(mut stream: impl tokio::io::AsyncWrite + Unpin, bytes: &[u8]) {
    for byte in bytes.iter().cycle() {
        if stream.write_all(&[*byte]).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        pause(200).await;
    }
}

/// Who takes all the time that there is.
fn slowly(lab: &mut Lab) {
    in_vain(lab, "connections without haste", |lab| {
        let targets: Vec<SocketAddr> = lab.members.iter().map(|it| it.listens).collect();
        let raws = [97, 98].map(|from| Raw {
            from,
            ..Insider::new(&lab.authority, &format!("dripper-{from}")).raw
        });
        let crowd = 120..140;
        scope(|scope| {
            for at in targets {
                let [first, other] = &raws;
                scope.spawn(move || attack(holds(95, at)));
                // A handshake that never ends.
                scope.spawn(move || {
                    attack(async {
                        let stream: TcpStream = tcp(96, at).await.unwrap();
                        drips(stream, &[22, 3, 1, 16, 0]).await;
                    });
                });
                // A hello, and a frame, of 60 and of 60,000 bytes.
                scope.spawn(move || {
                    attack(async {
                        let stream = first.connect(at).await.unwrap();
                        drips(stream, &[0, 0, 0, 60]).await;
                    });
                });
                scope.spawn(move || {
                    attack(async {
                        let begins = [0, 0, 234, 96];
                        // A master that moves ends its connections sooner than that.
                        loop {
                            let begun = Instant::now();
                            let stream = other.say(at, Purpose::Member, &begins).await;
                            drips(stream.unwrap(), &[0]).await;
                            if begun.elapsed() >= FRAME {
                                break;
                            }
                        }
                    });
                });
                // From many places at once.
                for from in crowd.clone() {
                    scope.spawn(move || {
                        attack(async {
                            rest(&mut tcp(from, at).await.unwrap()).await;
                        });
                    });
                }
            }
            lab.a_change_arrives("a master moves while many take their time");
        });
        vec![
            Told::new(
                &source(95),
                &["it begins too many connections", "the handshake took too"],
            ),
            Told::new(&source(96), &["the handshake took too long"]),
            // In one of two ways: its first frame took too long, or it was not finished in time.
            Told::new(&source(97), &["no connection with"]),
            Told::new(&source(98), &["a frame was begun and not finished"]),
        ]
    });
}

#[test]
fn who_is_not_of_the_cluster_is_nobody() {
    if !here(false, &[]) {
        return;
    }
    let _turn = one_at_a_time();
    let mut lab = Lab::start(Plan::default()).settled();
    certificates(&mut lab);
    garbage(&mut lab);
    pulls(&mut lab);
    slowly(&mut lab);
}
