//! Real etcd members that know each other by name only.

use std::collections::BTreeMap;

use crate::authority::Authority;
use crate::etcd_program::{Member, etcdctl, everywhere};
use crate::lab::DOMAIN;
use crate::node::Node;
use crate::support::{Process, eventually};

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
        let first = first(masters);
        let members = masters.iter().map(|node| member(node, &first, place));
        Self {
            members: members.collect(),
        }
    }

    /// Ends a master's member and starts it again.
    pub(crate) fn restart(&mut self, masters: &[Node], index: usize, place: Place) {
        let old = self.members.remove(index);
        drop(old);
        let new = member(&masters[index], &first(masters), place);
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
            let said = etcdctl(client, "etcd/server", &endpoints, &["put", "key", value]);
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
                    "etcd/server",
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

/// The first members by name.
fn first(masters: &[Node]) -> Vec<(&str, String)> {
    let first = masters.iter().map(|node| (node.name.as_str(), full(node)));
    first.collect()
}

/// As kubeadm's static pod, with names where that has addresses.
fn member(node: &Node, first: &[(&str, String)], place: Place) -> Process {
    let command = match place {
        Place::Node => node.command("etcd"),
        Place::Pod => node.in_pod("6f1c0b52-etcd", "etcd"),
    };
    let member = Member {
        name: &node.name,
        host: &full(node),
        listen: everywhere(),
        first,
    };
    Process::start(&mut member.flags(command), &node.path("etcd.log"))
}
