//! Real etcd members on what `stayput certs` has issued, each on its own master; and a renewal that
//! the running members take.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::etcd::{Etcd, Place, endpoint};
use crate::etcd_program::etcdctl;
use crate::issue::issue;
use crate::lab::{BEFORE, CLUSTER, MASTERS};
use crate::namespace::Namespace;
use crate::node::Node;
use crate::support::{eventually, here, run};

/// The servers of etcd as `certs verify --live` calls them, and their certificates.
const SERVERS: [(&str, &str); 2] = [("etcd (clients)", "server"), ("etcd (peers)", "peer")];

/// What etcd serves on a node, once it agrees with the files: serial numbers by server.
fn served(node: &Node) -> BTreeMap<String, String> {
    eventually("etcd serves what lies there", || {
        let said = node.stayput(&["certs", "verify", "--live", "-o", "json"]);
        let verdict: Value = serde_json::from_str(&said.out).map_err(|_| format!("{said:?}"))?;
        let rows = verdict["servers"].as_array().unwrap().iter();
        let rows = rows.filter(|row| row["server"].as_str().unwrap().starts_with("etcd"));
        let agreeing = rows.filter(|row| row["agrees"] == true).map(|row| {
            assert_eq!(row["serialServed"], row["serialOnDisk"]);
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            (text("server"), text("serialServed"))
        });
        let agreeing: BTreeMap<_, _> = agreeing.collect();
        let all = agreeing.len() == SERVERS.len();
        all.then_some(agreeing).ok_or(said.out)
    })
}

/// The serial number of a certificate of etcd's, as OpenSSL reads it.
fn serial(node: &Node, stem: &str) -> String {
    let path = node.path(&format!("etc/kubernetes/pki/etcd/{stem}.crt"));
    let mut openssl = std::process::Command::new("openssl");
    let said = run(openssl.args(["x509", "-noout", "-serial", "-in"]).arg(path)).good();
    let serial = said.trim().strip_prefix("serial=").unwrap();
    serial.trim_start_matches('0').to_lowercase()
}

/// Each member by itself answers each of the two clients that a master has.
fn every_client_is_taken(masters: &[Node], value: &str) {
    for node in masters {
        for pair in ["etcd/healthcheck-client", "apiserver-etcd-client"] {
            for master in masters {
                eventually("a client is taken", || {
                    let put = ["put", "key", value];
                    let said = etcdctl(node, pair, &endpoint(master), &put);
                    let taken = said.code == 0;
                    taken
                        .then_some(())
                        .ok_or_else(|| format!("{pair}: {said:?}"))
                });
            }
        }
    }
}

fn renew(node: &Node) {
    let order = ["certs", "renew", "etcd-server", "etcd-peer", "--force"];
    let said = node.stayput(&order).good();
    assert_eq!(said.matches("renewed").count(), 2, "{said}");
}

#[test]
fn etcd_runs_on_what_is_issued_and_takes_a_renewal_without_a_restart() {
    let needed = ["ip", "unshare", "setpriv", "etcd", "etcdctl", "openssl"];
    if !here(true, &needed) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let bridge = Namespace::bridge();
    let cluster = format!("{CLUSTER}certificates: {{keyType: ecdsa-p256}}\n");
    let mut masters = Vec::new();
    for (name, address) in MASTERS.into_iter().zip(BEFORE) {
        let namespace = bridge.node(name, address);
        let mut node = Node::new(folder.path(), name, namespace, &cluster);
        node.start_agent();
        masters.push(node);
    }
    issue(&masters);
    let mut etcd = Etcd::run(&masters, Place::Node);
    every_client_is_taken(&masters, "first");

    let first = &masters[0];
    let (before, pids) = (served(first), etcd.pids());
    renew(first);
    let after = served(first);
    for (server, stem) in SERVERS {
        assert_ne!(before[server], after[server]);
        assert_eq!(after[server], serial(first, stem));
    }
    assert_eq!(etcd.pids(), pids, "nothing was restarted");
    every_client_is_taken(&masters, "second");

    // One that has lost all its connections comes back: to peers with new pairs, and with one itself.
    renew(&masters[1]);
    etcd.restart(&masters, 1, Place::Node);
    etcd.each_reads(&masters, first, "second");
    every_client_is_taken(&masters, "third");
    for node in &mut masters {
        node.must_run();
    }
}
