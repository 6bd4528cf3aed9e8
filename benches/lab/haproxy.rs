//! A real HAProxy on the configuration that stayput writes, and masters for it to check.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::process::Command;

use super::node::Node;
use super::process::{Running, find};
use super::{PATIENCE, Result, eventually};

/// Where stayput writes the configuration, below the node's folder.
pub(crate) const FILE: &str = "var/lib/stayput/haproxy.cfg";

/// A running HAProxy: a master process with a worker, as its unit runs it.
pub(crate) struct Haproxy<'n> {
    pub(crate) process: Running,
    node: &'n Node,
}

impl<'n> Haproxy<'n> {
    /// Has the configuration written, starts HAProxy and waits for it.
    pub(crate) fn start(node: &'n Node) -> Result<Self> {
        let program = find("haproxy").ok_or("install haproxy: this benchmark needs it")?;
        node.run(&["apply"])?;
        let mut command = Command::new(program);
        command.arg("-W").arg("-f").arg(node.path(FILE));
        let process = Running::start(command, &node.path("haproxy.log"))?;
        let mut haproxy = Self { process, node };
        eventually("HAProxy answers", || {
            haproxy.process.must_run()?;
            Ok(haproxy.address("master-1").ok())
        })?;
        Ok(haproxy)
    }

    /// Waits until the process that answers has this address for a server.
    pub(crate) fn until(&mut self, server: &str, address: Ipv4Addr) -> Result {
        eventually("HAProxy says the new address", || {
            self.process.must_run()?;
            // For a moment during a reload nobody may answer.
            let found = self.address(server).ok();
            Ok((found == Some(address)).then_some(()))
        })
    }

    /// Waits until the worker from before a reload has ended. Only then does HAProxy's master
    /// process take the next signal; an earlier one may be lost.
    pub(crate) fn settle(&mut self) -> Result {
        eventually("HAProxy has one worker", || {
            self.process.must_run()?;
            Ok((self.process.family().len() == 2).then_some(()))
        })
    }

    /// `be_id be_name srv_id srv_name srv_addr …` (management guide, "show servers state").
    fn address(&self, server: &str) -> Result<Ipv4Addr> {
        let mut stream = UnixStream::connect(self.node.path("run/stayput/haproxy.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"show servers state masters\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let line = answer
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|fields| fields.get(3) == Some(&server));
        match line.as_deref() {
            Some([_, _, _, _, address, ..]) => Ok(address.parse()?),
            _ => Err(format!("no server {server}: {answer}").into()),
        }
    }
}

/// Takes connections at an address and closes them, as long as the benchmark runs: enough for a
/// health check over TCP.
pub(crate) fn be_master(address: Ipv4Addr, port: u16) -> Result {
    let listener = TcpListener::bind(SocketAddr::from((address, port)))?;
    std::thread::Builder::new()
        .stack_size(64 << 10)
        .spawn(move || listener.incoming().for_each(drop))?;
    Ok(())
}
