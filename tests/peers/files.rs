//! Certificates as they change on disk while the transport runs.

use stayput::peers::transport::{Limits, Peer};

use crate::authority::{Authority, Leaf, NOW};
use crate::lab::{CURRENT, Machine, Node, two, until};
use crate::log::Log;

async fn becomes(node: &Node, peer: &Peer) {
    let own = node.handle.follow_own();
    until("it becomes another", || own.borrow().as_ref() == Some(peer)).await;
}

/// Whom the other side hears over a new connection.
async fn heard_as(node: &Node, by: &mut Node) -> Peer {
    node.handle.moved_itself();
    node.send(by, "x");
    by.frame().await.0
}

#[tokio::test]
async fn a_certificate_that_the_kubelet_renews_is_used_at_once() {
    let (authority, mut master, node) = two(&Limits::default()).await;
    heard_as(&node, &mut master).await;
    let pair = authority.issue(&Leaf::node("renewed"));
    node.machine.turn_kubelet("2", &pair.together());
    let renewed = Peer::Node("renewed".into());
    becomes(&node, &renewed).await;
    assert_eq!(heard_as(&node, &mut master).await, renewed);
}

#[tokio::test]
async fn a_file_that_is_half_written_changes_nothing_and_is_told_once() {
    let log = Log::new();
    let (authority, mut master, node) = two(&Limits::default()).await;
    let old = node.peer();
    let (one, two) = (
        authority.issue(&Leaf::node("one")),
        authority.issue(&Leaf::node("two")),
    );
    let whole = one.together();
    for (number, text) in [
        whole[..whole.len() - 100].to_owned(),
        one.certificate.clone(),
        format!("{}{}", one.certificate, two.key),
        authority.issue(&Leaf::node("x").subject(&[])).together(),
        String::new(),
    ]
    .iter()
    .enumerate()
    {
        node.machine.turn_kubelet(&format!("half-{number}"), text);
        until("it is told", || log.lines("WARN").len() == number + 1).await;
        assert_eq!(node.handle.own(), Some(old.clone()));
        assert_eq!(heard_as(&node, &mut master).await, old);
    }
    for line in log.lines("") {
        assert!(!line.contains("PRIVATE KEY--"), "{line}");
    }
    node.machine.turn_kubelet("whole", &whole);
    becomes(&node, &Peer::Node("one".into())).await;
}

#[tokio::test]
async fn a_node_joins_becomes_a_master_and_is_one_no_more() {
    let authority = Authority::new();
    let mut other = Machine::node(&authority, &Leaf::node("other"))
        .start()
        .await;
    let node = Machine::new(&authority).start().await;
    assert_eq!(node.handle.own(), None);

    let kubelet = authority.issue(&Leaf::node("host-1"));
    node.machine.turn_kubelet("1", &kubelet.together());
    let as_node = Peer::Node("host-1".into());
    becomes(&node, &as_node).await;
    assert_eq!(heard_as(&node, &mut other).await, as_node);

    let pair = authority.issue(&Leaf::master("master-1"));
    node.machine.become_master(&pair);
    let as_master = "master master-1.k8s.internal";
    until("it is a master", || {
        node.handle
            .own()
            .is_some_and(|own| own.to_string() == as_master)
    })
    .await;
    assert_eq!(heard_as(&node, &mut other).await.to_string(), as_master);

    for file in ["stayput.crt", "stayput.key"] {
        let path = node.machine.path().join("etc/kubernetes/pki").join(file);
        std::fs::remove_file(path).unwrap();
    }
    becomes(&node, &as_node).await;
    std::fs::remove_file(node.machine.path().join(CURRENT)).unwrap();
    until("it is nobody", || node.handle.own().is_none()).await;
}

#[tokio::test]
async fn a_master_whose_certificate_ended_is_still_a_node() {
    let authority = Authority::new();
    let ended = Leaf::master("master-1").valid(NOW - 500..NOW - 5);
    let machine = Machine::master(&authority, &ended);
    let kubelet = authority.issue(&Leaf::node("host-1"));
    machine.turn_kubelet("1", &kubelet.together());
    let node = machine.start().await;
    assert_eq!(node.peer(), Peer::Node("host-1".into()));
}

#[tokio::test]
async fn another_authority_ends_what_the_old_one_allowed() {
    let (_, mut master, node) = two(&Limits::default()).await;
    heard_as(&node, &mut master).await;
    assert_eq!(master.handle.connections().len(), 1);
    let other = Authority::new();
    master
        .machine
        .write("etc/kubernetes/pki/ca.crt", &other.pem());
    until("the connection ends", || {
        master.handle.connections().is_empty() && node.handle.connections().is_empty()
    })
    .await;
    node.send(&master, "x");
    let refused = stayput::peers::transport::Failure::Certificate;
    master.counts(refused, 1).await;
    master.nothing_came();
    // Both of them, as while an authority is replaced.
    let newcomer = Machine::node(&other, &Leaf::node("new")).start().await;
    newcomer.send_at(master.at(), "x");
    newcomer.counts(refused, 1).await;
}
