//! Both files as they lie in a root: what is read, and what is said when it cannot be.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use stayput::address::Loopback;
use stayput::config::{Cluster, Error, Node, NodeSettings, load};
use stayput::name::Name;
use stayput::pki::catalogue::Catalogue;
use stayput::pki::wanted::wanted;
use stayput::root::Root;

const CLUSTER: &str = "
domain: prod.k8s.internal
endpoint: {name: api}
masters:
  - {name: master-1, address: 10.77.0.11}
";

/// A root with these files in it, below the folders that they need.
fn sandbox(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    dir
}

fn load_from(dir: &tempfile::TempDir, flags: &NodeSettings) -> Result<(Cluster, Node), Error> {
    let root = Root::open(dir.path()).unwrap();
    let cluster = Path::new("/etc/stayput/cluster.yaml");
    load(&root, cluster, Path::new("/etc/stayput/node.yaml"), flags)
}

fn failure(files: &[(&str, &[u8])]) -> String {
    let error = load_from(&sandbox(files), &NodeSettings::default());
    error.unwrap_err().to_string()
}

#[test]
fn a_sandbox_has_a_host_name_of_its_own() {
    let dir = sandbox(&[
        ("etc/stayput/cluster.yaml", CLUSTER.as_bytes()),
        ("etc/hostname", b"# set by hand\n\nMaster-1\n"),
    ]);
    let (cluster, node) = load_from(&dir, &NodeSettings::default()).unwrap();
    assert_eq!(node.master(), Some(&cluster.masters[0].name));
    assert_eq!(node.kubernetes_name.as_str(), "master-1");
}

#[test]
fn the_flag_goes_before_the_node_file_and_that_before_the_host_name() {
    let files: &[(&str, &[u8])] = &[
        ("etc/stayput/cluster.yaml", CLUSTER.as_bytes()),
        (
            "etc/stayput/node.yaml",
            b"name: master-1\ncidr: 10.77.0.0/24\n",
        ),
        ("etc/hostname", b"box-7\n"),
    ];
    let (_, node) = load_from(&sandbox(files), &NodeSettings::default()).unwrap();
    assert_eq!(node.master().unwrap().label(), "master-1");
    let flags = NodeSettings {
        name: Some(Name::parse("worker-9").unwrap()),
        ..NodeSettings::default()
    };
    let (_, node) = load_from(&sandbox(files), &flags).unwrap();
    assert_eq!(node.master(), None);
}

#[test]
fn a_control_plane_node_that_the_file_does_not_know_is_no_worker() {
    let error = failure(&[
        ("etc/stayput/cluster.yaml", CLUSTER.as_bytes()),
        ("etc/hostname", b"box-7\n"),
        (
            "etc/kubernetes/manifests/kube-apiserver.yaml",
            b"kind: Pod\n",
        ),
    ]);
    assert!(
        error.contains("'box-7' is not among the masters"),
        "{error}"
    );
    assert!(error.contains("one of: master-1"), "{error}");
}

#[test]
fn the_problems_of_both_files_are_told_together() {
    let error = failure(&[
        (
            "etc/stayput/cluster.yaml",
            b"domain: k8s\nendpoint: {name: api}\n",
        ),
        ("etc/stayput/node.yaml", b"\nnmae: master-1\n"),
    ]);
    let starts: Vec<&str> = error
        .lines()
        .map(|line| line.splitn(3, ": ").take(2).last().unwrap())
        .collect();
    assert_eq!(starts, ["masters", "domain", "nmae"], "{error}");
    let last = error.lines().last().unwrap();
    assert_eq!(
        last,
        "/etc/stayput/node.yaml:2:1: nmae: is not a known key; did you mean 'name'?"
    );
}

/// The agent, the commands and the renewal read the same file: a mistake in one part is told to all.
#[test]
fn what_a_master_should_have_follows_from_the_two_files() {
    let stable = CLUSTER.replace("10.77.0.11}", "10.77.0.11, stable: 10.254.0.1}");
    let own = "certificates: {extraNames: {apiserver: [k8s.example.com]}}\n";
    let dir = sandbox(&[
        ("etc/stayput/cluster.yaml", (stable + own).as_bytes()),
        ("etc/stayput/node.yaml", b"kubernetesName: box-7\n"),
        ("etc/hostname", b"master-1\n"),
    ]);
    let (cluster, node) = load_from(&dir, &NodeSettings::default()).unwrap();
    let wanted = wanted(&Catalogue::of(&cluster).unwrap(), &cluster, &node);
    let item = |id: &str| wanted.items.iter().find(|item| item.id == id).unwrap();
    assert_eq!(item("etcd-peer").profile.common_name, "box-7");
    assert_eq!(
        item("apiserver").profile.names.to_string(),
        "api.prod.k8s.internal, box-7, k8s.example.com, kubernetes, kubernetes.default, kubernetes.default.svc, kubernetes.default.svc.cluster.local, localhost, master-1, master-1.prod.k8s.internal, 10.96.0.1, 127.0.0.1, ::1, 10.254.0.1"
    );
    let changing = "certificates: {extraNames: {etcd-peer: [10.77.0.11]}}\n";
    let mistaken = failure(&[(
        "etc/stayput/cluster.yaml",
        (CLUSTER.to_owned() + changing).as_bytes(),
    )]);
    let want = "/etc/stayput/cluster.yaml:6:41: certificates.extraNames.etcd-peer[0]: 10.77.0.11 is an address of master-1.prod.k8s.internal that can change";
    assert!(mistaken.starts_with(want), "{mistaken}");
}

#[test]
fn files_that_cannot_be_read() {
    let missing = failure(&[]);
    assert!(
        missing.starts_with("there is no cluster file /etc/stayput/cluster.yaml; "),
        "{missing}"
    );
    let latin1 = failure(&[("etc/stayput/cluster.yaml", b"domain: a\n# caf\xe9\n")]);
    assert_eq!(
        latin1,
        "/etc/stayput/cluster.yaml:2:6: is not UTF-8; save the file as UTF-8"
    );
    let huge = vec![b'#'; (1 << 20) + 1];
    let huge = failure(&[("etc/stayput/cluster.yaml", &huge)]);
    assert_eq!(
        huge,
        "cannot read /etc/stayput/cluster.yaml: larger than 1048576 bytes"
    );
    let folder = failure(&[("etc/stayput/cluster.yaml/x", b"")]);
    assert_eq!(
        folder,
        "cannot read /etc/stayput/cluster.yaml: not a regular file"
    );
}

#[test]
fn loopback_masters_exist_in_a_sandbox_only() {
    let text = CLUSTER.replace("10.77.0.11", "127.77.0.11");
    let dir = sandbox(&[("etc/stayput/cluster.yaml", text.as_bytes())]);
    load_from(&dir, &NodeSettings::default()).unwrap();
    Cluster::parse(&text, Path::new("F"), Loopback::Refused).unwrap_err();
}
