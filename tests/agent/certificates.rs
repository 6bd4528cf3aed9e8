//! What the agent says about certificates, and the renewals that it starts.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use stayput::pki::record::{self, Item, Run};
use stayput::root::Root;

use crate::sandbox::Sandbox;

const DAY: i64 = 86_400;

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// Leaves the record of a run that saw kube-apiserver's certificate end in so many days.
fn leave(sandbox: &Sandbox, days: i64, result: Result<(), String>) {
    let end = now() + days * DAY;
    let item = Item {
        id: "apiserver".into(),
        path: "/etc/kubernetes/pki/apiserver.crt".into(),
        not_after: Some(end),
        renew_from: Some(end - 30 * DAY),
        state: "ok".into(),
        attention: false,
    };
    let items = Some(vec![item]);
    let root = Root::open(sandbox.folder()).unwrap();
    record::note(&root, Run { result, items }, now()).unwrap();
}

fn loudness(status: &Value) -> &Value {
    &status["certificates"]["loudness"]
}

/// The status whatever its exit code says.
fn asked(sandbox: &Sandbox) -> (i32, Value) {
    let said = sandbox.stayput(&["status", "--output", "json"]);
    (said.code, serde_json::from_str(&said.out).unwrap())
}

#[test]
fn status_gets_louder_as_the_end_comes_nearer() {
    let sandbox = Sandbox::new("master-1");
    assert_eq!(asked(&sandbox).1["certificates"], Value::Null);
    sandbox.write("etc/kubernetes/pki/ca.crt", "");
    let (code, status) = asked(&sandbox);
    assert_eq!((code, loudness(&status)), (0, &json!("info")));
    for (days, code, loud, text) in [
        (200, 0, "info", "certificates: info, last run"),
        (20, 1, "warning", "degraded: certificates warning"),
        (3, 1, "critical", "apiserver     due     critical"),
        (-1, 1, "critical", "apiserver     expired   critical"),
    ] {
        leave(&sandbox, days, Ok(()));
        let (found, status) = asked(&sandbox);
        assert_eq!((found, loudness(&status)), (code, &json!(loud)), "{days}");
        assert_eq!(status["degraded"], code == 1, "{days}");
        let table = sandbox.stayput(&["status"]);
        assert_eq!(table.code, code);
        assert!(table.out.contains(text), "{days}: {}", table.out);
    }
    leave(&sandbox, 200, Err("the disk is full".into()));
    let (code, status) = asked(&sandbox);
    assert_eq!((code, loudness(&status)), (1, &json!("warning")));
    let failure = &status["certificates"]["failure"];
    assert_eq!(failure["message"], "the disk is full");
    assert_eq!(failure["count"], 1);
    assert!(
        sandbox
            .stayput(&["status"])
            .out
            .contains("the disk is full")
    );
}

#[test]
fn the_agent_hears_of_a_run_and_reminds() {
    let sandbox = Sandbox::new("master-1");
    let agent = sandbox.agent();
    assert_eq!(sandbox.status()["certificates"], Value::Null);
    leave(&sandbox, 20, Ok(()));
    let shown = |loud: &str| {
        crate::support::until(loud, || loudness(&asked(&sandbox).1) == loud);
        asked(&sandbox).1
    };
    let status = shown("warning");
    assert_eq!(status["certificates"]["due"][0]["id"], "apiserver");
    assert_eq!(status["certificates"]["due"][0]["state"], "due");
    assert_eq!(status["certificates"]["runs"], Value::Null);
    assert!(agent.log().contains("apiserver is due"), "{}", agent.log());
    leave(&sandbox, 2, Ok(()));
    shown("critical");
    assert!(
        agent.log().contains("ERROR certificates: apiserver"),
        "{}",
        agent.log()
    );
    leave(&sandbox, 300, Ok(()));
    shown("info");
    sandbox.write("var/lib/stayput/certificates.json", "{");
    let status = shown("warning");
    let remark = status["certificates"]["remarks"][0].to_string();
    assert!(remark.contains("damaged"), "{remark}");
}

#[test]
fn an_agent_that_renews_says_when() {
    let sandbox = Sandbox::new("master-1");
    let _agent = sandbox.ready(&mut sandbox.command(&["run", "--renew"]));
    let status = sandbox.status();
    let runs = &status["certificates"]["runs"];
    assert!(runs["next"].as_str().is_some(), "{runs}");
    assert_eq!(runs["failures"], 0);
    let table = sandbox.stayput(&["status"]).good();
    assert!(table.contains("certificates: info, next run"), "{table}");
}
