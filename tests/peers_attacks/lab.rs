//! The nodes: what they are, where they listen, and what their books say.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::authority::{Authority, Leaf, Pair};
use crate::book::{asks, places};
use crate::masters;
use crate::measured::measured;
use crate::sandbox::Sandbox;
use crate::support::{Process, eventually};

/// Where nodes listen.
pub(crate) const PORT: u16 = 8442;
pub(crate) const MASTERS: usize = 3;

/// Where each master is, by its name.
pub(crate) type Book = BTreeMap<String, String>;

/// Two such clusters at a time would be too much for a small machine.
pub(crate) fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A node with its agent and its process for peers.
pub(crate) struct Member {
    // These end before the folder does.
    pub(crate) peers: Process,
    pub(crate) agent: Process,
    pub(crate) node: Sandbox,
    pub(crate) name: String,
    /// Where it can be reached without anybody between.
    pub(crate) listens: SocketAddr,
}

/// How a cluster differs from one whose nodes reach each other.
#[derive(Clone, Copy, Default)]
pub(crate) struct Plan {
    /// Masters do not listen where they say that they are: whoever is there may be in the middle.
    pub(crate) hidden: bool,
    /// One more worker, which has no certificate.
    pub(crate) unjoined: bool,
}

pub(crate) struct Lab {
    /// Masters first.
    pub(crate) members: Vec<Member>,
    /// One without a certificate.
    pub(crate) unjoined: Option<Member>,
    pub(crate) authority: Authority,
    /// `127.A.B.`, nobody else's.
    pub(crate) network: String,
    /// Which of its two addresses each master has.
    turns: [bool; MASTERS],
    /// How often one has moved.
    pub(crate) moves: usize,
}

/// The last parts of a master's two addresses, and of the one where it listens if it is hidden.
fn lasts(master: usize) -> [usize; 3] {
    [11 + master, 31 + master, 111 + master]
}

impl Lab {
    pub(crate) fn start(plan: Plan) -> Self {
        let addresses = masters::addresses();
        let network = addresses[0].strip_suffix("11").unwrap().to_owned();
        let mut nodes = masters::cluster_at(MASTERS, &addresses);
        let authority = Authority::of(&nodes[0]);
        for (number, joined) in [(1, true), (2, false)] {
            if joined || plan.unjoined {
                let worker = masters::node(&format!("worker-{number}"), &addresses);
                let ca = "etc/kubernetes/pki/ca.crt";
                worker.write(ca, &nodes[0].read(ca));
                if joined {
                    join(&worker, &authority);
                }
                nodes.push(worker);
            }
        }
        let mut members = Vec::new();
        for (number, node) in nodes.into_iter().enumerate() {
            let listen: Vec<String> = match lasts(number) {
                _ if number >= MASTERS => vec![format!("{network}{}", 21 + number)],
                [_, _, hidden] if plan.hidden => vec![format!("{network}{hidden}")],
                [one, other, _] => vec![format!("{network}{one}"), format!("{network}{other}")],
            };
            members.push(Member::start(node, &listen));
        }
        let unjoined = if plan.unjoined { members.pop() } else { None };
        Self {
            members,
            unjoined,
            authority,
            network,
            turns: [false; MASTERS],
            moves: 0,
        }
    }

    /// Waits until every book has every master by its own record.
    pub(crate) fn settled(mut self) -> Self {
        let begun = Instant::now();
        self.all_books_are_true("from nothing, until all hold three records", begun);
        self
    }

    /// Where a master says that it is, and where it says that it is after its next move.
    pub(crate) fn places(&self, master: usize) -> [SocketAddr; 2] {
        let [one, other, _] = lasts(master);
        [one, other].map(|last| self.address(last))
    }

    fn address(&self, last: usize) -> SocketAddr {
        let text = format!("{}{last}:{PORT}", self.network);
        text.parse().unwrap()
    }

    /// The pair by which a master speaks.
    pub(crate) fn pair(&self, master: usize) -> Pair {
        let read = |kind: &str| {
            let node = &self.members[master].node;
            node.read(&format!("etc/kubernetes/pki/stayput.{kind}"))
        };
        Pair {
            certificate: read("crt"),
            key: read("key"),
        }
    }

    /// The bytes of the record by which a master is where it is, and its version.
    pub(crate) fn record(&self, master: usize) -> (Vec<u8>, u64) {
        let records = self.members[0].records();
        let name = &self.members[master].name;
        let mut records = records.as_array().unwrap().iter();
        let own = records.find(|it| it["master"] == **name).unwrap();
        let bytes = STANDARD.decode(own["record"].as_str().unwrap()).unwrap();
        (bytes, own["version"].as_u64().unwrap())
    }

    /// The next master moves, and says so itself.
    pub(crate) fn moves_one(&mut self) {
        let master = self.moves % MASTERS;
        self.moves += 1;
        self.turns[master] = !self.turns[master];
        let member = &self.members[master];
        let to = self.truth()[&member.name].clone();
        let label = format!("master-{}", master + 1);
        member.node.stayput(&["event", &label, &to]).good();
    }

    /// A master moves, and every book has it.
    pub(crate) fn a_change_arrives(&mut self, what: &str) {
        let begun = Instant::now();
        self.moves_one();
        self.all_books_are_true(what, begun);
    }

    /// Waits until the book of every node says where all masters are, by their own records; prints how
    /// long that took since `begun`. In a sandbox a worker does not know its own address, and nobody can dial
    /// it: after a master has moved it may be the worker's turn to call, half a minute later.
    pub(crate) fn all_books_are_true(&mut self, what: &str, begun: Instant) {
        let truth = self.truth();
        for member in &mut self.members {
            member.peers.must_run();
            member.agent.must_run();
            member.says(&truth, what);
            println!("{} has it after {:?}", member.name, begun.elapsed());
        }
        measured(&format!("peers: {what}"), begun.elapsed());
    }

    /// Where each master is.
    pub(crate) fn truth(&self) -> Book {
        let place = |master: usize| {
            let at = self.places(master)[usize::from(self.turns[master])];
            (self.members[master].name.clone(), at.ip().to_string())
        };
        (0..MASTERS).map(place).collect()
    }
}

/// What `kubeadm join` leaves on a worker that matters here, beside the authority.
fn join(worker: &Sandbox, authority: &Authority) {
    let folder = "var/lib/kubelet/pki";
    let pair = authority.issue(&Leaf::node("worker-1"));
    worker.write(&format!("{folder}/kubelet-client-1.pem"), &pair.together());
    let current = worker.path(&format!("{folder}/kubelet-client-current.pem"));
    std::os::unix::fs::symlink("kubelet-client-1.pem", current).unwrap();
}

impl Member {
    fn start(node: Sandbox, listen: &[String]) -> Self {
        let label = node.read("etc/hostname").trim().to_owned();
        let name = if label.starts_with("master") {
            format!("{label}.{}", masters::DOMAIN)
        } else {
            label
        };
        let text = node.read("etc/stayput/cluster.yaml");
        let more = format!(
            "peers: {{listen: [{}], multicast: false}}\n",
            listen.join(", ")
        );
        node.write_cluster(&(text + &more));
        let agent = node.agent();
        let mut command = node.command(&["peers", "run"]);
        let mut peers = Process::start(&mut command, &node.path("peers.log"));
        peers.ready();
        Self {
            listens: format!("{}:{PORT}", listen[0]).parse().unwrap(),
            peers,
            agent,
            node,
            name,
        }
    }

    pub(crate) fn is_master(&self) -> bool {
        self.name.starts_with("master-")
    }

    /// Waits until the book says so.
    pub(crate) fn says(&self, said: &Book, what: &str) {
        eventually(
            &format!("{what}: the book of {} is {said:?}", self.name),
            || {
                let book = self.book();
                if book == *said {
                    Ok(())
                } else {
                    Err(format!("{book:?}"))
                }
            },
        );
    }

    /// Where the masters are by this node's book; without those that have not said so themselves.
    pub(crate) fn book(&self) -> Book {
        places(&self.asks("stayput", "/v1/status")).collect()
    }

    /// All records that it holds, as its process lists them.
    pub(crate) fn records(&self) -> Value {
        self.asks("peers", "/v1/records")["records"].clone()
    }

    /// As it is said on one of its sockets; null where nobody answers now.
    pub(crate) fn asks(&self, socket: &str, path: &str) -> Value {
        let socket = self.node.path(&format!("run/stayput/{socket}.sock"));
        asks(&socket, path)
    }
}
