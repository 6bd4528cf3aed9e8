//! Signed records, as the process that verifies them hands them over.

use std::process::Command;

use rustix::process::Signal;
use serde_json::{Map, Value, json};

use crate::control::{curl, parts};
use crate::sandbox::{MASTERS, Sandbox};
use crate::support::{here, run, until};

/// "removed", or an address.
fn set(records: &[(&str, &str, u64)]) -> Value {
    let records = records.iter().map(|(label, says, version)| {
        let says = match *says {
            "removed" => json!("removed"),
            address => json!({ "at": [address] }),
        };
        let name = format!("{label}.prod.k8s.internal");
        (name, json!({ "version": version, "says": says }))
    });
    json!({ "records": records.collect::<Map<_, _>>() })
}

/// Hands the whole set of records over; status code and answer.
fn post(sandbox: &Sandbox, body: &Value) -> (u16, Value) {
    sandbox.write("records.json", &body.to_string());
    let file = format!("@{}", sandbox.path("records.json").display());
    let (code, _, answer) = parts(curl(sandbox, &["--data-binary", &file], "/v1/records"));
    (code, answer)
}

/// The same of a good set; the report.
pub(crate) fn posted(sandbox: &Sandbox, records: &[(&str, &str, u64)]) -> Value {
    let (code, report) = post(sandbox, &set(records));
    assert_eq!(code, 200, "{report}");
    report
}

/// What dig says of a name.
fn dig(sandbox: &Sandbox, label: &str) -> String {
    let port = sandbox.dns_port().to_string();
    let name = format!("{label}.prod.k8s.internal");
    let mut command = Command::new("dig");
    command.args(["@127.0.0.1", "-p", &port, "+short", "+tries=3", &name, "A"]);
    run(command.env("HOME", "/nonexistent"))
        .good()
        .trim()
        .to_owned()
}

/// Each master's label, first address and origin.
fn masters(status: &Value) -> Vec<String> {
    let masters = status["masters"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let master = |it: &Value| {
        let name = text(&it["name"]);
        let label = name.split('.').next().unwrap();
        format!(
            "{label} {} {}",
            text(&it["addresses"][0]),
            text(&it["origin"])
        )
    };
    masters.map(master).collect()
}

/// What every surface shows of a master that is at `address`, or of none.
fn shown(sandbox: &Sandbox, label: &str, address: Option<&str>) {
    let (hosts, haproxy) = (sandbox.hosts(), sandbox.read("srv/haproxy.cfg"));
    let server = format!("server {label} ");
    if let Some(address) = address {
        let line = format!("{address} {label}.prod.k8s.internal {label}\n");
        assert!(hosts.contains(&line), "{hosts}");
        let server = format!("{server}{address}:{}", sandbox.api_port());
        assert!(haproxy.contains(&server), "{haproxy}");
    } else {
        assert!(!hosts.contains(label), "{hosts}");
        assert!(!haproxy.contains(&server), "{haproxy}");
    }
    assert_eq!(dig(sandbox, label), address.unwrap_or_default());
}

const PROGRAMS: &[&str] = &["curl", "dig"];

#[test]
fn a_master_that_signs_itself_is_added_and_shown_everywhere() {
    if !here(false, &["curl", "dig", "haproxy"]) {
        return;
    }
    let sandbox = Sandbox::worker();
    let agent = sandbox.agent();
    let report = posted(&sandbox, &[("master-4", "127.77.0.14", 1_700_000_000)]);
    assert_eq!(report["moves"][0]["name"], "master-4.prod.k8s.internal");
    assert_eq!(report["moves"][0]["after"], json!(["127.77.0.14"]));
    shown(&sandbox, "master-4", Some("127.77.0.14"));
    let status = sandbox.status();
    assert_eq!(masters(&status)[3], "master-4 127.77.0.14 record");
    let master = &status["masters"][3];
    assert_eq!(master["added"], true);
    assert_eq!(master["changed"], "2023-11-14T22:13:20Z");
    assert_eq!(master["record"]["version"], 1_700_000_000);
    assert_eq!(status["masters"][0]["record"], Value::Null);
    let text = sandbox.stayput(&["status"]).good();
    assert!(text.contains("a master by its signed record"), "{text}");
    let haproxy = sandbox.haproxy();
    // A real HAProxy and the responder say so too, and an operator can name it.
    let checked = sandbox.stayput(&["check", "--output", "json"]).good();
    assert!(checked.contains("master-4.prod"), "{checked}");
    sandbox
        .stayput(&["event", "master-4", "127.77.0.44"])
        .good();
    shown(&sandbox, "master-4", Some("127.77.0.44"));
    // It has moved and says so itself.
    posted(&sandbox, &[("master-4", "127.77.0.24", 1_700_000_001)]);
    shown(&sandbox, "master-4", Some("127.77.0.24"));
    sandbox.stayput(&["check"]).good();
    drop(haproxy);
    // The set says everything: said twice it changes nothing.
    let before = sandbox.written();
    let report = posted(&sandbox, &[("master-4", "127.77.0.24", 1_700_000_001)]);
    assert_eq!(report["moves"], json!([]));
    assert_eq!(sandbox.written(), before);

    drop(agent);
    // Without an agent the saved book says the same, and a command works with it.
    assert_eq!(masters(&sandbox.status())[3], "master-4 127.77.0.24 record");
    let block = sandbox.stayput(&["hosts", "show"]).good();
    assert!(block.contains("127.77.0.24 master-4."), "{block}");
    sandbox.stayput(&["apply"]).good();
    assert!(sandbox.hosts().contains("127.77.0.24 master-4."));
    let _agent = sandbox.agent();
    shown(&sandbox, "master-4", Some("127.77.0.24"));
    posted(&sandbox, &[]);
    shown(&sandbox, "master-4", None);
    assert_eq!(masters(&sandbox.status()).len(), 3);
}

#[test]
fn a_removal_outranks_the_cluster_file_also_after_a_restart() {
    if !here(false, PROGRAMS) {
        return;
    }
    let sandbox = Sandbox::worker();
    let agent = sandbox.agent();
    posted(&sandbox, &[("master-2", "removed", 1_700_000_000)]);
    let gone = || {
        shown(&sandbox, "master-2", None);
        let status = sandbox.status();
        assert_eq!(masters(&status).len(), 2);
        assert_eq!(status["removed"][0]["name"], "master-2.prod.k8s.internal");
        assert_eq!(status["removed"][0]["version"], 1_700_000_000);
        let said = sandbox.stayput(&["event", "master-2", "127.77.0.92"]);
        let said = said.refused(65);
        assert!(
            said.contains("master-2.prod.k8s.internal was removed"),
            "{said}"
        );
        assert!(said.contains("stayput replace"), "{said}");
    };
    gone();
    let text = sandbox.stayput(&["status"]).good();
    assert!(
        text.contains("removed by the record of 2023-11-14"),
        "{text}"
    );
    // The file is written anew, also with another address for it.
    let mut moved = MASTERS;
    moved[1] = "127.77.0.82";
    sandbox.write_cluster(&sandbox.cluster(&moved, "aliases: {other-name: master-1}\n"));
    sandbox.shows("the new file", |_| sandbox.hosts().contains("other-name"));
    gone();
    agent.signal(Signal::HUP);
    drop(agent);
    gone_without_an_agent(&sandbox);
    let agent = sandbox.agent();
    gone();
    drop(agent);
    sandbox.stayput(&["apply"]).good();
    let _agent = sandbox.agent();
    gone();
    // A new machine has its name.
    posted(&sandbox, &[("master-2", "127.77.0.72", 1_700_000_009)]);
    shown(&sandbox, "master-2", Some("127.77.0.72"));
    assert_eq!(sandbox.status()["removed"], json!([]));
    // And where it has not spoken yet, the file's word is the last known.
    posted(&sandbox, &[("master-2", "removed", 1_700_000_010)]);
    posted(&sandbox, &[]);
    shown(&sandbox, "master-2", Some("127.77.0.82"));
}

fn gone_without_an_agent(sandbox: &Sandbox) {
    let status = sandbox.status();
    assert_eq!(status["agent"], Value::Null);
    assert_eq!(masters(&status).len(), 2);
    let shown = sandbox.stayput(&["haproxy", "show"]).good();
    assert!(!shown.contains("server master-2"), "{shown}");
}

#[test]
fn not_all_masters_can_be_removed() {
    if !here(false, &["curl"]) {
        return;
    }
    let sandbox = Sandbox::worker();
    let mut agent = sandbox.agent();
    let labels = ["master-1", "master-2", "master-3"];
    let two = labels.map(|label| (label, "removed", 7));
    posted(&sandbox, &two[..2]);
    let before = sandbox.written();
    let (code, body) = post(&sandbox, &set(&two));
    assert_eq!(code, 422);
    let error = body["error"].as_str().unwrap();
    assert!(error.contains("the book keeps the ones it has"), "{error}");
    assert_eq!(sandbox.written(), before);
    // Nor by a cluster file that names removed ones only.
    sandbox.write_cluster(&sandbox.cluster_of("  - {name: master-1, address: 127.77.0.1}\n", ""));
    let (code, _, body) = parts(curl(&sandbox, &["-d", ""], "/v1/reload"));
    let words = "all masters that the cluster file names were removed by signed records";
    assert_eq!(code, 422);
    assert!(body["error"].as_str().unwrap().contains(words), "{body}");
    assert_eq!(sandbox.written(), before);
    agent.must_run();
    drop(agent);
    let said = sandbox.stayput(&["apply"]).refused(78);
    assert!(said.contains(words), "{said}");
    assert_eq!(sandbox.written(), before);
}

#[test]
fn an_override_lasts_until_the_master_speaks_for_itself() {
    if !here(false, PROGRAMS) {
        return;
    }
    let sandbox = Sandbox::worker();
    let agent = sandbox.agent();
    posted(&sandbox, &[("master-2", "127.77.0.22", 1_700_000_000)]);
    shown(&sandbox, "master-2", Some("127.77.0.22"));
    let said = sandbox
        .stayput(&["event", "master-2", "127.77.0.92"])
        .good();
    let note = "note: master-2 is overridden on this node only, until it speaks for itself: its signed record of 2023-11-14T22:13:20Z says 127.77.0.22\n";
    assert!(said.contains(note), "{said}");
    let said = sandbox
        .stayput(&["event", "master-3", "127.77.0.93"])
        .good();
    assert!(said.contains("until it has one"), "{said}");
    let overridden = || {
        shown(&sandbox, "master-2", Some("127.77.0.92"));
        let status = sandbox.status();
        assert_eq!(masters(&status)[1], "master-2 127.77.0.92 override");
        assert_eq!(
            status["masters"][1]["record"]["addresses"],
            json!(["127.77.0.22"])
        );
        let text = sandbox.stayput(&["status"]).good();
        assert!(
            text.contains("overridden on this node until master-2 speaks"),
            "{text}"
        );
    };
    overridden();
    // The same record, another master's, and a restart do not end it.
    posted(
        &sandbox,
        &[
            ("master-2", "127.77.0.22", 1_700_000_000),
            ("master-4", "127.77.0.14", 5),
        ],
    );
    overridden();
    drop(agent);
    overridden_alone(&sandbox);
    let _agent = sandbox.agent();
    overridden();
    // Without the agent's clock: by its version alone.
    posted(&sandbox, &[("master-2", "127.77.0.23", 1_700_000_001)]);
    shown(&sandbox, "master-2", Some("127.77.0.23"));
    assert_eq!(masters(&sandbox.status())[1], "master-2 127.77.0.23 record");
}

fn overridden_alone(sandbox: &Sandbox) {
    assert_eq!(
        masters(&sandbox.status())[1],
        "master-2 127.77.0.92 override"
    );
}

#[test]
fn the_cluster_file_moves_no_master_that_has_signed() {
    if !here(false, PROGRAMS) {
        return;
    }
    let sandbox = Sandbox::worker();
    let _agent = sandbox.agent();
    posted(&sandbox, &[("master-1", "127.77.0.21", 7)]);
    let moved = ["127.77.0.81", "127.77.0.82", MASTERS[2]];
    sandbox.write_cluster(&sandbox.cluster(&moved, ""));
    // The one that has not signed follows the file; then the file is in force.
    sandbox.shows("the new file", |status| {
        masters(status)[1] == "master-2 127.77.0.82 cluster-file"
    });
    shown(&sandbox, "master-1", Some("127.77.0.21"));
    // Taken out of the file it stays, because it says itself that it is there.
    let lines = "  - {name: master-2, address: 127.77.0.82}\n";
    sandbox.write_cluster(&sandbox.cluster_of(lines, ""));
    let status = sandbox.shows("the new file", |status| masters(status).len() == 2);
    assert_eq!(masters(&status)[1], "master-1 127.77.0.21 record");
    assert_eq!(status["masters"][1]["added"], true);
    shown(&sandbox, "master-1", Some("127.77.0.21"));
}

#[test]
fn a_name_that_the_cluster_file_uses_for_something_else_adds_nobody() {
    if !here(false, PROGRAMS) {
        return;
    }
    let sandbox = Sandbox::worker();
    sandbox.write_cluster(&sandbox.cluster(&MASTERS, "aliases: {other-name: master-1}\n"));
    let _agent = sandbox.agent();
    let bad = [("api", "127.77.0.61", 7), ("other-name", "127.77.0.62", 7)];
    let report = posted(&sandbox, &[bad[0], bad[1], ("master-4", "127.77.0.14", 7)]);
    assert_eq!(report["moves"].as_array().unwrap().len(), 1, "{report}");
    // It still leads where the file says.
    let alias = dig(&sandbox, "other-name");
    assert_eq!(
        alias,
        format!("master-1.prod.k8s.internal.\n{}", MASTERS[0])
    );
    assert_eq!(dig(&sandbox, "api"), "127.0.0.1");
    shown(&sandbox, "master-4", Some("127.77.0.14"));
    assert!(!sandbox.hosts().contains("127.77.0.6"));
    let status = sandbox.status();
    assert_eq!(masters(&status).len(), 4);
    let conflicts = status["conflicts"].to_string();
    assert!(
        conflicts.contains("'api.prod.k8s.internal' is the endpoint's name"),
        "{conflicts}"
    );
    assert!(
        conflicts.contains("as an alias of master-1."),
        "{conflicts}"
    );
    assert_eq!(status["degraded"], true);
    // The alias goes, and the master comes.
    sandbox.write_cluster(&sandbox.cluster(&MASTERS, ""));
    sandbox.shows("the new file", |status| masters(status).len() == 5);
    until("HAProxy's file is the last to follow", || {
        let (hosts, haproxy) = (sandbox.hosts(), sandbox.read("srv/haproxy.cfg"));
        hosts.contains("127.77.0.62 other-name.") && haproxy.contains("server other-name ")
    });
    shown(&sandbox, "other-name", Some("127.77.0.62"));
}

#[test]
fn a_record_that_cannot_be_followed_does_not_hold_the_others() {
    if !here(false, PROGRAMS) {
        return;
    }
    let sandbox = Sandbox::worker();
    let agent = sandbox.agent();
    let many: Vec<String> = (1..=17).map(|octet| format!("127.77.1.{octet}")).collect();
    let mut body = set(&[
        ("master-2", "127.77.0.22", 7),
        ("master-3", "169.254.0.3", 7),
    ]);
    body["records"]["master-5.prod.k8s.internal"] = json!({"version": 1, "says": {"at": many}});
    body["records"]["master-6.prod.k8s.internal"] = json!({"version": 1, "says": {"at": []}});
    for _ in 0..3 {
        let (code, report) = post(&sandbox, &body);
        assert_eq!(code, 200, "{report}");
        let notices = report["notices"].to_string();
        for words in [
            "169.254.0.3 is a link-local address",
            "17 addresses",
            "0 addresses",
        ] {
            assert!(notices.contains(words), "{words}: {notices}");
        }
    }
    shown(&sandbox, "master-2", Some("127.77.0.22"));
    shown(&sandbox, "master-3", Some(MASTERS[2]));
    let status = sandbox.status();
    assert_eq!(
        status["conflicts"].as_array().unwrap().len(),
        3,
        "{status:#}"
    );
    // It is logged once.
    let log = agent.log();
    assert_eq!(log.matches("is a link-local address").count(), 1, "{log}");
}

#[test]
fn what_is_no_set_of_records_is_refused_and_changes_nothing() {
    if !here(false, &["curl"]) {
        return;
    }
    let sandbox = Sandbox::worker();
    let mut agent = sandbox.agent();
    posted(&sandbox, &[("master-2", "127.77.0.22", 7)]);
    let before = sandbox.written();
    let record = |says: Value| json!({"records": {"m.prod.k8s.internal": says}});
    let at = json!({"at": ["127.77.0.9"]});
    let labels: Vec<String> = (0..1025).map(|number| format!("m{number}")).collect();
    let many: Vec<_> = labels
        .iter()
        .map(|label| (label.as_str(), "127.77.0.9", 7))
        .collect();
    for (body, want, words) in [
        (json!({}), 400, "missing field `records`"),
        (json!({"records": []}), 400, "bad JSON body"),
        (
            json!({"records": {}, "force": true}),
            400,
            "unknown field `force`",
        ),
        (
            json!({"records": {"m_1": {"version": 7, "says": at}}}),
            400,
            "'m_1' is not a host name",
        ),
        (record(json!({"says": at})), 400, "missing field `version`"),
        (
            record(json!({"version": -7, "says": at})),
            400,
            "invalid value",
        ),
        (
            record(json!({"version": 7, "says": at, "x": 1})),
            400,
            "unknown field `x`",
        ),
        (
            record(json!({"version": 7, "says": "gone"})),
            400,
            "unknown variant `gone`",
        ),
        (
            record(json!({"version": 7, "says": {"at": ["here"]}})),
            400,
            "bad JSON body",
        ),
        (json!("x".repeat(2 << 20)), 413, "at most 2097152 bytes"),
        (set(&many), 422, "1025 signed records"),
    ] {
        let (code, answer) = post(&sandbox, &body);
        let error = answer["error"].as_str().unwrap();
        assert_eq!(code, want, "{error}");
        assert!(error.contains(words), "{words}: {error}");
    }
    assert_eq!(sandbox.written(), before);
    agent.must_run();
    // As many as there can be fit.
    posted(&sandbox, &many[..1024]);
    assert_eq!(masters(&sandbox.status()).len(), 1027);
}

#[test]
fn a_master_moves_itself_at_once_and_its_record_follows() {
    if !here(false, PROGRAMS) {
        return;
    }
    let sandbox = Sandbox::new("master-1");
    let _agent = sandbox.agent();
    posted(&sandbox, &[("master-1", "127.77.0.21", 1_700_000_000)]);
    shown_elsewhere(&sandbox, "127.77.0.21", "record");
    let said = sandbox
        .stayput(&["event", "master-1", "127.77.0.31"])
        .good();
    assert!(!said.contains("overridden"), "{said}");
    shown_elsewhere(&sandbox, "127.77.0.31", "event");
    // What it signed before arrives late, and a clone of it has signed something else.
    for late in [
        ("127.77.0.21", 1_700_000_000),
        ("127.77.0.41", 2_000_000_000),
    ] {
        posted(&sandbox, &[("master-1", late.0, late.1)]);
        shown_elsewhere(&sandbox, "127.77.0.31", "event");
    }
    posted(&sandbox, &[("master-1", "127.77.0.31", 2_000_000_001)]);
    shown_elsewhere(&sandbox, "127.77.0.31", "record");
}

/// Where this node's own master is by everything but its own HAProxy.
fn shown_elsewhere(sandbox: &Sandbox, address: &str, origin: &str) {
    assert_eq!(
        masters(&sandbox.status())[0],
        format!("master-1 {address} {origin}")
    );
    assert_eq!(dig(sandbox, "master-1"), address);
    let line = format!("{address} master-1.");
    assert!(sandbox.hosts().contains(&line), "{}", sandbox.hosts());
}

#[test]
fn a_master_that_was_removed_says_so_and_is_a_client_of_the_others() {
    if !here(false, PROGRAMS) {
        return;
    }
    let sandbox = Sandbox::new("master-1");
    let _agent = sandbox.agent();
    sandbox.stayput(&["provisioned"]).good();
    assert!(!sandbox.read("srv/haproxy.cfg").contains("server master-2 "));
    posted(&sandbox, &[("master-1", "removed", 7)]);
    shown(&sandbox, "master-1", None);
    shown(&sandbox, "master-2", Some(MASTERS[1]));
    let status = sandbox.status();
    let conflicts = status["conflicts"].to_string();
    assert!(
        conflicts.contains("this node's own master master-1.prod.k8s.internal was removed"),
        "{conflicts}"
    );
    assert_eq!(status["degraded"], true);
    let (_, _, watched) = parts(curl(&sandbox, &[], "/v1/watch"));
    assert_eq!(watched["own"], Value::Null);
    sandbox
        .stayput(&["event", "master-1", "127.77.0.31"])
        .refused(65);
    posted(&sandbox, &[]);
    assert_eq!(dig(&sandbox, "master-1"), MASTERS[0]);
    assert!(!sandbox.read("srv/haproxy.cfg").contains("server master-2 "));
}

#[test]
fn where_peers_are_off_no_record_counts_and_nobody_is_lost() {
    if !here(false, PROGRAMS) {
        return;
    }
    let sandbox = Sandbox::worker();
    let agent = sandbox.agent();
    let signed = [
        ("master-1", "127.77.0.21", 7),
        ("master-2", "removed", 7),
        ("master-4", "127.77.0.14", 7),
    ];
    posted(&sandbox, &signed);
    let off = "peers: {mode: \"off\"}\n";
    sandbox.write_cluster(&sandbox.cluster(&MASTERS, off));
    let alone = |status: &Value| {
        let want = [
            "master-1 127.77.0.21 record",
            "master-2 127.77.0.12 cluster-file",
            "master-3 127.77.0.13 cluster-file",
        ];
        masters(status) == want
    };
    sandbox.shows("nobody is added or removed", alone);
    let (code, body) = post(&sandbox, &set(&signed));
    assert_eq!(code, 422, "{body}");
    assert!(
        body["error"].as_str().unwrap().contains("mode: off"),
        "{body}"
    );
    posted(&sandbox, &[]);
    drop(agent);
    assert!(alone(&sandbox.status()));
    let _agent = sandbox.agent();
    assert!(alone(&sandbox.status()));
    // The cluster file moves them again.
    let moved = ["127.77.0.81", MASTERS[1], MASTERS[2]];
    sandbox.write_cluster(&sandbox.cluster(&moved, off));
    sandbox.shows("the file is followed", |status| {
        masters(status)[0] == "master-1 127.77.0.81 cluster-file"
    });
    sandbox.write_cluster(&sandbox.cluster(&MASTERS, ""));
    sandbox.shows("the file is followed", |status| {
        masters(status)[0] == "master-1 127.77.0.11 cluster-file"
    });
    posted(&sandbox, &signed);
    shown(&sandbox, "master-4", Some("127.77.0.14"));
    shown(&sandbox, "master-2", None);
}
