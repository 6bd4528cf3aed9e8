//! A stock master, pinned to its address by kubeadm as it is, dies of a change, is given its old address
//! back, is mended, and survives the next change.

use std::time::{Duration, Instant};

use crate::control_plane::{PATIENCE, end_pods, endpoints, holders, pods_know, takes_writes};
use crate::lab::Lab;
use crate::measure::{measured, within};
use crate::node::Node;
use crate::unpin::{stock, unpin};

const OLD: &str = "10.77.0.11";
const NEW: &str = "10.77.0.31";
const NEXT: &str = "10.77.0.32";

#[test]
fn a_stock_master_dies_is_rescued_and_mended() {
    let Some(lab) = Lab::start() else { return };
    let mut node = stock(&lab);
    takes_writes(&node, "stock");

    // The machine comes up with another address, as after a night.
    node.stop("kubelet");
    end_pods(&node);
    node.readdress(NEW);
    node.start_kubelet();
    let (log, _) = within("etcd cannot listen", PATIENCE, || etcd_log(&node));
    assert!(node.pids("etcd").is_empty() || log.contains(OLD), "{log}");
    let refused = node.kubectl(&["get", "nodes"]);
    assert!(refused.is_err(), "{refused:?}");

    node.start_agent();
    node.start_haproxy();
    within("the agent knows the new address", PATIENCE, || {
        let said = node.ok("stayput", &["resolve", "master-1"])?;
        said.contains(NEW).then_some(()).ok_or(said)
    });
    // Nothing is mended as long as the cluster cannot be asked.
    let said = unpin(&node, &["--yes"]);
    assert_ne!(said.code, 0, "{said:?}");
    assert!(
        (said.out.clone() + &said.err).contains("rescue"),
        "{said:?}"
    );

    let began = Instant::now();
    let said = node
        .stayput(&["kubeadm", "rescue", &format!("master-1={OLD}")])
        .good();
    assert!(said.contains("unpin"), "{said}");
    // The kubelet has counted etcd's failed starts and waits between them.
    within("the API answers again", Duration::from_mins(7), || {
        node.kubectl(&["get", "nodes"])
    });
    measured(
        "a dead stock master: from rescue until the API answers",
        began.elapsed(),
    );
    takes_writes(&node, "rescued");
    holders(&node);

    let began = Instant::now();
    let said = unpin(&node, &["--yes"]);
    // Somebody may still dial the old address, and the certificates keep it as long.
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(said.out.contains("rescue --end"), "{said:#?}");
    measured(
        "a rescued master is mended, but for the old address",
        began.elapsed(),
    );
    node.stayput(&["kubeadm", "rescue", "--end"]).good();
    is_at(&node, NEW);
    takes_writes(&node, "ended");
    let began = Instant::now();
    let said = unpin(&node, &["--yes"]);
    assert_eq!(said.code, 0, "{said:#?}");
    measured(
        "the rescue has ended, and the old address is dropped",
        began.elapsed(),
    );
    let names = ["x509", "-noout", "-ext", "subjectAltName", "-in"];
    let served = "/etc/kubernetes/pki/apiserver.crt";
    let names = node
        .run("openssl", &[&names[..], &[served]].concat())
        .good();
    assert!(!names.contains(OLD), "{names}");

    let began = Instant::now();
    node.readdress(NEXT);
    takes_writes(&node, "moved");
    measured(
        "a mended master moves again: until a write",
        began.elapsed(),
    );
    is_at(&node, NEXT);
    holders(&node);
    node.must_run();
}

/// The cluster knows the master there, and nowhere else.
fn is_at(node: &Node, address: &str) {
    pods_know(node, "master-1", address);
    within("default/kubernetes is right", PATIENCE, || {
        let found = endpoints(node)?;
        (found == address).then_some(()).ok_or(found)
    });
}

/// What etcd says of an address that is not there.
fn etcd_log(node: &Node) -> Result<String, String> {
    let script = "cat /var/log/pods/kube-system_etcd-*/etcd/*.log";
    let log = node.run("sh", &["-c", script]).out;
    let said = log.contains("cannot assign requested address");
    let last: Vec<&str> = log.lines().rev().take(5).collect();
    said.then(|| log.clone()).ok_or_else(|| last.join("\n"))
}
