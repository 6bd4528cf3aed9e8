//! What commands print for machines has exactly the keys that docs/json.md promises.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::sandbox::{Sandbox, carry, quick};

const DOCS: &str = include_str!("../../docs/json.md");

/// The part of the document under this heading.
fn section(heading: &str) -> &'static str {
    let from = DOCS.split_once(&format!("\n## {heading}\n"));
    let (_, rest) = from.unwrap_or_else(|| panic!("docs/json.md has no section '{heading}'"));
    rest.split("\n## ").next().unwrap()
}

/// The object has these keys and no others, and the section names each.
#[track_caller]
fn keys(value: &Value, heading: &str, wanted: &[&str]) {
    let has: BTreeSet<&str> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(has, wanted.iter().copied().collect(), "{value}");
    for key in wanted {
        let told = section(heading).contains(&format!("`{key}`"));
        assert!(told, "docs/json.md, {heading}: nothing of {key}");
    }
}

fn first<'a>(value: &'a Value, list: &str) -> &'a Value {
    &value[list].as_array().unwrap()[0]
}

fn good() -> Sandbox {
    let sandbox = Sandbox::new("master-1", &quick());
    sandbox.ok(&["certs", "init", "--new-cluster"]);
    sandbox
}

const DONE: &str = "Done: `certs init`, `certs renew`";
const ROW: [&str; 7] = ["id", "path", "did", "reason", "notAfter", "adds", "drops"];

fn done(sandbox: &Sandbox, arguments: &[&str], code: i32, did: &str) -> Value {
    let (done, is) = sandbox.json(arguments);
    assert_eq!(is, code, "{arguments:?}: {done}");
    keys(&done, DONE, &["dryRun", "items", "after", "notices"]);
    for row in done["items"].as_array().unwrap() {
        keys(row, DONE, &ROW);
    }
    let row = first(&done, "items");
    assert_eq!(row["did"], did, "{arguments:?}: {row}");
    assert!(section(DONE).contains(&format!("`{did}`")), "{did}");
    done
}

#[test]
fn what_was_done() {
    let sandbox = Sandbox::new("master-1", &quick());
    done(&sandbox, &["certs", "init"], 1, "refused");
    let made = done(&sandbox, &["certs", "init", "--new-cluster"], 0, "issued");
    let ends = first(&made, "items")["notAfter"].as_str().unwrap();
    assert!(ends.len() == 20 && ends.ends_with('Z'), "{ends}");
    assert_eq!(made["items"][16]["id"], "sa");
    assert!(made["items"][16]["notAfter"].is_null());
    done(&sandbox, &["certs", "init"], 0, "kept");
    done(&sandbox, &["certs", "renew"], 0, "kept");
    let plan = done(
        &sandbox,
        &["certs", "renew", "scheduler.conf", "--force", "--dry-run"],
        0,
        "renewed",
    );
    assert_eq!(plan["dryRun"], true);
    let run = done(
        &sandbox,
        &["certs", "renew", "scheduler.conf", "--force"],
        0,
        "renewed",
    );
    assert_eq!(run["dryRun"], false);
    let step = first(&run, "after");
    keys(step, DONE, &["step", "result", "detail", "milliseconds"]);
    assert_eq!(step["result"], "nothing", "no such pod here: {step}");
    done(&sandbox, &["certs", "renew", "ca"], 1, "refused");
    // New files cannot be staged.
    sandbox.write("etc/kubernetes/pki/.stayput", b"");
    done(
        &sandbox,
        &["certs", "renew", "apiserver", "--force"],
        1,
        "failed",
    );
    std::fs::remove_file(sandbox.path("etc/kubernetes/pki/sa.key")).unwrap();
    std::fs::remove_file(sandbox.path("etc/kubernetes/pki/sa.pub")).unwrap();
    std::fs::remove_file(sandbox.path("etc/kubernetes/admin.conf")).unwrap();
    let (withheld, code) = sandbox.json(&["certs", "init"]);
    let admin = withheld["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["id"] == "admin.conf");
    assert_eq!(
        (code, &admin.unwrap()["did"]),
        (1, &Value::from("withheld"))
    );
    assert!(section(DONE).contains("`withheld`"));
}

#[test]
fn what_is_there() {
    const HEADING: &str = "Certificates: `certs status`";
    let (status, code) = good().json(&["certs", "status"]);
    assert_eq!(code, 0);
    keys(&status, HEADING, &["attention", "certificates", "notices"]);
    for row in status["certificates"].as_array().unwrap() {
        let all = [
            "id",
            "path",
            "subject",
            "names",
            "authority",
            "notBefore",
            "notAfter",
            "expiresIn",
            "serial",
            "state",
            "details",
            "attention",
            "users",
        ];
        keys(row, HEADING, &all);
        keys(first(row, "users"), HEADING, &["process", "takes"]);
        assert_eq!(
            (&row["state"], &row["attention"]),
            (&Value::from("ok"), &Value::from(false))
        );
    }
    for state in [
        "ok",
        "due",
        "expired",
        "notYetValid",
        "missing",
        "unusable",
        "brokenPair",
        "foreign",
        "foreignAuthority",
        "authorityEnds",
        "wrongMode",
        "linked",
        "nameMissing",
        "wrongServer",
    ] {
        assert!(section(HEADING).contains(&format!("`{state}`")), "{state}");
    }
    let row = &status["certificates"][3];
    assert_eq!(
        (&row["id"], &row["authority"]),
        (&Value::from("apiserver"), &Value::from("ca"))
    );
    let left = row["expiresIn"].as_i64().unwrap();
    assert!(
        (364 * 86_400..=365 * 86_400).contains(&left),
        "{left} seconds"
    );
}

#[test]
fn what_was_verified() {
    const HEADING: &str = "Proof: `certs verify`";
    let sandbox = good();
    let (verdict, code) = sandbox.json(&["certs", "verify"]);
    assert_eq!(
        (code, &verdict["servers"]),
        (0, &Value::from(Vec::<Value>::new()))
    );
    keys(
        &verdict,
        HEADING,
        &["holds", "certificates", "servers", "notices"],
    );
    for proof in verdict["certificates"].as_array().unwrap() {
        keys(proof, HEADING, &["id", "path", "holds", "problems"]);
        assert_eq!(proof["holds"], true, "{proof}");
    }
    let (verdict, code) = sandbox.json(&["certs", "verify", "--live"]);
    for row in verdict["servers"].as_array().unwrap() {
        let all = [
            "server",
            "address",
            "file",
            "serialServed",
            "serialOnDisk",
            "agrees",
            "state",
            "detail",
        ];
        keys(row, HEADING, &all);
    }
    let agree = verdict["servers"]
        .as_array()
        .unwrap()
        .iter()
        .all(|row| row["agrees"] == true);
    assert_eq!(code, i32::from(!agree), "{verdict}");
    for state in ["agrees", "differs", "notRunning", "noAnswer", "noFile"] {
        assert!(section(HEADING).contains(&format!("`{state}`")), "{state}");
    }
}

#[test]
fn what_was_taken() {
    const HEADING: &str = "Taken: `certs unbundle`";
    let (first, second) = (good(), Sandbox::new("master-2", &quick()));
    let bundle = first.run(&["certs", "bundle"]).stdout;
    let taken = second.feed(&["certs", "unbundle", "-o", "json"], &bundle);
    let taken: Value = serde_json::from_slice(&taken.stdout).unwrap();
    keys(&taken, HEADING, &["written"]);
    assert_eq!(taken["written"].as_array().unwrap().len(), 8);
    assert_eq!(taken["written"][0], "/etc/kubernetes/pki/ca.key");
    assert!(carry(&first, &second).contains("nothing to do"));
}

#[test]
fn what_went_wrong() {
    let sandbox = good();
    for (arguments, code) in [
        (&["certs", "renew", "nothing", "--force"][..], 65),
        (
            &["certs", "renew", "apiserver", "--force", "--drop-name=a b"],
            65,
        ),
    ] {
        let output = sandbox
            .command(arguments)
            .args(["-o", "json"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code));
        assert!(output.stdout.is_empty(), "{output:?}");
        let error: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(error["exitCode"], code);
        assert!(error["error"].is_string());
    }
}

/// What a person orders in vain is no failure of renewing, which `status` would warn of until the next
/// run.
#[test]
fn a_mistaken_order_does_not_alarm() {
    let sandbox = good();
    let certificates = || sandbox.json(&["status"]).0["certificates"].clone();
    for (arguments, code) in [
        (&["certs", "renew", "nothing"][..], 65),
        (&["certs", "renew", "ca", "--force"], 1),
        (
            &[
                "certs",
                "renew",
                "apiserver",
                "--force",
                "--drop-name",
                "elsewhere",
            ],
            65,
        ),
        (
            &[
                "certs",
                "renew",
                "apiserver",
                "--force",
                "--drop-name",
                "localhost",
            ],
            1,
        ),
    ] {
        sandbox.fails(arguments, code);
        let shown = certificates();
        assert_eq!(
            (&shown["loudness"], &shown["failure"]),
            (&Value::from("info"), &Value::Null),
            "{arguments:?}"
        );
    }
    // What the timer would run fails as long as it fails.
    let key = sandbox.path("etc/kubernetes/pki/apiserver.key");
    let kept = std::fs::read(&key).unwrap();
    std::fs::write(&key, "").unwrap();
    sandbox.fails(&["certs", "renew"], 1);
    let shown = certificates();
    assert_eq!(shown["failure"]["count"], 1, "{shown}");
    sandbox.fails(&["certs", "renew", "apiserver"], 1);
    assert_eq!(certificates()["failure"], shown["failure"]);
    std::fs::write(&key, kept).unwrap();
    sandbox.ok(&["certs", "renew"]);
    assert_eq!(certificates()["failure"], Value::Null);
}
