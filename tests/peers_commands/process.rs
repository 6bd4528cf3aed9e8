//! The commands and the control socket where the process runs: two masters on loopback, each with an agent
//! and a process for peers.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use crate::masters::{addresses, at, cluster_at, json, master, shown};
use crate::sandbox::Sandbox;
use crate::support::{Process, eventually, here, run, until};

/// Where figures are shown, on each master's own address.
const METRICS: u16 = 9442;

pub(crate) struct Running {
    pub(crate) node: Sandbox,
    address: String,
    // These end before the folder does.
    pub(crate) peers: Option<Process>,
    agent: Option<Process>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop((self.peers.take(), self.agent.take()));
    }
}

impl Running {
    pub(crate) fn start(node: Sandbox, address: &str) -> Self {
        let text = node.read("etc/stayput/cluster.yaml");
        let more = format!(
            "peers: {{listen: [{address}], multicast: false, metrics: \"{address}:{METRICS}\"}}\n"
        );
        node.write_cluster(&(text + &more));
        let agent = Some(node.agent());
        let mut running = Self {
            node,
            address: address.to_owned(),
            peers: None,
            agent,
        };
        running.start_peers();
        running
    }

    fn start_peers(&mut self) {
        let mut command = self.node.command(&["peers", "run"]);
        self.peers = Some(Process::start(&mut command, &self.node.path("peers.log")));
    }

    /// Asks the control socket by curl: code and body.
    fn ask(&self, arguments: &[&str], path: &str) -> (u16, String) {
        let socket = self.node.path("run/stayput/peers.sock");
        let socket = socket.display().to_string();
        curl(
            &[&["--unix-socket", &socket], arguments].concat(),
            &format!("http://stayput{path}"),
        )
    }

    /// Waits until `peers` shows something.
    pub(crate) fn lists(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || {
            let said = self.node.stayput(&["peers", "--output", "json"]);
            let listed: Value = serde_json::from_str(&said.out).map_err(|_| format!("{said:?}"))?;
            if said.code == 0 && holds(&listed) {
                Ok(listed)
            } else {
                Err(format!("{listed:#}"))
            }
        })
    }
}

/// Code and body.
fn curl(arguments: &[&str], url: &str) -> (u16, String) {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-m", "30", "-w", "\n%{http_code}"]);
    let said = run(curl.args(arguments).arg(url)).good();
    let (body, code) = said.rsplit_once('\n').unwrap();
    (code.parse().unwrap(), body.to_owned())
}

/// Two masters that have heard each other.
pub(crate) fn two() -> [Running; 2] {
    let addresses = addresses();
    let mut nodes = cluster_at(2, &addresses).into_iter();
    let both = [0, 1].map(|at| Running::start(nodes.next().unwrap(), &addresses[at]));
    for (own, other) in [(0, 2), (1, 1)] {
        both[own].lists("each other's records", |listed| {
            let members = listed["peers"]["members"].as_array().unwrap();
            let name = master(other);
            let member = members.iter().find(|it| it["name"] == name.as_str());
            member.is_some_and(|it| it["state"] == "up")
                && listed["records"].as_array().unwrap().len() == 2
        });
    }
    both
}

#[test]
fn what_one_master_is_told_the_other_has() {
    if !here(false, &["curl"]) {
        return;
    }
    let [mut first, second] = two();
    let text = first.node.stayput(&["peers"]).good();
    assert!(
        text.starts_with("master master-1.prod.k8s.internal\n"),
        "{text}"
    );
    assert!(text.contains("the agent answers"), "{text}");
    assert!(text.contains(&first.address), "{text}");
    let status = first.node.stayput(&["status"]).out;
    assert!(
        status.contains("\npeers: 1 of 2 other nodes are up"),
        "{status}"
    );

    // A removal is signed here, and followed there.
    let (said, code) = json(&first.node, &["remove", "master-3", "--without-etcd"]);
    assert_eq!((code, &said["takenBy"]), (0, &json!("process")), "{said}");
    assert_eq!(said["membersUp"], 1, "{said}");
    for one in [&first, &second] {
        until("the third is in no book", || shown(&one.node, 3).is_none());
    }
    // They compare what they hold every 30 s.
    let same = |listed: &Value| {
        let members = listed["peers"]["members"].as_array().unwrap();
        members.iter().any(|it| it["sameRecords"] == true)
    };
    first.lists("that both hold the same", same);
    // What both hold is the same, and an export of one is nothing new to the other.
    second.lists("the removal", |listed| {
        listed["records"].as_array().unwrap().len() == 3
    });
    let export = first.node.stayput(&["export"]).good();
    let hash: Value = serde_json::from_str(&export).unwrap();
    let hash = hash["caHashes"][0].as_str().unwrap().to_owned();
    second.node.write("given", &export);
    let path = second.node.path("given").display().to_string();
    let (again, code) = json(&second.node, &["import", &path, "--ca-hash", &hash]);
    assert_eq!((code, &again["takenBy"]), (0, &json!("process")), "{again}");
    for record in again["records"].as_array().unwrap() {
        assert_eq!(record["verdict"], "known", "{again}");
    }
    // It is lifted by the other one.
    let (said, code) = json(&second.node, &["replace", "master-3"]);
    assert_eq!((code, &said["takenBy"]), (0, &json!("process")), "{said}");
    for one in [&first, &second] {
        until("the third is back", || {
            shown(&one.node, 3).is_some_and(|(_, origin)| origin == "cluster-file")
        });
    }

    // Without the process the file has all of it; the lock goes with the process.
    let mut peers = first.peers.take().unwrap();
    peers.signal(rustix::process::Signal::TERM);
    peers.end();
    let (listed, code) = json(&first.node, &["peers"]);
    assert_eq!((code, listed["records"].as_array().unwrap().len()), (69, 3));
    let said = first
        .node
        .stayput(&["remove", "master-3", "--without-etcd"])
        .good();
    assert!(said.contains("the agent has it"), "{said}");
    assert_eq!(shown(&first.node, 3), None);
    // What was signed meanwhile goes on when it runs again.
    first.start_peers();
    until("the other has heard", || shown(&second.node, 3).is_none());
}

#[test]
fn the_socket_answers_and_refuses_in_json() {
    if !here(false, &["curl"]) {
        return;
    }
    let [first, second] = two();
    let (code, body) = first.ask(&[], "/v1/peers");
    let peers: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code, &peers["own"]["role"]), (200, &json!("master")));
    assert_eq!(peers["process"]["pid"], first.peers.as_ref().unwrap().pid());
    assert_eq!(
        peers["own"]["listening"],
        json!([format!("{}:8442", first.address)])
    );

    let digest = || -> Value {
        let records: Value = serde_json::from_str(&first.ask(&[], "/v1/records").1).unwrap();
        records["digest"].clone()
    };
    let before = digest();
    assert!(before.is_string());
    let good = base64(&at(&second.node, 2, 1_900_000_000, "127.77.0.99"));
    let many = vec![""; 257];
    for (body, code, word) in [
        (json!({"records": [good, "%"]}), 422, "base64"),
        (json!({"records": many}), 422, "257"),
        (json!({"record": []}), 400, "JSON"),
        (json!([]), 400, "JSON"),
    ] {
        first.node.write("body", &body.to_string());
        let file = format!("@{}", first.node.path("body").display());
        let (said, answer) = first.ask(&["--data-binary", &file], "/v1/records");
        assert_eq!(said, code, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["error"].as_str().unwrap().contains(word), "{answer}");
    }
    for (arguments, path, code) in [
        (&["-XPOST"][..], "/v1/peers", 405),
        (&["-XDELETE"], "/v1/records", 405),
        (&[], "/v1/status", 404),
        (&["-XPOST"], "/metrics", 405),
    ] {
        let (said, answer) = first.ask(arguments, path);
        assert_eq!(said, code, "{path}: {answer}");
    }
    // What cannot be believed is refused one by one, and nothing is taken.
    let forged = json!({"records": ["AAAA", ""]});
    let (code, answer) = first.ask(&["-d", &forged.to_string()], "/v1/records");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(
        (code, &answer["verdicts"][0]["verdict"]),
        (200, &json!("refused"))
    );
    assert!(answer["verdicts"][1]["reason"].is_string(), "{answer}");
    assert_eq!(digest(), before);
}

#[test]
fn figures_are_shown_at_the_socket_and_at_the_port_which_shows_nothing_else() {
    if !here(false, &["curl"]) {
        return;
    }
    let [first, _second] = two();
    let port = |path: &str| format!("http://{}:{METRICS}{path}", first.address);
    for (code, text) in [first.ask(&[], "/metrics"), curl(&[], &port("/metrics"))] {
        assert_eq!(code, 200);
        assert!(text.trim_end().ends_with("# EOF"), "{text}");
        let values: BTreeMap<&str, &str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .collect();
        for (name, value) in [
            ("identified", "1"),
            ("agent_answers", "1"),
            ("records{says=\"at\"}", "2"),
            ("members{role=\"master\",state=\"up\"}", "1"),
        ] {
            let name = format!("stayput_peers_{name}");
            assert_eq!(values.get(&*name), Some(&value), "{text}");
        }
    }
    for path in ["/v1/peers", "/v1/records", "/"] {
        assert_eq!(curl(&[], &port(path)).0, 404, "{path}");
    }
    let posted = curl(&["-d", r#"{"records": []}"#], &port("/v1/records"));
    assert_eq!(posted.0, 404);
}

fn base64(record: &stayput::peers::record::Record) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(record.encode().unwrap())
}
