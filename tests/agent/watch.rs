//! `GET /v1/watch`: waiting for the book to change.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::control::{curl, parts};
use crate::records::posted;
use crate::sandbox::{MASTERS, Sandbox};
use crate::support::{eventually, here, run};

/// How many may wait at a time.
const WATCHERS: usize = 8;

/// A request on its way.
struct Watcher {
    stream: UnixStream,
    heard: Vec<u8>,
}

impl Watcher {
    fn start(sandbox: &Sandbox, path: &str) -> Self {
        let mut stream = UnixStream::connect(sandbox.socket()).unwrap();
        stream.set_nonblocking(true).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let heard = Vec::new();
        Self { stream, heard }
    }

    /// Waits for another generation than this one.
    fn behind(sandbox: &Sandbox, generation: u64) -> Self {
        Self::start(sandbox, &format!("/v1/watch?generation={generation}"))
    }

    /// Status code and body, if the answer is there.
    fn answer(&mut self) -> Option<(u16, Value)> {
        match self.stream.read_to_end(&mut self.heard) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) => panic!("{error}"),
        }
        let text = String::from_utf8_lossy(&self.heard);
        let code = text.split(' ').nth(1).unwrap().parse().unwrap();
        let body = text.split("\r\n\r\n").nth(1).unwrap();
        Some((code, serde_json::from_str(body).unwrap()))
    }

    fn answered(mut self) -> (u16, Value) {
        eventually("an answer", || self.answer().ok_or_else(String::new))
    }
}

fn generation(sandbox: &Sandbox) -> u64 {
    sandbox.status()["generation"].as_u64().unwrap()
}

#[test]
fn it_tells_where_the_masters_are() {
    if !here(false, &["curl"]) {
        return;
    }
    let sandbox = Sandbox::new("master-1");
    let _agent = sandbox.agent();
    let (code, _, watched) = parts(curl(&sandbox, &[], "/v1/watch"));
    assert_eq!(code, 200);
    assert_eq!(watched["generation"], generation(&sandbox));
    let own = &watched["own"];
    assert_eq!(own["name"], "master-1.prod.k8s.internal");
    assert_eq!(own["addresses"], json!([MASTERS[0]]));
    assert_eq!(own["origin"], "cluster-file");
    assert!(own["version"].is_u64());
    let masters = watched["masters"].as_object().unwrap();
    assert_eq!(masters.len(), 3);
    let second = &masters["master-2.prod.k8s.internal"];
    assert_eq!(second["addresses"], json!([MASTERS[1]]));
    // Whoever knows another generation is behind, also one that is not there yet.
    for known in [0, 1, u64::MAX] {
        let path = format!("/v1/watch?generation={known}");
        assert_eq!(parts(curl(&sandbox, &[], &path)).2, watched);
    }
    for bad in [
        "?generation=",
        "?generation=-1",
        "?generation=x",
        "?since=1",
        "?",
    ] {
        let (code, _, body) = parts(curl(&sandbox, &[], &format!("/v1/watch{bad}")));
        assert_eq!(code, 400, "{bad}: {body}");
    }
    assert_eq!(parts(curl(&sandbox, &["-d", "{}"], "/v1/watch")).0, 405);
}

#[test]
fn a_worker_has_no_master_of_its_own() {
    if !here(false, &["curl"]) {
        return;
    }
    let sandbox = Sandbox::worker();
    let _agent = sandbox.agent();
    let (_, _, watched) = parts(curl(&sandbox, &[], "/v1/watch"));
    assert_eq!(watched["own"], Value::Null);
    assert_eq!(watched["masters"].as_object().unwrap().len(), 3);
}

#[test]
fn who_waits_is_answered_when_the_book_changes_and_only_so_many_wait() {
    let sandbox = Sandbox::new("master-1");
    let _agent = sandbox.agent();
    let known = generation(&sandbox);
    let one_more = 0..=WATCHERS;
    let mut waiting: Vec<_> = one_more.map(|_| Watcher::behind(&sandbox, known)).collect();
    // One of them is too many; that it is told proves that the others wait.
    let refused = eventually("a refusal", || {
        let answers = waiting.iter_mut().enumerate();
        let mut answers = answers.filter_map(|(index, it)| Some((index, it.answer()?)));
        answers.next().ok_or_else(String::new)
    });
    let (index, (code, body)) = refused;
    assert_eq!(code, 429, "{body}");
    assert!(body["error"].as_str().unwrap().contains("8 others wait"));
    drop(waiting.swap_remove(index));
    // They hold nobody up, and what changes nothing wakes nobody.
    sandbox.stayput(&["event", "master-1", MASTERS[0]]).good();
    assert!(waiting.iter_mut().all(|it| it.answer().is_none()));
    sandbox
        .stayput(&["event", "master-1", "127.77.0.91"])
        .good();
    for watcher in waiting {
        let (code, watched) = watcher.answered();
        assert_eq!(code, 200);
        assert!(watched["generation"].as_u64().unwrap() > known);
        assert_eq!(watched["own"]["addresses"], json!(["127.77.0.91"]));
        assert_eq!(watched["own"]["origin"], "event");
    }
}

/// What the agent runs in: a network of its own with one interface.
const NETWORK: &str = "ip link set lo up
    ip link add own type veth peer name other
    ip link set other up
    ip address add 10.77.0.21/24 dev own
    ip link set own up
    exec \"$@\"";

#[test]
fn an_address_of_the_own_interface_is_told_at_once_and_signed_afterwards() {
    if !here(true, &["ip", "unshare", "nsenter"]) {
        return;
    }
    let sandbox = Sandbox::new("master-1");
    let stayput = sandbox.command(&["run", "--own-interface", "own"]);
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-ec", NETWORK, "sh"]);
    command.arg(stayput.get_program()).args(stayput.get_args());
    let agent = sandbox.ready(&mut command);
    let own = || sandbox.status()["masters"][0].clone();
    assert_eq!(own()["addresses"], json!(["10.77.0.21"]));
    let mut known = generation(&sandbox);
    let mut next = |wanted: &Value| {
        eventually("the own master", || {
            let (_, watched) = Watcher::behind(&sandbox, known).answered();
            known = watched["generation"].as_u64().unwrap();
            let own = json!([watched["own"]["addresses"], watched["own"]["origin"]]);
            if own == *wanted {
                Ok(())
            } else {
                Err(own.to_string())
            }
        });
    };
    let pid = agent.pid().to_string();
    for change in ["del 10.77.0.21/24", "add 10.77.0.22/24"] {
        let mut command = Command::new("nsenter");
        command.args(["-t", &pid, "-n", "ip", "address"]);
        run(command.args(change.split(' ')).args(["dev", "own"])).good();
    }
    next(&json!([["10.77.0.22"], "interface"]));
    posted(&sandbox, &[("master-1", "10.77.0.22", 1_700_000_000)]);
    next(&json!([["10.77.0.22"], "record"]));
    // Somebody has signed something else with the same key: who waits learns that it is contradicted.
    posted(&sandbox, &[("master-1", "10.77.0.99", 2_000_000_000)]);
    next(&json!([["10.77.0.22"], "interface"]));
    assert_eq!(own()["record"]["addresses"], json!(["10.77.0.99"]));
    posted(&sandbox, &[("master-1", "10.77.0.22", 2_000_000_001)]);
    next(&json!([["10.77.0.22"], "record"]));
    assert_eq!(sandbox.status()["conflicts"], json!([]));
}

#[test]
fn who_hangs_up_makes_room() {
    let sandbox = Sandbox::worker();
    let _agent = sandbox.agent();
    let known = generation(&sandbox);
    for _ in 0..3 {
        let many: Vec<_> = (0..WATCHERS)
            .map(|_| Watcher::behind(&sandbox, known))
            .collect();
        drop(many);
    }
    eventually("there is room", || {
        let mut watcher = Watcher::behind(&sandbox, known);
        // One that waits is not answered before the book changes.
        sandbox.status();
        std::thread::sleep(Duration::from_millis(20));
        match watcher.answer() {
            None => Ok(()),
            Some((code, _)) => Err(code.to_string()),
        }
    });
}

#[test]
fn an_agent_that_stops_lets_them_go() {
    let sandbox = Sandbox::worker();
    let mut agent = sandbox.agent();
    let known = generation(&sandbox);
    let one_more = 0..=WATCHERS;
    let mut waiting: Vec<_> = one_more.map(|_| Watcher::behind(&sandbox, known)).collect();
    let refused = eventually("a refusal", || {
        let refused = waiting.iter_mut().position(|it| it.answer().is_some());
        refused.ok_or_else(String::new)
    });
    drop(waiting.swap_remove(refused));
    agent.signal(Signal::TERM);
    for watcher in waiting {
        let (code, body) = watcher.answered();
        assert_eq!(code, 503, "{body}");
    }
    assert_eq!(agent.end().code(), Some(0), "{}", agent.log());
}
