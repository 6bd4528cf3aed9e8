//! Twenty nodes of a cluster on one machine: memory and processor time of agents and peers at rest.
//!
//! ```sh
//! cargo bench --bench members [-- --nodes 20 --settle 60 --rest 60]
//! ```
//!
//! Each node is a network namespace on one bridge, with the agent, `stayput peers run` and a real HAProxy.
//! Three are masters with certificates of their own, the others have their kubelet's. It needs root.

#![allow(clippy::unwrap_used, reason = "what it shares with tests")]
#![allow(clippy::allow_attributes, reason = "as above")]

#[path = "../tests/support/issue.rs"]
mod issue;
#[path = "../tests/support/kubelet.rs"]
mod kubelet;
mod lab;
#[path = "../tests/support/namespace.rs"]
#[expect(dead_code, reason = "tests use the rest")]
mod namespace;
#[path = "../tests/support/node.rs"]
#[expect(dead_code, reason = "tests use the rest")]
mod node;
#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "tests use the rest")]
mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lab::figures::{Sample, megabytes, milliseconds, table};
use lab::process::{Memory, Running};
use lab::verdict::{Verdict, exit_code};
use lab::{Result, argument, machine, scratch};
use namespace::Namespace;
use node::Node;
use serde_json::Value;
use support::STAYPUT;

const MASTERS: usize = 3;
/// More would not fit into the network.
const MOST: usize = 200;
/// Of the agent, as in the benchmark `memory`.
const RESIDENT: u64 = 8 << 20;
/// How long all books may take at the start of so many processes.
const PATIENCE: Duration = Duration::from_mins(3);
const PAUSE: Duration = Duration::from_millis(200);

const CLUSTER: &str = "domain: prod.k8s.internal
endpoint: {name: api, port: 8443}
masters:
  - {name: master-1, address: 10.77.0.11}
  - {name: master-2, address: 10.77.0.12}
  - {name: master-3, address: 10.77.0.13}
dns: {listen: [\"127.0.0.1:53\"]}
haproxy: {reload: []}
";

/// A node and its processes, which end before its namespace does.
struct Member {
    agent: Running,
    peers: Running,
    node: Node,
}

/// What one process needs at rest.
struct Needs {
    memory: Memory,
    processor: Duration,
}

fn main() -> ExitCode {
    exit_code(run)
}

fn run() -> Result<Verdict> {
    let nodes = argument("--nodes", 20)?;
    let settle = argument("--settle", 60)?;
    let rest = argument("--rest", 60)?;
    if !(MASTERS..=MOST).contains(&nodes) {
        return Err(format!("--nodes is from {MASTERS} to {MOST}").into());
    }
    if !rustix::process::geteuid().is_root() {
        return Err("network namespaces and mounts need the rights of root".into());
    }
    machine::describe(&[("haproxy", "-v")]);
    let folder = scratch()?;
    let bridge = Namespace::bridge();
    let mut members = start(nodes, folder.path(), &bridge)?;
    let begun = Instant::now();
    eventually("all books show all records", &mut members, is_true)?;
    let took = begun.elapsed();
    println!(
        "\n{nodes} nodes, {MASTERS} of them masters; all books true {took:.1?} after the last start, then {settle} s of rest"
    );
    std::thread::sleep(seconds(settle));
    let (agents, peers) = look(&mut members, seconds(rest))?;
    println!("and {rest} s more, in which processor time is counted\n");
    show(&agents, &peers, rest);
    machine::load();
    let mut verdict = Verdict::default();
    let all_true = members.iter().all(is_true);
    verdict.require("all books are true afterwards", all_true);
    let most = agents.iter().map(|needs| needs.memory.resident).max();
    verdict.require(
        &format!("every agent at most {} MB resident", RESIDENT >> 20),
        most.is_some_and(|most| most <= RESIDENT),
    );
    Ok(verdict)
}

fn seconds(number: usize) -> Duration {
    Duration::from_secs(number as u64)
}

/// Masters with certificates, workers that have joined, and all their processes.
fn start(count: usize, folder: &Path, bridge: &Namespace) -> Result<Vec<Member>> {
    let names = (1..=MASTERS).map(|number| format!("master-{number}"));
    let workers = (1..=count - MASTERS).map(|number| format!("worker-{number}"));
    let nodes: Vec<Node> = (11..)
        .zip(names.chain(workers))
        .map(|(last, name): (u8, String)| {
            let namespace = bridge.node(&name, &format!("10.77.0.{last}"));
            Node::new(folder, &name, namespace, CLUSTER)
        })
        .collect();
    let (masters, workers) = nodes.split_at(MASTERS);
    issue::issue(masters);
    let read = |file: &str| masters[0].read(&format!("etc/kubernetes/pki/{file}"));
    let (authority, key) = (read("ca.crt"), read("ca.key"));
    for worker in workers {
        kubelet::join(worker, &authority, &key);
    }
    let mut members = Vec::new();
    for node in nodes {
        let run = |arguments: &[&str], log: &str| {
            let mut command = node.command(STAYPUT);
            command.args(arguments);
            Running::start(command, &node.path(log))
        };
        let agent = run(&["run"], "agent.log")?;
        let peers = run(&["peers", "run"], "peers.log")?;
        let mut member = Member { agent, peers, node };
        // HAProxy finds what the agent has written.
        let one = std::slice::from_mut(&mut member);
        eventually("the agent is ready", one, is_ready)?;
        member.node.start_haproxy();
        members.push(member);
    }
    Ok(members)
}

fn is_ready(member: &Member) -> bool {
    let log = fs::read_to_string(member.node.path("agent.log")).unwrap_or_default();
    log.lines().any(|line| line.ends_with("ready"))
}

/// Whether a node's book knows all masters by their own records, and its HAProxy is followed.
fn is_true(member: &Member) -> bool {
    let status = status(&member.node).unwrap_or_default();
    let masters = status["masters"].as_array();
    let signed = masters.into_iter().flatten().filter(|master| {
        let says = &master["record"]["addresses"];
        says.is_array() && *says == master["addresses"]
    });
    signed.count() == MASTERS
        && status["servers"]
            .as_array()
            .is_some_and(|it| !it.is_empty())
}

/// As the agent says it on its socket.
fn status(node: &Node) -> Result<Value> {
    let mut stream = UnixStream::connect(node.path("run/stayput/stayput.sock"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok(serde_json::from_str(body)?)
}

/// Waits until it holds on all of them, whose processes must not end.
fn eventually(what: &str, members: &mut [Member], holds: fn(&Member) -> bool) -> Result {
    let deadline = Instant::now() + PATIENCE;
    for member in members {
        while !holds(member) {
            member.agent.must_run()?;
            member.peers.must_run()?;
            if Instant::now() > deadline {
                let (name, status) = (&member.node.name, status(&member.node));
                return Err(format!("never: {what}, on {name}: {status:?}").into());
            }
            std::thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// What agents and peers need during this time.
fn look(members: &mut [Member], rest: Duration) -> Result<(Vec<Needs>, Vec<Needs>)> {
    let times = |members: &[Member]| -> Result<Vec<(Duration, Duration)>> {
        let each = members.iter();
        each.map(|it| Ok((it.agent.processor_time()?, it.peers.processor_time()?)))
            .collect()
    };
    let before = times(members)?;
    std::thread::sleep(rest);
    let after = times(members)?;
    let (mut agents, mut peers) = (Vec::new(), Vec::new());
    for (member, (before, after)) in members.iter_mut().zip(before.into_iter().zip(after)) {
        member.agent.must_run()?;
        member.peers.must_run()?;
        agents.push(Needs {
            memory: member.agent.memory()?,
            processor: after.0.saturating_sub(before.0),
        });
        peers.push(Needs {
            memory: member.peers.memory()?,
            processor: after.1.saturating_sub(before.1),
        });
    }
    Ok((agents, peers))
}

fn show(agents: &[Needs], peers: &[Needs], rest: usize) {
    let row = |name: &str, needs: &[Needs]| {
        let mut processor = Sample::default();
        for needs in needs {
            processor.add(needs.processor);
        }
        let [median, most] = [50, 100].map(|part| milliseconds(processor.percentile(part)));
        let mut row = vec![name.to_owned()];
        row.extend(median_and_most(needs, |memory| memory.resident));
        row.extend(median_and_most(needs, |memory| memory.anonymous));
        row.extend([median, most]);
        row
    };
    let time = format!("processor ms in {rest} s");
    let head = [
        "one node at rest",
        "MB resident, median",
        "max",
        "MB anonymous, median",
        "max",
        &format!("{time}, median"),
        "max",
    ];
    let rows = [row("stayput run", agents), row("stayput peers run", peers)];
    println!("{}\n", table(&head, rows));
}

/// By nearest rank, as [`Sample::percentile`].
fn median_and_most(needs: &[Needs], what: fn(&Memory) -> u64) -> [String; 2] {
    let mut all: Vec<u64> = needs.iter().map(|needs| what(&needs.memory)).collect();
    all.sort_unstable();
    let middle = all.len().div_ceil(2).saturating_sub(1);
    [all.get(middle), all.last()].map(|bytes| megabytes(bytes.copied().unwrap_or_default()))
}
