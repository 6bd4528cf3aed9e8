//! The whole life of a cluster's members: they come, one dies, they go.

use crate::masters::{LEFT, Masters, json, voter};
use crate::support::here;

const JOIN: [&str; 3] = ["join-etcd", "--image", "etcd:x"];

/// Joins and waits for the vote.
fn join(masters: &mut Masters, number: usize) {
    let arguments = [&JOIN[..], &["--output", "json"]].concat();
    let mut joining = masters.begin(number, &arguments);
    masters.run_pod_soon(number);
    let ended = joining.end();
    assert!(ended.success(), "{}", joining.log());
}

/// Told to go on: an interrupted join is finished by the next one, and meanwhile nobody else joins.
fn an_interrupted_join_is_finished(masters: &mut Masters) {
    let short = [&JOIN[..], &["--within", "2s"]].concat();
    let err = masters.kubeadm(2, &short).refused(75);
    assert!(
        err.contains("master-2 is in etcd as a learner but has no vote after 2 s"),
        "{err}"
    );
    assert!(err.contains("stayput kubeadm leave-etcd"), "{err}");
    let seen = masters.members();
    assert!(
        seen.contains(&" unstarted https://master-2.prod.k8s.internal:2380 true".to_owned()),
        "{seen:?}"
    );
    let manifest = masters.manifest(2).unwrap();
    for (flag, want) in [
        ("name", "master-2"),
        ("listen-peer-urls", "https://0.0.0.0:2380"),
        ("initial-cluster-state", "existing"),
        (
            "initial-cluster",
            "master-1=https://master-1.prod.k8s.internal:2380,master-2=https://master-2.prod.k8s.internal:2380",
        ),
    ] {
        assert_eq!(manifest.flag(flag).unwrap().value, want, "{flag}");
    }
    let err = masters.kubeadm(3, &JOIN).refused(1);
    assert!(err.contains("etcd has a learner already"), "{err}");
    assert!(masters.manifest(3).is_none());

    masters.run_pod(2);
    let arguments = [&JOIN[..], &["--output", "json"]].concat();
    let joined = json(&masters.kubeadm(2, &arguments).good());
    let did = ["added", "manifestWritten", "promoted"].map(|key| joined[key].as_bool().unwrap());
    assert_eq!(did, [false, false, true], "{joined}");
    assert_eq!(masters.members(), [voter(1), voter(2)]);
}

/// Nothing is changed by an order that cannot be carried out.
fn what_is_not_ready_is_refused(masters: &Masters) {
    let err = masters.kubeadm(2, &["join-etcd"]).refused(69);
    assert!(err.contains("give it with --image"), "{err}");
    let peer = masters.node(2).path("etc/kubernetes/pki/etcd/peer.crt");
    let aside = peer.with_extension("aside");
    std::fs::rename(&peer, &aside).unwrap();
    let err = masters.kubeadm(2, &JOIN).refused(1);
    assert!(
        err.contains("etcd's certificates are not ready: etcd-peer: "),
        "{err}"
    );
    std::fs::rename(&aside, &peer).unwrap();
    assert_eq!(masters.members(), [voter(1)]);
    assert!(masters.manifest(2).is_none());
}

/// The third one is dead. The second must stay, and the third has to go first.
fn a_dead_member_is_taken_out(masters: &mut Masters) {
    masters.kill_pod(3);
    let err = masters.kubeadm(2, &["leave-etcd", "--force"]).refused(1);
    assert!(
        err.contains("without master-2 1 of 2 members would be well"),
        "{err}"
    );
    assert!(masters.manifest(2).is_some());
    let err = masters
        .kubeadm(1, &["leave-etcd", "--name", "master-9"])
        .refused(65);
    assert!(
        err.contains("no member master-9; its members are master-"),
        "{err}"
    );
    masters
        .kubeadm(1, &["leave-etcd", "--name", "master-1"])
        .refused(65);
    let said = masters
        .kubeadm(1, &["leave-etcd", "--name", "master-3"])
        .good();
    assert!(said.starts_with("master-3 is out of etcd\n"), "{said}");
    assert_eq!(masters.members(), [voter(1), voter(2)]);
    masters.takes_writes("without the third");
}

/// What an old member has left is not taken for a new one's.
fn a_member_that_was_taken_out_comes_back_anew(masters: &mut Masters) {
    let err = masters.kubeadm(3, &JOIN).refused(1);
    assert!(err.contains("which was removed from etcd"), "{err}");
    let said = masters.kubeadm(3, &["leave-etcd"]).good();
    assert!(
        said.starts_with("this master has no member in etcd\n"),
        "{said}"
    );
    assert!(masters.manifest(3).is_none() && masters.node(3).path(LEFT).exists());
    let err = masters.kubeadm(3, &JOIN).refused(1);
    assert!(
        err.contains("/var/lib/etcd/member holds the data of a member"),
        "{err}"
    );
    assert_eq!(masters.members(), [voter(1), voter(2)]);
    std::fs::remove_dir_all(masters.node(3).path("var/lib/etcd/member")).unwrap();
    join(masters, 3);
    assert_eq!(masters.members(), [voter(1), voter(2), voter(3)]);
}

/// One that leaves takes its manifest with it, and a second manifest does not lose the first.
fn members_leave(masters: &mut Masters) {
    let left = json(
        &masters
            .kubeadm(3, &["leave-etcd", "--output", "json"])
            .good(),
    );
    assert_eq!(left["member"]["name"], "master-3");
    assert_eq!(
        left["manifest"],
        "/etc/kubernetes/.stayput-left-etcd.yaml.2"
    );
    assert_eq!(left["members"].as_array().unwrap().len(), 2);
    masters.pod_ends(3);
    let said = masters.kubeadm(2, &["leave-etcd"]).good();
    assert!(
        said.contains("kubeadm reset --skip-phases=remove-etcd-member"),
        "{said}"
    );
    masters.pod_ends(2);
    assert!(masters.manifest(2).is_none() && masters.node(2).path(LEFT).exists());
    assert_eq!(masters.members(), [voter(1)]);
    masters.takes_writes("alone");
    // The last one stays: nobody else answers.
    masters.kubeadm(1, &["leave-etcd"]).refused(69);
    assert_eq!(masters.members(), [voter(1)]);
}

#[test]
fn masters_join_and_leave_by_name() {
    if !here(true, &["ip", "unshare", "setpriv", "etcd", "etcdctl"]) {
        return;
    }
    let mut masters = Masters::start();
    what_is_not_ready_is_refused(&masters);
    an_interrupted_join_is_finished(&mut masters);
    join(&mut masters, 3);
    assert_eq!(masters.members(), [voter(1), voter(2), voter(3)]);
    let said = masters.kubeadm(3, &JOIN).good();
    assert!(said.contains("already: nothing to do"), "{said}");
    a_dead_member_is_taken_out(&mut masters);
    a_member_that_was_taken_out_comes_back_anew(&mut masters);
    members_leave(&mut masters);
}
