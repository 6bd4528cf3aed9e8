//! Members with good certificates that speak for others, invent some, declare masters dead, or flood.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{scope, spawn};
use std::time::{Duration, Instant};

use foca::{Member, Message, State};
use stayput::peers::gossip::{Identity, NodeName, Who};

use crate::attacker::{Insider, Session, attack};
use crate::authority::now;
use crate::forge::Frame;
use crate::lab::{Lab, MASTERS, PORT, Plan, one_at_a_time};
use crate::masters::master;
use crate::raw::{Raw, frames};
use crate::support::{eventually, here};
use crate::watch::{Told, in_vain};

/// Members that one may tell of at once, and the most in a second after that.
const TOLD: usize = 512;
const TOLD_RATE: usize = 4;
/// The generation of a node is further ahead than anybody can follow.
const FAR: u64 = 1 << 33;

/// Somebody who takes connections and says nothing, so that who dials waits as long as it can.
struct Tarpit {
    at: SocketAddr,
    held: Receiver<TcpStream>,
}

impl Tarpit {
    fn new(at: &str) -> Self {
        let listener = TcpListener::bind((at, PORT)).unwrap();
        let at = listener.local_addr().unwrap();
        let (sender, held) = channel();
        // It ends with the receiver, and the connection after that.
        spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if sender.send(stream).is_err() {
                    return;
                }
            }
        });
        Self { at, held }
    }

    /// Lets all go; tells how many came.
    fn ends(self) -> usize {
        let came = self.held.try_iter().count();
        drop(self.held);
        let _ = TcpStream::connect(self.at);
        came
    }
}

fn invented(number: usize, at: SocketAddr) -> Member<Identity> {
    let who = Who::Worker(NodeName::parse(&format!("invented-{number}")).unwrap());
    Member::alive(Identity::new(who, 1, vec![at]).unwrap())
}

/// The same node in another state, in a generation so far ahead.
fn declared(whom: &Identity, ahead: u64, state: State) -> Member<Identity> {
    let generation = whom.generation().saturating_add(ahead);
    let later = Identity::new(whom.who().clone(), generation, Vec::new()).unwrap();
    Member::new(later, 60_000, state)
}

/// Tells a node of a thousand others that there are not, and that all masters are dead.
async fn poison(session: &mut Session, me: &Identity, masters: &[Identity], at: SocketAddr) {
    let them = session.them.clone();
    let gossip = |told: &[Member<Identity>]| Frame::packet(me, &them, Message::Gossip, told, &[]);
    for first in (0..1000).step_by(50) {
        let told: Vec<_> = (first..first + 50).map(|it| invented(it, at)).collect();
        assert!(session.say(&gossip(&told)).await);
    }
    // More masters.
    let told: Vec<_> = (10..60)
        .map(|number| Identity::new(Who::Master(master(number)), 1, vec![at]).unwrap())
        .map(Member::alive)
        .collect();
    assert!(session.say(&gossip(&told)).await);
    for master in masters {
        for (ahead, state) in [
            (0, State::Suspect),
            (0, State::Down),
            (1, State::Down),
            (FAR, State::Down),
            (u64::MAX, State::Alive),
        ] {
            let told = [declared(master, ahead, state)];
            assert!(session.say(&gossip(&told)).await);
        }
    }
    let alarm = Frame::packet(me, &them, Message::TurnUndead, &[], &[]);
    let above = them.generation() + 1;
    for _ in 0..20 {
        assert!(session.say(&alarm).await);
        assert!(session.say(&Frame::Outbid(above).encode()).await);
    }
    session.is_heard_out().await;
}

/// A node takes a master's name.
fn impostor(lab: &mut Lab) {
    in_vain(lab, "a node that says to be a master", |lab| {
        let insider = Insider::new(&lab.authority, "impostor");
        let me = Identity::new(Who::Master(master(2)), u64::MAX, Vec::new()).unwrap();
        attack(async {
            for member in &lab.members {
                let mut session = insider.joins(member.listens).await;
                let them = session.them.clone();
                let (digest, speaks) = ([7; 32], me.clone());
                let compare = Frame::Compare { me: speaks, digest };
                let announce = Frame::packet(&me, &them, Message::Announce, &[], &[]);
                for _ in 0..10 {
                    assert!(session.say(&announce).await);
                    assert!(session.say(&compare.encode()).await);
                }
                session.is_heard_out().await;
            }
        });
        let line = "it speaks in the name of master-2.prod.k8s.internal, which its certificate";
        vec![Told::new("impostor", &[line])]
    });
}

/// A node invents a thousand others, and declares all masters dead.
fn poisoner(lab: &mut Lab) {
    let tarpit = Tarpit::new(&format!("{}66", lab.network));
    let begun = Instant::now();
    in_vain(lab, "poisoned membership", |lab| {
        let insider = Insider::new(&lab.authority, "poisoner");
        attack(async {
            let mut sessions = Vec::new();
            for member in &lab.members {
                sessions.push(insider.joins(member.listens).await);
            }
            let all = sessions[..MASTERS].iter();
            let masters: Vec<Identity> = all.map(|session| session.them.clone()).collect();
            for session in &mut sessions {
                poison(session, &insider.me, &masters, tarpit.at).await;
            }
        });
        vec![Told::new(
            "poisoner",
            &["more of other members than is taken"],
        )]
    });
    // Each of a node's tellers may pass them on.
    let tellers = lab.members.len() + 2;
    let seconds: usize = begun.elapsed().as_secs().try_into().unwrap();
    let most = tellers * (TOLD + TOLD_RATE * (seconds + 1));
    for member in &lab.members {
        let said = member.asks("peers", "/v1/peers");
        let members = said["members"].as_array().unwrap();
        println!("{} knows {} members", member.name, members.len());
        assert!(members.len() <= most.min(1010), "{}", members.len());
        let masters = members.iter().filter(|it| it["role"] == "master");
        assert_eq!(masters.count(), MASTERS - usize::from(member.is_master()));
    }
    println!("{} came to where invented members are", tarpit.ends());
    lab.a_change_arrives("a master moves among a thousand invented nodes");
    for member in &lab.members {
        eventually(&format!("all masters live for {}", member.name), || {
            let said = member.asks("peers", "/v1/peers");
            let members = said["members"].as_array().unwrap();
            let masters = members.iter().filter(|it| it["role"] == "master");
            let down: Vec<_> = masters.filter(|it| it["state"] != "up").collect();
            if down.is_empty() {
                Ok(())
            } else {
                Err(format!("{down:?}"))
            }
        });
    }
}

/// Says the same again and again, and comes back whenever it was cut off, for so long.
fn flood(raw: &Raw, at: SocketAddr, bytes: &[u8], lasts: Duration) {
    let begun = Instant::now();
    attack(async {
        let mut cut = 0;
        while begun.elapsed() < lasts || cut == 0 {
            let purpose = stayput::peers::transport::frame::Purpose::Member;
            let Ok(stream) = raw.say(at, purpose, &[]).await else {
                continue;
            };
            let (mut read, mut write) = tokio::io::split(stream);
            let writes = async {
                use tokio::io::AsyncWriteExt;
                while write.write_all(bytes).await.is_ok() && write.flush().await.is_ok() {}
            };
            // Who does not read what is answered is cut off for that.
            let reads = async { tokio::io::copy(&mut read, &mut tokio::io::sink()).await };
            tokio::select! {
                () = writes => {}
                _ = reads => {}
            }
            cut += 1;
            crate::attacker::pause(200).await;
        }
    });
}

/// Three nodes send as much as they can, each of another kind.
fn floods(lab: &mut Lab) {
    let generation = now().try_into().unwrap();
    in_vain(lab, "floods", |lab| {
        let compare = |name: &str| {
            let who = Who::Worker(NodeName::parse(name).unwrap());
            let me = Identity::new(who, generation, Vec::new()).unwrap();
            let digest = [0; 32];
            Frame::Compare { me, digest }.encode()
        };
        let floods = [
            ("babbler", 71, vec![255; 20]),
            ("heavyweight", 72, vec![255; 65_536]),
            ("asker", 73, compare("asker")),
        ];
        let targets: Vec<SocketAddr> = lab.members.iter().map(|it| it.listens).collect();
        let raws = floods.map(|(name, from, frame)| {
            let from = Raw {
                from,
                ..Insider::new(&lab.authority, name).raw
            };
            let many = 65_536 / frame.len();
            (from, frames(&vec![&frame[..]; many]))
        });
        scope(|scope| {
            for (raw, bytes) in &raws {
                for at in &targets {
                    scope.spawn(|| flood(raw, *at, bytes, Duration::from_secs(13)));
                }
            }
            for _ in 0..MASTERS {
                lab.a_change_arrives("a master moves while members flood");
            }
        });
        let cut_off = "it floods this node with frames, and is cut off";
        let garbage = "not a frame of this protocol";
        vec![
            Told::new("babbler", &[cut_off, garbage]),
            Told::new("heavyweight", &[cut_off, "a frame above 16384 bytes"]),
            Told::new("asker", &[cut_off]),
        ]
    });
}

#[test]
fn members_that_lie_of_others_or_flood_move_nothing() {
    if !here(false, &[]) {
        return;
    }
    let _turn = one_at_a_time();
    let mut lab = Lab::start(Plan::default()).settled();
    floods(&mut lab);
    impostor(&mut lab);
    poisoner(&mut lab);
}
