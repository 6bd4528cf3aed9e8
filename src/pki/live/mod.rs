//! Whether the running servers serve the certificates that lie on disk.
//!
//! A renewal is over when the servers serve what was written. Which servers a node runs, and what
//! their answers mean, are pure; [`ask`] is the only one that opens a connection.

mod ask;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use zeroize::Zeroizing;

use super::FOLDER;
use super::certificate::Certificate;
use crate::clock;
use crate::config::cluster::Cluster;
use crate::config::node::{Node, Role};
use crate::name::Name;
use crate::root::Root;

pub use ask::{Error, ask};

/// Where etcd listens for clients and for peers, and the kubelet for everybody (kubeadm's manifests and
/// the kubelet's defaults).
const ETCD_CLIENTS: u16 = 2379;
const ETCD_PEERS: u16 = 2380;
const KUBELET: u16 = 10_250;

/// Where the kubelet keeps its serving certificate: one of the cluster's (`serverTLSBootstrap`), or one
/// that it has signed itself.
const KUBELET_FILES: [&str; 2] = [
    "/var/lib/kubelet/pki/kubelet-server-current.pem",
    "/var/lib/kubelet/pki/kubelet.crt",
];

/// Far above a chain and its key.
const LIMIT: u64 = 1 << 20;

/// A server of this node, and where its certificate lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// What people call it.
    pub name: String,
    /// Where it may listen; the first one that takes the connection is asked.
    pub addresses: Vec<SocketAddr>,
    /// The name that it is asked for.
    pub server_name: String,
    /// Where its certificate may lie, below the root; what is not there does not count.
    pub files: Vec<PathBuf>,
}

/// A certificate file that is there: its first certificate, or why it cannot be read.
pub type OnDisk = (PathBuf, Result<Certificate, String>);

/// What was found out about a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// What people call it.
    pub server: String,
    /// Where it was asked.
    pub address: SocketAddr,
    /// The file that it is compared with.
    pub file: PathBuf,
    /// The serial number that it serves, in lower-case hexadecimal.
    pub serial_served: Option<String>,
    /// The file's.
    pub serial_on_disk: Option<String>,
    /// Whether it serves the very certificate of the file.
    pub agrees: bool,
    /// The same with more detail, for programs.
    pub state: State,
    /// The same for people, and what to do.
    pub detail: String,
}

/// What a comparison can end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// It serves the file's certificate.
    Agrees,
    /// It serves another one.
    Differs,
    /// Nothing listens at its address.
    NotRunning,
    /// Something is there, but it is not known what it serves.
    NoAnswer,
    /// It serves a certificate, but there is no file to compare it with.
    NoFile,
}

/// The servers that this node runs: a master's kube-apiserver and etcd, and the kubelet. `own` are the
/// node's addresses: kubeadm lets etcd listen for peers on one of those only.
pub fn servers(cluster: &Cluster, node: &Node, own: &[IpAddr]) -> Vec<Server> {
    let mut servers = Vec::new();
    if let Role::Master(name) = &node.role {
        let peers = own.iter().map(|&own| SocketAddr::from((own, ETCD_PEERS)));
        let table = [
            (
                "kube-apiserver",
                cluster.kubernetes.api_port,
                "apiserver.crt",
            ),
            ("etcd (clients)", ETCD_CLIENTS, "etcd/server.crt"),
            ("etcd (peers)", ETCD_PEERS, "etcd/peer.crt"),
        ];
        for (server, port, file) in table {
            let file = Path::new(FOLDER).join("pki").join(file);
            servers.push(Server::local(server, port, name, vec![file]));
        }
        if let Some(last) = servers.last_mut() {
            last.addresses.extend(peers);
        }
    }
    let files = KUBELET_FILES.map(PathBuf::from).to_vec();
    servers.push(Server::local(
        "kubelet",
        KUBELET,
        &node.kubernetes_name,
        files,
    ));
    servers
}

impl Server {
    fn local(name: &str, port: u16, server_name: &Name, files: Vec<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            addresses: vec![(Ipv4Addr::LOCALHOST, port).into()],
            server_name: server_name.as_str().to_owned(),
            files,
        }
    }
}

/// Asks all servers at once and compares. `limit` is for each address of each server.
pub fn look(root: &Root, servers: &[Server], limit: Duration) -> Vec<Row> {
    std::thread::scope(|scope| {
        let questions: Vec<_> = servers
            .iter()
            .map(|server| scope.spawn(move || look_at(root, server, limit)))
            .collect();
        let answers = questions.into_iter().map(|question| {
            question
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        answers.flatten().collect()
    })
}

fn look_at(root: &Root, server: &Server, limit: Duration) -> Option<Row> {
    // The file first: where it is replaced meanwhile, the next look agrees.
    let files = on_disk(root, server);
    let (address, answer) = ask_one_of(server, limit)?;
    Some(compare(server, address, &files, &answer))
}

/// Asks where somebody listens; elsewhere, the first failure tells. Nothing without an address.
fn ask_one_of(
    server: &Server,
    limit: Duration,
) -> Option<(SocketAddr, Result<Vec<Certificate>, Error>)> {
    let mut first = None;
    for &address in &server.addresses {
        let answer = ask(address, &server.server_name, limit);
        if !matches!(
            answer,
            Err(Error::NotRunning(_) | Error::Unreachable { .. })
        ) {
            return Some((address, answer));
        }
        first.get_or_insert((address, answer));
    }
    first
}

/// The certificates of the server's files that are there.
pub fn on_disk(root: &Root, server: &Server) -> Vec<OnDisk> {
    let read = |path: &Path| match root.read(path, LIMIT) {
        Ok(None) => None,
        // The kubelet keeps its key in the same file.
        Ok(Some(bytes)) => Some(first(&Zeroizing::new(bytes))),
        Err(error) => Some(Err(error.to_string())),
    };
    let files = server.files.iter();
    files
        .filter_map(|path| Some((path.clone(), read(path)?)))
        .collect()
}

fn first(pem: &[u8]) -> Result<Certificate, String> {
    let all = Certificate::parse_pem(pem).map_err(|error| error.to_string())?;
    let first = all.into_iter().next();
    first.ok_or_else(|| "holds no certificate".into())
}

/// What the answer of the server at `address` means, beside its files.
pub fn compare(
    server: &Server,
    address: SocketAddr,
    files: &[OnDisk],
    answer: &Result<Vec<Certificate>, Error>,
) -> Row {
    let leaf = answer.as_ref().ok().and_then(|chain| chain.first());
    // Of several files the server uses one; the others may be left over.
    let same = |(_, file): &&OnDisk| leaf.is_some() && file.as_ref().ok() == leaf;
    let file = files.iter().find(same).or(files.first());
    let certificate = file.and_then(|(_, certificate)| certificate.as_ref().ok());
    let (state, detail) = match (answer, leaf) {
        (Err(Error::NotRunning(_)), _) => (
            State::NotRunning,
            format!("not running: nothing listens on {address}"),
        ),
        (Err(error), _) => (State::NoAnswer, error.to_string()),
        (Ok(_), None) => (State::NoAnswer, format!("{address} served no certificate")),
        (Ok(_), Some(leaf)) => judge(server, leaf, file),
    };
    let named = file.map(|(path, _)| path).or(server.files.first());
    Row {
        server: server.name.clone(),
        address,
        file: named.cloned().unwrap_or_default(),
        serial_served: leaf.map(|leaf| leaf.serial.clone()),
        serial_on_disk: certificate.map(|certificate| certificate.serial.clone()),
        agrees: state == State::Agrees,
        state,
        detail,
    }
}

fn judge(server: &Server, leaf: &Certificate, file: Option<&OnDisk>) -> (State, String) {
    let this = ends(leaf);
    match file {
        None => (
            State::NoFile,
            format!("serves {this}; there is no file to compare it with"),
        ),
        Some((path, Err(reason))) => {
            let path = path.display();
            (
                State::NoFile,
                format!("serves {this}; {path} cannot be compared: {reason}"),
            )
        }
        Some((_, Ok(certificate))) if certificate == leaf => (
            State::Agrees,
            format!("serves the file's certificate, {this}"),
        ),
        Some((path, Ok(certificate))) => {
            let (path, on_disk, name) = (path.display(), ends(certificate), &server.name);
            let detail = format!(
                "serves another certificate, {this}, than that of {path}, {on_disk}; if this lasts for more than a minute, restart {name}"
            );
            (State::Differs, detail)
        }
    }
}

/// Serial number and end of a certificate.
fn ends(certificate: &Certificate) -> String {
    let end = clock::date(certificate.not_after);
    format!("serial {} until {end}", certificate.serial)
}
