//! Honest nodes: what is sent arrives, over one connection, whoever made it.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::Ordering;
use std::time::Duration;

use stayput::peers::transport::{Limits, Peer, To};

use crate::authority::{Authority, Leaf};
use crate::lab::{Machine, Node, two, until};

#[tokio::test]
async fn one_connection_carries_both_directions() {
    let (_, mut master, mut node) = two(&Limits::default()).await;
    assert_eq!(master.peer().to_string(), "master master-1.k8s.internal");
    assert_eq!(node.peer(), Peer::Node("worker-1".into()));
    node.send_at(master.at(), "one");
    assert_eq!(master.frame().await, (node.peer(), "one".into()));
    node.send(&master, "two");
    assert_eq!(master.frame().await.1, "two");
    // The other side needs no address of it.
    for number in 0..100 {
        let to = To::Peer(node.peer(), vec![]);
        master.handle.send(to, format!("{number}").into());
        assert_eq!(node.frame().await, (master.peer(), number.to_string()));
    }
    for each in [&master, &node] {
        let connections = each.handle.connections();
        assert_eq!(connections.len(), 1, "{connections:?}");
        assert_eq!(each.handle.counters().dropped.load(Ordering::Relaxed), 0);
    }
    let dialled = |node: &Node| node.handle.counters().dialled.load(Ordering::Relaxed);
    assert_eq!((dialled(&master), dialled(&node)), (0, 1));
}

#[tokio::test]
async fn who_dial_each_other_at_once_end_with_one_connection_and_lose_nothing() {
    let authority = Authority::new();
    for round in 0..5 {
        let machine = |name: &str| Machine::node(&authority, &Leaf::node(name));
        let limits = Limits {
            linger: Duration::from_millis(100),
            ..Limits::default()
        };
        let mut a = machine("a").start_with(&limits).await;
        let mut b = machine("b").start_with(&limits).await;
        for number in 0..50 {
            a.send(&b, &number.to_string());
            b.send(&a, &number.to_string());
            if number % 10 == round {
                tokio::task::yield_now().await;
            }
        }
        let mut heard = [a.frame().await, b.frame().await].map(|(_, text)| vec![text]);
        for number in 1..50 {
            heard[0].push(a.frame().await.1);
            heard[1].push(b.frame().await.1);
            assert_eq!(heard[0].len(), number + 1);
        }
        for all in &mut heard {
            all.sort_by_key(|text| text.parse::<u32>().unwrap());
            let want: Vec<String> = (0..50).map(|number| number.to_string()).collect();
            assert_eq!(*all, want);
        }
        until("one connection is left", || {
            [&a, &b].map(|node| node.handle.connections().len()) == [1, 1]
        })
        .await;
        let sides = [&a, &b].map(|node| node.handle.connections()[0].dialled);
        assert_ne!(sides[0], sides[1], "it is the same one");
    }
}

#[tokio::test]
async fn only_whoever_is_meant_is_told() {
    let authority = Authority::new();
    let machine = |name: &str| Machine::node(&authority, &Leaf::node(name));
    let a = machine("a").start().await;
    let mut b = machine("b").start().await;
    let mut c = machine("c").start().await;
    // Where c is said to be is b; c has moved, which is told a moment later.
    a.handle
        .send(To::Peer(c.peer(), vec![b.at()]), "for c".into());
    a.counts(stayput::peers::transport::Failure::Unexpected, 1)
        .await;
    a.handle
        .send(To::Peer(c.peer(), vec![c.at()]), "too".into());
    assert_eq!(c.frame().await, (a.peer(), "for c".into()));
    assert_eq!(c.frame().await.1, "too");
    b.nothing_came();
}

#[tokio::test]
async fn silent_connections_end_and_are_made_anew() {
    let limits = Limits {
        idle: Duration::from_millis(200),
        linger: Duration::from_millis(50),
        ..Limits::default()
    };
    let (_, mut master, node) = two(&limits).await;
    for round in 1..=3 {
        node.send(&master, "x");
        master.frame().await;
        until("the connection ends", || {
            master.handle.connections().is_empty() && node.handle.connections().is_empty()
        })
        .await;
        let dialled = node.handle.counters().dialled.load(Ordering::Relaxed);
        assert_eq!(dialled, round);
    }
}

#[tokio::test]
async fn whoever_moved_is_found_where_it_is_now() {
    let authority = Authority::new();
    let machine = || Machine::node(&authority, &Leaf::node("b"));
    let a = Machine::node(&authority, &Leaf::node("a")).start().await;
    let (mut old, mut new) = (machine().start().await, machine().start().await);
    let peer = old.peer();
    a.send(&old, "old");
    assert_eq!(old.frame().await.1, "old");
    a.handle.moved(&peer);
    let to = To::Peer(peer.clone(), vec![new.at()]);
    a.handle.send(to, "new".into());
    assert_eq!(new.frame().await.1, "new");
    old.nothing_came();
    // It is remembered where it was met: the newest first, and there it is dialled without being told.
    let known = a.handle.known();
    assert_eq!(known[0].addresses, [new.at(), old.at()]);
    a.handle.moved_itself();
    a.handle.send(To::Peer(peer, vec![]), "again".into());
    assert_eq!(new.frame().await.1, "again");
}

#[tokio::test]
async fn who_was_met_is_found_after_a_restart() {
    let (authority, mut master, node) = two(&Limits::default()).await;
    node.send(&master, "x");
    master.frame().await;
    // The one that was dialled knows where the other listens, too.
    let mut kept = master.handle.known();
    assert_eq!(kept[0].peer, node.peer());
    assert_eq!(kept[0].addresses, [node.at()]);
    kept[0].last -= 5;
    let again = Machine::master(&authority, &Leaf::master("master-1"));
    let again = again.start_at(&[], &Limits::default(), kept).await;
    let mut node = node;
    again
        .handle
        .send(To::Peer(node.peer(), vec![]), "hello".into());
    assert_eq!(node.frame().await, (master.peer(), "hello".into()));
}

#[tokio::test]
async fn it_listens_everywhere_unless_it_is_told_where() {
    let authority = Authority::new();
    let machine = |name: &str| Machine::node(&authority, &Leaf::node(name));
    let start = async |name: &str, at: &[IpAddr]| {
        machine(name).start_at(at, &Limits::default(), vec![]).await
    };
    let a = start("a", &[]).await;
    let mut everywhere = start("b", &[]).await;
    let port = everywhere.at().port();
    for ip in [IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 9])] {
        a.handle.moved_itself();
        a.send_at((ip, port).into(), "x");
        everywhere.frame().await;
    }
    if everywhere.handle.listening()[0].is_ipv6() {
        a.handle.moved_itself();
        a.send_at((Ipv6Addr::LOCALHOST, port).into(), "x");
        everywhere.frame().await;
    }
    let places = [[127, 0, 0, 5], [127, 0, 0, 6]].map(IpAddr::from);
    let there = start("c", &places).await;
    let want = places.map(|ip| (ip, there.at().port()).into());
    assert_eq!(there.handle.listening(), want);
}

#[tokio::test]
async fn frames_of_every_size_and_none_that_is_too_large() {
    let (_, mut master, node) = two(&Limits::default()).await;
    let to = || To::Peer(master.peer(), vec![master.at()]);
    let sizes = [1, 2, 100, 4095, 4096, 4097, 16 << 10, 64 << 10];
    for size in sizes {
        node.handle.send(to(), vec![b'x'; size]);
    }
    node.handle.send(to(), vec![]);
    node.handle.send(to(), vec![b'x'; (64 << 10) + 1]);
    for size in sizes {
        assert_eq!(master.frame().await.1.len(), size);
    }
    let dropped = &node.handle.counters().dropped;
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
    master.nothing_came();
}

#[tokio::test]
async fn it_ends_with_its_receiver() {
    let (_, master, node) = two(&Limits::default()).await;
    node.send(&master, "x");
    until("they are connected", || {
        !node.handle.connections().is_empty()
    })
    .await;
    let at = master.at();
    drop(master.incoming);
    until("nobody listens any more", || {
        std::net::TcpStream::connect(at).is_err()
    })
    .await;
    until("the connection ends", || {
        node.handle.connections().is_empty()
    })
    .await;
}
