//! What the agent says about certificates, and the renewals that it starts.

use std::time::{SystemTime, UNIX_EPOCH};

use std::time::Duration;

use serde_json::{Value, json};
use stayput::config;
use stayput::config::NodeSettings;
use stayput::name::Name;
use stayput::pki::certificate::Certificate;
use stayput::pki::moment::{Moment, Synchronised};
use stayput::pki::record::{self, Item, Run, Seen};
use stayput::pki::session::{Hold, Session};
use stayput::pki::spread;
use stayput::root::Root;

use crate::sandbox::{MASTERS, Sandbox};
use crate::support::eventually;

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
    let seen = Some(Seen {
        items: vec![item],
        owed: Vec::new(),
    });
    let root = Root::open(sandbox.folder()).unwrap();
    record::note(&root, Run { result, seen }, now()).unwrap();
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

/// A cluster file in this domain, with keys that are made fast.
fn cluster(sandbox: &Sandbox, domain: &str) -> String {
    let more = "certificates: {keyType: ecdsa-p256}\n";
    let text = sandbox.cluster(&MASTERS, more);
    text.replace("prod.k8s.internal", domain)
}

/// A master that was provisioned so many days ago.
fn provisioned(domain: &str, days: i64) -> Sandbox {
    let sandbox = Sandbox::new("master-1");
    sandbox.write_cluster(&cluster(&sandbox, domain));
    let root = Root::open(sandbox.folder()).unwrap();
    let files = ["/etc/stayput/cluster.yaml", "/etc/stayput/node.yaml"].map(std::path::Path::new);
    let settings = NodeSettings {
        name: Some(Name::parse("master-1").unwrap()),
        ..NodeSettings::default()
    };
    let (cluster, node) = config::load(&root, files[0], files[1], &settings).unwrap();
    let moment = Moment {
        clock: now() - days * DAY,
        seen: 0,
        synchronised: Synchronised::Yes,
        trusted: false,
    };
    let mut hold = Hold::take(&root, |_| {}).unwrap();
    let session = Session::open(&mut hold, &cluster, &node).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = runtime.unwrap().block_on(session.init(true, &moment));
    assert!(!done.unwrap().failed());
    sandbox
}

fn end(sandbox: &Sandbox) -> i64 {
    let pem = sandbox.read("etc/kubernetes/pki/apiserver.crt");
    Certificate::parse_pem(pem.as_bytes()).unwrap()[0].not_after
}

#[test]
fn status_shows_what_a_real_run_has_left() {
    let sandbox = provisioned("prod.k8s.internal", 340);
    let agent = sandbox.agent();
    let seen = |what: &str, code: i32| {
        eventually(what, || {
            let said = sandbox.stayput(&["status"]);
            let is = said.out.contains(what) && said.code == code;
            is.then_some(()).ok_or(said.out)
        });
    };
    // Due is not healthy: somebody should have renewed it ten days ago.
    seen("certificates: warning", 1);
    seen("apiserver                  due", 1);
    assert!(agent.log().contains("apiserver is due"), "{}", agent.log());
    let end_before = end(&sandbox);
    let said = sandbox.stayput(&["certs", "renew"]).good();
    assert!(said.contains("renewed"), "{said}");
    assert!(end(&sandbox) > end_before + 300 * DAY);
    seen("certificates: info", 0);
    let status = sandbox.status();
    assert_eq!(status["certificates"]["due"], json!([]));
    assert_eq!(status["certificates"]["failure"], Value::Null);
    assert!(status["certificates"]["next"]["at"].as_str().is_some());
}

#[test]
fn an_agent_that_renews_does_where_the_clock_can_be_trusted() {
    // The first run follows within half an hour, by the node's name; here it is one that does not wait.
    let soon = |domain: &String| {
        let name = format!("master-1.{domain}");
        spread::jitter(&name, Duration::from_mins(30)) < Duration::from_secs(1)
    };
    let mut domains = (0..).map(|number| format!("d{number}.k8s.internal"));
    let sandbox = provisioned(&domains.find(soon).unwrap(), 340);
    let before = end(&sandbox);
    let root = Root::open(sandbox.folder()).unwrap();
    let trusted = Moment::read(&root, false).unwrap().synchronised == Synchronised::Yes;
    let agent = sandbox.ready(&mut sandbox.command(&["run", "--renew"]));
    let status = eventually("the agent's run has ended", || {
        let (_, status) = asked(&sandbox);
        let runs = &status["certificates"]["runs"];
        let ended = runs["failures"] == 1 || end(&sandbox) > before && runs["next"] != Value::Null;
        if ended {
            Ok(status)
        } else {
            Err(format!("{runs}\n{}", agent.log()))
        }
    });
    let runs = &status["certificates"]["runs"];
    if trusted {
        assert_eq!(runs["failures"], 0, "{status:#}");
        assert!(end(&sandbox) > before + 300 * DAY);
        return;
    }
    let error = runs["lastError"].to_string();
    assert!(error.contains("clock"), "{error}");
    assert_eq!(
        end(&sandbox),
        before,
        "renewed by a clock that nobody vouches for"
    );
    let told = |text: &str| text.contains("is not synchronised") || text.contains("adjtimex(2)");
    let status = eventually("the record is shown", || {
        let (code, status) = asked(&sandbox);
        let message = status["certificates"]["failure"]["message"].to_string();
        let shown = code == 1 && told(&message);
        shown.then_some(status).ok_or(message)
    });
    assert_eq!(loudness(&status), "warning");
}
