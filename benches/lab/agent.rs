//! The agent of a pretend node, and its control socket.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;

use stayput::report::Report;

use super::node::Node;
use super::process::{Running, on_processor};
use super::question::Asker;
use super::{PATIENCE, Result, eventually};

/// A running `stayput run` that has shown its first book.
pub(crate) struct Agent<'n> {
    pub(crate) process: Running,
    node: &'n Node,
}

impl<'n> Agent<'n> {
    /// Starts the agent and waits until DNS and the control socket answer. Where `processor` is
    /// given it runs on that one only.
    pub(crate) fn start(node: &'n Node, processor: Option<usize>) -> Result<Self> {
        let mut command = node.stayput();
        command.arg("run");
        if let Some(number) = processor {
            command = on_processor(number, command);
        }
        let process = Running::start(command, &node.path("agent.log"))?;
        let mut agent = Self { process, node };
        let mut asker = Asker::new(node.dns)?;
        let first = node.names().next().ok_or("a cluster without masters")?;
        eventually("the agent answers", || {
            agent.process.must_run()?;
            asker.look(&first)
        })?;
        // Orders wait until the first round over all surfaces is done.
        eventually("the agent takes orders", || {
            agent.process.must_run()?;
            Ok(agent.post("/v1/interface", "{}").ok())
        })?;
        Ok(agent)
    }

    /// Tells that a master has moved, and waits until every surface has it.
    pub(crate) fn event(&self, master: &str, address: IpAddr) -> Result<Report> {
        let body = format!(r#"{{"name":"{master}","addresses":["{address}"]}}"#);
        let report = self.post("/v1/event", &body)?;
        if report.failed() || report.moves.len() != 1 {
            return Err(format!("{master} → {address}: {report:?}").into());
        }
        Ok(report)
    }

    fn post(&self, path: &str, body: &str) -> Result<Report> {
        let mut stream = UnixStream::connect(self.node.path("run/stayput/stayput.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: stayput\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200") => {
                Ok(serde_json::from_str(body)?)
            }
            _ => Err(format!("POST {path} {body}: {answer}").into()),
        }
    }
}
