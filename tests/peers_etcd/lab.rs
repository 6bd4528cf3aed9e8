//! The cluster: how it comes up, what moves it, and what must be so afterwards.

use std::time::{Duration, Instant};

use crate::etcd;
use crate::etcd_program::{asking, etcdctl};
use crate::issue::issue;
use crate::kubelet::join;
use crate::machine::Machine;
use crate::measured::measured;
use crate::namespace::Namespace;
use crate::node::Node;
use crate::support::{Process, eventually, here};
use crate::way::{BEFORE, DOMAIN, MASTERS, STABLE, Way};

const WORKER: (&str, &str) = ("worker-1", "10.77.0.21");

/// Without multicast, which clouds do not have: the worker that has stayed brings the masters together.
const MORE: &str = "peers: {multicast: false}\ncertificates: {keyType: ecdsa-p256}\n\
                    kubeadm: {follow: []}\n";

/// How often a client begins another attempt to write, beside those that still wait.
const AGAIN: Duration = Duration::from_millis(500);

const CLIENT: &str = "etcd/healthcheck-client";

/// Whether this machine can have such a cluster.
pub(crate) fn possible() -> bool {
    here(
        true,
        &[
            "ip", "unshare", "setpriv", "etcd", "etcdctl", "haproxy", "pkill", "openssl",
        ],
    )
}

pub(crate) struct Lab {
    masters: Vec<Machine>,
    worker: Machine,
    way: Way,
    /// Where the masters are now.
    addresses: [String; 3],
    _bridge: Namespace,
    _folder: tempfile::TempDir,
}

impl Lab {
    pub(crate) fn start(way: Way) -> Self {
        let started = Instant::now();
        let folder = tempfile::tempdir().unwrap();
        let bridge = Namespace::bridge();
        let cluster = way.cluster() + MORE;
        let node = |(name, address): (&str, &str)| {
            Node::new(folder.path(), name, bridge.node(name, address), &cluster)
        };
        let masters: Vec<Node> = MASTERS.into_iter().zip(BEFORE).map(node).collect();
        let worker = node(WORKER);
        issue(&masters);
        let pki = |file: &str| masters[0].read(&format!("etc/kubernetes/pki/{file}"));
        join(&worker, &pki("ca.crt"), &pki("ca.key"));
        // A client of etcd's, that the worker can be asked from.
        for file in [
            "etcd/ca.crt",
            &format!("{CLIENT}.crt"),
            &format!("{CLIENT}.key"),
        ] {
            worker.write(&format!("etc/kubernetes/pki/{file}"), &pki(file));
        }
        let machine = |node| Machine::new(node, way);
        let mut lab = Self {
            masters: masters.into_iter().map(machine).collect(),
            worker: machine(worker),
            way,
            addresses: BEFORE.map(str::to_owned),
            _bridge: bridge,
            _folder: folder,
        };
        for (master, stable) in lab.masters.iter().zip(STABLE) {
            let pinned: &[&str] = match way {
                Way::Names => &[],
                Way::Stable => &[stable; 2],
            };
            assert_eq!(master.certified(), pinned);
        }
        for machine in lab.machines_mut() {
            machine.start();
        }
        lab.takes_a_write("first", Machine::revive);
        lab.is_well("first");
        measured(&format!("etcd, {way:?}: from nothing"), started.elapsed());
        lab
    }

    fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.masters.iter().chain([&self.worker])
    }

    fn machines_mut(&mut self) -> impl Iterator<Item = &mut Machine> {
        self.masters.iter_mut().chain([&mut self.worker])
    }

    /// All masters change to these addresses at once. Not a process is restarted.
    pub(crate) fn moves(&mut self, what: &str, addresses: [&str; 3]) {
        let issued: Vec<_> = self.machines().map(Machine::issued).collect();
        let begun = self.readdress(addresses);
        let taken = self.takes_a_write(what, Machine::must_run);
        self.says(what, begun, taken);
        self.is_well(what);
        assert!(issued == self.machines().map(Machine::issued).collect::<Vec<_>>());
    }

    /// The power of all masters fails; they come back together, at these addresses.
    pub(crate) fn comes_back(&mut self, what: &str, addresses: [&str; 3]) {
        let issued: Vec<_> = self.machines().map(Machine::issued).collect();
        self.masters.iter_mut().for_each(Machine::power_off);
        let begun = self.readdress(addresses);
        self.masters.iter_mut().for_each(Machine::start);
        let taken = self.takes_a_write(what, Machine::revive);
        self.says(what, begun, taken);
        self.is_well(what);
        assert!(issued == self.machines().map(Machine::issued).collect::<Vec<_>>());
    }

    fn says(&self, what: &str, begun: Instant, taken: Instant) {
        let what = format!("etcd, {:?}: {what}, until a write is taken", self.way);
        measured(&what, taken - begun);
    }

    /// Gives the masters these addresses, all at once.
    fn readdress(&mut self, addresses: [&str; 3]) -> Instant {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for (master, address) in self.masters.iter().zip(addresses) {
                scope.spawn(|| master.node.namespace.readdress(address));
            }
        });
        for machine in self.machines() {
            machine.node.namespace.forget_neighbours();
        }
        self.addresses = addresses.map(str::to_owned);
        begun
    }

    /// Waits until etcd takes a write of a client's on the worker, while each look does this to every
    /// machine; says when that was.
    fn takes_a_write(&mut self, value: &str, look: impl Fn(&mut Machine)) -> Instant {
        let endpoints = (0..MASTERS.len()).map(|index| self.endpoint(index));
        let endpoints = endpoints.collect::<Vec<_>>().join(",");
        let begun = Instant::now();
        let mut attempts: Vec<Process> = Vec::new();
        eventually("etcd takes a write", || {
            self.machines_mut().for_each(&look);
            if begun.elapsed() >= AGAIN * u32::try_from(attempts.len()).unwrap() {
                let node = &self.worker.node;
                let mut put = asking(node, CLIENT, &endpoints, &["put", "key", value]);
                let log = node.path(&format!("put-{}.log", attempts.len()));
                attempts.push(Process::start(&mut put, &log));
            }
            let mut ended = attempts.iter_mut().map(Process::ended);
            let taken = ended.any(|end| end.is_some_and(|end| end.success()));
            taken
                .then(Instant::now)
                .ok_or_else(|| attempts.iter().map(Process::log).collect())
        })
    }

    /// Where etcd is for clients.
    fn endpoint(&self, index: usize) -> String {
        match self.way {
            Way::Names => format!("https://{}.{DOMAIN}:2379", MASTERS[index]),
            Way::Stable => format!("https://{}:2379", STABLE[index]),
        }
    }

    /// Each member by itself has what was written, all agree, and every node knows where all masters are;
    /// nothing has ended.
    fn is_well(&mut self, value: &str) {
        for (index, name) in MASTERS.iter().enumerate() {
            let get = ["get", "--print-value-only", "key"];
            eventually("each member reads what was written", || {
                let said = etcdctl(&self.worker.node, CLIENT, &self.endpoint(index), &get);
                let read = said.out.trim_end() == value;
                read.then_some(())
                    .ok_or_else(|| format!("{name}: {said:?}"))
            });
        }
        for master in &self.masters {
            eventually("the members agree", || etcd::agrees(&master.node));
        }
        for machine in self.machines() {
            eventually("every book is true", || machine.has(&self.addresses));
            machine.node.stayput(&["check"]).good();
            let others = [&MASTERS[..], &[WORKER.0]].concat();
            eventually("all others are known on disk", || machine.knows(&others));
        }
        self.machines_mut().for_each(Machine::must_run);
    }
}
