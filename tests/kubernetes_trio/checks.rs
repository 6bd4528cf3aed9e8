//! What everyone must see after a change.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use crate::components::LEADING;
use crate::etcd;
use crate::kubernetes::Lease;
use crate::lab::Lab;
use crate::measured::measured;
use crate::way::{STABLE, Way};

/// Every certificate, key and kubeconfig of a node: path to bytes.
type Issued = BTreeMap<String, Vec<u8>>;

impl Lab {
    /// Users write again, and everything is as it was; says how long the first write took.
    pub(crate) fn writes_again(&mut self, what: &str, since: Instant) {
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
    pub(crate) fn controllers_work(&mut self) {
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
    pub(crate) fn leases(&self) -> Result<Vec<Lease>, String> {
        let leases = LEADING.map(|component| Lease::of(component, &self.worker));
        leases.into_iter().collect()
    }

    /// The same processes hold the leases, and go on renewing them.
    pub(crate) fn keeps_leases(&mut self, before: &[Lease]) {
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

    /// Others hold the leases: those who did are gone.
    pub(crate) fn passes_leases_on(&mut self, before: &[Lease]) {
        self.until("the controllers lead again", |lab| {
            let now = lab.leases()?;
            let mut pairs = before.iter().zip(&now);
            let others = pairs.all(|(before, now)| before.holder != now.holder);
            others.then_some(()).ok_or_else(|| format!("{now:?}"))
        });
    }

    /// What was issued on each node.
    pub(crate) fn issued(&self) -> BTreeMap<String, Issued> {
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
