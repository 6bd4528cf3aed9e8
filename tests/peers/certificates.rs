//! Whose certificate is taken, on either side of a connection.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use rcgen::{DnType, IsCa};
use stayput::peers::transport::frame::Purpose;
use stayput::peers::transport::{Failure, Limits, Peer};

use crate::authority::{Any, Authority, ClientAuth, Leaf, NOW, Pair, ServerAuth};
use crate::lab::{Machine, Node, soon};
use crate::log::Log;
use crate::raw::{Raw, frames, rest};

const CN: DnType = DnType::CommonName;
const O: DnType = DnType::OrganizationName;
const MASTERS: &str = "stayput:masters";
const NODES: &str = "system:nodes";
const NAME: &str = "master-9.stayput.k8s.internal";

/// Shows a certificate to a node, and says something; tells who was heard.
async fn heard(node: &mut Node, pair: &Pair) -> Option<Peer> {
    let before = node.failures(Failure::Certificate);
    let raw = Raw::new(Some(pair.clone()));
    let bytes = frames(&[b"x"]);
    let at: SocketAddr = node.at();
    let mut stream = raw.say(at, Purpose::Member, &bytes).await.ok();
    tokio::select! {
        came = node.incoming.recv() => match came {
            Some(stayput::peers::transport::Incoming::Frame { peer, .. }) => Some(peer),
            other => panic!("{other:?}"),
        },
        () = async {
            if let Some(stream) = &mut stream {
                rest(stream).await;
            }
        } => {
            assert_eq!(node.failures(Failure::Certificate), before + 1);
            node.nothing_came();
            None
        }
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn masters_and_nodes_and_nobody_else() {
    let authority = Authority::new();
    let mut node = Machine::node(&authority, &Leaf::node("worker-1"))
        .start()
        .await;
    let master = || Leaf::master("master-9");
    let kubelet = || Leaf::node("worker-9");
    let with_address = Leaf {
        addresses: vec!["10.0.0.1".parse().unwrap()],
        ..master()
    };
    let named = |cn: &str, dns: &[&str]| master().subject(&[(O, MASTERS), (CN, cn)]).names(dns);
    let node_named = |cn: &str| kubelet().subject(&[(O, NODES), (CN, cn)]);

    for (what, leaf) in [
        ("a master", master()),
        (
            "a master with two labels",
            named("a.b.stayput.k8s.internal", &["a.b.stayput.k8s.internal"]),
        ),
        ("a node", kubelet()),
        (
            "a node called like an address",
            node_named("system:node:10.0.0.7"),
        ),
        (
            "as kubeadm's own, without an extension of usages",
            kubelet().usages(&[]),
        ),
    ] {
        assert!(
            heard(&mut node, &authority.issue(&leaf)).await.is_some(),
            "{what}"
        );
    }
    let below = authority.issue_below(&master());
    assert!(
        heard(&mut node, &below).await.is_some(),
        "an authority below"
    );

    for (what, leaf) in [
        // What the signers of the API issue to whoever asks and is approved.
        ("client only", master().usages(&[ClientAuth])),
        ("server only", master().usages(&[ServerAuth])),
        ("any usage", master().usages(&[Any])),
        ("all usages", master().usages(&[])),
        ("two names", named(NAME, &[NAME, "api.k8s.internal"])),
        ("an address besides", with_address),
        ("no name", named(NAME, &[])),
        (
            "another name than its CN",
            named(NAME, &["master-8.stayput.k8s.internal"]),
        ),
        (
            "a wildcard",
            named("*.stayput.k8s.internal", &["*.stayput.k8s.internal"]),
        ),
        (
            "of another domain",
            named("m.stayput.example.com", &["m.stayput.example.com"]),
        ),
        (
            "the master's own name",
            named("m.k8s.internal", &["m.k8s.internal"]),
        ),
        (
            "no label",
            named("stayput.k8s.internal", &["stayput.k8s.internal"]),
        ),
        ("no O", master().subject(&[(CN, NAME)])),
        (
            "another O",
            master().subject(&[(O, "system:masters"), (CN, NAME)]),
        ),
        ("no CN", master().subject(&[(O, MASTERS)])),
        (
            "an administrator",
            kubelet().subject(&[(O, "system:masters"), (CN, "kubernetes-admin")]),
        ),
        (
            "a node among the masters",
            kubelet().subject(&[(O, MASTERS), (CN, "system:node:x")]),
        ),
        (
            "a node's serving certificate",
            kubelet().usages(&[ServerAuth]),
        ),
        ("no node", node_named("worker-9")),
        ("a node without a name", node_named("system:node:")),
        ("a node with a bad name", node_named("system:node:a\nb")),
        (
            "an authority",
            Leaf {
                is_ca: IsCa::Ca(rcgen::BasicConstraints::Unconstrained),
                ..master()
            },
        ),
        ("expired", master().valid(NOW - 5000..NOW - 1)),
        ("an expired node", kubelet().valid(NOW - 5000..NOW - 1)),
        ("not valid yet", master().valid(NOW + 1..NOW + 5000)),
    ] {
        let who = heard(&mut node, &authority.issue(&leaf)).await;
        assert_eq!(who, None, "{what}");
    }
    let known = node.handle.known();
    assert_eq!(known.len(), 4, "only who finished a handshake: {known:?}");
}

#[tokio::test]
async fn two_names_in_a_subject_are_none() {
    // rcgen writes each kind of attribute once, so these come from elsewhere.
    let authority = Authority::new();
    let mut node = Machine::node(&authority, &Leaf::node("worker-1"))
        .start()
        .await;
    for parts in [
        &[
            (O, MASTERS),
            (DnType::CustomDnType(vec![2, 5, 4, 10]), "system:nodes"),
            (CN, NAME),
        ][..],
        &[
            (O, MASTERS),
            (DnType::CustomDnType(vec![2, 5, 4, 3]), "x"),
            (CN, NAME),
        ],
    ] {
        let leaf = Leaf::master("master-9").subject(parts);
        assert_eq!(
            heard(&mut node, &authority.issue(&leaf)).await,
            None,
            "{parts:?}"
        );
    }
}

#[tokio::test]
async fn another_clusters_certificates_are_refused_and_named_once() {
    let log = Log::new();
    let (authority, other) = (Authority::new(), Authority::new());
    let mut node = Machine::node(&authority, &Leaf::node("worker-1"))
        .start()
        .await;
    for leaf in [Leaf::master("master-1"), Leaf::node("worker-2")] {
        for _ in 0..3 {
            assert_eq!(heard(&mut node, &other.issue(&leaf)).await, None);
        }
    }
    let line = log.once("127.0.0.66");
    assert!(
        line.contains("CN=master-1.stayput.k8s.internal is not accepted"),
        "{line}"
    );
    assert!(!line.contains("PRIVATE"), "{line}");
}

#[tokio::test]
async fn a_stranger_in_somebodys_place_is_told_nothing() {
    let log = Log::new();
    let authority = Authority::new();
    let node = Machine::node(&authority, &Leaf::node("worker-1"))
        .start()
        .await;
    let other = Authority::new();
    for (number, machine) in [
        Machine::master(&other, &Leaf::master("master-1")),
        Machine::node(&other, &Leaf::node("worker-7")),
    ]
    .into_iter()
    .enumerate()
    {
        // It would take in anybody.
        machine.write("etc/kubernetes/pki/ca.crt", &authority.pem());
        let mut there = machine.start().await;
        node.send_at(there.at(), "a secret");
        node.counts(Failure::Certificate, number as u64 + 1).await;
        there.nothing_came();
        assert!(there.handle.connections().is_empty());
    }
    assert!(node.handle.known().is_empty() && node.handle.connections().is_empty());
    log.once("O=stayput:masters, CN=master-1.stayput.k8s.internal is not accepted");
}

#[tokio::test]
async fn the_right_certificate_at_the_wrong_time_is_taken_when_its_time_has_come() {
    let authority = Authority::new();
    let mut node = Machine::node(&authority, &Leaf::node("worker-1"))
        .start()
        .await;
    let pair = authority.issue(&Leaf::node("worker-2").valid(NOW + 10..NOW + 20));
    for (now, taken) in [(9, false), (10, true), (20, true), (21, false)] {
        node.machine.clock.store(NOW + now, Ordering::SeqCst);
        assert_eq!(heard(&mut node, &pair).await.is_some(), taken, "{now}");
    }
}

#[tokio::test]
async fn a_clock_that_died_does_not_cut_a_node_off() {
    let authority = Authority::new();
    let mut master = Machine::master(&authority, &Leaf::master("master-1"))
        .start()
        .await;
    let own = Leaf::node("worker-1").valid(NOW - 500..NOW + 5000);
    let mut node = Machine::node(&authority, &own).start().await;
    for dead in [0, 1000, NOW - 1_000_000_000, NOW - 801] {
        node.machine.clock.store(dead, Ordering::SeqCst);
        node.handle.moved_itself();
        node.send(&master, "x");
        assert_eq!(master.frame().await.0, Peer::Node("worker-1".into()));
        // One that began later than its own is no reason to refuse it; one that has ended by then is.
        let late = authority.issue(&Leaf::master("late").valid(NOW - 100..NOW + 100));
        assert!(heard(&mut node, &late).await.is_some(), "{dead}");
        let ended = authority.issue(&Leaf::master("old").valid(NOW - 9000..NOW - 501));
        assert_eq!(heard(&mut node, &ended).await, None, "{dead}");
        let stranger = Authority::new().issue(&Leaf::master("master-1"));
        assert_eq!(heard(&mut node, &stranger).await, None, "{dead}");
    }
}

#[tokio::test]
async fn nobody_is_believed_without_an_authority() {
    let authority = Authority::new();
    let machine = Machine::node(&authority, &Leaf::node("worker-1"));
    std::fs::remove_file(machine.path().join("etc/kubernetes/pki/ca.crt")).unwrap();
    let mut node = machine.start().await;
    let pair = authority.issue(&Leaf::master("master-1"));
    assert_eq!(heard(&mut node, &pair).await, None);
}

#[tokio::test]
async fn it_does_not_talk_to_itself() {
    let authority = Authority::new();
    let mut node = Machine::node(&authority, &Leaf::node("worker-1"))
        .start_with(&Limits::default())
        .await;
    node.send_at(node.at(), "x");
    soon("it is seen", node.counts(Failure::Unexpected, 1)).await;
    node.nothing_came();
    assert!(node.handle.known().is_empty());
}
