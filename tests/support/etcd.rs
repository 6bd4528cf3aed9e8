//! etcd and etcdctl on a node, as kubeadm's static pod runs them: TLS for clients and for peers.

use std::process::Command;

use crate::node::Node;
use crate::support::{Said, run};

const PKI: &str = "/etc/kubernetes/pki";

/// A busy machine must not look like a lost leader.
pub(crate) const PATIENT: [&str; 2] = ["--heartbeat-interval=250", "--election-timeout=2500"];

/// What differs between members, and between ways to run one.
pub(crate) struct Member<'a> {
    pub(crate) name: &'a str,
    /// The host that others are told.
    pub(crate) host: &'a str,
    /// The URLs to listen at, for clients and for peers.
    pub(crate) listen: [String; 2],
    /// `NAME=HOST` of all first members.
    pub(crate) first: &'a [(&'a str, String)],
}

/// Every address of the node.
pub(crate) fn everywhere() -> [String; 2] {
    [2379, 2380].map(|port| format!("https://0.0.0.0:{port}"))
}

impl Member<'_> {
    /// `etcd` with its flags, as a command that has none yet.
    pub(crate) fn flags(&self, mut etcd: Command) -> Command {
        let first = self.first.iter();
        let first = first.map(|(name, host)| format!("{name}=https://{host}:2380"));
        let [clients, peers] = &self.listen;
        etcd.args([
            format!("--name={}", self.name),
            "--data-dir=/var/lib/etcd".to_owned(),
            format!("--listen-client-urls={clients}"),
            format!("--listen-peer-urls={peers}"),
            format!("--advertise-client-urls=https://{}:2379", self.host),
            format!("--initial-advertise-peer-urls=https://{}:2380", self.host),
            format!("--initial-cluster={}", first.collect::<Vec<_>>().join(",")),
            "--client-cert-auth".to_owned(),
            format!("--trusted-ca-file={PKI}/etcd/ca.crt"),
            format!("--cert-file={PKI}/etcd/server.crt"),
            format!("--key-file={PKI}/etcd/server.key"),
            "--peer-client-cert-auth".to_owned(),
            format!("--peer-trusted-ca-file={PKI}/etcd/ca.crt"),
            format!("--peer-cert-file={PKI}/etcd/peer.crt"),
            format!("--peer-key-file={PKI}/etcd/peer.key"),
        ]);
        etcd.args(PATIENT);
        etcd
    }
}

/// etcdctl on a node with one of its pairs, by its path below the PKI folder.
pub(crate) fn etcdctl(node: &Node, pair: &str, endpoints: &str, arguments: &[&str]) -> Said {
    run(&mut asking(node, pair, endpoints, arguments))
}

/// The same before it is run.
pub(crate) fn asking(node: &Node, pair: &str, endpoints: &str, arguments: &[&str]) -> Command {
    let mut etcdctl = node.command("etcdctl");
    etcdctl.env("ETCDCTL_API", "3").args([
        &format!("--endpoints={endpoints}"),
        &format!("--cacert={PKI}/etcd/ca.crt"),
        &format!("--cert={PKI}/{pair}.crt"),
        &format!("--key={PKI}/{pair}.key"),
        "--dial-timeout=2s",
        "--command-timeout=3s",
    ]);
    etcdctl.args(arguments);
    etcdctl
}
