//! From an address change to all three surfaces: hosts file, DNS, HAProxy.
//!
//! ```sh
//! cargo bench --bench event [-- --changes 100]
//! ```
//!
//! Beside stayput runs what one would otherwise build: a hosts file that dnsmasq serves and reads
//! again on SIGHUP, and an HAProxy that is reloaded with SIGUSR2. Both write their files with the
//! same careful writer, both run a real HAProxy on the same configuration, and both are done when
//! the hosts file is on the disk, a DNS answer over UDP shows the new address, and the HAProxy
//! process that answers says it too.
//!
//! A third contender does nothing but write and fsync as many files as stayput does. All three take
//! turns in small batches, so that whatever else the machine does meets all of them.

mod lab;

use std::fs::{self, File};
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use stayput::file;
use stayput::root::Root;

use lab::agent::Agent;
use lab::figures::{Sample, milliseconds, ratio, table};
use lab::haproxy::{Haproxy, be_master};
use lab::node::{DOMAIN, Node};
use lab::process::{Running, find};
use lab::question::Asker;
use lab::servers::{self, DNSMASQ_HOSTS};
use lab::verdict::{Verdict, aim, exit_code};
use lab::{Result, argument, eventually, machine, scratch};

/// Changes that one contender makes before it is the next one's turn.
const BATCH: usize = 10;
/// Changes that are traced, to count their fsyncs.
const TRACED: usize = 10;
/// What stayput may need beside its writing to the disk, if all goes well.
const BEYOND_DISK: Duration = Duration::from_millis(1);
/// The master that moves, and where it goes.
const MOVING: &str = "master-1";
const PLACES: [Ipv4Addr; 4] = [
    Ipv4Addr::new(127, 77, 1, 1),
    Ipv4Addr::new(127, 77, 1, 2),
    Ipv4Addr::new(127, 77, 1, 3),
    Ipv4Addr::new(127, 77, 1, 4),
];
/// The masters that stay.
const OTHERS: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 77, 2, 1), Ipv4Addr::new(127, 77, 3, 1)];

fn main() -> ExitCode {
    exit_code(run)
}

fn run() -> Result<Verdict> {
    let changes = argument("--changes", 1000)?;
    machine::describe(&[("haproxy", "-v"), ("dnsmasq", "-v")]);
    let syncs = syncs_of_an_event()?;
    let (node, other_node, folder) = (cluster()?, cluster()?, scratch()?);
    let mut stayput = Stayput::start(&node)?;
    let mut reloading = Reloading::start(&other_node)?;
    let mut samples: [Sample; 3] = Default::default();
    // The first place is where the master is already.
    let mut places = PLACES.into_iter().cycle().skip(1);
    // One batch to warm up, which does not count.
    let batches = std::iter::once(BATCH).chain(batches(changes));
    for (number, batch) in batches.enumerate() {
        let places: Vec<Ipv4Addr> = places.by_ref().take(batch).collect();
        // Nobody always follows the same one.
        for turn in 0..samples.len() {
            let contender = (number + turn) % samples.len();
            let sample = &mut samples[contender];
            for place in &places {
                let started = Instant::now();
                match contender {
                    0 => stayput.change(*place)?,
                    1 => reloading.change(*place)?,
                    _ => write_barely(folder.path(), syncs / 2)?,
                }
                sample.add(started.elapsed());
                reloading.haproxy.settle()?;
            }
        }
        if number == 0 {
            samples = Default::default();
        }
    }
    machine::load();
    Ok(judge(&samples, syncs))
}

/// Prints the figures and what they mean.
fn judge([ours, theirs, disk]: &[Sample; 3], syncs: usize) -> Verdict {
    let contenders = [
        ("stayput", ours),
        ("dnsmasq SIGHUP and HAProxy reload", theirs),
        ("bare file work of as many fsyncs", disk),
    ];
    let rows = contenders.map(|(name, sample)| {
        let figures = [sample.min(), sample.median(), sample.percentile(99)];
        let figures = figures.map(milliseconds);
        [vec![name.to_owned()], figures.to_vec()].concat()
    });
    println!(
        "\n{} changes, {syncs} fsyncs in each of stayput's\n",
        ours.len()
    );
    let head = ["event to all surfaces, ms", "min", "median", "p99"];
    println!("{}\n", table(&head, rows));
    let mut verdict = Verdict::default();
    let median = ratio(ours.median(), theirs.median());
    verdict.require(
        &format!("median at most half of the other's ({median:.3} of it)"),
        median <= 0.5,
    );
    let late = ratio(ours.percentile(99), theirs.percentile(99));
    verdict.require(
        &format!("p99 at most half of the other's ({late:.3} of it)"),
        late <= 0.5,
    );
    let beyond = ours.median().saturating_sub(disk.median());
    aim(
        &format!(
            "the fsyncs and one millisecond ({} ms beyond them)",
            milliseconds(beyond)
        ),
        beyond <= BEYOND_DISK,
    );
    verdict
}

/// A cluster of three masters that take connections.
fn cluster() -> Result<Node> {
    let node = Node::new([&PLACES[..1], &OTHERS[..]].concat(), true)?;
    for address in PLACES.into_iter().chain(OTHERS) {
        be_master(address, node.api_port)?;
    }
    Ok(node)
}

fn batches(changes: usize) -> impl Iterator<Item = usize> {
    let whole = std::iter::repeat_n(BATCH, changes / BATCH);
    whole.chain(Some(changes % BATCH).filter(|rest| *rest > 0))
}

/// stayput's agent with its HAProxy.
struct Stayput<'n> {
    agent: Agent<'n>,
    haproxy: Haproxy<'n>,
    asker: Asker,
}

impl<'n> Stayput<'n> {
    fn start(node: &'n Node) -> Result<Self> {
        Ok(Self {
            haproxy: Haproxy::start(node)?,
            agent: Agent::start(node, None)?,
            asker: Asker::new(node.dns)?,
        })
    }

    /// The answer to an event comes when files are fsynced; the rest is seen from outside.
    fn change(&mut self, place: Ipv4Addr) -> Result {
        self.agent.event(MOVING, place.into())?;
        self.asker.until(&format!("{MOVING}.{DOMAIN}"), place)?;
        self.haproxy.until(MOVING, place)
    }
}

/// dnsmasq and HAProxy, both made to read their files again.
struct Reloading<'n> {
    root: Root,
    node: &'n Node,
    place: Ipv4Addr,
    dnsmasq: Running,
    haproxy: Haproxy<'n>,
    asker: Asker,
}

impl<'n> Reloading<'n> {
    fn start(node: &'n Node) -> Result<Self> {
        let haproxy = Haproxy::start(node)?;
        let dnsmasq = servers::dnsmasq(node, node.dns)?;
        let dnsmasq = dnsmasq.ok_or("install dnsmasq-base: this benchmark needs it")?;
        let mut reloading = Self {
            root: Root::open(node.root())?,
            node,
            place: PLACES[0],
            dnsmasq: Running::start(dnsmasq, &node.path("dnsmasq.log"))?,
            haproxy,
            asker: Asker::new(node.dns)?,
        };
        let Self { dnsmasq, asker, .. } = &mut reloading;
        eventually("dnsmasq answers", || {
            dnsmasq.must_run()?;
            asker.look(&format!("{MOVING}.{DOMAIN}"))
        })?;
        Ok(reloading)
    }

    fn change(&mut self, place: Ipv4Addr) -> Result {
        let name = format!("{MOVING}.{DOMAIN}");
        let (old, new) = (self.place, place);
        self.edit(
            DNSMASQ_HOSTS,
            &format!("{old} {name}\n"),
            &format!("{new} {name}\n"),
        )?;
        self.dnsmasq.signal(Signal::HUP)?;
        let server = |place| format!("server {MOVING} {place}:");
        self.edit(lab::haproxy::FILE, &server(old), &server(new))?;
        self.haproxy.process.signal(Signal::USR2)?;
        self.place = place;
        self.asker.until(&name, place)?;
        self.haproxy.until(MOVING, place)
    }

    fn edit(&self, path: &str, old: &str, new: &str) -> Result {
        let text = fs::read_to_string(self.node.path(path))?;
        let edited = text.replacen(old, new, 1);
        if file::replace(&self.root, Path::new(path), edited.as_bytes(), 0o644)? {
            return Ok(());
        }
        Err(format!("{path} does not hold '{old}'").into())
    }
}

/// What cannot be left out when files are replaced safely: write, fsync, rename, fsync the folder.
fn write_barely(folder: &Path, files: usize) -> Result {
    for number in 0..files {
        let temporary = folder.join("temporary");
        let mut file = File::create(&temporary)?;
        file.write_all(&[b'x'; 1024])?;
        file.sync_all()?;
        fs::rename(&temporary, folder.join(number.to_string()))?;
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// How often one event fsyncs, counted by strace in an agent of its own.
fn syncs_of_an_event() -> Result<usize> {
    let strace = find("strace").ok_or("install strace: this benchmark counts fsyncs with it")?;
    let (node, folder) = (cluster()?, scratch()?);
    let mut stayput = Stayput::start(&node)?;
    let trace = folder.path().join("trace");
    let mut command = Command::new(strace);
    command.args(["-f", "-e", "trace=fsync,fdatasync,sync_file_range", "-o"]);
    command
        .arg(&trace)
        .arg("-p")
        .arg(stayput.agent.process.pid().to_string());
    let mut strace = Running::start(command, &node.path("strace.log"))?;
    eventually("strace is attached", || {
        strace.must_run()?;
        Ok(stayput.agent.process.is_traced()?.then_some(()))
    })?;
    for place in PLACES.into_iter().cycle().skip(1).take(TRACED) {
        stayput.change(place)?;
    }
    drop(strace);
    let lines = fs::read_to_string(trace)?;
    // A call that is interrupted in the trace has a second line, without the parenthesis.
    let calls = lines.lines().filter(|line| line.contains("sync(")).count();
    match (calls / TRACED, calls % TRACED) {
        (0, _) => Err("the agent did not fsync at all".into()),
        (each, 0) => Ok(each),
        _ => Err(format!("{TRACED} events made {calls} fsyncs:\n{lines}").into()),
    }
}
