//! A new cluster: what stayput issues and writes is what kubeadm takes, and it works.

use std::time::Instant;

use crate::control_plane::{
    Way, certificates, cluster, configuration, holders, init, takes_writes,
};
use crate::lab::Lab;
use crate::measure::measured;

#[test]
fn a_new_cluster_by_names() {
    let Some(lab) = Lab::start() else { return };
    let began = Instant::now();
    let mut node = lab.node(
        "master-1",
        "10.77.0.11",
        &cluster(Way::Names, &[("master-1", "10.77.0.11")]),
    );
    measured("a node with containerd and images", began.elapsed());
    node.stayput(&["certs", "init", "--new-cluster"]).good();
    let issued = certificates(&node);
    node.start_agent();
    node.start_haproxy();
    let configuration = configuration(&node, "10.77.0.11");
    init(&mut node, &configuration, &[]);
    measured("a write from nothing", began.elapsed());
    takes_writes(&node, "first");
    holders(&node);
    let said = node.kubeadm(&["certs", "check-expiration"]);
    println!("{said:?}");
    said.good();
    assert_eq!(certificates(&node), issued, "kubeadm keeps what is there");
    node.must_run();
}
