//! The nodes: what they are, where they are, and what their books say.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::book::{asks, places};
use crate::certificates::issued;
use crate::kubelet::join;
use crate::measured::measured;
use crate::namespace::Namespace;
use crate::node::Node;
use crate::support::{Process, STAYPUT, eventually, here, run, until};
use crate::surfaces::Asker;

/// Where each master is, by its label.
pub(crate) type Book = BTreeMap<String, String>;

pub(crate) const NODES: usize = 7;
pub(crate) const MASTERS: usize = 3;
pub(crate) const WORKERS: usize = NODES - MASTERS;
pub(crate) const NAMES: [&str; NODES] = [
    "master-1", "master-2", "master-3", "worker-1", "worker-2", "worker-3", "worker-4",
];
const BEFORE: [u8; NODES] = [11, 12, 13, 21, 22, 23, 24];

/// Each node with an address that it has not.
pub(crate) const EVERYBODY_ELSEWHERE: [(usize, u8); NODES] = [
    (0, 31),
    (1, 32),
    (2, 33),
    (3, 41),
    (4, 42),
    (5, 43),
    (6, 44),
];

pub(crate) const DOMAIN: &str = "prod.k8s.internal";

pub(crate) const CLUSTER: &str = "domain: prod.k8s.internal
endpoint: {name: api, port: 8443}
masters:
  - {name: master-1, address: 10.77.0.11}
  - {name: master-2, address: 10.77.0.12}
  - {name: master-3, address: 10.77.0.13}
dns: {listen: [\"127.0.0.1:53\"]}
haproxy: {reload: []}
";

pub(crate) const NO_MULTICAST: &str = "peers: {multicast: false}\n";

/// Two such clusters at a time would be too much for a small machine.
pub(crate) fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn possible() -> bool {
    here(true, &["ip", "unshare", "setpriv", "haproxy", "dig"])
}

/// A node, and where it is.
pub(crate) struct Member {
    // Ends before its namespace.
    pub(crate) peers: Option<Process>,
    pub(crate) node: Node,
    pub(crate) at: u8,
}

pub(crate) struct Lab {
    pub(crate) members: Vec<Member>,
    /// One on each node.
    askers: Vec<Asker>,
    pub(crate) bridge: Namespace,
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) fn address(last: u8) -> String {
    format!("10.77.0.{last}")
}

impl Lab {
    pub(crate) fn start() -> Self {
        Self::with("", WORKERS)
    }

    /// With more in the cluster file, and so many workers that have joined.
    pub(crate) fn with(more: &str, joined: usize) -> Self {
        Self::of(&format!("{CLUSTER}{more}"), joined)
    }

    /// With this cluster file.
    pub(crate) fn of(cluster: &str, joined: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bridge = Namespace::bridge();
        let mut nodes: Vec<Node> = NAMES
            .into_iter()
            .zip(BEFORE)
            .map(|(name, at)| {
                let namespace = bridge.node(name, &address(at));
                Node::new(folder.path(), name, namespace, cluster)
            })
            .collect();
        issued(&nodes[..MASTERS]);
        let read = |file: &str| nodes[0].read(&format!("etc/kubernetes/pki/{file}"));
        let (authority, key) = (read("ca.crt"), read("ca.key"));
        let (with, without) = nodes[MASTERS..].split_at(joined);
        for worker in with {
            join(worker, &authority, &key);
        }
        for worker in without {
            worker.write("etc/kubernetes/pki/ca.crt", &authority);
        }
        // Not by threads, with which their processes would end.
        for node in &mut nodes {
            node.start_agent();
            node.start_haproxy();
        }
        let askers = nodes.iter().map(|node| Asker::on(&node.namespace));
        let askers = askers.collect();
        let members = nodes.into_iter().zip(BEFORE).map(|(node, at)| Member {
            peers: None,
            node,
            at,
        });
        let mut lab = Self {
            members: members.collect(),
            askers,
            bridge,
            folder,
        };
        let begun = Instant::now();
        for member in &mut lab.members {
            member.start_peers();
        }
        lab.all_books_are_true("from nothing, until all hold three records", begun);
        lab
    }

    /// The power of all nodes fails; they come back together, where they are by now.
    pub(crate) fn comes_back(&mut self, moves: &[(usize, u8)]) {
        for member in &self.members {
            member.knows_all();
        }
        for member in &mut self.members {
            member.fails();
        }
        self.moves(moves);
        for member in &mut self.members {
            member.comes_back();
        }
    }

    /// These members, by their number, are at these addresses now; all at once.
    pub(crate) fn moves(&mut self, moves: &[(usize, u8)]) -> Instant {
        for (member, at) in moves {
            self.members[*member].at = *at;
        }
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for (member, at) in moves {
                let namespace = &self.members[*member].node.namespace;
                scope.spawn(|| namespace.readdress(&address(*at)));
            }
        });
        self.forget_neighbours();
        begun
    }

    pub(crate) fn forget_neighbours(&self) {
        std::thread::scope(|scope| {
            for member in &self.members {
                scope.spawn(|| member.node.namespace.forget_neighbours());
            }
        });
    }

    /// Waits until the book of every node says where all masters are, by their own records, and until all
    /// surfaces show it; prints how long either took since `begun`. Programs must see the same then.
    pub(crate) fn all_books_are_true(&mut self, what: &str, begun: Instant) {
        let all: Vec<usize> = (0..self.members.len()).collect();
        let truth = self.truth();
        self.books_say(&all, &truth, what);
        measured(&format!("peers: {what}"), begun.elapsed());
        self.surfaces_say(&truth, what);
        measured(&format!("peers: {what}: all surfaces"), begun.elapsed());
        std::thread::scope(|scope| {
            for member in &self.members {
                scope.spawn(|| member.node.programs_see(&truth));
            }
        });
        for member in &mut self.members {
            member.node.must_run();
            member.peers.as_mut().unwrap().must_run();
        }
    }

    /// Waits until the books of these nodes say so.
    pub(crate) fn books_say(&self, nodes: &[usize], said: &Book, what: &str) {
        for node in nodes {
            let member = &self.members[*node];
            let name = &member.node.name;
            eventually(&format!("{what}: the book of {name} is {said:?}"), || {
                let book = member.book();
                if book == *said {
                    Ok(())
                } else {
                    Err(format!("{book:?}"))
                }
            });
        }
    }

    /// Waits until all surfaces of all nodes say so.
    fn surfaces_say(&self, said: &Book, what: &str) {
        for (member, asker) in self.members.iter().zip(&self.askers) {
            let name = &member.node.name;
            eventually(&format!("{what}: {name} shows {said:?}"), || {
                let wrong = member.disagreements(asker, said);
                if wrong.is_empty() {
                    Ok(())
                } else {
                    Err(wrong.join("; "))
                }
            });
        }
    }

    /// Where each master is.
    pub(crate) fn truth(&self) -> Book {
        let masters = self.members[..MASTERS].iter();
        let place = |member: &Member| (member.node.name.clone(), address(member.at));
        masters.map(place).collect()
    }

    /// Plugs these nodes into a bridge of the router's.
    pub(crate) fn plug(&self, nodes: &[usize], bridge: &str) {
        for node in nodes {
            let link = ["link", "set", NAMES[*node], "master", bridge];
            self.router(&link);
        }
    }

    pub(crate) fn router(&self, arguments: &[&str]) {
        run(Command::new("ip")
            .args(["-n", self.bridge.name()])
            .args(arguments))
        .good();
    }
}

impl Member {
    pub(crate) fn start_peers(&mut self) {
        let mut command = self.node.command(STAYPUT);
        let log = self.node.path("peers.log");
        let peers = Process::start(command.args(["peers", "run"]), &log);
        self.peers.insert(peers).ready();
    }

    /// Waits until it knows all others also after a power failure.
    pub(crate) fn knows_all(&self) {
        let path = self.node.path("var/lib/stayput/peers/members");
        until("all others are known on disk", || {
            let known = std::fs::read_to_string(&path).unwrap_or_default();
            let mut others = NAMES.iter().filter(|name| **name != self.node.name);
            others.all(|name| known.contains(name))
        });
    }

    /// Waits until it has met all others in this life.
    pub(crate) fn has_met_all(&self) {
        let socket = self.node.path("run/stayput/peers.sock");
        eventually("all others are up", || {
            let listed = asks(&socket, "/v1/peers");
            let members = listed["members"].as_array().into_iter().flatten();
            let up = members.filter(|member| member["state"] == "up").count();
            if up + 1 == NODES {
                Ok(())
            } else {
                Err(listed.to_string())
            }
        });
    }

    /// Its power fails.
    pub(crate) fn fails(&mut self) {
        self.peers.as_mut().unwrap().kill();
        self.node.kill();
    }

    /// It is turned on again.
    pub(crate) fn comes_back(&mut self) {
        self.node.start_agent();
        self.node.start_haproxy();
        self.start_peers();
    }

    /// Where the masters are by this node's book, by label; without those that have not said so themselves.
    pub(crate) fn book(&self) -> Book {
        let label = |name: String| name.split('.').next().unwrap().to_owned();
        let status = self.status();
        let places = places(&status).map(|(name, at)| (label(name), at));
        places.collect()
    }

    /// As the agent says it on its socket; null where it does not answer now.
    pub(crate) fn status(&self) -> Value {
        asks(&self.node.path("run/stayput/stayput.sock"), "/v1/status")
    }

    /// Of the agent.
    pub(crate) fn pid(&self) -> Pid {
        let pid = self.status()["agent"]["pid"].as_i64().unwrap();
        Pid::from_raw(pid.try_into().unwrap()).unwrap()
    }

    /// Both processes of the node sleep, or wake up.
    pub(crate) fn signal(&self, agent: Pid, signal: Signal) {
        self.peers.as_ref().unwrap().signal(signal);
        kill_process(agent, signal).unwrap();
    }
}
