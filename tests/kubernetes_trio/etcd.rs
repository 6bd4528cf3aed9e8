//! etcd as kubeadm's static pod runs it: bound to names, or to addresses that never change.

use std::process::Command;

use serde_json::Value;

use crate::node::Node;
use crate::support::run;
use crate::way::{DOMAIN, MASTERS, STABLE, Way};

const PKI: &str = "/etc/kubernetes/pki";

/// Where a master is for its peers, and for as long as it lives.
fn host(way: Way, index: usize) -> String {
    match way {
        Way::Names => format!("{}.{DOMAIN}", MASTERS[index]),
        Way::Stable => STABLE[index].to_owned(),
    }
}

/// The member of a master.
pub(crate) fn member(node: &Node, way: Way, index: usize) -> Command {
    let all = (0..MASTERS.len()).map(|i| format!("{}=https://{}:2380", MASTERS[i], host(way, i)));
    let all = all.collect::<Vec<_>>().join(",");
    let own = host(way, index);
    // A listener's address cannot be a name.
    let (clients, peers) = match way {
        Way::Names => (
            "https://0.0.0.0:2379".to_owned(),
            "https://0.0.0.0:2380".to_owned(),
        ),
        Way::Stable => (
            format!("https://127.0.0.1:2379,https://{own}:2379"),
            format!("https://{own}:2380"),
        ),
    };
    let mut command = node.command("etcd");
    command.args([
        format!("--name={}", node.name),
        "--data-dir=/var/lib/etcd".to_owned(),
        format!("--listen-client-urls={clients}"),
        format!("--listen-peer-urls={peers}"),
        format!("--advertise-client-urls=https://{own}:2379"),
        format!("--initial-advertise-peer-urls=https://{own}:2380"),
        format!("--initial-cluster={all}"),
        "--listen-metrics-urls=http://127.0.0.1:2381".to_owned(),
        "--snapshot-count=10000".to_owned(),
        "--client-cert-auth=true".to_owned(),
        format!("--trusted-ca-file={PKI}/etcd/ca.crt"),
        format!("--cert-file={PKI}/etcd/server.crt"),
        format!("--key-file={PKI}/etcd/server.key"),
        "--peer-client-cert-auth=true".to_owned(),
        format!("--peer-trusted-ca-file={PKI}/etcd/ca.crt"),
        format!("--peer-cert-file={PKI}/etcd/peer.crt"),
        format!("--peer-key-file={PKI}/etcd/peer.key"),
    ]);
    command
}

/// Whether all three members are started, reached where they say that they are, and agree on who leads.
pub(crate) fn agrees(node: &Node) -> Result<(), String> {
    let list = etcdctl(node, &["member", "list"])?;
    let members = list["members"].as_array().cloned().unwrap_or_default();
    // A member that has not been started has no name yet.
    let started = members.iter().filter(|member| {
        let name = member["name"].as_str().unwrap_or_default();
        MASTERS.contains(&name) && member["clientURLs"].is_array()
    });
    let started = started.count();
    if members.len() != MASTERS.len() || started != members.len() {
        return Err(list.to_string());
    }
    let status = etcdctl(node, &["endpoint", "status", "--cluster"])?;
    let said = status.as_array().cloned().unwrap_or_default();
    let leaders = said.iter().map(|one| one["Status"]["leader"].as_u64());
    let leaders: Vec<u64> = leaders.map(Option::unwrap_or_default).collect();
    let agreed = leaders.len() == MASTERS.len()
        && leaders[0] != 0
        && leaders.iter().all(|leader| *leader == leaders[0]);
    agreed.then_some(()).ok_or_else(|| status.to_string())
}

fn etcdctl(node: &Node, words: &[&str]) -> Result<Value, String> {
    let mut command = node.command("etcdctl");
    command.env("ETCDCTL_API", "3").args([
        "--endpoints=https://127.0.0.1:2379",
        &format!("--cacert={PKI}/etcd/ca.crt"),
        &format!("--cert={PKI}/etcd/healthcheck-client.crt"),
        &format!("--key={PKI}/etcd/healthcheck-client.key"),
        "--dial-timeout=2s",
        "--command-timeout=3s",
        "--write-out=json",
    ]);
    let said = run(command.args(words));
    if said.code != 0 {
        return Err(format!("{}: {}", node.name, said.err));
    }
    serde_json::from_str(&said.out).map_err(|error| format!("{error}: {}", said.out))
}
