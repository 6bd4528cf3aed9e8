//! How much memory the agent has after a long life, and how soon it answers after its start.
//!
//! ```sh
//! cargo bench --bench memory [-- --changes 1000 --questions 100000]
//! ```
//!
//! A cluster of three masters, a real HAProxy. Ten thousand changes and a million questions stand
//! for years of a node's life: what is not given back shows.

mod lab;

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lab::agent::Agent;
use lab::figures::{Sample, megabytes, milliseconds, table};
use lab::haproxy::{Haproxy, be_master};
use lab::load::Questions;
use lab::node::Node;
use lab::process::Running;
use lab::question::Asker;
use lab::verdict::{Verdict, exit_code};
use lab::{Result, argument, eventually, machine};

const RESIDENT: u64 = 8 << 20;
const STARTS: usize = 20;
const FIRST_ANSWER: Duration = Duration::from_millis(50);
const MASTERS: usize = 3;
/// Each master goes round among so many addresses of its own.
const PLACES: [u8; 4] = [1, 2, 3, 4];

fn main() -> ExitCode {
    exit_code(run)
}

fn run() -> Result<Verdict> {
    let changes = argument("--changes", 10_000)?;
    let questions = argument("--questions", 1_000_000)?;
    machine::describe(&[("haproxy", "-v"), ("dnsperf", "-h")]);
    let mut verdict = Verdict::default();
    let first = (0..MASTERS).map(|master| address(master, PLACES[0]));
    let node = Node::new(first.collect(), true)?;
    for (master, place) in (0..MASTERS).flat_map(|m| PLACES.map(|place| (m, place))) {
        be_master(address(master, place), node.api_port)?;
    }
    grow_old(&node, changes, questions, &mut verdict)?;
    start(&node, &mut verdict)?;
    machine::load();
    Ok(verdict)
}

/// A master's address: of a network of its own.
fn address(master: usize, place: u8) -> Ipv4Addr {
    let network = u8::try_from(master).unwrap_or(u8::MAX);
    Ipv4Addr::new(127, 77, network, place)
}

/// Memory at the start, after the changes, and after the questions.
fn grow_old(node: &Node, changes: usize, questions: usize, verdict: &mut Verdict) -> Result {
    let _haproxy = Haproxy::start(node)?;
    let agent = Agent::start(node, None)?;
    let mut rows = Vec::new();
    let mut look = |when: String| {
        let memory = agent.process.memory()?;
        let figures = [memory.resident, memory.anonymous, memory.peak].map(megabytes);
        rows.push([vec![when], figures.to_vec()].concat());
        Result::Ok(memory)
    };
    look("at the start".to_owned())?;
    // The first round would lead each master to where it is already.
    for change in (MASTERS..).take(changes) {
        let master = change % MASTERS;
        let place = PLACES[change / MASTERS % PLACES.len()];
        agent.event(
            &format!("master-{}", master + 1),
            address(master, place).into(),
        )?;
    }
    look(format!("after {changes} changes"))?;
    let asked = Questions::write(node)?.ask(node.dns, questions)?;
    let old = look(format!("and {asked} questions"))?;
    let threads = agent.process.threads()?;
    println!("\n{threads} threads, {MASTERS} masters\n");
    let head = ["memory, MB", "resident", "of it anonymous", "peak"];
    println!("{}\n", table(&head, rows));
    verdict.require(
        &format!("at most {} MB resident", RESIDENT >> 20),
        old.resident <= RESIDENT,
    );
    Ok(())
}

/// From exec to the first answer over UDP; everything is there from a run before.
fn start(node: &Node, verdict: &mut Verdict) -> Result {
    let mut sample = Sample::default();
    let name = node.names().next().unwrap_or_default();
    for _ in 0..STARTS {
        let mut asker = Asker::new(node.dns)?;
        let mut command = node.stayput();
        command.arg("run");
        let started = Instant::now();
        let mut agent = Running::start(command, &node.path("agent.log"))?;
        eventually("the agent answers", || {
            agent.must_run()?;
            asker.look(&name)
        })?;
        sample.add(started.elapsed());
    }
    let figures = [sample.min(), sample.median(), sample.percentile(99)].map(milliseconds);
    println!("\n{STARTS} starts\n");
    let head = [
        "from exec to the first answer, ms",
        "min",
        "median",
        "slowest",
    ];
    let row = [vec!["stayput run".to_owned()], figures.to_vec()].concat();
    println!("{}\n", table(&head, [row]));
    verdict.require(
        &format!(
            "the first answer after at most {} ms",
            FIRST_ANSWER.as_millis()
        ),
        sample.median() <= FIRST_ANSWER,
    );
    Ok(())
}
