//! A folder that stands for a node's root.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Process, STAYPUT, Said, eventually, run, until};

/// A hosts file with lines that are nobody's business.
pub(crate) const FOREIGN: &str = "127.0.0.1\tlocalhost\n192.0.2.7\tnas.home\n";

/// Where the masters are by the cluster file.
pub(crate) const MASTERS: [&str; 3] = ["127.77.0.11", "127.77.0.12", "127.77.0.13"];

pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
    ports: [u16; 4],
}

impl Sandbox {
    /// A worker.
    pub(crate) fn worker() -> Self {
        Self::new("worker-1")
    }

    /// A node with this host name, and a cluster file with three masters.
    pub(crate) fn new(hostname: &str) -> Self {
        let sandbox = Self {
            folder: tempfile::tempdir().unwrap(),
            ports: free_ports(),
        };
        sandbox.write("etc/hosts", FOREIGN);
        sandbox.write("etc/hostname", &format!("{hostname}\n"));
        sandbox.write_cluster(&sandbox.cluster(&MASTERS, ""));
        sandbox
    }

    /// A cluster file; `more` is added at its end.
    pub(crate) fn cluster(&self, masters: &[&str; 3], more: &str) -> String {
        let lines = masters.iter().enumerate().map(|(index, address)| {
            format!("  - {{name: master-{}, address: {address}}}\n", index + 1)
        });
        self.cluster_of(&lines.collect::<String>(), more)
    }

    /// A cluster file with these lines for its masters.
    pub(crate) fn cluster_of(&self, masters: &str, more: &str) -> String {
        let [endpoint, api, stats, dns] = self.ports;
        format!(
            "domain: prod.k8s.internal\n\
             endpoint: {{name: api, port: {endpoint}}}\n\
             masters:\n\
             {masters}\
             kubernetes: {{apiPort: {api}}}\n\
             dns: {{listen: [\"127.0.0.1:{dns}\"], upstream: [\"127.0.0.1:{endpoint}\"]}}\n\
             haproxy: {{reload: [], config: /srv/haproxy.cfg, stats: \"127.0.0.1:{stats}\"}}\n\
             {more}"
        )
    }

    pub(crate) fn write_cluster(&self, text: &str) {
        self.write("etc/stayput/cluster.yaml", text);
    }

    pub(crate) fn api_port(&self) -> u16 {
        self.ports[1]
    }

    pub(crate) fn dns_port(&self) -> u16 {
        self.ports[3]
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub(crate) fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, below: &str) -> String {
        let path = self.path(below);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{below}: {error}"))
    }

    pub(crate) fn hosts(&self) -> String {
        self.read("etc/hosts")
    }

    /// What the surfaces that are files hold, and the saved book.
    pub(crate) fn written(&self) -> [String; 3] {
        ["etc/hosts", "srv/haproxy.cfg", "var/lib/stayput/state.json"].map(|path| self.read(path))
    }

    /// A command line of stayput, not yet run.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(STAYPUT);
        command
            .arg("--root")
            .arg(self.folder.path())
            .args(arguments);
        command
    }

    pub(crate) fn stayput(&self, arguments: &[&str]) -> Said {
        run(&mut self.command(arguments))
    }

    /// Starts the agent and waits until it is ready.
    pub(crate) fn agent(&self) -> Process {
        self.ready(&mut self.command(&["run"]))
    }

    /// Starts an agent by a command of the caller's.
    pub(crate) fn ready(&self, command: &mut Command) -> Process {
        let mut agent = Process::start(command, &self.path("agent.log"));
        agent.ready();
        agent
    }

    /// The agent's picture, or without an agent the files'.
    pub(crate) fn status(&self) -> Value {
        let json = self.stayput(&["status", "--output", "json"]).good();
        serde_json::from_str(&json).unwrap()
    }

    /// Waits until status shows something.
    pub(crate) fn shows(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || {
            let status = self.status();
            if holds(&status) {
                Ok(status)
            } else {
                Err(format!("{status:#}"))
            }
        })
    }

    /// A master's addresses by status.
    pub(crate) fn addresses(&self, number: usize) -> Value {
        self.status()["masters"][number - 1]["addresses"].clone()
    }

    /// Starts a HAProxy on what the agent has written, and waits until it answers.
    pub(crate) fn haproxy(&self) -> Process {
        let mut command = Command::new("/usr/sbin/haproxy");
        command
            .arg("-W")
            .arg("-f")
            .arg(self.path("srv/haproxy.cfg"));
        let mut haproxy = Process::start(&mut command, &self.path("haproxy.log"));
        let socket = self.path("run/stayput/haproxy.sock");
        until("HAProxy answers", || {
            haproxy.must_run();
            UnixStream::connect(&socket).is_ok()
        });
        haproxy
    }

    /// What the responder says for a name when it is asked over DNS.
    pub(crate) fn dns(&self, name: &str) -> String {
        let json = self.stayput(&["resolve", name, "--output", "json"]);
        let said: Value = serde_json::from_str(&json.out).unwrap_or_else(|_| panic!("{json:?}"));
        said["names"][0]["dns"].to_string()
    }

    /// The control socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("run/stayput/stayput.sock")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A surface in status.
pub(crate) fn surface<'a>(status: &'a Value, name: &str) -> &'a Value {
    let surfaces = status["surfaces"].as_array().unwrap();
    surfaces
        .iter()
        .find(|surface| surface["surface"] == name)
        .unwrap()
}

/// Ends an agent as a crash does.
pub(crate) fn crash(mut agent: Process) {
    agent.signal(Signal::KILL);
    agent.end();
}

/// Ports that nobody had on 127.0.0.1 a moment ago, over TCP and UDP, below those that the kernel
/// gives to clients.
fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| {
        loop {
            let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0_u8);
            let port = 10_000 + u16::try_from(random % 20_000).unwrap();
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
            if let (Ok(tcp), Ok(udp)) = (tcp, udp) {
                break (tcp, udp);
            }
        }
    });
    held.map(|(tcp, _)| tcp.local_addr().unwrap().port())
}
