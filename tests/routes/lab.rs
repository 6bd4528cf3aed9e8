//! Three masters and a worker on a bridge, and what the kernel and the network say of them.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::node::Node;
use crate::support::{eventually, here, run, until};

pub(crate) const MASTERS: [&str; 3] = ["master-1", "master-2", "master-3"];
pub(crate) const BEFORE: [&str; 3] = ["10.77.0.11", "10.77.0.12", "10.77.0.13"];
pub(crate) const AFTER: [&str; 3] = ["10.77.0.111", "10.77.0.112", "10.77.0.113"];
pub(crate) const STABLE: [&str; 3] = ["10.254.0.1", "10.254.0.2", "10.254.0.3"];

/// The cluster file with these stable addresses and what follows.
pub(crate) fn cluster(stable: [&str; 3], more: &str) -> String {
    let mut file = "domain: prod.k8s.internal\nendpoint: {name: api}\nmasters:\n".to_owned();
    for ((name, address), stable) in MASTERS.iter().zip(BEFORE).zip(stable) {
        let stable = match stable {
            "" => String::new(),
            stable => format!(", stable: '{stable}'"),
        };
        writeln!(file, "  - {{name: {name}, address: {address}{stable}}}").unwrap();
    }
    file + "dns: {listen: ['127.0.0.1:53']}\nhaproxy: {binary: /nonexistent/haproxy, reload: []}\nkubeadm: {follow: []}\n"
        + more
}

pub(crate) fn possible(more: &[&str]) -> bool {
    let needed = ["ip", "unshare", "setpriv", "ping"];
    here(true, &[&needed[..], more].concat())
}

pub(crate) struct Lab {
    /// The masters, then the worker.
    pub(crate) nodes: Vec<Node>,
    pub(crate) bridge: Namespace,
    _folder: TempDir,
}

impl Lab {
    /// The nodes, without agents.
    pub(crate) fn new(cluster: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bridge = Namespace::bridge();
        let places = MASTERS.into_iter().zip(BEFORE);
        let places = places.chain([("worker-1", "10.77.0.21")]);
        let nodes = places.map(|(name, address)| {
            let namespace = bridge.node(name, address);
            Node::new(folder.path(), name, namespace, cluster)
        });
        Self {
            nodes: nodes.collect(),
            bridge,
            _folder: folder,
        }
    }

    /// The same with an agent on each.
    pub(crate) fn start(cluster: &str) -> Self {
        let mut lab = Self::new(cluster);
        for node in &mut lab.nodes {
            node.start_agent();
        }
        lab
    }

    pub(crate) fn worker(&self) -> &Node {
        &self.nodes[3]
    }

    /// Gives masters these addresses, all at once; an empty one stays.
    pub(crate) fn readdress(&self, addresses: [&str; 3]) {
        std::thread::scope(|scope| {
            for (node, address) in self.nodes.iter().zip(addresses) {
                if !address.is_empty() {
                    scope.spawn(|| node.namespace.readdress(address));
                }
            }
        });
        for node in &self.nodes {
            node.namespace.forget_neighbours();
        }
    }

    /// Tells every node where the masters are, all nodes at once; an empty one is not told.
    pub(crate) fn tell(&self, addresses: [&str; 3]) {
        std::thread::scope(|scope| {
            for node in &self.nodes {
                scope.spawn(|| {
                    for (name, address) in MASTERS.into_iter().zip(addresses) {
                        if !address.is_empty() {
                            // A surface that cannot follow is a test of its own.
                            let said = node.stayput(&["event", name, address]);
                            assert!([0, 1].contains(&said.code), "{said:#?}");
                        }
                    }
                });
            }
        });
    }

    /// Waits until each node has its own stable address and a route to each other's by way of these.
    pub(crate) fn has(&self, stable: [&str; 3], current: [&str; 3]) {
        for (index, node) in self.nodes.iter().enumerate() {
            let own = stable.get(index).copied();
            let mut want: BTreeSet<String> =
                own.map(|it| format!("{it} on lo")).into_iter().collect();
            for (other, (to, via)) in stable.iter().zip(current).enumerate() {
                if other != index {
                    let source = own.map_or_else(String::new, |it| format!(" src {it}"));
                    want.insert(format!("{to} via {via}{source}"));
                }
            }
            eventually("the node has its address and routes", || {
                let found = ours(node);
                let log = || std::fs::read_to_string(node.path("agent.log")).unwrap();
                (found == want).then_some(()).ok_or_else(|| {
                    format!("{}: {found:?} instead of {want:?}\n{}", node.name, log())
                })
            });
        }
    }

    /// Every node reaches each master at its stable address, and masters come from their own.
    pub(crate) fn works(&self, stable: [&str; 3]) {
        for (index, node) in self.nodes.iter().enumerate() {
            for (other, to) in stable.into_iter().enumerate() {
                if other == index {
                    continue;
                }
                eventually("a ping is answered", || {
                    let said = run(node.command("ping").args(["-c1", "-W1", to]));
                    (said.code == 0)
                        .then_some(())
                        .ok_or_else(|| format!("{} to {to}: {said:?}", node.name))
                });
                let sender = sender(node, &self.nodes[other], to);
                match stable.get(index) {
                    Some(own) => assert_eq!(sender, *own, "{} to {to}", node.name),
                    None => assert!(!stable.contains(&sender.as_str()), "{sender}"),
                }
            }
        }
    }
}

/// The address that a listener sees when a node connects to it.
fn sender(node: &Node, listener: &Node, to: &str) -> String {
    use std::net::TcpListener;
    let (port, accepted) = within(&listener.namespace.path(), || {
        let listener = TcpListener::bind(("::", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepting =
            std::thread::spawn(move || listener.accept().unwrap().1.ip().to_canonical());
        (port, accepting)
    });
    let _connection = within(&node.namespace.path(), || {
        std::net::TcpStream::connect((to, port)).unwrap()
    });
    accepted.join().unwrap().to_string()
}

/// Does something on a thread in a network namespace.
fn within<T: Send>(namespace: &Path, work: impl FnOnce() -> T + Send) -> T {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    let namespace = std::fs::File::open(namespace).unwrap();
    std::thread::scope(|scope| {
        let entered = scope.spawn(move || {
            use std::os::fd::AsFd;
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), kind).unwrap();
            work()
        });
        entered.join().unwrap()
    })
}

/// An `ip` command on a node, which must work.
pub(crate) fn ip(node: &Node, line: &str) -> String {
    let words = ["-n", node.namespace.name()];
    run(Command::new("ip").args(words).args(line.split(' '))).good()
}

fn listed(node: &Node, line: &str) -> Vec<Value> {
    let said = ip(node, line);
    if said.trim().is_empty() {
        return Vec::new();
    }
    serde_json::from_str(&said).unwrap()
}

/// What of stayput's a node has, by its marks alone: `ADDRESS on lo`, `TO via BY src OWN`.
pub(crate) fn ours(node: &Node) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for link in listed(node, "-json -details address show dev lo") {
        for address in link["addr_info"].as_array().unwrap() {
            let family = address["family"].as_str().unwrap();
            // ip-address(8) of many distributions does not show IFA_PROTO.
            let ours = match family {
                "inet" => address["label"] == "lo:stayput",
                _ => address["metric"] == 0x7374_6179,
            };
            if ours {
                let width = if family == "inet" { 32 } else { 128 };
                assert_eq!(address["prefixlen"], width, "{address}");
                found.insert(format!("{} on lo", address["local"].as_str().unwrap()));
            }
        }
    }
    for family in ["-4", "-6"] {
        for route in listed(node, &format!("-json {family} route show proto 145")) {
            let text = |key: &str, word: &str| match &route[key] {
                Value::String(text) => format!("{word}{text}"),
                _ => String::new(),
            };
            found.insert(format!(
                "{}{}{}",
                text("dst", ""),
                text("gateway", " via "),
                text("prefsrc", " src ")
            ));
        }
    }
    found
}

/// Ends a node's agent, as systemd does, and waits for that.
pub(crate) fn end_agent(node: &Node) {
    let pid = node.status()["agent"]["pid"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    until("the agent has ended", || node.status()["agent"].is_null());
}

/// The surface's part of `stayput status`.
pub(crate) fn status(node: &Node) -> Value {
    let status = node.status();
    let surfaces = status["surfaces"].as_array().unwrap().iter();
    let mut routes = surfaces.filter(|it| it["surface"] == "routes");
    routes.next().unwrap().clone()
}

/// Waits until status says that the routes are in this condition, with these words in detail or
/// notices.
pub(crate) fn says(node: &Node, condition: &str, words: &str) {
    eventually("status says so", || {
        let status = status(node);
        let right = status["condition"] == condition && status.to_string().contains(words);
        right.then_some(()).ok_or_else(|| status.to_string())
    });
}
