//! The cluster: its nodes, what moves them, and what everyone must see afterwards.

use std::collections::BTreeSet;

use crate::apiserver::Apiserver;
use crate::authority::Authority;
use crate::namespace::Namespace;
use crate::node::Node;
use crate::support::{eventually, here, run};

pub(crate) const DOMAIN: &str = "prod.k8s.internal";
pub(crate) const ENDPOINT: &str = "api.prod.k8s.internal";

/// Where the masters are at first.
pub(crate) const BEFORE: [&str; 3] = ["10.77.0.11", "10.77.0.12", "10.77.0.13"];
/// The master's names, in the same order.
pub(crate) const MASTERS: [&str; 3] = ["master-1", "master-2", "master-3"];
const WORKERS: [(&str, &str); 2] = [("worker-1", "10.77.0.21"), ("worker-2", "10.77.0.22")];

/// The cluster file, the same on every node.
pub(crate) const CLUSTER: &str = r#"domain: prod.k8s.internal
endpoint: {name: api, port: 8443}
masters:
  - {name: master-1, address: 10.77.0.11}
  - {name: master-2, address: 10.77.0.12}
  - {name: master-3, address: 10.77.0.13}
dns: {listen: ["127.0.0.1:53"]}
haproxy: {reload: [/usr/bin/pkill, -USR2, -F, /run/haproxy.pid]}
"#;

/// Whether this machine can have such a cluster.
pub(crate) fn possible() -> bool {
    here(
        true,
        &[
            "ip", "unshare", "setpriv", "etcd", "etcdctl", "haproxy", "dig", "curl", "pkill",
        ],
    )
}

/// Three masters and two workers with an agent and a HAProxy each, and API servers on the masters.
pub(crate) struct Lab {
    _apiservers: Vec<Apiserver>,
    pub(crate) masters: Vec<Node>,
    pub(crate) workers: Vec<Node>,
    _bridge: Namespace,
    _folder: tempfile::TempDir,
}

impl Lab {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bridge = Namespace::bridge();
        let node = |(name, address): (&str, &str)| {
            let namespace = bridge.node(name, address);
            Node::new(folder.path(), name, namespace, CLUSTER)
        };
        let mut masters: Vec<Node> = MASTERS.into_iter().zip(BEFORE).map(node).collect();
        let mut workers: Vec<Node> = WORKERS.into_iter().map(node).collect();
        let authority = Authority::new("kubernetes");
        for node in masters.iter().chain(&workers) {
            authority.write(&node.path("etc/kubernetes/pki/ca.crt"));
        }
        let apiservers = masters.iter().map(|master| {
            let config = authority.server(&[&format!("{}.{DOMAIN}", master.name), ENDPOINT]);
            Apiserver::start(&master.namespace, &master.name, config)
        });
        let apiservers = apiservers.collect();
        for node in masters.iter_mut().chain(&mut workers) {
            node.start_agent();
            node.start_haproxy();
        }
        for node in masters.iter().chain(&workers) {
            node.sees_masters_up();
        }
        let lab = Self {
            _apiservers: apiservers,
            masters,
            workers,
            _bridge: bridge,
            _folder: folder,
        };
        lab.everyone_sees(&BEFORE);
        lab
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.masters.iter().chain(&self.workers)
    }

    /// Gives the masters these addresses, all at once.
    pub(crate) fn readdress(&self, addresses: &[&str; 3]) {
        std::thread::scope(|scope| {
            for (master, address) in self.masters.iter().zip(addresses) {
                scope.spawn(|| master.namespace.readdress(address));
            }
        });
        for node in self.nodes() {
            node.namespace.forget_neighbours();
        }
    }

    /// `stayput event` for each master on each node that `tell` names, all nodes at once.
    pub(crate) fn tell(&self, addresses: &[&str; 3], tell: impl Fn(&Node, &str) -> bool + Sync) {
        std::thread::scope(|scope| {
            for node in self.nodes() {
                scope.spawn(|| {
                    for (name, address) in MASTERS.into_iter().zip(*addresses) {
                        if tell(node, name) {
                            node.stayput(&["event", name, address]).good();
                        }
                    }
                });
            }
        });
    }

    /// All surfaces of all nodes show these addresses, and agree.
    pub(crate) fn everyone_sees(&self, addresses: &[&str; 3]) {
        for node in self.nodes() {
            for (master, address) in MASTERS.into_iter().zip(addresses) {
                let name = format!("{master}.{DOMAIN}");
                let dig = ["+short", "+time=2", "+tries=1", "@127.0.0.1", &name];
                let answer = run(node.command("dig").args(dig)).good();
                assert_eq!(answer.trim_end(), *address, "{name} on {}", node.name);
                let found = run(node.command("getent").args(["ahostsv4", &name])).good();
                let first = found.split_whitespace().next();
                assert_eq!(first, Some(*address), "{name} on {}", node.name);
            }
            node.stayput(&["check"]).good();
        }
    }

    /// The masters are reached through each worker's endpoint, and nobody else is.
    pub(crate) fn workers_reach(&self, addresses: &[&str; 3]) {
        let [first, second, third] = *addresses;
        for worker in &self.workers {
            worker.reaches(&[
                (MASTERS[0], first),
                (MASTERS[1], second),
                (MASTERS[2], third),
            ]);
        }
    }

    /// Nothing has been restarted, and nothing has ended.
    pub(crate) fn must_run(&mut self) {
        for node in self.masters.iter_mut().chain(&mut self.workers) {
            node.must_run();
        }
    }
}

impl Node {
    /// Connects through the node's endpoint until each of these masters has answered at that
    /// address; any other answer fails the test.
    pub(crate) fn reaches(&self, masters: &[(&str, &str)]) {
        let want = masters.iter().map(|(name, at)| format!("{name} at {at}"));
        let want: BTreeSet<String> = want.collect();
        let url = format!("https://{ENDPOINT}:8443/whoami");
        let mut answers = BTreeSet::new();
        eventually("every master answers", || {
            let authority = "/etc/kubernetes/pki/ca.crt";
            let mut curl = self.command("curl");
            let said = run(curl.args(["-sS", "-m", "5", "--cacert", authority, &url]));
            if said.code == 0 {
                let answer = said.out.trim_end().to_owned();
                assert!(want.contains(&answer), "{answer} instead of {want:?}");
                answers.insert(answer);
            }
            let all = answers == want;
            all.then_some(())
                .ok_or_else(|| format!("{answers:?} {}", said.err))
        });
    }
}
