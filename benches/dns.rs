//! What an answer over UDP costs, and whether that and an apply depend on the number of names.
//!
//! ```sh
//! cargo bench --bench dns [-- --rounds 3 --questions 50000]
//! ```
//!
//! Measured is processor time, user and kernel, of the server's whole family of processes over a
//! known number of answers: answers per second say more about what asks and about what else the
//! machine does. dnsperf asks from the second processor, with 100 questions outstanding; each server
//! runs alone on the first and answers the same 100 names. The servers take turns, in a different
//! order in each round. Beside them stands a bare loop of two system calls that looks at nothing:
//! what the sockets alone cost.

mod lab;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, ExitCode};
use std::time::Instant;

use lab::agent::Agent;
use lab::figures::{Sample, microseconds, milliseconds, ratio, table};
use lab::load::Questions;
use lab::node::{Node, free_ports};
use lab::process::{Running, on_processor};
use lab::question::{Asker, answer_blindly};
use lab::servers::{self, CommandOf};
use lab::verdict::{Verdict, aim, exit_code};
use lab::{Result, argument, eventually, machine};

/// Names that the servers are asked for.
const NAMES: usize = 100;
/// Few names and many: an answer should cost the same.
const SIZES: [usize; 2] = [10, 10_000];
/// What the caches of a processor may make of ten thousand names.
const GROWTH: f64 = 1.25;
/// Clusters of so many names are applied.
const APPLIED: [usize; 3] = [100, 1000, 10_000];
const APPLIES: usize = 7;
/// How much longer ten times as many names may take: linear, with some room for the machine.
const LINEAR: f64 = 15.0;

/// The argument that makes this program the bare loop, followed by where it listens.
const BARE: &str = "--answer-blindly";

/// The others. Those that the machine does not have are left out.
const OTHERS: [(&str, CommandOf); 5] = [
    ("bare loop", bare),
    ("dnsmasq", servers::dnsmasq),
    ("unbound", servers::unbound),
    ("nsd", servers::nsd),
    ("knot", servers::knot),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(BARE) {
        let listen = arguments.next().and_then(|listen| listen.parse().ok());
        return match listen.map(answer_blindly) {
            Some(Ok(())) => ExitCode::SUCCESS,
            failed => {
                eprintln!("the bare loop ended: {failed:?}");
                ExitCode::FAILURE
            }
        };
    }
    exit_code(run)
}

fn run() -> Result<Verdict> {
    let rounds = argument("--rounds", 15)?;
    let questions = argument("--questions", 200_000)?;
    machine::describe(&[
        ("dnsperf", "-h"),
        ("dnsmasq", "-v"),
        ("unbound", "-V"),
        ("nsd", "-v"),
        ("knotd", "-V"),
    ]);
    let mut verdict = Verdict::default();
    compare(rounds, questions, &mut verdict)?;
    grow(rounds, questions, &mut verdict)?;
    apply(&mut verdict)?;
    machine::load();
    Ok(verdict)
}

/// A server that is asked.
struct Server {
    name: String,
    process: Running,
    listen: SocketAddr,
    questions: Questions,
    cost: Sample,
}

impl Server {
    /// stayput's agent for this cluster.
    fn stayput(name: &str, node: &Node) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            process: Agent::start(node, Some(0))?.process,
            listen: node.dns,
            questions: Questions::write(node)?,
            cost: Sample::default(),
        })
    }

    /// Another server with the same names; `None` where the machine does not have it.
    fn other(name: &str, node: &Node, command: CommandOf) -> Result<Option<Self>> {
        let [port] = free_ports()?;
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let Some(command) = command(node, listen)? else {
            return Ok(None);
        };
        let log = node.path(&format!("{name}.log"));
        let mut process = Running::start(on_processor(0, command), &log)?;
        let mut asker = Asker::new(listen)?;
        let first = node.names().next().unwrap_or_default();
        eventually(&format!("{name} answers"), || {
            process.must_run()?;
            asker.look(&first)
        })?;
        Ok(Some(Self {
            name: name.to_owned(),
            process,
            listen,
            questions: Questions::write(node)?,
            cost: Sample::default(),
        }))
    }

    /// Has so many questions answered, and adds what one answer cost.
    fn measure(&mut self, questions: usize) -> Result {
        let before = self.process.processor_time()?;
        let answers = self.questions.ask(self.listen, questions)?;
        let after = self.process.processor_time()?;
        self.cost.add(after.saturating_sub(before) / answers);
        Ok(())
    }
}

/// All servers in turns, so many rounds; in each round each of them answers so many questions.
fn take_turns(servers: &mut [Server], rounds: usize, questions: usize) -> Result {
    for server in &mut *servers {
        // What is encoded at the first question is not what is measured.
        server
            .questions
            .ask(server.listen, 2 * server.questions.names)?;
    }
    for round in 0..rounds {
        for turn in 0..servers.len() {
            let next = (round + turn) % servers.len();
            servers[next].measure(questions)?;
        }
    }
    Ok(())
}

/// stayput among the others.
fn compare(rounds: usize, questions: usize, verdict: &mut Verdict) -> Result {
    let node = Node::with_names(NAMES)?;
    let mut servers = vec![Server::stayput("stayput", &node)?];
    for (name, command) in OTHERS {
        match Server::other(name, &node, command)? {
            Some(server) => servers.push(server),
            None => println!("{name} is not on this machine"),
        }
    }
    take_turns(&mut servers, rounds, questions)?;
    let ours = servers[0].cost.median();
    let row = |server: &Server| {
        let cost = &server.cost;
        vec![
            server.name.clone(),
            microseconds(cost.min()),
            microseconds(cost.median()),
            format!("{:.2}", ratio(cost.median(), ours)),
        ]
    };
    println!("\n{NAMES} names, {rounds} rounds of {questions} questions\n");
    let head = [
        "processor time of an answer, µs",
        "min",
        "median",
        "of stayput's",
    ];
    println!("{}\n", table(&head, servers.iter().map(row)));
    for server in &servers {
        let theirs = server.cost.median();
        let figure = format!("{:.2} of it", ratio(ours, theirs));
        match server.name.as_str() {
            "dnsmasq" => verdict.require(
                &format!("an answer costs no more than dnsmasq's ({figure})"),
                ours <= theirs,
            ),
            "nsd" => aim(&format!("less than nsd's ({figure})"), ours < theirs),
            _ => {}
        }
    }
    Ok(())
}

/// An answer among few names and among many.
fn grow(rounds: usize, questions: usize, verdict: &mut Verdict) -> Result {
    let mut nodes = Vec::new();
    for size in SIZES {
        nodes.push(Node::with_names(size)?);
    }
    let mut servers = Vec::new();
    for (size, node) in SIZES.iter().zip(&nodes) {
        servers.push(Server::stayput(&size.to_string(), node)?);
    }
    take_turns(&mut servers, rounds, questions)?;
    let row = |server: &Server| {
        let figures = [server.cost.min(), server.cost.median()].map(microseconds);
        [vec![server.name.clone()], figures.to_vec()].concat()
    };
    println!("\nstayput with few names and many, {rounds} rounds of {questions} questions\n");
    let head = ["names (processor time of an answer, µs)", "min", "median"];
    println!("{}\n", table(&head, servers.iter().map(row)));
    let [few, many] = [0, 1].map(|index: usize| servers[index].cost.median());
    let growth = ratio(many, few);
    verdict.require(
        &format!("ten thousand names cost an answer no more than ten do, but for the processor's caches ({growth:.2}, at most {GROWTH})"),
        growth <= GROWTH,
    );
    Ok(())
}

/// An apply on a node that has nothing yet, and one event in a running agent.
fn apply(verdict: &mut Verdict) -> Result {
    let mut applies = Vec::new();
    let mut events = Vec::new();
    for size in APPLIED {
        let mut sample = Sample::default();
        for _ in 0..APPLIES {
            let node = Node::with_names(size)?;
            let started = Instant::now();
            node.run(&["apply"])?;
            sample.add(started.elapsed());
        }
        applies.push(sample);
        let node = Node::with_names(size)?;
        let agent = Agent::start(&node, None)?;
        let mut sample = Sample::default();
        for host in (1..).take(APPLIES) {
            let started = Instant::now();
            agent.event("master-1", Ipv4Addr::new(127, 127, 0, host).into())?;
            sample.add(started.elapsed());
        }
        events.push(sample);
    }
    let rows = APPLIED.iter().zip(applies.iter().zip(&events));
    let rows = rows.map(|(size, (apply, event))| {
        let figures = [apply.min(), apply.median(), event.min(), event.median()];
        [vec![size.to_string()], figures.map(milliseconds).to_vec()].concat()
    });
    println!("\n{APPLIES} of each; files, zone and state, without HAProxy running\n");
    let head = ["names (ms)", "apply, min", "median", "event, min", "median"];
    println!("{}\n", table(&head, rows));
    for (what, samples) in [("an apply", &applies), ("an event", &events)] {
        for (index, pair) in samples.windows(2).enumerate() {
            let more = ratio(pair[1].median(), pair[0].median());
            let (from, to) = (APPLIED[index], APPLIED[index + 1]);
            verdict.require(
                &format!(
                    "{what} is linear from {from} to {to} names ({more:.1} times, at most {LINEAR})"
                ),
                more <= LINEAR,
            );
        }
    }
    Ok(())
}

/// This program again, as a loop that answers without looking.
fn bare(_: &Node, listen: SocketAddr) -> Result<Option<Command>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(BARE).arg(listen.to_string());
    Ok(Some(command))
}
