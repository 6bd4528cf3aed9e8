//! A machine of the cluster: its node, and what runs there beside agent and HAProxy.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::etcd;
use crate::node::Node;
use crate::support::{Process, STAYPUT, run};
use crate::way::{DOMAIN, MASTERS, Way};

/// Certificates, keys and kubeconfigs: path to bytes.
pub(crate) type Issued = BTreeMap<PathBuf, Vec<u8>>;

pub(crate) struct Machine {
    // Dropped in this order: processes before their node.
    etcd: Option<Process>,
    peers: Option<Process>,
    pub(crate) node: Node,
    way: Way,
}

impl Machine {
    /// A machine on which nothing runs yet.
    pub(crate) fn new(node: Node, way: Way) -> Self {
        Self {
            etcd: None,
            peers: None,
            node,
            way,
        }
    }

    /// What systemd starts, in the order of the units, and then the kubelet's static pod on a master.
    pub(crate) fn start(&mut self) {
        self.node.start_agent();
        self.node.start_haproxy();
        let mut peers = self.node.command(STAYPUT);
        let log = self.node.path("peers.log");
        self.peers = Some(Process::start(peers.args(["peers", "run"]), &log));
        self.start_etcd();
    }

    fn start_etcd(&mut self) {
        let index = MASTERS.iter().position(|name| *name == self.node.name);
        if let Some(index) = index {
            let mut etcd = etcd::member(&self.node, self.way, index);
            self.etcd = Some(Process::start(&mut etcd, &self.node.path("etcd.log")));
        }
    }

    /// Starts etcd again if it has given up, as the kubelet does.
    pub(crate) fn revive(&mut self) {
        if self
            .etcd
            .as_mut()
            .is_some_and(|etcd| etcd.ended().is_some())
        {
            println!("{}: etcd is started again", self.node.name);
            self.start_etcd();
        }
    }

    /// The power fails.
    pub(crate) fn power_off(&mut self) {
        for process in [&mut self.etcd, &mut self.peers] {
            process.take().unwrap().kill();
        }
        self.node.kill();
        self.node.namespace.power_off();
    }

    /// Every process must be the one that was started.
    pub(crate) fn must_run(&mut self) {
        self.node.must_run();
        for process in [&mut self.etcd, &mut self.peers].into_iter().flatten() {
            process.must_run();
        }
    }

    /// Whether the process for peers has saved where all of these are, for its next start.
    pub(crate) fn knows(&self, others: &[&str]) -> Result<(), String> {
        let path = self.node.path("var/lib/stayput/peers/members");
        let known = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let mut others = others.iter().filter(|name| **name != self.node.name);
        let all = others.all(|name| known.contains(name));
        all.then_some(())
            .ok_or_else(|| format!("{}: {known}", self.node.name))
    }

    /// Whether its book has all masters at these addresses, by their own records where it is not its own.
    pub(crate) fn has(&self, addresses: &[String; 3]) -> Result<(), String> {
        let masters = &self.node.status()["masters"];
        for ((name, address), index) in MASTERS.iter().zip(addresses).zip(0..) {
            let master = &masters[index];
            let recorded = master["record"]["addresses"] == serde_json::json!([address]);
            if master["addresses"] != serde_json::json!([address]) || !recorded {
                return Err(format!("{}: {name}: {master}", self.node.name));
            }
        }
        Ok(())
    }

    /// The addresses that etcd's certificates carry on a master besides loopback.
    pub(crate) fn certified(&self) -> Vec<String> {
        let mut addresses = Vec::new();
        for stem in ["server", "peer"] {
            let path = self
                .node
                .path(&format!("etc/kubernetes/pki/etcd/{stem}.crt"));
            let mut openssl = Command::new("openssl");
            openssl.args(["x509", "-noout", "-ext", "subjectAltName", "-in"]);
            let said = run(openssl.arg(path)).good();
            assert!(
                said.contains(&format!("DNS:{}.{DOMAIN}", self.node.name)),
                "{said}"
            );
            let names = said.split([',', '\n']).map(str::trim);
            let found = names.filter_map(|name| name.strip_prefix("IP Address:"));
            let found = found.filter(|it| !["127.0.0.1", "0:0:0:0:0:0:0:1"].contains(it));
            addresses.extend(found.map(str::to_owned));
        }
        addresses
    }

    /// All that was issued for it.
    pub(crate) fn issued(&self) -> Issued {
        let mut issued = Issued::new();
        for folder in ["etc/kubernetes", "var/lib/kubelet/pki"] {
            collect(&self.node.path(folder), &mut issued);
        }
        assert!(issued.len() > 1, "{} has no certificates", self.node.name);
        issued
    }
}

fn collect(folder: &Path, issued: &mut Issued) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, issued);
        } else {
            issued.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
}
