//! Who cannot prove itself is sent all records once, and nothing else.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use stayput::peers::transport::frame::{Hello, Purpose};
use stayput::peers::transport::{Failure, Limits, Peer, PullError};
use tokio::io::AsyncWriteExt;

use crate::authority::{Authority, Leaf, NOW};
use crate::lab::{Machine, Node, soon, two};
use crate::log::Log;
use crate::raw::{Raw, frames, rest};
use crate::support::here;

/// Answers one pull; tells who it was.
async fn answered(node: &mut Node, answer: &[&[u8]]) -> Option<Peer> {
    let (from, _, pull) = node.pull().await;
    pull.send(answer.iter().map(|frame| frame.to_vec()).collect());
    from
}

#[tokio::test]
async fn who_has_no_certificate_or_one_that_ended_pulls() {
    let authority = Authority::new();
    let mut master = Machine::master(&authority, &Leaf::master("master-1"))
        .start()
        .await;
    let off_for_long = Leaf::node("worker-1").valid(NOW - 9000..NOW - 5000);
    for (what, machine) in [
        ("before its join", Machine::new(&authority)),
        (
            "off for 13 months",
            Machine::node(&authority, &off_for_long),
        ),
        (
            "a member",
            Machine::node(&authority, &Leaf::node("worker-2")),
        ),
    ] {
        let node = machine.start().await;
        let much = vec![7; 60_000];
        let records: [&[u8]; 2] = [b"a record", &much];
        for clock in [0, NOW - 100_000_000, NOW] {
            node.machine.clock.store(clock, Ordering::SeqCst);
            let pulling = node.handle.pull(master.at());
            let (pulled, from) = tokio::join!(pulling, answered(&mut master, &records));
            let pulled = pulled.unwrap_or_else(|error| panic!("{what}, {clock}: {error}"));
            assert_eq!(pulled.from, master.peer());
            assert_eq!(pulled.frames, records.map(<[u8]>::to_vec));
            assert_eq!(from, None, "nobody shows a certificate for that");
        }
        assert_eq!(node.handle.known().len(), 1);
    }
    assert_eq!(master.handle.known(), [], "strangers are not remembered");
    assert_eq!(master.handle.counters().pulls.load(Ordering::Relaxed), 9);
}

#[tokio::test]
async fn without_a_certificate_nothing_is_sent() {
    let authority = Authority::new();
    let mut master = Machine::master(&authority, &Leaf::master("master-1"))
        .start()
        .await;
    let limits = Limits {
        patience: Duration::from_millis(100),
        ..Limits::default()
    };
    let node = Machine::new(&authority).start_with(&limits).await;
    assert_eq!(node.handle.own(), None);
    node.send_at(master.at(), "x");
    crate::lab::until("it is dropped", || {
        node.handle.counters().dropped.load(Ordering::Relaxed) == 1
    })
    .await;
    master.nothing_came();
    assert_eq!(
        master.failures(Failure::Stranger),
        0,
        "it was not even tried"
    );
}

#[tokio::test]
async fn only_the_cluster_is_pulled_from() {
    let authority = Authority::new();
    let node = Machine::new(&authority).start().await;
    let other = Authority::new();
    let expired = Leaf::master("master-1").valid(NOW - 500..NOW - 5);
    for (what, machine) in [
        (
            "another cluster",
            Machine::master(&other, &Leaf::master("master-1")),
        ),
        ("expired", Machine::master(&authority, &expired)),
        (
            "no master",
            Machine::master(&authority, &Leaf::master("m").names(&["x.example"])),
        ),
    ] {
        // By its own clock the other's certificate holds.
        machine.clock.store(NOW - 100, Ordering::SeqCst);
        let mut there = machine.start().await;
        let error = node.handle.pull(there.at()).await.unwrap_err();
        assert!(matches!(error, PullError::Failed { .. }), "{what}: {error}");
        there.nothing_came();
    }
    assert!(node.handle.known().is_empty());
}

#[tokio::test]
async fn what_is_cut_off_is_not_taken_for_all() {
    let authority = Authority::new();
    let mut master = Machine::master(&authority, &Leaf::master("master-1"))
        .start()
        .await;
    let node = Machine::new(&authority).start().await;
    // Something between them that ends the connection after some bytes.
    let middle = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = middle.local_addr().unwrap();
    let real = master.at();
    let cutting = tokio::spawn(async move {
        let (mut near, _) = middle.accept().await.unwrap();
        let far = tokio::net::TcpStream::connect(real).await.unwrap();
        let (mut out, mut into) = far.into_split();
        let (mut near_out, mut near_into) = near.split();
        let mut some = tokio::io::AsyncReadExt::take(&mut out, 30_000);
        tokio::select! {
            _ = tokio::io::copy(&mut some, &mut near_into) => {}
            _ = tokio::io::copy(&mut near_out, &mut into) => {}
        }
    });
    let much = vec![7; 60_000];
    let big = [&much[..]];
    let pulling = node.handle.pull(at);
    let (pulled, _) = tokio::join!(pulling, answered(&mut master, &big));
    let error = pulled.unwrap_err();
    assert!(matches!(error, PullError::Failed { .. }), "{error}");
    cutting.await.unwrap();
}

#[tokio::test]
async fn more_than_is_taken_is_refused() {
    let authority = Authority::new();
    let mut master = Machine::master(&authority, &Leaf::master("master-1"))
        .start()
        .await;
    let limits = Limits {
        pull_bytes: 1000,
        ..Limits::default()
    };
    let node = Machine::new(&authority).start_with(&limits).await;
    let pulling = node.handle.pull(master.at());
    let much = [&[7; 600][..]; 2];
    let (pulled, _) = tokio::join!(pulling, answered(&mut master, &much));
    let at = master.at();
    assert_eq!(pulled, Err(PullError::TooMuch { at, limit: 1000 }));
}

#[tokio::test]
async fn one_that_pulls_is_not_listened_to() {
    let (_, mut master, _node) = two(&Limits::default()).await;
    let more = frames(&[b"a record", b"pull again"]);
    let raw = Raw::new(None);
    let mut stream = raw.say(master.at(), Purpose::Pull, &more).await.unwrap();
    stream.write_all(&frames(&[b"and this"])).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(answered(&mut master, &[b"all"]).await, None);
    let port = master.at().port();
    let hello = Hello {
        purpose: Purpose::Pull,
        port,
    };
    let want = frames(&[&hello.encode(), b"all"]);
    assert_eq!(soon("it ends", rest(&mut stream)).await, want);
    master.nothing_came();
}

#[tokio::test]
async fn who_pulls_too_often_or_too_slowly_is_refused_and_members_are_heard() {
    let log = Log::new();
    let limits = Limits {
        pulls_of_one: 2,
        pulls_of_one_rate: (1, 5),
        pull: Duration::from_secs(1),
        write: Duration::from_millis(300),
        ..Limits::default()
    };
    let (_, mut master, node) = two(&limits).await;
    let raw = Raw::new(None);
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(raw.say(master.at(), Purpose::Pull, &[]).await.unwrap());
    }
    master.counts(Failure::TooMany, 4).await;
    // The two that have a place are sent much, and read nothing.
    for _ in 0..2 {
        let (_, _, answer) = master.pull().await;
        answer.send(vec![vec![7; 60_000]; 200]);
    }
    node.send(&master, "honest");
    assert_eq!(master.frame().await.1, "honest");
    master.counts(Failure::Stalled, 2).await;
    master.nothing_came();
    assert_eq!(log.lines("127.0.0.66").len(), 2, "too many; too slow");
}

#[tokio::test]
async fn openssl_pulls() {
    if !here(false, &["openssl"]) {
        return;
    }
    let (_, mut master, _node) = two(&Limits::default()).await;
    let at = master.at();
    let client = tokio::task::spawn_blocking(move || {
        let mut client = Command::new("openssl")
            .args(["s_client", "-quiet", "-tls1_3", "-alpn", "stayput/1"])
            .args(["-connect", &at.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Byte by byte as docs/protocol.md has it: length 4, version 1, purpose 1, port 0.
        let mut stdin = client.stdin.take().unwrap();
        stdin.write_all(&[0, 0, 0, 4, 1, 1, 0, 0]).unwrap();
        let output = client.wait_with_output().unwrap();
        drop(stdin);
        output
    });
    assert_eq!(answered(&mut master, &[b"one", b"two"]).await, None);
    let output = soon("openssl ends", client).await.unwrap();
    let [high, low] = at.port().to_be_bytes();
    let want = [
        &[0, 0, 0, 4, 1, 1, high, low][..],
        b"\0\0\0\x03one\0\0\0\x03two",
    ];
    assert_eq!(output.stdout, want.concat());
}
