//! dnsperf: many questions over UDP, counted.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use super::Result;
use super::node::Node;
use super::process::{find, on_processor};

/// Questions that wait for their answers at any time.
const OUTSTANDING: &str = "100";

/// dnsperf's input: each name of a cluster once.
pub(crate) struct Questions {
    path: PathBuf,
    pub(crate) names: usize,
}

impl Questions {
    pub(crate) fn write(node: &Node) -> Result<Self> {
        let lines: Vec<String> = node.names().map(|name| name + " A\n").collect();
        Ok(Self {
            names: lines.len(),
            path: node.write("questions", &lines.concat())?,
        })
    }

    /// Asks from processor 1, in whole rounds over all names, at least one; gives how many answers
    /// came.
    pub(crate) fn ask(&self, server: SocketAddr, questions: usize) -> Result<u32> {
        let program = find("dnsperf").ok_or("install dnsperf: this benchmark needs it")?;
        let rounds = (questions / self.names).max(1);
        let mut command = Command::new(program);
        command
            .args(["-s", &server.ip().to_string()])
            .args(["-p", &server.port().to_string()])
            .args(["-n", &rounds.to_string()])
            .args(["-q", OUTSTANDING, "-c", "1", "-T", "1", "-d"])
            .arg(&self.path);
        let output = on_processor(1, command).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
            line.map(str::trim).unwrap_or_default()
        };
        let completed = field("Queries completed:").split(' ').next();
        let codes = field("Response codes:");
        // A server that refuses is quick, and of no interest.
        if codes.starts_with("NOERROR") && codes.contains("(100.00%)") {
            return Ok(completed.unwrap_or_default().parse()?);
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(format!("dnsperf: {text}{complaint}").into())
    }
}
