//! Any number of nodes in virtual time: the state machine that real nodes run, over a network that is
//! drawn from a seed. Equal seeds lead to equal runs.
//!
//! A frame takes 1 to 20 ms, and may be lost for good. To somebody without a connection (none was used
//! for a minute, or one of the two moved) it takes five ways instead of one, as TCP and TLS 1.3 do, and
//! 250 ms for each address before the right one.

#![allow(dead_code, reason = "tests and the benchmark take what they need")]
#![allow(
    clippy::unwrap_used,
    reason = "a world that cannot be made fails the test"
)]
#![allow(clippy::allow_attributes, reason = "as above")]

pub(crate) mod ledger;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use stayput::name::Name;
use stayput::peers::gossip::{Gossip, Identity, Input, Ledger, NodeName, Output, Pace, Who};

use ledger::{Toy, record};

/// How long a connection is kept without use.
const IDLE: Duration = Duration::from_mins(1);
/// What an address costs at which nobody answers.
const IN_VAIN: Duration = Duration::from_millis(250);

/// A network with its nodes.
pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) nodes: Vec<Node>,
    pub(crate) masters: usize,
    /// Frames lost, of 1,000.
    pub(crate) loss: u32,
    /// Whether halves (even and odd numbers) are cut off from each other.
    pub(crate) cut: bool,
    /// Frames and bytes since this was last taken.
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    /// Versions that are watched, and when each node that has them all got the last.
    watched: Vec<(u32, u64)>,
    pub(crate) reached: Vec<Duration>,
    rng: SmallRng,
    events: BinaryHeap<Reverse<(Duration, u64)>>,
    happens: HashMap<u64, Event>,
    next: u64,
    links: HashMap<(usize, usize), Duration>,
    listening: HashMap<SocketAddr, usize>,
    numbers: BTreeMap<Who, usize>,
}

/// A node.
pub(crate) struct Node {
    pub(crate) gossip: Gossip<Toy>,
    pub(crate) ledger: Toy,
    pub(crate) at: SocketAddr,
    /// It neither hears nor does anything.
    pub(crate) asleep: bool,
    /// What it saw, but for what it sent.
    pub(crate) saw: Vec<Output>,
    keeps: bool,
    wakes: Option<Duration>,
    /// How often its connections were lost: frames of an earlier time do not arrive.
    times: u32,
}

enum Event {
    Wake(usize),
    Arrive {
        from: usize,
        to: usize,
        times: (u32, u32),
        frame: Vec<u8>,
    },
}

/// Where a node listens after so many moves.
fn place(number: usize, moves: u8) -> SocketAddr {
    let number = u32::try_from(number).unwrap();
    let ip = Ipv4Addr::from_bits((10 << 24 | u32::from(moves) << 16) + number + 1);
    (ip, 8442).into()
}

pub(crate) fn who(number: usize, masters: usize) -> Who {
    if number < masters {
        let name = format!("master-{}.prod.k8s.internal", number + 1);
        Who::Master(Name::parse(&name).unwrap())
    } else {
        Who::Worker(NodeName::parse(&format!("worker-{number}.example.com")).unwrap())
    }
}

pub(crate) fn rng(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}

impl World {
    /// Nodes that know each other and the masters' records, all started within the first second.
    pub(crate) fn new(nodes: usize, masters: usize, seed: u64) -> Self {
        let mut world = Self::of_strangers(nodes, masters, seed);
        let known: Vec<Identity> = world
            .nodes
            .iter()
            .map(|node| node.gossip.identity().clone())
            .collect();
        for number in 0..nodes {
            world.input(number, Input::Known(known.clone()));
        }
        world
    }

    /// Nodes that know nothing but the masters' records.
    pub(crate) fn of_strangers(nodes: usize, masters: usize, seed: u64) -> Self {
        let mut world = Self {
            now: Duration::ZERO,
            nodes: Vec::new(),
            masters,
            loss: 0,
            cut: false,
            frames: 0,
            bytes: 0,
            watched: Vec::new(),
            reached: Vec::new(),
            rng: rng(seed),
            events: BinaryHeap::new(),
            happens: HashMap::new(),
            next: 0,
            links: HashMap::new(),
            listening: HashMap::new(),
            numbers: BTreeMap::new(),
        };
        for number in 0..nodes {
            let own = who(number, masters);
            let at = place(number, 0);
            let identity = Identity::new(own.clone(), 1_000, vec![at]).unwrap();
            let start = Duration::from_micros(world.rng.random_range(0..1_000_000));
            let rng = SmallRng::from_rng(&mut world.rng);
            let mut ledger = Toy::default();
            for master in 0..masters {
                let there = place(master, 0);
                let record = record(u32::try_from(master).unwrap(), 1, there);
                ledger.offer(&record, &own);
            }
            world.nodes.push(Node {
                gossip: Gossip::new(identity, Pace::default(), rng, start),
                ledger,
                at,
                asleep: false,
                saw: Vec::new(),
                keeps: false,
                wakes: None,
                times: 0,
            });
            world.listening.insert(at, number);
            world.numbers.insert(own, number);
        }
        for number in 0..nodes {
            world.masters_by_ledger(number);
        }
        world
    }

    /// What these nodes see is kept for the test.
    pub(crate) fn keep(&mut self, number: usize) {
        self.nodes[number].keeps = true;
    }

    pub(crate) fn who(&self, number: usize) -> Who {
        self.nodes[number].gossip.identity().who().clone()
    }

    /// Hands something to a node, and does what it wants done.
    pub(crate) fn input(&mut self, number: usize, input: Input<'_>) {
        let now = self.now;
        let node = &mut self.nodes[number];
        let outputs = node.gossip.handle(input, &mut node.ledger, now);
        let mut news = false;
        for output in outputs {
            match output {
                Output::Send {
                    to,
                    addresses,
                    frame,
                } => self.send(number, &to, &addresses, frame),
                seen => {
                    news |= matches!(seen, Output::News { .. });
                    let node = &mut self.nodes[number];
                    if node.keeps {
                        node.saw.push(seen);
                    }
                }
            }
        }
        if news {
            self.news(number);
        }
        let node = &mut self.nodes[number];
        let deadline = node.gossip.deadline().map(|at| at.max(now));
        if deadline != node.wakes {
            node.wakes = deadline;
            if let Some(at) = deadline {
                self.at(at, Event::Wake(number));
            }
        }
    }

    fn news(&mut self, number: usize) {
        self.masters_by_ledger(number);
        if self.has_watched(number) {
            self.reached.push(self.now);
        }
    }

    fn has_watched(&self, number: usize) -> bool {
        let ledger = &self.nodes[number].ledger;
        let mut watched = self.watched.iter();
        watched.all(|(master, version)| ledger.version(*master) == *version)
    }

    /// From now on it is watched who has the present records of these masters.
    pub(crate) fn watch(&mut self, masters: &[usize]) {
        let present = |master: &usize| {
            let number = u32::try_from(*master).unwrap();
            (number, self.nodes[*master].ledger.version(number))
        };
        self.watched = masters.iter().map(present).collect();
        let all = 0..self.nodes.len();
        let have = all.filter(|number| self.has_watched(*number)).count();
        self.reached = vec![self.now; have];
    }

    /// What a node's own agent does with the records: it tells where the masters are.
    fn masters_by_ledger(&mut self, number: usize) {
        let places = self.nodes[number].ledger.places();
        let masters = places
            .filter_map(|(master, at)| match who(master as usize, self.masters) {
                Who::Master(name) => Some((name, vec![at])),
                Who::Worker(_) => None,
            })
            .collect();
        self.input(number, Input::Masters(masters));
    }

    fn send(&mut self, from: usize, to: &Who, addresses: &[SocketAddr], frame: Vec<u8>) {
        let Some(to) = self.numbers.get(to).copied() else {
            return;
        };
        let link = (from.min(to), from.max(to));
        let open = self.links.get(&link);
        let open = open.is_some_and(|used| self.now.saturating_sub(*used) < IDLE);
        let mut ways = 1;
        let mut delay = Duration::ZERO;
        if !open {
            let found = addresses
                .iter()
                .position(|at| self.listening.get(at) == Some(&to));
            let Some(before) = found.and_then(|before| u32::try_from(before).ok()) else {
                return;
            };
            delay += IN_VAIN * before;
            ways = 5;
        }
        for _ in 0..ways {
            delay += Duration::from_micros(self.rng.random_range(1_000..=20_000));
        }
        self.frames += 1;
        self.bytes += frame.len() as u64;
        let lost = self.rng.random_range(0..1_000) < self.loss;
        if !lost && !self.is_cut(from, to) {
            self.links.insert(link, self.now + delay);
            let times = (self.nodes[from].times, self.nodes[to].times);
            let arrives = Event::Arrive {
                from,
                to,
                times,
                frame,
            };
            self.at(self.now + delay, arrives);
        }
    }

    fn is_cut(&self, one: usize, other: usize) -> bool {
        self.cut && one % 2 != other % 2
    }

    fn at(&mut self, at: Duration, event: Event) {
        self.next += 1;
        self.happens.insert(self.next, event);
        self.events.push(Reverse((at, self.next)));
    }

    /// A frame that somebody made up arrives, over a connection that proves who he is.
    pub(crate) fn arrives(&mut self, from: usize, to: usize, frame: &[u8]) {
        let from = self.who(from);
        let bytes = frame;
        self.input(to, Input::Frame { from: &from, bytes });
    }

    /// The next thing happens, unless it is later than this.
    fn step(&mut self, until: Duration) -> bool {
        let due = self.events.peek().is_some_and(|next| next.0.0 <= until);
        let Some(Reverse((at, place))) = due.then(|| self.events.pop()).flatten() else {
            self.now = until;
            return false;
        };
        self.now = at;
        match self.happens.remove(&place) {
            Some(Event::Wake(number)) if self.nodes[number].asleep => {
                self.nodes[number].wakes = None;
            }
            Some(Event::Wake(number)) if self.nodes[number].wakes == Some(at) => {
                self.nodes[number].wakes = None;
                self.input(number, Input::Tick);
            }
            Some(Event::Arrive {
                from,
                to,
                times,
                frame,
            }) => {
                let same = times == (self.nodes[from].times, self.nodes[to].times);
                if same && !self.nodes[to].asleep && !self.is_cut(from, to) {
                    self.arrives(from, to, &frame);
                }
            }
            _ => {}
        }
        true
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
    }

    /// Time passes until something holds (looked at after each event), at most so much. The time that
    /// it took.
    pub(crate) fn until(
        &mut self,
        limit: Duration,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> Option<Duration> {
        let start = self.now;
        while !holds(self) {
            if !self.step(start + limit) {
                return None;
            }
        }
        Some(self.now.saturating_sub(start))
    }

    /// A master signs where it is. From now on it is watched who knows.
    pub(crate) fn signs(&mut self, master: usize) {
        let number = u32::try_from(master).unwrap();
        let own = self.who(master);
        let node = &mut self.nodes[master];
        let version = node.ledger.version(number) + 1;
        let record = record(number, version, node.at);
        node.ledger.offer(&record, &own);
        self.watch(&[master]);
        self.masters_by_ledger(master);
        self.input(master, Input::Tell(&record));
    }

    /// Nodes get other addresses, all at the same moment.
    pub(crate) fn move_at_once(&mut self, numbers: impl Iterator<Item = usize> + Clone) {
        for number in numbers.clone() {
            let before = self.nodes[number].at;
            let SocketAddr::V4(v4) = before else { return };
            let moves = v4.ip().octets()[1] + 1;
            let at = place(number, moves);
            self.listening.remove(&before);
            self.listening.insert(at, number);
            self.nodes[number].at = at;
            self.disconnect(number);
        }
        for number in numbers {
            let at = self.nodes[number].at;
            self.input(number, Input::Moved(vec![at]));
        }
    }

    pub(crate) fn moves(&mut self, number: usize) {
        self.move_at_once(number..=number);
    }

    fn disconnect(&mut self, number: usize) {
        self.nodes[number].times += 1;
        self.links
            .retain(|link, _| link.0 != number && link.1 != number);
    }

    pub(crate) fn sleeps(&mut self, number: usize) {
        self.nodes[number].asleep = true;
        self.disconnect(number);
    }

    pub(crate) fn wakes_up(&mut self, number: usize) {
        self.nodes[number].asleep = false;
        self.input(number, Input::Tick);
    }

    /// Whether all nodes hold the same.
    pub(crate) fn agree(&self) -> bool {
        let digest = self.nodes[0].ledger.digest();
        let mut nodes = self.nodes.iter();
        nodes.all(|node| node.ledger.digest() == digest)
    }

    /// Whether every node takes every other for present.
    pub(crate) fn all_know_all(&self) -> bool {
        let others = self.nodes.len() - 1;
        let mut nodes = self.nodes.iter();
        nodes.all(|node| node.gossip.members().count() == others)
    }
}
