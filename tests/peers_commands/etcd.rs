//! A master that is a member of etcd is not removed. A real etcd on loopback, with the cluster's
//! certificates.

use std::process::Command;

use serde_json::json;

use crate::masters::{cluster, json};
use crate::sandbox::Sandbox;
use crate::support::{Process, Said, eventually, here, run};

const URL: &str = "https://master-3.prod.k8s.internal:2380";

/// A member that is alone, at the first master's address, as that master's own.
fn start(node: &Sandbox, address: &str) -> Process {
    let pki = node.path("etc/kubernetes/pki/etcd");
    let file = |name: &str| pki.join(name).display().to_string();
    let (clients, peers) = (
        format!("https://{address}:2379"),
        format!("https://{address}:2380"),
    );
    let mut etcd = Command::new("etcd");
    etcd.args([
        "--name=master-1".to_owned(),
        format!("--data-dir={}", node.path("var/lib/etcd").display()),
        format!("--listen-client-urls={clients}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=master-1={peers}"),
        "--client-cert-auth".to_owned(),
        format!("--trusted-ca-file={}", file("ca.crt")),
        format!("--cert-file={}", file("server.crt")),
        format!("--key-file={}", file("server.key")),
        "--peer-client-cert-auth".to_owned(),
        format!("--peer-trusted-ca-file={}", file("ca.crt")),
        format!("--peer-cert-file={}", file("peer.crt")),
        format!("--peer-key-file={}", file("peer.key")),
    ]);
    Process::start(&mut etcd, &node.path("etcd.log"))
}

/// etcdctl by the master's name, wherever that leads.
fn etcdctl(node: &Sandbox, address: &str, arguments: &[&str]) -> Said {
    let pki = node.path("etc/kubernetes/pki/etcd");
    let file = |name: &str| pki.join(name).display().to_string();
    let mut etcdctl = Command::new("etcdctl");
    etcdctl.env("ETCDCTL_API", "3").args([
        format!("--endpoints=https://{address}:2379"),
        format!("--cacert={}", file("ca.crt")),
        format!("--cert={}", file("healthcheck-client.crt")),
        format!("--key={}", file("healthcheck-client.key")),
        "--insecure-skip-tls-verify".to_owned(),
        "--command-timeout=5s".to_owned(),
    ]);
    run(etcdctl.args(arguments))
}

#[test]
fn a_member_of_etcd_is_not_removed_before_it_is_out_of_it() {
    if !here(false, &["etcd", "etcdctl"]) {
        return;
    }
    let masters = cluster(1);
    let first = &masters[0];
    let address = first.status()["masters"][0]["addresses"][0].clone();
    let address = address.as_str().unwrap();
    let _etcd = start(first, address);
    eventually("etcd is well", || {
        let said = etcdctl(first, address, &["endpoint", "health"]);
        if said.code == 0 {
            Ok(())
        } else {
            Err(said.err)
        }
    });
    let peer = format!("--peer-urls={URL}");
    let add = ["member", "add", "master-3", "--learner", &peer];
    let added = eventually("the learner is added", || {
        let said = etcdctl(first, address, &add);
        if said.code == 0 {
            Ok(said.out)
        } else {
            Err(said.err)
        }
    });
    // "Member 8e9e05c52164694d added to cluster …"
    let id = added.split_whitespace().nth(1).unwrap();

    // What the members say is no silence: --without-etcd does not help.
    for more in [&[][..], &["--without-etcd"]] {
        let order = [&["remove", "master-3"][..], more].concat();
        let err = first.stayput(&order).refused(1);
        assert!(err.contains("master-3 is a member of etcd"), "{err}");
        assert!(err.contains(id), "{err}");
        assert!(err.contains("leave-etcd --name master-3"), "{err}");
    }
    // One that is none goes.
    first.stayput(&["remove", "master-2"]).good();
    etcdctl(first, address, &["member", "remove", id]).good();
    let (said, code) = json(first, &["remove", "master-3"]);
    assert_eq!((code, &said["signed"]), (0, &json!(true)), "{said}");
}
