//! Three masters with an agent and certificates, of which the first has the cluster's only member.

use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use stayput::kubeadm::manifest::Manifest;
use stayput::yaml::{self, At};

use crate::etcd_program::{Member, PATIENT, etcdctl, everywhere};
use crate::issue::issue;
use crate::lab::{BEFORE, CLUSTER, DOMAIN, MASTERS};
use crate::namespace::Namespace;
use crate::node::Node;
use crate::support::{Process, STAYPUT, Said, eventually};

const MANIFEST: &str = "etc/kubernetes/manifests/etcd.yaml";
/// Where it is when its member has left.
pub(crate) const LEFT: &str = "etc/kubernetes/.stayput-left-etcd.yaml";

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
        let member = Member {
            name: "master-1",
            host: &host,
            listen: everywhere(),
            first: &[("master-1", host.clone())],
        };
        let mut etcd = member.flags(self.nodes[0].command("etcd"));
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

    /// An API at a master's endpoint that knows these pods: OpenSSL serves a file by the path's name, with
    /// the certificate that was issued.
    pub(crate) fn api_with_pods(&self, number: usize, pods: &Value) -> Process {
        let node = self.node(number);
        let folder = node.path("api/v1/namespaces/kube-system");
        std::fs::create_dir_all(&folder).unwrap();
        let body = pods.to_string();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        std::fs::write(
            folder.join("pods?labelSelector=component%3Detcd"),
            head + &body,
        )
        .unwrap();
        let mut openssl = node.command("openssl");
        openssl
            .current_dir(node.path(""))
            .args(["s_server", "-HTTP", "-accept", "127.0.0.1:8443"]);
        openssl.args(["-cert", "/etc/kubernetes/pki/apiserver.crt"]);
        openssl.args(["-key", "/etc/kubernetes/pki/apiserver.key"]);
        let server = Process::start(&mut openssl, &node.path("openssl.log"));
        eventually("OpenSSL listens", || {
            let log = server.log();
            log.contains("ACCEPT").then_some(()).ok_or(log)
        });
        server
    }

    fn etcdctl(&self, arguments: &[&str]) -> Said {
        let pair = "etcd/healthcheck-client";
        etcdctl(&self.nodes[0], pair, "https://127.0.0.1:2379", arguments)
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

pub(crate) fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
