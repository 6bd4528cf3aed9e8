//! Real etcd members that know each other by name only.

use std::collections::BTreeMap;
use std::process::Command;

use crate::authority::Authority;
use crate::lab::DOMAIN;
use crate::node::Node;
use crate::support::{Process, Said, eventually, run};

const PKI: &str = "/etc/kubernetes/pki/etcd";

/// Where a member finds the hosts file that it resolves names with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A process of the node, with its `/etc/hosts`.
    Node,
    /// A host-network pod with the copy that the kubelet made when it started.
    Pod,
}

/// The members, one on each master.
pub(crate) struct Etcd {
    members: Vec<Process>,
}

impl Etcd {
    /// Starts a member on each master and waits until writes are taken.
    pub(crate) fn start(masters: &[Node], client: &Node, place: Place) -> Self {
        let authority = Authority::new("etcd-ca");
        for node in masters.iter().chain([client]) {
            let folder = node.path("etc/kubernetes/pki/etcd");
            let full = full(node);
            let names = [&full, &node.name, "localhost", "127.0.0.1", "::1"];
            authority.write(&folder.join("ca.crt"));
            for stem in ["server", "peer"] {
                authority.write_pair(&folder, stem, &node.name, &names);
            }
        }
        let mut etcd = Self::run(masters, place);
        etcd.takes_writes(masters, client, "first");
        etcd
    }

    /// Starts a member on each master with the certificates that lie there.
    pub(crate) fn run(masters: &[Node], place: Place) -> Self {
        let peers = peers(masters);
        let members = masters.iter().map(|node| member(node, &peers, place));
        Self {
            members: members.collect(),
        }
    }

    /// Ends a master's member and starts it again.
    pub(crate) fn restart(&mut self, masters: &[Node], index: usize, place: Place) {
        let old = self.members.remove(index);
        drop(old);
        let new = member(&masters[index], &peers(masters), place);
        self.members.insert(index, new);
    }

    /// The members' process IDs; a member that has ended fails the test.
    pub(crate) fn pids(&mut self) -> Vec<u32> {
        let running = |member: &mut Process| {
            member.must_run();
            member.pid()
        };
        self.members.iter_mut().map(running).collect()
    }

    /// Waits until a write is taken.
    pub(crate) fn takes_writes(&mut self, masters: &[Node], client: &Node, value: &str) {
        let endpoints: Vec<String> = masters.iter().map(endpoint).collect();
        let endpoints = endpoints.join(",");
        eventually("etcd takes writes", || {
            self.pids();
            let said = etcdctl(client, &endpoints, &["put", "key", value]);
            if said.code == 0 {
                Ok(())
            } else {
                Err(said.err)
            }
        });
    }

    /// Waits until each member by itself reads what was written, with the others' consent.
    pub(crate) fn each_reads(&mut self, masters: &[Node], client: &Node, value: &str) {
        for master in masters {
            eventually("each member reads the value", || {
                self.pids();
                let said = etcdctl(
                    client,
                    &endpoint(master),
                    &["get", "--print-value-only", "key"],
                );
                if said.out.trim_end() == value {
                    Ok(())
                } else {
                    Err(format!("{}: {said:?}", master.name))
                }
            });
        }
    }
}

/// Every certificate and key of a node, as bytes.
pub(crate) fn certificates(node: &Node) -> BTreeMap<String, Vec<u8>> {
    let folder = node.path("etc/kubernetes/pki/etcd");
    let files = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    files
        .map(|file| {
            (
                file.file_name().into_string().unwrap(),
                std::fs::read(file.path()).unwrap(),
            )
        })
        .collect()
}

fn full(node: &Node) -> String {
    format!("{}.{DOMAIN}", node.name)
}

pub(crate) fn endpoint(node: &Node) -> String {
    format!("https://{}:2379", full(node))
}

fn peers(masters: &[Node]) -> String {
    let peers = masters
        .iter()
        .map(|node| format!("{}=https://{}:2380", node.name, full(node)));
    peers.collect::<Vec<_>>().join(",")
}

/// As kubeadm's static pod, with names where that has addresses.
fn member(node: &Node, peers: &str, place: Place) -> Process {
    let full = full(node);
    let mut command = match place {
        Place::Node => node.command("etcd"),
        Place::Pod => node.in_pod("6f1c0b52-etcd", "etcd"),
    };
    command.args([
        format!("--name={}", node.name),
        "--data-dir=/var/lib/etcd".to_owned(),
        "--listen-peer-urls=https://0.0.0.0:2380".to_owned(),
        "--listen-client-urls=https://0.0.0.0:2379".to_owned(),
        format!("--initial-advertise-peer-urls=https://{full}:2380"),
        format!("--advertise-client-urls=https://{full}:2379"),
        format!("--initial-cluster={peers}"),
        "--client-cert-auth".to_owned(),
        format!("--trusted-ca-file={PKI}/ca.crt"),
        format!("--cert-file={PKI}/server.crt"),
        format!("--key-file={PKI}/server.key"),
        "--peer-client-cert-auth".to_owned(),
        format!("--peer-trusted-ca-file={PKI}/ca.crt"),
        format!("--peer-cert-file={PKI}/peer.crt"),
        format!("--peer-key-file={PKI}/peer.key"),
        // A busy machine must not look like a lost leader.
        "--heartbeat-interval=250".to_owned(),
        "--election-timeout=2500".to_owned(),
    ]);
    Process::start(&mut command, &node.path("etcd.log"))
}

fn etcdctl(client: &Node, endpoints: &str, arguments: &[&str]) -> Said {
    etcdctl_with(client, "etcd/server", endpoints, arguments)
}

/// etcdctl on a node with one of its pairs, by its path below the PKI folder.
pub(crate) fn etcdctl_with(client: &Node, pair: &str, endpoints: &str, arguments: &[&str]) -> Said {
    let mut command: Command = client.command("etcdctl");
    command.env("ETCDCTL_API", "3").args([
        &format!("--endpoints={endpoints}"),
        &format!("--cacert={PKI}/ca.crt"),
        &format!("--cert=/etc/kubernetes/pki/{pair}.crt"),
        &format!("--key=/etc/kubernetes/pki/{pair}.key"),
        "--dial-timeout=2s",
        "--command-timeout=3s",
    ]);
    run(command.args(arguments))
}
