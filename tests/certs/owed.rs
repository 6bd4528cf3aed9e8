//! What has to follow a renewal follows: once, at the latest in a later run, and is seen until then.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use stayput::pki::issue::Validity;

use crate::edges::{APISERVER, master, program, record, text};
use crate::made::{authority, now};
use crate::sandbox::{Sandbox, quick};
use crate::support::run;

const MANIFEST: &str = "etc/kubernetes/manifests/kube-scheduler.yaml";
const ASIDE: &str = "etc/kubernetes/.stayput-restart/kube-scheduler.yaml";
const POD: &str =
    "spec: {hostNetwork: true, containers: [{command: [kube-scheduler-of-this-test]}]}\n";
const JOURNAL: &str = "var/lib/stayput/certificates/journal.json";

/// Each step of `after` with its result.
fn steps(done: &Value) -> Vec<(&str, &str)> {
    let rows = done["after"].as_array().unwrap().iter();
    rows.map(|row| {
        (
            row["step"].as_str().unwrap(),
            row["result"].as_str().unwrap(),
        )
    })
    .collect()
}

/// A master whose program `bad` has failed after an order, and whose program `note` has not.
fn indebted() -> Sandbox {
    let node =
        master("{command: [/usr/local/sbin/note]}, staticPods, {command: [/usr/local/sbin/bad]}");
    program(&node, "note", "echo \"$@\" >> noted");
    program(&node, "bad", "exit 1");
    node.fails(&["certs", "renew", "scheduler.conf", "--force"], 1);
    node
}

#[test]
fn only_the_step_that_failed_is_done_again() {
    let node = indebted();
    for _ in 0..2 {
        let (plan, code) = node.json(&["certs", "renew", "--dry-run"]);
        assert_eq!(code, 0, "{plan}");
        assert_eq!(steps(&plan), [("/usr/local/sbin/bad", "planned")]);
        assert!(
            plan["after"][0]["detail"]
                .to_string()
                .contains("scheduler.conf")
        );
        let (done, code) = node.json(&["certs", "renew"]);
        assert_eq!(code, 1, "{done}");
        assert_eq!(steps(&done), [("/usr/local/sbin/bad", "failed")]);
        assert!(
            done["notices"].to_string().contains("earlier renewal"),
            "{done}"
        );
    }
    assert_eq!(text(&node, "noted"), "scheduler.conf\n");
    program(&node, "bad", ":");
    let (done, code) = node.json(&["certs", "renew"]);
    assert_eq!(
        (code, steps(&done)),
        (0, vec![("/usr/local/sbin/bad", "done")])
    );
    let (done, code) = node.json(&["certs", "renew"]);
    assert_eq!((code, steps(&done)), (0, vec![]));
    assert_eq!(done["notices"], Value::Array(Vec::new()));
}

#[test]
fn a_plan_names_what_would_follow() {
    let node = master(
        "staticPods, {command: [/usr/local/sbin/note], certificates: [etcd-peer, apiserver]}",
    );
    let plan = |name| {
        node.json(&["certs", "renew", name, "--force", "--dry-run"])
            .0
    };
    assert_eq!(
        steps(&plan("scheduler.conf")),
        [("kube-scheduler", "planned")]
    );
    assert_eq!(
        steps(&plan("apiserver")),
        [("/usr/local/sbin/note", "planned")]
    );
    assert_eq!(steps(&plan("admin.conf")), []);
    assert!(!node.path("var/lib/stayput/certificates/owed.json").exists());
}

#[test]
fn what_is_owed_is_seen_everywhere() {
    let node = indebted();
    let owed = "/usr/local/sbin/bad for scheduler.conf";
    for command in [["certs", "status"], ["certs", "verify"]] {
        let said = node.fails(&command, 1);
        assert!(said.contains(owed), "{said}");
    }
    let (status, code) = node.json(&["status"]);
    let certificates = &status["certificates"];
    assert_eq!(
        (code, &certificates["loudness"]),
        (1, &Value::from("warning"))
    );
    assert!(
        certificates["remarks"].to_string().contains(owed),
        "{certificates}"
    );
    // It was an order: whether renewing works is not known by that.
    assert_eq!(
        (&certificates["failure"], &certificates["lastRun"]),
        (&Value::Null, &Value::Null)
    );
    program(&node, "bad", ":");
    node.ok(&["certs", "renew"]);
    node.ok(&["certs", "status"]);
    node.ok(&["certs", "verify"]);
    assert_eq!(
        node.json(&["status"]).0["certificates"]["remarks"],
        Value::Array(Vec::new())
    );
}

#[test]
fn an_order_is_no_success_of_the_timer_s_runs() {
    let node = master("staticPods");
    let key = node.path("etc/kubernetes/pki/apiserver.key");
    let kept = std::fs::read(&key).unwrap();
    std::fs::write(&key, "").unwrap();
    node.fails(&["certs", "renew"], 1);
    let failed = record(&node);
    assert_eq!(failed["failure"]["count"], 1);
    std::fs::remove_file(node.path("etc/kubernetes/admin.conf")).unwrap();
    std::fs::write(&key, kept).unwrap();
    for order in [
        &["certs", "init"][..],
        &["certs", "renew", "etcd-peer", "--force"],
    ] {
        node.ok(order);
        let now = record(&node);
        for kept in ["failure", "lastRun", "lastSuccess"] {
            assert_eq!(now[kept], failed[kept], "{order:?}: {kept}");
        }
    }
    // But what is there now is known.
    let state = |record: &Value, id: &str| {
        let items = record["items"].as_array().unwrap();
        items.iter().find(|item| item["id"] == id).unwrap()["state"].clone()
    };
    assert_eq!(
        (
            state(&failed, "apiserver"),
            state(&record(&node), "apiserver")
        ),
        ("unusable".into(), "ok".into())
    );
    node.ok(&["certs", "renew"]);
    assert_eq!(record(&node)["failure"], Value::Null);
}

#[test]
fn a_damaged_note_owes_everything_once() {
    let node = master("{command: [/usr/local/sbin/note]}");
    program(&node, "note", "echo \"$@\" >> noted");
    node.write("var/lib/stayput/certificates/owed.json", b"[\"apiserver\"");
    let said = node.fails(&["certs", "status"], 1);
    assert!(said.contains("owed.json is damaged"), "{said}");
    let said = node.ok(&["certs", "renew"]);
    assert!(said.contains("owed.json is damaged"), "{said}");
    let noted = text(&node, "noted");
    assert!(
        noted.contains("apiserver") && noted.contains("scheduler.conf"),
        "{noted}"
    );
    node.ok(&["certs", "renew"]);
    assert_eq!(text(&node, "noted"), noted);
    node.ok(&["certs", "status"]);
}

/// Restarting issues nothing.
#[test]
fn a_clock_that_is_refused_withholds_nothing_that_is_owed() {
    let node = indebted();
    program(&node, "bad", "touch paid");
    let ahead = now() + 400 * 86_400;
    node.write(
        "var/lib/stayput/certificates/newest-time",
        format!("{ahead}\n").as_bytes(),
    );
    let (done, code) = node.json(&["certs", "renew"]);
    assert_eq!(
        (code, steps(&done)),
        (1, vec![("/usr/local/sbin/bad", "done")]),
        "{done}"
    );
    let rows = done["items"].as_array().unwrap().iter();
    let refused: Vec<&Value> = rows.filter(|row| row["did"] == "failed").collect();
    assert!(refused.len() >= 10, "{done}");
    for row in refused {
        assert!(
            row["reason"].to_string().contains("the clock says"),
            "{row}"
        );
    }
    assert!(node.path("paid").exists());
    let failure = &record(&node)["failure"]["message"];
    assert!(failure.to_string().contains("the clock says"), "{failure}");
}

#[test]
fn a_run_that_owes_does_not_wait() {
    let node = indebted();
    program(&node, "bad", ":");
    let waits = node.command(&["certs", "renew", "--unattended", "--jitter", "24h"]);
    let mut limited = std::process::Command::new("timeout");
    run(limited
        .arg("60")
        .arg(waits.get_program())
        .args(waits.get_args()))
    .good();
    assert!(!node.path("var/lib/stayput/certificates/owed.json").exists());
}

#[test]
fn init_on_a_machine_whose_pods_run_is_followed_by_their_restart() {
    let steps_of = |done: Value| -> Vec<String> {
        steps(&done)
            .iter()
            .map(|(step, _)| (*step).to_owned())
            .collect()
    };
    let node = master("staticPods, {command: [/usr/local/sbin/note]}");
    program(&node, "note", "echo \"$@\" >> noted");
    assert!(!node.path("noted").exists(), "a fresh machine");
    let remove = || {
        for file in [
            "scheduler.conf",
            "controller-manager.conf",
            "pki/apiserver.crt",
            "pki/apiserver.key",
        ] {
            std::fs::remove_file(node.path("etc/kubernetes").join(file)).unwrap();
        }
    };
    remove();
    let (done, code) = node.json(&["certs", "init"]);
    assert_eq!((code, steps_of(done)), (0, vec![]));
    remove();
    node.write(MANIFEST, POD.as_bytes());
    let (done, code) = node.json(&["certs", "init"]);
    assert_eq!(
        (code, steps_of(done)),
        (
            0,
            vec![
                "kube-scheduler".to_owned(),
                "/usr/local/sbin/note".to_owned()
            ]
        )
    );
    assert_eq!(text(&node, "noted"), "scheduler.conf\n");
    // One that fails is owed.
    remove();
    program(&node, "note", "exit 1");
    node.fails(&["certs", "init"], 1);
    let said = node.fails(&["certs", "status"], 1);
    assert!(
        said.contains("/usr/local/sbin/note for scheduler.conf"),
        "{said}"
    );
    let (done, _) = node.json(&["certs", "renew"]);
    assert_eq!(steps_of(done), ["/usr/local/sbin/note"]);
}

/// A manifest that a killed run has left out, and the ways to run after it.
#[test]
fn a_manifest_is_put_back_before_anything_else_can_fail() {
    type Damage = fn(&Sandbox);
    let cases: [(&str, Damage, i32); 5] = [
        ("nothing else", |_| (), 0),
        (
            "a bad cluster file",
            |node| node.write("etc/stayput/cluster.yaml", b"domain: ["),
            78,
        ),
        ("a damaged journal", |node| node.write(JOURNAL, b"{"), 71),
        (
            "an unknown time",
            |node| {
                node.write("var/lib/stayput/certificates/newest-time", b"yesterday\n");
            },
            71,
        ),
        (
            "no master any more",
            |node| {
                let cluster = quick().replace("master-1", "master-9");
                node.write("etc/stayput/cluster.yaml", cluster.as_bytes());
            },
            65,
        ),
    ];
    for (what, damage, code) in cases {
        let node = master("staticPods");
        node.write(ASIDE, POD.as_bytes());
        std::fs::create_dir(node.path("etc/kubernetes/manifests")).unwrap();
        for command in [["certs", "status"], ["certs", "verify"]] {
            let said = node.fails(&command, 1);
            assert!(
                said.contains("kube-scheduler does not run: its manifest"),
                "{what}: {said}"
            );
        }
        damage(&node);
        let said = node.fails(&["certs", "renew"], code);
        assert!(
            said.contains("kube-scheduler.yaml is back"),
            "{what}: {said}"
        );
        assert_eq!(text(&node, MANIFEST), POD, "{what}");
        assert!(!node.path(ASIDE).exists(), "{what}");
        // What is in the way is on record; on a worker nothing is.
        let failure = record(&node)["failure"].clone();
        assert_eq!(
            failure.is_null(),
            [0, 65].contains(&code),
            "{what}: {failure}"
        );
        if !failure.is_null() {
            let message = failure["message"].as_str().unwrap();
            assert!(
                said.contains(message.lines().next().unwrap()),
                "{what}: {message}"
            );
            node.fails(&["certs", "renew", "etcd-peer", "--force"], code);
            assert_eq!(record(&node)["failure"], failure, "{what}: an order");
        }
    }
}

#[test]
fn a_manifest_that_cannot_go_back_is_on_record() {
    let node = master("staticPods");
    node.write(ASIDE, POD.as_bytes());
    node.write("etc/kubernetes/manifests", b"no folder");
    node.fails(&["certs", "renew"], 71);
    let failure = &record(&node)["failure"]["message"];
    assert!(failure.to_string().contains("kube-scheduler"), "{failure}");
}

#[test]
fn a_worker_s_timer_is_no_failure() {
    let node = Sandbox::new("worker-1", &quick());
    let (done, code) = node.json(&["certs", "renew", "--unattended", "--jitter", "10s"]);
    assert_eq!((code, &done["items"]), (0, &Value::Array(Vec::new())));
    assert!(
        done["notices"]
            .to_string()
            .contains("is none of the masters"),
        "{done}"
    );
    node.fails(&["certs", "renew"], 65);
    node.fails(APISERVER.as_slice(), 65);
    assert!(!node.path("var/lib/stayput/certificates.json").exists());
}

/// The agent gets loud by the clock for what stayput renews, and only for that.
#[test]
fn the_record_tells_what_stayput_does_not_renew() {
    let node = Sandbox::new("master-1", &quick());
    let days = |days: i64| now() + days * 86_400;
    let old = Validity {
        not_before: days(-300),
        not_after: days(100),
    };
    authority("kubernetes", old).write(&node.path("etc/kubernetes/pki"), "ca");
    let closed = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(node.path("etc/kubernetes/pki/ca.key"), closed).unwrap();
    node.ok(&["certs", "init", "--new-cluster"]);
    // The kubelet's own certificate, as it renews it: due for months in which the kubelet has time.
    let pem = [
        node.text("pki/apiserver.crt"),
        node.text("pki/apiserver.key"),
    ]
    .concat();
    node.write(
        "var/lib/kubelet/pki/kubelet-client-current.pem",
        pem.as_bytes(),
    );
    let kubeconfig = node.text("kubelet.conf");
    let lines = kubeconfig
        .lines()
        .map(|line| match line.split_once("-data:") {
            Some((key, _)) if key.contains("client-") => {
                format!("{key}: /var/lib/kubelet/pki/kubelet-client-current.pem\n")
            }
            _ => format!("{line}\n"),
        });
    node.write(
        "etc/kubernetes/kubelet.conf",
        lines.collect::<String>().as_bytes(),
    );
    node.run(&["certs", "renew"]);
    let record = record(&node);
    let item = |id: &str| {
        let items = record["items"].as_array().unwrap();
        items.iter().find(|item| item["id"] == id).unwrap()
    };
    assert!(item("apiserver")["renewFrom"].is_i64(), "{record:#}");
    assert!(item("kubelet.conf")["notAfter"].is_i64(), "{record:#}");
    assert!(item("kubelet.conf")["renewFrom"].is_null(), "{record:#}");
    // Its end shortens what it signs from now on: that is said years before it is urgent.
    let ca = item("ca");
    assert_eq!(
        (&ca["state"], &ca["attention"]),
        (&"due".into(), &true.into())
    );
    assert!(ca["renewFrom"].is_null(), "{ca}");
    let status = node.json(&["status"]).0;
    assert_eq!(status["certificates"]["loudness"], "warning");
}
