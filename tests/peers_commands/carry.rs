//! Records are carried from a master to nodes that do not know anybody.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::masters::{addresses, at, cluster, fed, json, keep, node, shown, stored};
use crate::sandbox::Sandbox;
use crate::support::{here, run};

/// As kubeadm's documentation has it for --discovery-token-ca-cert-hash.
const DIGEST: &str = "openssl x509 -pubkey -noout -in ca.crt | openssl pkey -pubin -outform der | openssl dgst -sha256 -r | cut -d' ' -f1";

fn digest_by_openssl(node: &Sandbox) -> String {
    let mut shell = Command::new("sh");
    shell.args(["-c", DIGEST]);
    let digest = run(shell.current_dir(node.path("etc/kubernetes/pki"))).good();
    format!("sha256:{}", digest.trim())
}

/// Two masters, of which each has said where it is, and what the first gives away.
fn exporters() -> (Vec<Sandbox>, String, String) {
    let masters = cluster(2);
    let records = [
        at(&masters[0], 1, 1_700_000_001, "127.77.0.21"),
        at(&masters[1], 2, 1_700_000_002, "127.77.0.22"),
    ];
    keep(&masters[0], &records);
    let export = masters[0].stayput(&["export"]).good();
    let digest = digest_by_openssl(&masters[0]);
    (masters, export, digest)
}

#[test]
fn a_new_node_takes_what_a_master_gives_away() {
    if !here(false, &["openssl"]) {
        return;
    }
    let (masters, export, digest) = exporters();
    let read: Value = serde_json::from_str(&export).unwrap();
    assert_eq!(read["caHashes"], json!([digest]));
    assert_eq!(read["cluster"], "prod.k8s.internal");
    assert_eq!(read["records"].as_array().unwrap().len(), 2);
    assert!(!export.contains("KEY"), "{export}");

    // No authority, no agent, nobody else.
    let new = node("worker-9", &addresses());
    new.write("export.json", &export);
    let file = new.path("export.json");
    let import = ["import", "--ca-hash", &digest];
    let said = fed(&new, &import, &file).good();
    assert!(said.contains("master-2.prod.k8s.internal"), "{said}");
    assert!(said.contains("no peers process runs"), "{said}");
    for (number, address) in [(1, "127.77.0.21"), (2, "127.77.0.22")] {
        let want = Some((address.to_owned(), "record".to_owned()));
        assert_eq!(shown(&new, number), want);
        assert!(new.hosts().contains(&format!("{address} master-{number}.")));
    }
    assert!(!new.path("etc/kubernetes").exists());
    let mode = |path: &str| {
        std::fs::metadata(new.path(path))
            .unwrap()
            .permissions()
            .mode()
    };
    assert_eq!(mode("var/lib/stayput/peers/records") & 0o777, 0o600);

    // Again, by its path: nothing is new.
    let before = (stored(&new), new.written());
    let path = file.display().to_string();
    let (again, code) = json(&new, &["import", &path, "--ca-hash", &digest]);
    assert_eq!((code, &again["takenBy"]), (0, &json!("command")), "{again}");
    for record in again["records"].as_array().unwrap() {
        assert_eq!(record["verdict"], "known", "{again}");
    }
    assert_eq!((stored(&new), new.written()), before);

    // A master of the cluster takes it by its own authority, and has it for others.
    masters[1]
        .stayput(&["import", &path, "--ca-hash", &digest])
        .good();
    assert_eq!(masters[1].stayput(&["export"]).good(), export);
}

#[test]
fn an_agent_that_runs_is_told() {
    if !here(false, &["openssl"]) {
        return;
    }
    let (_masters, export, digest) = exporters();
    let new = node("worker-9", &addresses());
    let agent = new.agent();
    new.write("export.json", &export);
    let path = new.path("export.json").display().to_string();
    let (said, code) = json(&new, &["import", &path, "--ca-hash", &digest]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(said["report"]["doneBy"], "agent");
    let want = Some(("127.77.0.22".to_owned(), "record".to_owned()));
    assert_eq!(shown(&new, 2), want);
    drop(agent);
    assert_eq!(shown(&new, 2), want);
}

#[test]
fn what_a_node_holds_is_listed_also_without_the_process() {
    if !here(false, &["openssl"]) {
        return;
    }
    let (masters, _, _) = exporters();
    let (listed, code) = json(&masters[0], &["peers"]);
    assert_eq!((code, &listed["running"]), (69, &json!(false)), "{listed}");
    assert_eq!(listed["peers"], Value::Null);
    let record = &listed["records"][1];
    assert_eq!(record["master"], "master-2.prod.k8s.internal");
    assert_eq!(record["addresses"], json!(["127.77.0.22"]));
    assert_eq!(record["received"], "2023-11-14T22:13:20Z");
    assert_eq!(record["counts"], true);
    let said = masters[0].stayput(&["peers"]);
    assert_eq!(said.code, 69);
    assert!(
        said.out.starts_with("no peers process runs"),
        "{}",
        said.out
    );
    assert!(said.out.contains("127.77.0.22"), "{}", said.out);

    // Nothing to verify by, and nothing at all.
    let new = node("worker-9", &addresses());
    let said = new.stayput(&["peers"]);
    assert_eq!(said.code, 69);
    assert!(said.out.contains("/etc/kubernetes/pki/ca.crt is not there"));
    let refused = new.stayput(&["export"]).refused(69);
    assert!(refused.contains("ca.crt is not there"), "{refused}");
}
