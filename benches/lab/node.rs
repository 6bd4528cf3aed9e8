//! A pretend node in a scratch folder: its cluster file, its hosts file, free ports.

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Result, scratch};

pub(crate) const DOMAIN: &str = "prod.k8s.internal";
/// What a hosts file holds before stayput comes.
const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n192.0.2.7\tnas.home\n";

/// The folder and its ports.
pub(crate) struct Node {
    dir: tempfile::TempDir,
    masters: Vec<Ipv4Addr>,
    pub(crate) api_port: u16,
    pub(crate) dns: SocketAddr,
}

impl Node {
    /// A worker of a cluster with a master at each address: `master-1`, `master-2`, … `haproxy`:
    /// whether HAProxy counts as installed.
    pub(crate) fn new(masters: Vec<Ipv4Addr>, haproxy: bool) -> Result<Self> {
        let [endpoint, api, dns, stats] = free_ports()?;
        let node = Self {
            dir: scratch()?,
            masters,
            api_port: api,
            dns: SocketAddr::from((Ipv4Addr::LOCALHOST, dns)),
        };
        let dns = node.dns;
        let binary = if haproxy {
            "/usr/sbin/haproxy"
        } else {
            "/nowhere/haproxy"
        };
        let mut text = format!(
            r#"domain: {DOMAIN}
endpoint: {{name: api, port: {endpoint}}}
kubernetes: {{version: "1.34", apiPort: {api}}}
dns: {{listen: ["{dns}"]}}
haproxy: {{binary: {binary}, reload: [], stats: "127.0.0.1:{stats}"}}
masters:
"#
        );
        for (number, address) in (1..).zip(&node.masters) {
            writeln!(text, "  - {{name: master-{number}, address: {address}}}")?;
        }
        node.write("etc/stayput/cluster.yaml", &text)?;
        node.write("etc/hostname", "worker-1\n")?;
        node.write("etc/hosts", HOSTS)?;
        Ok(node)
    }

    /// A cluster of so many masters, each at an address of its own.
    pub(crate) fn with_names(count: usize) -> Result<Self> {
        let first = u32::from(Ipv4Addr::new(127, 64, 0, 1));
        let masters = (first..).take(count).map(Ipv4Addr::from).collect();
        Self::new(masters, false)
    }

    /// The names of all masters.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        (1..=self.masters.len()).map(|number| format!("master-{number}.{DOMAIN}"))
    }

    /// Every master with its address.
    pub(crate) fn masters(&self) -> impl Iterator<Item = (String, Ipv4Addr)> {
        self.names().zip(self.masters.iter().copied())
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// Writes a file and the folders above it.
    pub(crate) fn write(&self, below: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(below);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text)?;
        Ok(path)
    }

    /// The program that this benchmark was built with, working in this folder.
    pub(crate) fn stayput(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stayput"));
        command.arg("--root").arg(self.root());
        command
    }

    /// Runs a command of stayput to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.stayput().args(arguments).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(format!(
            "stayput {arguments:?}: {}\n{text}{complaint}",
            output.status
        )
        .into())
    }
}

/// Different ports that are free now, over TCP and UDP.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    // Held until all are found, so that none is found twice.
    let mut held = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let pair = (0..100).find_map(|_| free_pair().ok());
        let (tcp, udp) = pair.ok_or("no port is free on 127.0.0.1")?;
        *port = tcp.local_addr()?.port();
        held.push((tcp, udp));
    }
    Ok(ports)
}

fn free_pair() -> std::io::Result<(TcpListener, UdpSocket)> {
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let udp = UdpSocket::bind(tcp.local_addr()?)?;
    Ok((tcp, udp))
}
