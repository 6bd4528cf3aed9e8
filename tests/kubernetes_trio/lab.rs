//! The cluster: how it comes up, and what moves it.

use std::time::{Duration, Instant};

use crate::etcd;
use crate::kubernetes::WRITTEN;
use crate::master::Master;
use crate::measured::measured;
use crate::namespace::Namespace;
use crate::node::Node;
use crate::support::{STAYPUT, eventually_within, run};
use crate::way::{BEFORE, MASTERS, Way};

const WORKER: (&str, &str) = ("worker-1", "10.77.0.21");

const BUNDLE: &str = "etc/stayput/bundle.tar";

/// How long anything may take on a slow machine that is busy with other things.
const PATIENCE: Duration = Duration::from_mins(3);

/// Three masters and a worker.
pub(crate) struct Lab {
    pub(crate) masters: Vec<Master>,
    pub(crate) worker: Node,
    pub(crate) way: Way,
    /// Where the masters are now.
    addresses: [String; 3],
    /// How often everyone has written.
    pub(crate) rounds: u32,
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
        let issued = self.issued();
        let leases = self.until("the controllers lead", Self::leases);
        let moved = Instant::now();
        self.readdress(addresses);
        self.tell(addresses);
        self.writes_again(what, moved);
        self.keeps_leases(&leases);
        assert!(self.issued() == issued, "no certificate has changed");
        self.must_run();
    }

    /// The power of all masters fails; they come back together, at other addresses.
    pub(crate) fn comes_back(&mut self, what: &str, addresses: &[&str; 3]) {
        let issued = self.issued();
        let leases = self.until("the controllers lead", Self::leases);
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
        self.passes_leases_on(&leases);
        let what = format!("{:?}: {what}, until the controllers lead", self.way);
        measured(&what, started.elapsed());
        self.reviving = false;
        assert!(self.issued() == issued, "no certificate has changed");
        self.must_run();
    }

    pub(crate) fn node(&self, name: &str) -> &Node {
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
