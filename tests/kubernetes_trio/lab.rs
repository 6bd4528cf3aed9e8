//! The cluster: how it comes up, what moves it, and what everyone must see afterwards.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::components::LEADING;
use crate::etcd;
use crate::kubernetes::{Lease, WRITTEN};
use crate::master::Master;
use crate::measured::measured;
use crate::namespace::Namespace;
use crate::node::Node;
use crate::support::{STAYPUT, eventually_within, run};

pub(crate) const DOMAIN: &str = "prod.k8s.internal";
pub(crate) const MASTERS: [&str; 3] = ["master-1", "master-2", "master-3"];
/// Where the masters are at first.
pub(crate) const BEFORE: [&str; 3] = ["10.77.0.11", "10.77.0.12", "10.77.0.13"];
/// The addresses that never change, where there are such.
pub(crate) const STABLE: [&str; 3] = ["10.254.0.1", "10.254.0.2", "10.254.0.3"];
const WORKER: (&str, &str) = ("worker-1", "10.77.0.21");

const BUNDLE: &str = "etc/stayput/bundle.tar";

/// How long anything may take on a slow machine that is busy with other things.
const PATIENCE: Duration = Duration::from_mins(3);

/// What etcd and the API servers are bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Names, and nothing that is an address.
    Names,
    /// As a stock kubeadm does it: addresses, but ones that never change.
    Stable,
}

impl Way {
    /// The cluster file, the same on every node.
    fn cluster(self) -> String {
        let masters = MASTERS.into_iter().zip(BEFORE).zip(STABLE);
        let masters = masters.map(|((name, address), stable)| match self {
            Self::Names => format!("  - {{name: {name}, address: {address}}}\n"),
            Self::Stable => {
                format!("  - {{name: {name}, address: {address}, stable: {stable}}}\n")
            }
        });
        let masters: String = masters.collect();
        let routes = match self {
            Self::Names => "",
            Self::Stable => "routes: {mode: direct}\n",
        };
        format!(
            r#"domain: {DOMAIN}
endpoint: {{name: api, port: 8443}}
kubernetes: {{version: "1.20"}}
masters:
{masters}{routes}dns: {{listen: ["127.0.0.1:53"]}}
haproxy: {{reload: [/usr/bin/pkill, -USR2, -F, /run/haproxy.pid]}}
"#
        )
    }

    /// What an API server says of itself where its master is.
    fn advertise(self, index: usize, address: &str) -> String {
        match self {
            Self::Names => address.to_owned(),
            Self::Stable => STABLE[index].to_owned(),
        }
    }
}

/// Every certificate, key and kubeconfig of a node: path to bytes.
type Issued = BTreeMap<String, Vec<u8>>;

/// Three masters and a worker.
pub(crate) struct Lab {
    pub(crate) masters: Vec<Master>,
    pub(crate) worker: Node,
    way: Way,
    /// Where the masters are now.
    addresses: [String; 3],
    rounds: u32,
    /// Whether components that end are started again, as the kubelet does.
    reviving: bool,
    _bridge: Namespace,
    _folder: tempfile::TempDir,
}

impl Lab {
    /// Brings everything up; `controllers`: with kube-controller-manager and kube-scheduler.
    pub(crate) fn start(way: Way, controllers: bool) -> Self {
        let started = Instant::now();
        let folder = tempfile::tempdir().unwrap();
        let bridge = Namespace::bridge();
        let cluster = way.cluster();
        let node = |(name, address): (&str, &str)| {
            Node::new(folder.path(), name, bridge.node(name, address), &cluster)
        };
        let masters = MASTERS.into_iter().zip(BEFORE).enumerate();
        let masters = masters.map(|(index, master)| Master::new(node(master), way, index));
        let mut lab = Self {
            masters: masters.collect(),
            worker: node(WORKER),
            way,
            addresses: BEFORE.map(str::to_owned),
            rounds: 0,
            reviving: false,
            _bridge: bridge,
            _folder: folder,
        };
        lab.issue();
        for master in &mut lab.masters {
            master.start_stayput();
        }
        lab.worker.start_agent();
        lab.worker.start_haproxy();
        for master in &mut lab.masters {
            master.start_etcd();
        }
        lab.until("etcd is there", |lab| etcd::agrees(&lab.masters[0].node));
        lab.start_apiservers();
        if controllers {
            lab.start_controllers();
        }
        for master in &lab.masters {
            // From now on it uses itself only.
            master.node.stayput(&["provisioned"]).good();
        }
        lab.until("a first write", |lab| {
            lab.worker.creates(&["configmap", WRITTEN])
        });
        lab.everyone_writes_and_reads();
        if controllers {
            lab.until("the controllers lead", |lab| lab.leases().map(drop));
            // One that is still starting gives up where a running one goes on.
            lab.controllers_work();
        }
        measured(&format!("{way:?}: from nothing"), started.elapsed());
        lab
    }

    /// As docs/certificates.md tells it: the first master makes the cluster, the others get what they
    /// share. The worker gets what `kubeadm join` leaves there.
    fn issue(&self) {
        let shell = |node: &Node, line: &str| {
            run(node.command("sh").args(["-c", line, STAYPUT])).good();
        };
        let nodes: Vec<&Node> = self.masters.iter().map(|master| &master.node).collect();
        let (first, others) = nodes.split_first().unwrap();
        first.stayput(&["certs", "init", "--new-cluster"]).good();
        shell(first, &format!("\"$0\" certs bundle > /{BUNDLE}"));
        for node in others {
            std::fs::copy(first.path(BUNDLE), node.path(BUNDLE)).unwrap();
            shell(node, &format!("\"$0\" certs unbundle < /{BUNDLE}"));
            node.stayput(&["certs", "init"]).good();
        }
        for file in ["etc/kubernetes/pki/ca.crt", "etc/kubernetes/admin.conf"] {
            std::fs::copy(first.path(file), self.worker.path(file)).unwrap();
        }
    }

    fn start_controllers(&mut self) {
        self.masters.iter_mut().for_each(Master::start_controllers);
    }

    /// Starts each API server that was killed again, and waits until all are ready.
    pub(crate) fn start_apiservers(&mut self) {
        self.start_killed_apiservers();
        self.until("every API server is ready", |lab| {
            lab.masters.iter().try_for_each(Master::ready)
        });
    }

    fn start_killed_apiservers(&mut self) {
        for (index, master) in self.masters.iter_mut().enumerate() {
            if !master.has_apiserver() {
                master.start_apiserver(&self.way.advertise(index, &self.addresses[index]));
            }
        }
    }

    /// Plugs a master that was unplugged in again.
    pub(crate) fn plug_in(&mut self, index: usize) {
        let namespace = &self.masters[index].node.namespace;
        namespace.plug_in();
        namespace.readdress(&self.addresses[index]);
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        let masters = self.masters.iter().map(|master| &master.node);
        masters.chain([&self.worker])
    }

    /// The masters change to these addresses at once, and every node is told of the others'; then
    /// users go on writing, by the same processes with the same certificates.
    pub(crate) fn moves(&mut self, what: &str, addresses: &[&str; 3]) {
        let before = self.issued();
        let leases = self.leases().unwrap();
        let moved = Instant::now();
        self.readdress(addresses);
        self.tell(addresses);
        self.writes_again(what, moved);
        self.keeps_leases(&leases);
        assert!(self.issued() == before, "no certificate has changed");
        self.must_run();
    }

    /// The power of all masters fails; they come back together, at other addresses.
    pub(crate) fn comes_back(&mut self, what: &str, addresses: &[&str; 3]) {
        let before = self.issued();
        for master in &mut self.masters {
            master.kill();
            master.node.namespace.power_off();
        }
        self.readdress(addresses);
        let started = Instant::now();
        for master in &mut self.masters {
            master.start_stayput();
            master.start_etcd();
        }
        self.start_killed_apiservers();
        self.start_controllers();
        self.tell(addresses);
        self.reviving = true;
        self.writes_again(what, started);
        // Who led cannot come back: another leads once the old lease has ended.
        let old = self.leases();
        self.until("the controllers lead again", |lab| {
            let new = lab.leases()?;
            let renewed = old.as_ref().is_ok_and(|old| {
                let mut pairs = old.iter().zip(&new);
                pairs.all(|(old, new)| old.renewed < new.renewed)
            });
            renewed.then_some(()).ok_or_else(|| format!("{new:?}"))
        });
        measured(
            &format!("{:?}: {what}, until the controllers lead", self.way),
            started.elapsed(),
        );
        self.reviving = false;
        assert!(self.issued() == before, "no certificate has changed");
        self.must_run();
    }

    fn node(&self, name: &str) -> &Node {
        self.nodes().find(|node| node.name == name).unwrap()
    }

    /// Gives the masters these addresses, all at once.
    fn readdress(&mut self, addresses: &[&str; 3]) {
        std::thread::scope(|scope| {
            let moves = self.masters.iter().zip(&self.addresses).zip(addresses);
            for ((master, old), new) in moves {
                if old != new {
                    scope.spawn(|| master.node.namespace.readdress(new));
                }
            }
        });
        self.addresses = addresses.map(str::to_owned);
        for node in self.nodes() {
            node.namespace.forget_neighbours();
        }
    }

    /// `stayput event` on each node for each master but itself, all nodes at once: what an operator's
    /// automation does. Its own address a node sees by itself.
    fn tell(&self, addresses: &[&str; 3]) {
        std::thread::scope(|scope| {
            for node in self.nodes() {
                scope.spawn(|| {
                    for (name, address) in MASTERS.into_iter().zip(*addresses) {
                        if node.name != name {
                            node.stayput(&["event", name, address]).good();
                        }
                    }
                });
            }
        });
    }

    fn writes_again(&mut self, what: &str, since: Instant) {
        let value = format!("first write after {}", self.rounds);
        self.until("a write is taken", |lab| lab.worker.writes(&value));
        measured(&format!("{:?}: {what}", self.way), since.elapsed());
        self.everyone_writes_and_reads();
        self.until("etcd has a leader and three members", |lab| {
            lab.masters
                .iter()
                .try_for_each(|master| etcd::agrees(&master.node))
        });
        self.controllers_work();
        if self.way == Way::Stable {
            self.until("the Service has all masters", Self::service_has_all_masters);
        }
        for node in self.nodes() {
            node.stayput(&["check"]).good();
        }
    }

    /// Each node writes through its endpoint, and then each reads what all have written.
    pub(crate) fn everyone_writes_and_reads(&mut self) {
        self.rounds += 1;
        let value = format!("round {}", self.rounds);
        let names: Vec<String> = self.nodes().map(|node| node.name.clone()).collect();
        let wrote = |name: &String| (name.clone(), value.clone().into());
        let want = serde_json::Value::Object(names.iter().map(wrote).collect());
        for name in &names {
            self.until("every node writes", |lab| lab.node(name).writes(&value));
        }
        for name in &names {
            let read = self.until("every node reads", |lab| lab.node(name).reads());
            assert_eq!(read, want, "on {name}");
        }
    }

    /// kube-controller-manager gives a new namespace a service account. It does so only once all of its
    /// controllers have started.
    fn controllers_work(&mut self) {
        let namespace = format!("round-{}", self.rounds);
        self.until("a namespace is made", |lab| {
            lab.worker.creates(&["namespace", &namespace])
        });
        let account = ["serviceaccount", "default", "-n", &namespace];
        self.until("the namespace has a service account", |lab| {
            lab.worker.object(&account)
        });
    }

    /// `default/kubernetes` leads to the three addresses that never change.
    fn service_has_all_masters(&self) -> Result<(), String> {
        let endpoints = self.worker.object(&["endpoints", "kubernetes"])?;
        let addresses = endpoints["subsets"][0]["addresses"].as_array();
        let addresses = addresses.into_iter().flatten();
        let mut addresses: Vec<_> = addresses.filter_map(|one| one["ip"].as_str()).collect();
        addresses.sort_unstable();
        (addresses == STABLE)
            .then_some(())
            .ok_or_else(|| endpoints["subsets"].to_string())
    }

    /// The leases of the two controllers.
    fn leases(&self) -> Result<Vec<Lease>, String> {
        let leases = LEADING.map(|component| Lease::of(component, &self.worker));
        leases.into_iter().collect()
    }

    /// The same processes hold the leases, and go on renewing them.
    fn keeps_leases(&mut self, before: &[Lease]) {
        let first = self.until("the leases are there", Self::leases);
        let later = self.until("the leases are renewed", |lab| {
            let later = lab.leases()?;
            let renewed = first.iter().zip(&later);
            let renewed = renewed.into_iter().all(|(a, b)| a.renewed < b.renewed);
            renewed.then_some(later).ok_or_else(|| format!("{first:?}"))
        });
        for (before, later) in before.iter().zip(&later) {
            assert_eq!(before.holder, later.holder);
            assert_eq!(before.transitions, later.transitions);
        }
    }

    fn issued(&self) -> BTreeMap<String, Issued> {
        let nodes = self.nodes().map(|node| {
            let mut issued = Issued::new();
            collect(&node.path("etc/kubernetes"), &mut issued);
            assert!(issued.len() > 1, "{} has no certificates", node.name);
            (node.name.clone(), issued)
        });
        nodes.collect()
    }

    /// Nothing has been restarted, and nothing has ended.
    pub(crate) fn must_run(&mut self) {
        for master in &mut self.masters {
            master.must_run();
        }
        self.worker.must_run();
    }

    /// Looks until something is so; components that have given up meanwhile are started again.
    pub(crate) fn until<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&Self) -> Result<T, String>,
    ) -> T {
        eventually_within(PATIENCE, what, || {
            if self.reviving {
                self.masters.iter_mut().for_each(Master::revive);
            }
            look(self)
        })
    }
}

/// The files below a folder: path to bytes.
fn collect(folder: &Path, into: &mut Issued) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            collect(&path, into);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            into.insert(path.to_str().unwrap().to_owned(), bytes);
        }
    }
}
