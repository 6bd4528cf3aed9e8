//! What each node of a small cluster takes at rest: real agents and real processes for peers, each node a
//! network namespace.
//!
//! ```sh
//! cargo bench --bench members [-- --nodes 20 --seconds 120]
//! ```
//!
//! Needs root and HAProxy, which runs on every node. Nothing moves while it is measured, and no API server is there.
#![allow(clippy::unwrap_used, reason = "what the tests share fails loudly")]
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

use std::process::ExitCode;
use std::time::{Duration, Instant};

use lab::figures::{Sample, megabytes, milliseconds, table};
use lab::process::{memory, processor_time};
use lab::verdict::{Verdict, exit_code};
use lab::{Result, argument, machine, scratch};
use namespace::Namespace;
use node::Node;
use serde_json::Value;
use support::{Process, STAYPUT};

const MASTERS: usize = 3;
/// Until nobody asks for members any more than now and then.
const SETTLES: Duration = Duration::from_mins(3);
/// How long all may need to know each other.
const PATIENCE: Duration = Duration::from_mins(2);

fn main() -> ExitCode {
    exit_code(run)
}

/// A node with both processes.
struct Member {
    // Ends before its namespace.
    peers: Process,
    agent: u32,
    node: Node,
}

/// What one process took.
struct Taken {
    resident: u64,
    anonymous: u64,
    time: Duration,
}

fn run() -> Result<Verdict> {
    let nodes = argument("--nodes", 20)?.clamp(MASTERS + 1, 200);
    let seconds = argument("--seconds", 120)?;
    machine::describe(&[("haproxy", "-v")]);
    let folder = scratch()?;
    let bridge = Namespace::bridge();
    let mut members = start(folder.path(), &bridge, nodes);
    let begun = Instant::now();
    while let Some(lacking) = members.iter().find_map(|it| lacks(&it.node, nodes)) {
        if begun.elapsed() > PATIENCE {
            return Err(format!("not all know each other: {lacking}").into());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    println!(
        "all {nodes} know each other after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    std::thread::sleep(SETTLES);

    let window = Duration::from_secs(seconds as u64);
    let before = look(&members)?;
    std::thread::sleep(window);
    let after = look(&members)?;
    let mut rows = Vec::new();
    for (process, name) in ["stayput run", "stayput peers run"].into_iter().enumerate() {
        let pairs = before.iter().zip(&after);
        let taken: Vec<Taken> = pairs
            .map(|(before, after)| Taken {
                time: after[process].time.saturating_sub(before[process].time),
                ..after[process]
            })
            .collect();
        rows.push(row(name, &taken, window));
    }
    let head = [
        "each of them, median / most",
        "resident, MB",
        "of it its own, MB",
        "processor, ms each second",
    ];
    println!("\n{nodes} nodes, {MASTERS} of them masters, at rest for {seconds} s\n");
    println!("{}\n", table(&head, rows));
    for member in &mut members {
        member.peers.must_run();
        member.node.must_run();
    }
    machine::load();
    Ok(Verdict::default())
}

fn start(folder: &std::path::Path, bridge: &Namespace, count: usize) -> Vec<Member> {
    let name = |number: usize| {
        if number < MASTERS {
            format!("master-{}", number + 1)
        } else {
            format!("worker-{}", number + 1 - MASTERS)
        }
    };
    let address = |number: usize| format!("10.77.0.{}", number + 11);
    let lines = (0..MASTERS).map(|number| (name(number), address(number)));
    let masters = lines.map(|(name, at)| format!("  - {{name: {name}, address: {at}}}\n"));
    let masters: Vec<String> = masters.collect();
    let masters = masters.concat();
    let cluster = format!(
        "domain: prod.k8s.internal\nendpoint: {{name: api, port: 8443}}\nmasters:\n{masters}\
         dns: {{listen: [\"127.0.0.1:53\"]}}\nhaproxy: {{reload: []}}\n"
    );
    let mut nodes: Vec<Node> = (0..count)
        .map(|number| {
            let namespace = bridge.node(&name(number), &address(number));
            Node::new(folder, &name(number), namespace, &cluster)
        })
        .collect();
    issue::issue(&nodes[..MASTERS]);
    let read = |file: &str| nodes[0].read(&format!("etc/kubernetes/pki/{file}"));
    let (authority, key) = (read("ca.crt"), read("ca.key"));
    for worker in &nodes[MASTERS..] {
        kubelet::join(worker, &authority, &key);
    }
    for node in &mut nodes {
        node.start_agent();
        node.start_haproxy();
    }
    let members = nodes.into_iter().map(|node| {
        let status = node.status();
        let agent = status["agent"]["pid"].as_u64().unwrap();
        let mut command = node.command(STAYPUT);
        let mut peers = Process::start(command.args(["peers", "run"]), &node.path("peers.log"));
        peers.ready();
        Member {
            peers,
            agent: u32::try_from(agent).unwrap(),
            node,
        }
    });
    members.collect()
}

/// What this node does not know yet.
fn lacks(node: &Node, nodes: usize) -> Option<String> {
    let said = node.stayput(&["peers", "--output", "json"]).out;
    let listed: Value = serde_json::from_str(&said).unwrap_or_default();
    let members = listed["peers"]["members"].as_array()?;
    let up = members.iter().filter(|it| it["state"] == "up").count();
    let records = listed["records"].as_array().map_or(0, Vec::len);
    (up + 1 < nodes || records < MASTERS)
        .then(|| format!("{}: {up} are up, {records} records", node.name))
}

fn look(members: &[Member]) -> Result<Vec<[Taken; 2]>> {
    let taken = |pid: u32| {
        let memory = memory(pid)?;
        Result::Ok(Taken {
            resident: memory.resident,
            anonymous: memory.anonymous,
            time: processor_time(pid)?,
        })
    };
    let members = members.iter();
    members
        .map(|member| Ok([taken(member.agent)?, taken(member.peers.pid())?]))
        .collect()
}

fn row(name: &str, taken: &[Taken], window: Duration) -> Vec<String> {
    let bytes = |of: fn(&Taken) -> u64| {
        let mut all: Vec<u64> = taken.iter().map(of).collect();
        all.sort_unstable();
        let median = all[(all.len() - 1) / 2];
        let most = all[all.len() - 1];
        format!("{} / {}", megabytes(median), megabytes(most))
    };
    let mut times = Sample::default();
    for each in taken {
        times.add(each.time.div_f64(window.as_secs_f64()));
    }
    let times = [times.median(), times.percentile(100)].map(milliseconds);
    vec![
        name.to_owned(),
        bytes(|it| it.resident),
        bytes(|it| it.anonymous),
        times.join(" / "),
    ]
}
