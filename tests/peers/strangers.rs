//! Who is not of the cluster: no TLS, the wrong TLS, no certificate, no haste. Meanwhile honest nodes get through.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use stayput::peers::transport::frame::Purpose;
use stayput::peers::transport::{Failure, Limits};
use tokio::io::AsyncWriteExt;

use crate::lab::{Node, soon, two};
use crate::log::Log;
use crate::raw::{Raw, frames, hello, rest, tcp};
use crate::support::here;

/// An honest node is heard.
async fn honest(node: &Node, master: &mut Node) {
    node.handle.moved_itself();
    node.send(master, "honest");
    assert_eq!(master.frame().await, (node.peer(), "honest".into()));
}

/// Says these bytes without TLS, and waits until the other side has enough of it.
async fn bytes(from: u8, to: SocketAddr, bytes: &[u8]) {
    let mut stream = tcp(from, to).await.unwrap();
    // It may have enough before all is said.
    let _ = stream.write_all(bytes).await;
    soon("the connection ends", rest(&mut stream)).await;
}

#[tokio::test]
async fn what_is_no_tls_is_refused_and_named_once() {
    let log = Log::new();
    let (_, mut master, node) = two(&Limits::default()).await;
    let random: Vec<u8> = (0..20_000_u32)
        .map(|i| (i * 7919).to_be_bytes()[2])
        .collect();
    let everything: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"SSH-2.0-x\r\n",
        &random,
        &[0; 5000],
        &frames(&[b"hello", b"hello"]),
    ];
    for (number, garbage) in everything.iter().enumerate() {
        bytes(50, master.at(), garbage).await;
        master.counts(Failure::Garbage, number as u64 + 1).await;
        honest(&node, &mut master).await;
    }
    master.nothing_came();
    log.once("127.0.0.50");
    assert_eq!(master.handle.known().len(), 1);
}

#[tokio::test]
async fn old_tls_and_other_protocols_are_refused() {
    let log = Log::new();
    let (authority, mut master, node) = two(&Limits::default()).await;
    let pair = authority.issue(&crate::authority::Leaf::node("worker-2"));
    let old = Raw {
        version: &rustls::version::TLS12,
        from: 51,
        ..Raw::new(Some(pair.clone()))
    };
    assert!(old.connect(master.at()).await.is_err());
    master.counts(Failure::Protocol, 1).await;
    for (number, protocols) in [vec![], vec![b"h2".to_vec()], vec![b"stayput/2".to_vec()]]
        .into_iter()
        .enumerate()
    {
        let other = Raw {
            protocols,
            from: 51,
            ..Raw::new(Some(pair.clone()))
        };
        if let Ok(mut stream) = other.say(master.at(), Purpose::Member, &[]).await {
            soon("the connection ends", rest(&mut stream)).await;
        }
        master.counts(Failure::Protocol, number as u64 + 2).await;
    }
    honest(&node, &mut master).await;
    master.nothing_came();
    log.once("127.0.0.51");
}

#[tokio::test]
async fn nothing_is_taken_up_again() {
    // Two handshakes of the same configuration: the second is as long as the first.
    let (authority, master, _) = two(&Limits::default()).await;
    let pair = authority.issue(&crate::authority::Leaf::node("worker-2"));
    let raw = Raw::new(Some(pair));
    for _ in 0..2 {
        let stream = raw.say(master.at(), Purpose::Member, &[]).await.unwrap();
        let (_, state) = stream.get_ref();
        assert_eq!(state.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(state.tls13_tickets_received(), 0);
    }
}

#[tokio::test]
async fn without_a_certificate_nothing_that_is_said_is_heard() {
    let log = Log::new();
    let (_, mut master, node) = two(&Limits::default()).await;
    let raw = Raw {
        from: 52,
        ..Raw::new(None)
    };
    for number in 1..=3 {
        let said = frames(&[b"a record", b"another"]);
        let mut stream = raw.say(master.at(), Purpose::Member, &said).await.unwrap();
        assert_eq!(soon("it ends", rest(&mut stream)).await, b"");
        master.counts(Failure::Stranger, number).await;
    }
    honest(&node, &mut master).await;
    master.nothing_came();
    log.once("127.0.0.52");
    assert_eq!(master.handle.known().len(), 1);
}

#[tokio::test]
async fn openssl_without_a_certificate_is_nobody_either() {
    if !here(false, &["openssl"]) {
        return;
    }
    let (_, mut master, node) = two(&Limits::default()).await;
    let at = master.at();
    for (version, failure) in [
        ("-tls1_3", Failure::Stranger),
        ("-tls1_2", Failure::Protocol),
    ] {
        let client = tokio::task::spawn_blocking(move || {
            let mut client = Command::new("openssl")
                .args(["s_client", "-quiet", "-alpn", "stayput/1", version])
                .args(["-connect", &at.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut said = hello(Purpose::Member);
            said.extend(frames(&[b"a record"]));
            // It may be cut off before it has said all.
            let _ = client.stdin.as_mut().unwrap().write_all(&said);
            client.wait_with_output().unwrap()
        });
        let output = soon("openssl ends", client).await.unwrap();
        assert_eq!(output.stdout, b"", "{version}");
        master.counts(failure, 1).await;
    }
    honest(&node, &mut master).await;
    master.nothing_came();
}

#[tokio::test]
async fn who_begins_and_does_not_go_on_loses_its_place() {
    let log = Log::new();
    let limits = Limits {
        handshake: Duration::from_millis(500),
        first_frame: Duration::from_millis(500),
        ..Limits::default()
    };
    let (authority, mut master, node) = two(&limits).await;
    // Nothing at all, half of a handshake, and a handshake without a word after it.
    let mut silent = tcp(53, master.at()).await.unwrap();
    let mut half = tcp(54, master.at()).await.unwrap();
    half.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    let pair = authority.issue(&crate::authority::Leaf::node("worker-2"));
    let raw = Raw {
        from: 55,
        ..Raw::new(Some(pair))
    };
    let mut mute = raw.connect(master.at()).await.unwrap();
    // A hello of which a byte comes at a time, so that each wait by itself is short.
    let mut slow = Raw { from: 56, ..raw }.connect(master.at()).await.unwrap();
    let dripping = tokio::spawn(async move {
        for byte in std::iter::once(0).chain(std::iter::repeat(0)) {
            if slow.write_all(&[byte]).await.is_err() || slow.flush().await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    });
    honest(&node, &mut master).await;
    for stream in [&mut silent, &mut half] {
        assert_eq!(soon("it ends", rest(stream)).await, b"");
    }
    soon("it ends", rest(&mut mute)).await;
    soon("it ends", dripping).await.unwrap();
    let ended = master.failures(Failure::Slow) + master.failures(Failure::Frame);
    assert!(ended >= 3, "{ended}");
    for from in [53, 54, 55] {
        let line = log.once(&format!("127.0.0.{from}"));
        assert!(line.contains("too long"), "{line}");
    }
    honest(&node, &mut master).await;
    master.nothing_came();
}

#[tokio::test]
async fn a_thousand_connections_of_one_source_do_not_keep_others_out() {
    let log = Log::new();
    let limits = Limits {
        handshake: Duration::from_secs(3),
        ..Limits::default()
    };
    let (_, mut master, node) = two(&limits).await;
    let at = master.at();
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..10 {
        for _ in 0..100 {
            crowd.spawn(async move {
                let mut stream = tcp(57, at).await?;
                rest(&mut stream).await;
                Ok::<_, std::io::Error>(())
            });
        }
        honest(&node, &mut master).await;
    }
    // Of one source only a few are waited for; all others are let go at once.
    master.counts(Failure::TooMany, 900).await;
    honest(&node, &mut master).await;
    while let Some(done) = soon("all are let go", crowd.join_next()).await {
        done.unwrap().unwrap();
    }
    let slow = master.failures(Failure::Slow) + master.failures(Failure::Broken);
    assert!(slow <= 64, "{slow}");
    assert_eq!(log.lines("127.0.0.57").len(), 2, "too many; too long");
    master.nothing_came();
}

#[tokio::test]
async fn a_crowd_of_sources_does_not_keep_others_out() {
    let limits = Limits {
        handshakes: 8,
        handshakes_of_one: 4,
        handshake: Duration::from_mins(10),
        ..Limits::default()
    };
    let (_, mut master, node) = two(&limits).await;
    let mut held = Vec::new();
    for from in 100..150 {
        for _ in 0..2 {
            held.push(tcp(from, master.at()).await.unwrap());
        }
        if from % 10 == 0 {
            honest(&node, &mut master).await;
        }
    }
    honest(&node, &mut master).await;
    // Nobody waits for ten minutes: those who came first lost their places.
    soon("the first one is let go", rest(&mut held[0])).await;
    master.nothing_came();
}
