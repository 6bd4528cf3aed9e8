//! Nodes that tell each other, in virtual time: what they send at rest, and how long one change takes.
//!
//! ```sh
//! cargo bench --bench gossip [-- --nodes 500 --changes 20 --seed 1]
//! ```
//!
//! The state machine is the one that real nodes run; the network is drawn from a seed (`tests/gossip`
//! says how). Equal arguments print equal tables.

#[path = "../tests/gossip/mod.rs"]
mod gossip;
mod lab;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use gossip::World;
use lab::figures::{Sample, table};
use lab::verdict::{Verdict, exit_code};
use lab::{Result, argument};

const MASTERS: usize = 3;
/// Until nobody asks for members any more than now and then.
const SETTLES: Duration = Duration::from_mins(10);
const REST: Duration = Duration::from_mins(2);
const CUT: Duration = Duration::from_mins(1);
/// What all nodes need at most, where one frame of a hundred is lost.
const AIM: Duration = Duration::from_secs(2);
/// A change that takes longer than this never arrives.
const PATIENCE: Duration = Duration::from_mins(2);

fn main() -> ExitCode {
    exit_code(run)
}

fn run() -> Result<Verdict> {
    let nodes = argument("--nodes", 5_000)?;
    let changes = argument("--changes", 20)?;
    let seed = argument("--seed", 1)? as u64;
    let start = Instant::now();
    let mut verdict = Verdict::default();
    println!("{nodes} nodes, {MASTERS} of them masters, seed {seed}\n");

    let mut world = World::new(nodes, MASTERS, seed);
    world.pass(SETTLES);
    at_rest(&mut world);

    let mut rows = Vec::new();
    for loss in [0, 10, 100] {
        world.loss = loss;
        let change = changed(&mut world, changes)?;
        if loss == 10 {
            let slowest = change.all.percentile(100);
            let what = format!("the slowest of all changes within {AIM:?} at 1 % loss");
            verdict.require(&what, slowest <= AIM);
        }
        rows.push(change.row(&format!("{} % lost", loss / 10)));
        world.loss = 0;
        world.pass(Duration::from_secs(30));
    }
    let head = [
        "seconds, median / slowest",
        "half",
        "99 %",
        "all",
        "kB for each node",
    ];
    println!("\n{}\n", table(&head, rows));

    world.loss = 10;
    let healed = cut(&mut world)?.row("after a cut, 1 % lost");
    println!("{}", table(&head, [healed]));
    println!(
        "\n{:.0} s of this machine's time",
        start.elapsed().as_secs_f64()
    );
    Ok(verdict)
}

#[expect(clippy::cast_precision_loss, reason = "figures with two decimals")]
fn at_rest(world: &mut World) {
    (world.frames, world.bytes) = (0, 0);
    world.pass(REST);
    let each = world.nodes.len() as f64 * REST.as_secs_f64();
    let row = vec![
        "at rest".to_owned(),
        format!("{:.2}", world.frames as f64 / each),
        format!("{:.0}", world.bytes as f64 / each),
    ];
    let head = ["for each node and second", "frames", "bytes"];
    println!("{}\n", table(&head, [row]));
}

/// How long changes took.
#[derive(Default)]
struct Changes {
    half: Sample,
    most: Sample,
    all: Sample,
    kilobytes: f64,
}

impl Changes {
    /// Waits until all nodes have what is watched, and ten seconds more for what is still sent.
    #[expect(clippy::cast_precision_loss, reason = "figures with one decimal")]
    fn watch(&mut self, world: &mut World, start: Duration) -> Result {
        let nodes = world.nodes.len();
        world
            .until(PATIENCE, |world| world.reached.len() == nodes)
            .ok_or_else(|| format!("only {} of {nodes} learnt it", world.reached.len()))?;
        let at =
            |part: usize| world.reached[(nodes * part).div_ceil(100) - 1].saturating_sub(start);
        self.half.add(at(50));
        self.most.add(at(99));
        self.all.add(at(100));
        world.pass(Duration::from_secs(10));
        self.kilobytes += world.bytes as f64 / 1e3 / nodes as f64;
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "figures with one decimal")]
    fn row(&self, name: &str) -> Vec<String> {
        let both = |sample: &Sample| {
            let [median, slowest] = [sample.median(), sample.percentile(100)];
            format!("{:.2} / {:.2}", median.as_secs_f64(), slowest.as_secs_f64())
        };
        vec![
            name.to_owned(),
            both(&self.half),
            both(&self.most),
            both(&self.all),
            format!("{:.1}", self.kilobytes / self.all.len() as f64),
        ]
    }
}

/// One master after the other gets another address and signs it.
fn changed(world: &mut World, changes: usize) -> Result<Changes> {
    let mut took = Changes::default();
    for change in 0..changes {
        (world.frames, world.bytes) = (0, 0);
        let start = world.now;
        world.moves(change % MASTERS);
        world.signs(change % MASTERS);
        took.watch(world, start)?;
    }
    Ok(took)
}

/// Both halves are cut off from each other, change a master each, and come together. From the moment
/// when the cut heals.
fn cut(world: &mut World) -> Result<Changes> {
    world.cut = true;
    world.pass(CUT / 2);
    for master in [0, 1] {
        world.moves(master);
        world.signs(master);
    }
    world.pass(CUT / 2);
    world.cut = false;
    world.watch(&[0, 1]);
    (world.frames, world.bytes) = (0, 0);
    let mut took = Changes::default();
    took.watch(world, world.now)?;
    Ok(took)
}
