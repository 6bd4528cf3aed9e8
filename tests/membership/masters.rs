//! Three masters with an agent and certificates, of which the first has the cluster's only member.

use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use stayput::kubeadm::manifest::Manifest;
use stayput::yaml::{self, At};

use crate::lab::{BEFORE, CLUSTER, DOMAIN, MASTERS};
use crate::namespace::Namespace;
use crate::node::Node;
use crate::support::{Process, STAYPUT, Said, eventually, run};

const BUNDLE: &str = "etc/stayput/bundle.tar";
const PKI: &str = "/etc/kubernetes/pki/etcd";
const MANIFEST: &str = "etc/kubernetes/manifests/etcd.yaml";
/// Where it is when its member has left.
pub(crate) const LEFT: &str = "etc/kubernetes/.stayput-left-etcd.yaml";
/// A busy machine must not look like a lost leader.
const PATIENT: [&str; 2] = ["--heartbeat-interval=250", "--election-timeout=2500"];

pub(crate) struct Masters {
    // Dropped in this order: processes before namespaces.
    pods: [Option<Process>; 3],
    nodes: Vec<Node>,
    _bridge: Namespace,
    _folder: tempfile::TempDir,
}

impl Masters {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bridge = Namespace::bridge();
        let cluster = format!("{CLUSTER}certificates: {{keyType: ecdsa-p256}}\n");
        let mut nodes = Vec::new();
        for (name, address) in MASTERS.into_iter().zip(BEFORE) {
            let namespace = bridge.node(name, address);
            let mut node = Node::new(folder.path(), name, namespace, &cluster);
            node.start_agent();
            nodes.push(node);
        }
        issue(&nodes);
        let mut masters = Self {
            pods: [None, None, None],
            nodes,
            _bridge: bridge,
            _folder: folder,
        };
        masters.found();
        masters
    }

    /// The cluster's first member, as a master that was made by name has it.
    fn found(&mut self) {
        let host = format!("master-1.{DOMAIN}");
        let mut etcd = self.nodes[0].command("etcd");
        etcd.args(PATIENT).args([
            "--name=master-1".to_owned(),
            "--data-dir=/var/lib/etcd".to_owned(),
            "--listen-peer-urls=https://0.0.0.0:2380".to_owned(),
            "--listen-client-urls=https://0.0.0.0:2379".to_owned(),
            format!("--initial-advertise-peer-urls=https://{host}:2380"),
            format!("--advertise-client-urls=https://{host}:2379"),
            format!("--initial-cluster=master-1=https://{host}:2380"),
            "--client-cert-auth".to_owned(),
            format!("--trusted-ca-file={PKI}/ca.crt"),
            format!("--cert-file={PKI}/server.crt"),
            format!("--key-file={PKI}/server.key"),
            "--peer-client-cert-auth".to_owned(),
            format!("--peer-trusted-ca-file={PKI}/ca.crt"),
            format!("--peer-cert-file={PKI}/peer.crt"),
            format!("--peer-key-file={PKI}/peer.key"),
        ]);
        let log = self.nodes[0].path("etcd.log");
        self.pods[0] = Some(Process::start(&mut etcd, &log));
        self.takes_writes("first");
    }

    /// A command of `stayput kubeadm` on master `number`.
    pub(crate) fn kubeadm(&self, number: usize, arguments: &[&str]) -> Said {
        let node = &self.nodes[number - 1];
        node.stayput(&[&["kubeadm"], arguments].concat())
    }

    /// Starts one and does not wait for it.
    pub(crate) fn begin(&self, number: usize, arguments: &[&str]) -> Process {
        let node = &self.nodes[number - 1];
        let mut command = node.command(STAYPUT);
        command.arg("kubeadm").args(arguments);
        Process::start(&mut command, &node.path("begun.log"))
    }

    pub(crate) fn node(&self, number: usize) -> &Node {
        &self.nodes[number - 1]
    }

    pub(crate) fn manifest(&self, number: usize) -> Option<Manifest> {
        let text = std::fs::read_to_string(self.node(number).path(MANIFEST)).ok()?;
        Some(Manifest::parse(&text).unwrap())
    }

    /// What a kubelet does with a manifest: runs its first container's command.
    pub(crate) fn run_pod(&mut self, number: usize) {
        let text = self.node(number).read(MANIFEST);
        let tree = yaml::parse(&text).unwrap();
        let command = At::top(&tree).path(&["spec", "containers"]).unwrap();
        let command = command.items().next().unwrap().field("command").unwrap();
        let words: Vec<&str> = command.items().map(|word| word.text().unwrap()).collect();
        let node = self.node(number);
        let mut program: Command = node.command(words[0]);
        program.args(&words[1..]).args(PATIENT);
        let pod = Process::start(&mut program, &node.path("etcd.log"));
        self.pods[number - 1] = Some(pod);
    }

    /// Runs the pod as soon as there is a manifest.
    pub(crate) fn run_pod_soon(&mut self, number: usize) {
        eventually("the manifest is there", || {
            let there = self.manifest(number).is_some();
            there.then_some(()).ok_or_else(String::new)
        });
        self.run_pod(number);
    }

    /// The machine is gone.
    pub(crate) fn kill_pod(&mut self, number: usize) {
        let mut pod = self.pods[number - 1].take().unwrap();
        pod.signal(Signal::KILL);
        pod.end();
    }

    /// The member has ended of itself.
    pub(crate) fn pod_ends(&mut self, number: usize) {
        self.pods[number - 1].take().unwrap().end();
    }

    fn etcdctl(&self, arguments: &[&str]) -> Said {
        let mut etcdctl = self.nodes[0].command("etcdctl");
        etcdctl.env("ETCDCTL_API", "3").args([
            "--endpoints=https://127.0.0.1:2379".to_owned(),
            format!("--cacert={PKI}/ca.crt"),
            format!("--cert={PKI}/healthcheck-client.crt"),
            format!("--key={PKI}/healthcheck-client.key"),
            "--command-timeout=5s".to_owned(),
        ]);
        run(etcdctl.args(arguments))
    }

    /// Members as etcdctl sees them: name, state, URL and whether it learns.
    pub(crate) fn members(&self) -> Vec<String> {
        let list = self.etcdctl(&["member", "list"]).good();
        let line = |line: &str| {
            let fields: Vec<&str> = line.split(", ").collect();
            format!("{} {} {} {}", fields[2], fields[1], fields[3], fields[5])
        };
        let mut lines: Vec<String> = list.lines().map(line).collect();
        lines.sort();
        lines
    }

    pub(crate) fn takes_writes(&self, value: &str) {
        eventually("etcd takes writes", || {
            let said = self.etcdctl(&["put", "key", value]);
            let taken = said.code == 0;
            taken.then_some(()).ok_or_else(|| format!("{said:?}"))
        });
    }
}

/// A member that votes, as [`Masters::members`] tells it.
pub(crate) fn voter(number: usize) -> String {
    format!("master-{number} started https://master-{number}.{DOMAIN}:2380 false")
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The first makes the cluster, the others get what they share.
fn issue(masters: &[Node]) {
    let shell =
        |node: &Node, line: &str| run(node.command("sh").args(["-c", line, STAYPUT])).good();
    let (first, others) = masters.split_first().unwrap();
    first.stayput(&["certs", "init", "--new-cluster"]).good();
    shell(first, &format!("\"$0\" certs bundle > /{BUNDLE}"));
    for node in others {
        std::fs::copy(first.path(BUNDLE), node.path(BUNDLE)).unwrap();
        shell(node, &format!("\"$0\" certs unbundle < /{BUNDLE}"));
        node.stayput(&["certs", "init"]).good();
    }
}
