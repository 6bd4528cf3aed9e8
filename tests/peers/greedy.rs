//! Members that send too much, too slowly, or nonsense.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use stayput::peers::transport::frame::Purpose;
use stayput::peers::transport::{Contact, Failure, Incoming, Limits, Peer, To};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::authority::{Authority, Leaf, NOW};
use crate::lab::{Machine, soon, two, until};
use crate::log::Log;
use crate::raw::{Raw, frames, rest};

#[tokio::test]
async fn a_member_that_floods_is_slowed_then_cut_off_and_others_are_heard() {
    let log = Log::new();
    let limits = Limits {
        frames_rate: (100, 50),
        flood: Duration::from_secs(1),
        ..Limits::default()
    };
    let (authority, mut master, node) = two(&limits).await;
    let pair = authority.issue(&Leaf::node("worker-6"));
    let raw = Raw::new(Some(pair.clone()));
    let flood = frames(&[&b"x"[..]; 1000]);
    let at = master.at();
    let begun = Instant::now();
    let mut stream = raw.say(at, Purpose::Member, &[]).await.unwrap();
    let flooding = tokio::spawn(async move { while stream.write_all(&flood).await.is_ok() {} });
    let (mut of_flood, mut honest) = (0, 0);
    while !flooding.is_finished() {
        node.send(&master, "honest");
        while let Ok(came) = master.incoming.try_recv() {
            match came {
                Incoming::Frame {
                    peer: Peer::Node(name),
                    ..
                } if name == "worker-6" => of_flood += 1,
                Incoming::Frame { .. } => honest += 1,
                Incoming::Pull { .. } => panic!("nobody pulls"),
            }
        }
        assert!(begun.elapsed() < crate::support::PATIENCE, "never cut off");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let most = 50 + 100 * (begun.elapsed().as_secs() + 1);
    assert!(of_flood <= most, "{of_flood} of at most {most}");
    assert!(honest > 0);
    master.counts(Failure::Flood, 1).await;
    let line = log.once("floods");
    assert!(
        line.contains("node worker-6") && line.contains("127.0.0.66"),
        "{line}"
    );

    // It is known, and kept out.
    let mut again = raw
        .say(at, Purpose::Member, &frames(&[b"again"]))
        .await
        .unwrap();
    soon("it is cut off again", rest(&mut again)).await;
    assert!(
        master
            .handle
            .connections()
            .iter()
            .all(|each| each.peer == node.peer())
    );
}

#[tokio::test]
async fn frames_that_are_none_end_the_connection() {
    let log = Log::new();
    let limits = Limits {
        frame: Duration::from_millis(300),
        ..Limits::default()
    };
    let (authority, mut master, _node) = two(&limits).await;
    let pair = authority.issue(&Leaf::node("worker-6"));
    for (bytes, failure) in [
        (&[0, 0, 0, 0][..], Failure::Frame),
        (&[0, 1, 0, 1, 7], Failure::Frame),
        (&[255; 100], Failure::Frame),
        // Begun and not finished.
        (&[0, 0, 0, 9, 1, 2, 3], Failure::Slow),
        (&[0], Failure::Slow),
    ] {
        let before = master.failures(failure);
        let raw = Raw::new(Some(pair.clone()));
        let mut stream = raw.say(master.at(), Purpose::Member, bytes).await.unwrap();
        soon("it ends", rest(&mut stream)).await;
        master.counts(failure, before + 1).await;
    }
    // A first frame that is no hello, or of another version.
    for first in [&b"\x02\x00\x00\x00"[..], b"x", &[1; 65]] {
        let before = master.failures(Failure::Frame);
        let raw = Raw::new(Some(pair.clone()));
        let mut stream = raw.connect(master.at()).await.unwrap();
        stream.write_all(&frames(&[first])).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(soon("it ends", rest(&mut stream)).await, b"");
        master.counts(Failure::Frame, before + 1).await;
    }
    master.nothing_came();
    assert_eq!(log.lines("127.0.0.66").len(), 2, "{:?}", log.lines(""));
}

#[tokio::test]
async fn one_that_does_not_read_is_given_up_and_holds_nobody() {
    let limits = Limits {
        write: Duration::from_millis(500),
        ..Limits::default()
    };
    let (authority, mut master, mut node) = two(&limits).await;
    let pair = authority.issue(&Leaf::node("worker-6"));
    let raw = Raw::new(Some(pair));
    let deaf = raw
        .say(master.at(), Purpose::Member, &frames(&[b"hello"]))
        .await
        .unwrap();
    let (peer, _) = master.frame().await;
    node.send(&master, "hello");
    master.frame().await;
    let deadline = Instant::now() + crate::support::PATIENCE;
    while master.failures(Failure::Stalled) == 0 {
        master
            .handle
            .send(To::Peer(peer.clone(), vec![]), vec![b'x'; 60_000]);
        master
            .handle
            .send(To::Peer(node.peer(), vec![]), b"to the other".to_vec());
        assert_eq!(node.frame().await.1, "to the other");
        assert!(Instant::now() < deadline);
    }
    until("it is gone", || {
        master
            .handle
            .connections()
            .iter()
            .all(|each| each.peer != peer)
    })
    .await;
    drop(deaf);
}

#[tokio::test]
async fn what_cannot_be_sent_is_dropped_and_counted_and_sending_never_waits() {
    let limits = Limits {
        patience: Duration::from_millis(300),
        redial: Duration::from_millis(20),
        queue_frames: 8,
        ..Limits::default()
    };
    let (_, _, node) = two(&limits).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = nobody.local_addr().unwrap();
    drop(nobody);
    for number in 0..100 {
        node.send_at(at, &format!("{number}"));
    }
    let dropped = || node.handle.counters().dropped.load(Ordering::Relaxed);
    assert_eq!(dropped(), 92);
    until("it gives up", || dropped() == 100).await;
    assert!(node.handle.counters().unreachable.load(Ordering::Relaxed) > 1);
    // It is tried again with the next.
    node.send_at(at, "x");
    until("it gives up", || dropped() == 101).await;
}

#[tokio::test]
async fn one_in_the_middle_that_drops_everything_only_costs_time() {
    let limits = Limits {
        handshake: Duration::from_millis(300),
        ..Limits::default()
    };
    let (_, mut master, node) = two(&limits).await;
    let middle = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = middle.local_addr().unwrap();
    let swallowing = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = middle.accept().await {
            held.push(stream);
        }
    });
    node.handle
        .send(To::Peer(master.peer(), vec![at]), b"first".to_vec());
    node.counts(Failure::Slow, 1).await;
    // The right address becomes known while it is dialled.
    let both = vec![at, master.at()];
    node.handle
        .send(To::Peer(master.peer(), both), b"second".to_vec());
    assert_eq!(master.frame().await.1, "first");
    assert_eq!(master.frame().await.1, "second");
    swallowing.abort();
}

#[tokio::test]
async fn who_was_met_does_not_wait_for_those_that_somebody_invented() {
    let authority = Authority::new();
    let long = Duration::from_mins(10);
    let limits = Limits {
        handshake: long,
        patience: long,
        ..Limits::default()
    };
    let mut met = Machine::node(&authority, &Leaf::node("worker-2"))
        .start()
        .await;
    let mut master = Machine::master(&authority, &Leaf::master("master-1"))
        .start()
        .await;
    let known = vec![Contact {
        peer: met.peer(),
        addresses: vec![met.at()],
        last: NOW,
    }];
    let node = Machine::node(&authority, &Leaf::node("worker-1"));
    let here = [Ipv4Addr::LOCALHOST.into()];
    let node = node.start_at(&here, &limits, known).await;
    // Takes connections and never says a word.
    let pit = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = pit.local_addr().unwrap();
    for number in 0..200 {
        let invented = Peer::Node(format!("invented-{number}"));
        let to = To::Peer(invented, vec![at]);
        node.handle.send(to, b"x".to_vec());
    }
    node.send_at(at, "x");
    node.handle.send(
        To::Peer(met.peer(), vec![]),
        b"to one that was met".to_vec(),
    );
    assert_eq!(met.frame().await.1, "to one that was met");
    node.send(&master, "to a master");
    assert_eq!(master.frame().await.1, "to a master");
    let mut seed = Machine::node(&authority, &Leaf::node("worker-3"))
        .start()
        .await;
    node.send_at(seed.at(), "to a seed");
    assert_eq!(seed.frame().await.1, "to a seed");
}

#[tokio::test]
async fn there_are_never_more_connections_than_may_be() {
    let authority = Authority::new();
    let limits = Limits {
        connections: 5,
        linger: Duration::from_millis(50),
        handshakes_rate: (1000, 1000),
        ..Limits::default()
    };
    let machine = Machine::master(&authority, &Leaf::master("master-1"));
    let mut master = machine.start_with(&limits).await;
    let mut held = Vec::new();
    for number in 0..40 {
        let pair = authority.issue(&Leaf::node(&format!("n{number}")));
        let raw = Raw::new(Some(pair));
        held.push(
            raw.say(master.at(), Purpose::Member, &frames(&[b"x"]))
                .await
                .unwrap(),
        );
        assert_eq!(master.frame().await.0, Peer::Node(format!("n{number}")));
        assert!(master.handle.connections().len() <= 5);
    }
    assert_eq!(master.handle.known().len(), 40);
    soon("the first is let go", rest(&mut held[0])).await;
}
