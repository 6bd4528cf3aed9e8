//! Three masters and two workers, each a network namespace with an agent and a process for peers, and with
//! nothing but the cluster file and certificates. Machines change their addresses, and nobody runs a command.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::issue::issue;
use crate::measured::measured;
use crate::namespace::Namespace;
use crate::node::Node;
use crate::support::{Process, STAYPUT, eventually, here, run, until};

/// Where each master is, by its label.
type Book = BTreeMap<String, String>;

const NAMES: [&str; 5] = ["master-1", "master-2", "master-3", "worker-1", "worker-2"];
const MASTERS: usize = 3;
const BEFORE: [u8; 5] = [11, 12, 13, 21, 22];

const CLUSTER: &str = "domain: prod.k8s.internal
endpoint: {name: api, port: 8443}
masters:
  - {name: master-1, address: 10.77.0.11}
  - {name: master-2, address: 10.77.0.12}
  - {name: master-3, address: 10.77.0.13}
dns: {listen: [\"127.0.0.1:53\"]}
haproxy: {reload: []}
";

const NO_MULTICAST: &str = "peers: {multicast: false}\n";

/// Two such clusters at a time would be too much for a small machine.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn possible() -> bool {
    here(true, &["ip", "unshare", "setpriv", "haproxy"])
}

/// A node, and where it is.
struct Member {
    // Ends before its namespace.
    peers: Option<Process>,
    node: Node,
    at: u8,
}

struct Lab {
    members: Vec<Member>,
    bridge: Namespace,
    folder: tempfile::TempDir,
}

fn address(last: u8) -> String {
    format!("10.77.0.{last}")
}

impl Lab {
    fn start() -> Self {
        Self::with("", 2)
    }

    /// With more in the cluster file, and so many workers that have joined.
    fn with(more: &str, joined: usize) -> Self {
        let cluster = format!("{CLUSTER}{more}");
        let folder = tempfile::tempdir().unwrap();
        let bridge = Namespace::bridge();
        let mut nodes: Vec<Node> = NAMES
            .into_iter()
            .zip(BEFORE)
            .map(|(name, at)| {
                let namespace = bridge.node(name, &address(at));
                Node::new(folder.path(), name, namespace, &cluster)
            })
            .collect();
        issue(&nodes[..MASTERS]);
        let read = |file: &str| nodes[0].read(&format!("etc/kubernetes/pki/{file}"));
        let (authority, key) = (read("ca.crt"), read("ca.key"));
        let (with, without) = nodes[MASTERS..].split_at(joined);
        for worker in with {
            join(worker, &authority, &key);
        }
        for worker in without {
            worker.write("etc/kubernetes/pki/ca.crt", &authority);
        }
        for node in &mut nodes {
            node.start_agent();
        }
        let members = nodes.into_iter().zip(BEFORE).map(|(node, at)| Member {
            peers: None,
            node,
            at,
        });
        let mut lab = Self {
            members: members.collect(),
            bridge,
            folder,
        };
        let begun = Instant::now();
        for member in &mut lab.members {
            member.start_peers();
        }
        lab.all_books_are_true("from nothing, until all hold three records", begun);
        lab
    }

    /// The power of all nodes fails; they come back together, where they are by now.
    fn comes_back(&mut self, moves: &[(usize, u8)]) {
        for member in &self.members {
            until("all others are known on disk", || {
                let path = member.node.path("var/lib/stayput/peers/members");
                let known = std::fs::read_to_string(path).unwrap_or_default();
                let mut others = NAMES.iter().filter(|name| **name != member.node.name);
                others.all(|name| known.contains(name))
            });
        }
        for member in &mut self.members {
            member.peers.as_mut().unwrap().kill();
            member.node.kill();
        }
        self.moves(moves);
        for member in &mut self.members {
            member.node.start_agent();
            member.start_peers();
        }
    }

    /// These members, by their number, are at these addresses now; all at once.
    fn moves(&mut self, moves: &[(usize, u8)]) -> Instant {
        for (member, at) in moves {
            self.members[*member].at = *at;
        }
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for (member, at) in moves {
                let namespace = &self.members[*member].node.namespace;
                scope.spawn(|| namespace.readdress(&address(*at)));
            }
        });
        self.forget_neighbours();
        begun
    }

    fn forget_neighbours(&self) {
        std::thread::scope(|scope| {
            for member in &self.members {
                scope.spawn(|| member.node.namespace.forget_neighbours());
            }
        });
    }

    /// Waits until the book of every node says where all masters are, by their own records; prints how
    /// long that took since `begun`.
    fn all_books_are_true(&mut self, what: &str, begun: Instant) {
        let all: Vec<usize> = (0..self.members.len()).collect();
        self.books_say(&all, &self.truth(), what);
        measured(&format!("peers: {what}"), begun.elapsed());
        for member in &mut self.members {
            member.node.must_run();
            member.peers.as_mut().unwrap().must_run();
        }
    }

    /// Waits until the books of these nodes say so.
    fn books_say(&self, nodes: &[usize], said: &Book, what: &str) {
        for node in nodes {
            let member = &self.members[*node];
            let name = &member.node.name;
            eventually(&format!("{what}: the book of {name} is {said:?}"), || {
                let book = member.book();
                if book == *said {
                    Ok(())
                } else {
                    Err(format!("{book:?}"))
                }
            });
        }
    }

    /// Where each master is.
    fn truth(&self) -> Book {
        let masters = self.members[..MASTERS].iter();
        let place = |member: &Member| (member.node.name.clone(), address(member.at));
        masters.map(place).collect()
    }

    /// Plugs these nodes into a bridge of the router's.
    fn plug(&self, nodes: &[usize], bridge: &str) {
        for node in nodes {
            let link = ["link", "set", NAMES[*node], "master", bridge];
            self.router(&link);
        }
    }

    fn router(&self, arguments: &[&str]) {
        run(Command::new("ip")
            .args(["-n", self.bridge.name()])
            .args(arguments))
        .good();
    }
}

/// What `kubeadm join` leaves on a worker that matters here: the authority, and the kubelet's certificate.
fn join(worker: &Node, authority: &str, key: &str) {
    let key = KeyPair::from_pem(key).unwrap();
    let issuer = Issuer::from_ca_cert_pem(authority, key).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let name = &mut params.distinguished_name;
    name.push(DnType::OrganizationName, "system:nodes");
    name.push(DnType::CommonName, format!("system:node:{}", worker.name));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = time::OffsetDateTime::now_utc() - Duration::from_mins(1);
    params.not_after = time::OffsetDateTime::now_utc() + Duration::from_hours(1000);
    let own = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&own, &issuer).unwrap();
    let folder = worker.path("var/lib/kubelet/pki");
    std::fs::create_dir_all(&folder).unwrap();
    let both = format!("{}{}", certificate.pem(), own.serialize_pem());
    std::fs::write(folder.join("kubelet-client-1.pem"), both).unwrap();
    let current = folder.join("kubelet-client-current.pem");
    std::os::unix::fs::symlink("kubelet-client-1.pem", current).unwrap();
    worker.write("etc/kubernetes/pki/ca.crt", authority);
}

impl Member {
    fn start_peers(&mut self) {
        let mut command = self.node.command(STAYPUT);
        let log = self.node.path("peers.log");
        let peers = Process::start(command.args(["peers", "run"]), &log);
        self.peers.insert(peers).ready();
    }

    /// Where the masters are by this node's book, by label; without those that have not said so themselves.
    fn book(&self) -> Book {
        let status = self.status();
        let masters = status["masters"].as_array().into_iter().flatten();
        let signed = masters.filter(|master| {
            let says = &master["record"]["addresses"];
            says == &master["addresses"] || master["origin"] == "record"
        });
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let place = |master: &Value| {
            let name = text(&master["name"]);
            let label = name.split('.').next().unwrap().to_owned();
            (label, text(&master["addresses"][0]))
        };
        signed.map(place).collect()
    }

    /// As the agent says it on its socket; null where it does not answer now.
    fn status(&self) -> Value {
        let ask = || -> std::io::Result<String> {
            let mut stream = UnixStream::connect(self.node.path("run/stayput/stayput.sock"))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = ask().unwrap_or_default();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_default()
    }

    /// Both processes of the node sleep, or wake up.
    /// Of the agent.
    fn pid(&self) -> Pid {
        let pid = self.status()["agent"]["pid"].as_i64().unwrap();
        Pid::from_raw(pid.try_into().unwrap()).unwrap()
    }

    /// Both processes of the node sleep, or wake up.
    fn signal(&self, agent: Pid, signal: Signal) {
        self.peers.as_ref().unwrap().signal(signal);
        kill_process(agent, signal).unwrap();
    }
}

#[test]
fn one_two_or_all_masters_move() {
    if !possible() {
        return;
    }
    let _turn = one_at_a_time();
    // By multicast it would be easier.
    let mut lab = Lab::with(NO_MULTICAST, 2);
    let begun = lab.moves(&[(0, 31)]);
    lab.all_books_are_true("one master moves", begun);
    let begun = lab.moves(&[(1, 32), (2, 33)]);
    lab.all_books_are_true("two masters move", begun);
    let begun = lab.moves(&[(0, 41), (1, 42), (2, 43)]);
    lab.all_books_are_true("all masters move at once, and no worker", begun);
    let begun = lab.moves(&[(0, 42), (1, 41)]);
    lab.all_books_are_true("two masters swap their addresses", begun);
}

#[test]
fn everybody_moves_at_once() {
    if !possible() {
        return;
    }
    let _turn = one_at_a_time();
    let mut lab = Lab::start();
    // Nobody is where anybody knows: only multicast is left.
    let begun = lab.moves(&[(0, 31), (1, 32), (2, 33), (3, 41), (4, 42)]);
    lab.all_books_are_true("all five nodes move at once", begun);
    let begun = lab.moves(&[(0, 51), (1, 52), (2, 53), (3, 61), (4, 62)]);
    lab.all_books_are_true("all five nodes move at once, again", begun);
}

#[test]
fn one_master_moves_ten_times_in_ten_seconds() {
    if !possible() {
        return;
    }
    let _turn = one_at_a_time();
    let mut lab = Lab::start();
    let begun = Instant::now();
    let mut last = begun;
    for turn in 0..10 {
        until("the next second", || {
            begun.elapsed() >= Duration::from_secs(turn)
        });
        last = lab.moves(&[(0, 100 + u8::try_from(turn).unwrap())]);
    }
    lab.all_books_are_true("after the last of ten moves in ten seconds", last);
}

#[test]
fn a_network_that_is_cut_in_two_heals() {
    if !possible() {
        return;
    }
    let _turn = one_at_a_time();
    let mut lab = Lab::start();
    lab.router(&["link", "add", "other", "type", "bridge"]);
    lab.router(&["link", "set", "other", "up"]);
    let before = lab.truth();
    lab.plug(&[0, 3], "other");
    lab.moves(&[(0, 31), (1, 32)]);
    let moved = lab.truth();
    // Each half knows its own.
    let with = |name: &str| {
        let mut book = before.clone();
        book.insert(name.to_owned(), moved[name].clone());
        book
    };
    lab.books_say(&[0, 3], &with("master-1"), "one half");
    lab.books_say(&[1, 2, 4], &with("master-2"), "the other half");
    lab.plug(&[0, 3], "bridge");
    lab.all_books_are_true("a cut network heals", Instant::now());
}

#[test]
fn a_node_sleeps_through_five_changes() {
    if !possible() {
        return;
    }
    let _turn = one_at_a_time();
    for sleeper in [4, 2] {
        let mut lab = Lab::start();
        let agent = lab.members[sleeper].pid();
        lab.members[sleeper].signal(agent, Signal::STOP);
        let awake: Vec<usize> = (0..5).filter(|node| *node != sleeper).collect();
        for turn in 0..5 {
            let at = 31 + u8::try_from(turn).unwrap();
            lab.moves(&[(turn % 2, at)]);
            lab.books_say(&awake, &lab.truth(), "while one sleeps");
        }
        lab.members[sleeper].signal(agent, Signal::CONT);
        let what = format!("{} wakes up after five changes", NAMES[sleeper]);
        lab.all_books_are_true(&what, Instant::now());
    }
}

#[test]
fn after_a_power_failure_all_come_back_elsewhere() {
    if !possible() {
        return;
    }
    let _turn = one_at_a_time();
    // All masters are elsewhere, and find the workers where they were.
    let mut lab = Lab::with(NO_MULTICAST, 2);
    lab.comes_back(&[(0, 31), (1, 32), (2, 33)]);
    lab.all_books_are_true("all masters come back elsewhere", Instant::now());
    drop(lab);
    let mut lab = Lab::start();
    lab.comes_back(&[(0, 31), (1, 32), (2, 33), (3, 41), (4, 42)]);
    lab.all_books_are_true("all nodes come back elsewhere", Instant::now());
}

#[test]
fn a_worker_without_a_certificate_hears_and_is_not_heard() {
    if !possible() {
        return;
    }
    let _turn = one_at_a_time();
    let mut lab = Lab::with("", 1);
    let begun = lab.moves(&[(0, 31)]);
    lab.all_books_are_true("a worker has no certificate, and hears multicast", begun);
    drop(lab);
    // Without multicast it pulls.
    let mut lab = Lab::with(NO_MULTICAST, 1);
    let begun = lab.moves(&[(0, 31)]);
    lab.all_books_are_true("a worker has no certificate, and pulls", begun);
    let log = lab.members[4].peers.as_ref().unwrap().log();
    assert!(log.contains("records are only pulled"), "{log}");
    assert!(!log.contains("taking part"), "{log}");
}

#[test]
fn garbage_on_the_link_moves_nothing_and_is_told_once() {
    if !here(true, &["ip", "unshare", "setpriv", "haproxy", "socat"]) {
        return;
    }
    let _turn = one_at_a_time();
    let mut lab = Lab::start();
    let stranger = lab.bridge.node("stranger", "10.77.0.99");
    let garbage = lab.members[0].node.path("garbage");
    // A thousand datagrams, each other bytes.
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|it| (it / 7 % 251) as u8).collect();
    std::fs::write(&garbage, bytes).unwrap();
    let mut socat = Command::new("ip");
    socat.args([
        "netns",
        "exec",
        stranger.name(),
        "socat",
        "-u",
        "-b",
        "1000",
    ]);
    socat.arg(format!("OPEN:{}", garbage.display()));
    socat.arg("UDP4-DATAGRAM:239.255.84.42:8442,ip-multicast-if=10.77.0.99");
    run(&mut socat).good();
    let begun = lab.moves(&[(0, 31), (1, 32)]);
    lab.all_books_are_true("two masters move, after a thousand lies", begun);
    for member in &lab.members {
        let log = member.peers.as_ref().unwrap().log();
        let told = log.matches("10.77.0.99 sends what is not taken").count();
        assert_eq!(told, 1, "{}: {log}", member.node.name);
    }
}

#[test]
fn what_was_away_or_damaged_catches_up() {
    if !possible() {
        return;
    }
    let _turn = one_at_a_time();
    let mut lab = Lab::start();
    // A node's agent is away while a master moves.
    let agent = lab.members[4].pid();
    kill_process(agent, Signal::TERM).unwrap();
    lab.moves(&[(0, 31)]);
    lab.books_say(&[0, 1, 2, 3], &lab.truth(), "where there is an agent");
    lab.members[4].node.start_agent();
    lab.all_books_are_true("an agent was away", Instant::now());
    // A node's records are damaged while its process is away.
    let member = &mut lab.members[3];
    let peers = member.peers.as_mut().unwrap();
    peers.signal(Signal::TERM);
    assert!(peers.end().success(), "{}", peers.log());
    let folder = "var/lib/stayput/peers";
    let known = member.node.read(&format!("{folder}/members"));
    assert!(known.contains("master-1.prod.k8s.internal"), "{known}");
    let records = member.node.path(folder).join("records");
    let good = std::fs::metadata(&records).unwrap().len();
    std::fs::write(&records, "stayput records 1\nnonsense").unwrap();
    member.start_peers();
    let damaged = member.node.path(folder).join("records.damaged");
    until("the file is set aside", || damaged.exists());
    until("the records are there again", || {
        std::fs::metadata(&records).is_ok_and(|file| file.len() == good)
    });
    let log = member.peers.as_ref().unwrap().log();
    assert!(log.contains("is damaged"), "{log}");
    let begun = lab.moves(&[(1, 32)]);
    lab.all_books_are_true("a master moves, after that", begun);
}

/// A clone of a master is started beside it, with the same keys.
#[test]
fn two_machines_of_one_name_speak_ever_more_rarely() {
    if !possible() {
        return;
    }
    let _turn = one_at_a_time();
    let mut lab = Lab::start();
    let namespace = lab.bridge.node("twin", "10.77.0.99");
    let folder = lab.folder.path().join("twin");
    let mut node = Node::new(&folder, NAMES[0], namespace, CLUSTER);
    for file in ["ca.crt", "stayput.crt", "stayput.key"] {
        let file = format!("etc/kubernetes/pki/{file}");
        std::fs::copy(lab.members[0].node.path(&file), node.path(&file)).unwrap();
    }
    node.start_agent();
    let mut twin = Member {
        peers: None,
        node,
        at: 99,
    };
    twin.start_peers();
    let log = |member: &Member| member.peers.as_ref().unwrap().log();
    until("one of them says that there are two", || {
        let logs = [log(&lab.members[0]), log(&twin)];
        logs.iter()
            .any(|log| log.contains("another machine speaks as"))
    });
    for member in [&lab.members[0], &twin] {
        let log = log(member);
        // At first, and then after 1 s, 2 s, 4 s and so on.
        let signed = log.matches("signed: ").count();
        assert!((1..20).contains(&signed), "{log}");
    }
    drop(twin);
    lab.all_books_are_true("a clone is turned off", Instant::now());
}
