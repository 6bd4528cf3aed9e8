//! A real etcd with TLS on a loopback address of its own.

use std::net::Ipv4Addr;
use std::process::Command;

use stayput::api::directory::Directory;
use stayput::config::node::Role;
use stayput::view::View;

use crate::files::Files;
use crate::sample;
use crate::support::{Process, Said, run};

/// Where the members of one test are: no other test has these.
pub(crate) struct Addresses(pub(crate) Vec<String>);

impl Addresses {
    /// `count` addresses of 127.0.0.0/8 that no other process uses: they follow from its number.
    pub(crate) fn new(count: u8) -> Self {
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let address = |n| Ipv4Addr::new(127, 64 | (high & 0x3f), low, 10 + n).to_string();
        Self((0..count).map(address).collect())
    }

    /// Where the masters are.
    pub(crate) fn directory(&self) -> Directory {
        Directory::of(&self.view())
    }

    /// The view of `master-2`.
    pub(crate) fn view_of_the_second(&self) -> View {
        let mut view = self.view();
        let mut node = (*view.node).clone();
        node.role = Role::Master(view.cluster.masters[1].name.clone());
        view.node = node.into();
        view
    }

    /// A worker's view of the masters `master-1` and so on at these addresses.
    fn view(&self) -> View {
        let names: Vec<String> = (1..=self.0.len()).map(|n| format!("master-{n}")).collect();
        let lists: Vec<[&str; 1]> = self.0.iter().map(|address| [address.as_str()]).collect();
        let masters: Vec<(&str, &[&str])> = names
            .iter()
            .zip(&lists)
            .map(|(name, list)| (name.as_str(), &list[..]))
            .collect();
        sample::view(&masters, &[])
    }
}

pub(crate) fn full(number: usize) -> String {
    format!("master-{number}.k8s.internal")
}

/// What `--initial-cluster` says of a member. Addresses, for want of a resolver that knows the names;
/// its client URL is by name.
pub(crate) fn peer(addresses: &Addresses, number: usize) -> String {
    format!("master-{number}=https://{}:2380", addresses.0[number - 1])
}

/// Starts member `number` (from 1) of a cluster.
pub(crate) fn start(
    files: &Files,
    addresses: &Addresses,
    number: usize,
    cluster: &[String],
    state: &str,
) -> Process {
    let (own, full) = (&addresses.0[number - 1], full(number));
    let pki = files.pki();
    let stem = format!("member-{number}");
    // As kubeadm has it: names, loopback, and this member's address.
    let names = [full.as_str(), "localhost", "127.0.0.1", own];
    files.authority.write_pair(&pki, &stem, &full, &names);
    let pki = pki.display();
    let mut etcd = Command::new("etcd");
    etcd.args([
        format!("--name=master-{number}"),
        format!("--data-dir={}", files.path(&stem).display()),
        format!("--listen-peer-urls=https://{own}:2380"),
        format!("--listen-client-urls=https://{own}:2379"),
        format!("--initial-advertise-peer-urls=https://{own}:2380"),
        format!("--advertise-client-urls=https://{full}:2379"),
        format!("--initial-cluster={}", cluster.join(",")),
        format!("--initial-cluster-state={state}"),
        "--client-cert-auth".to_owned(),
        format!("--trusted-ca-file={pki}/ca.crt"),
        format!("--cert-file={pki}/{stem}.crt"),
        format!("--key-file={pki}/{stem}.key"),
        "--peer-client-cert-auth".to_owned(),
        format!("--peer-trusted-ca-file={pki}/ca.crt"),
        format!("--peer-cert-file={pki}/{stem}.crt"),
        format!("--peer-key-file={pki}/{stem}.key"),
        // A busy machine must not look like a lost leader.
        "--heartbeat-interval=250".to_owned(),
        "--election-timeout=2500".to_owned(),
    ]);
    Process::start(&mut etcd, &files.path(&format!("{stem}.log")))
}

/// etcdctl with the client's pair, at the first member.
pub(crate) fn etcdctl(files: &Files, addresses: &Addresses, arguments: &[&str]) -> Said {
    let pki = files.pki();
    let pki = pki.display();
    let mut etcdctl = Command::new("etcdctl");
    etcdctl.env("ETCDCTL_API", "3").args([
        format!("--endpoints=https://{}:2379", addresses.0[0]),
        format!("--cacert={pki}/ca.crt"),
        format!("--cert={pki}/healthcheck-client.crt"),
        format!("--key={pki}/healthcheck-client.key"),
    ]);
    run(etcdctl.args(arguments))
}
