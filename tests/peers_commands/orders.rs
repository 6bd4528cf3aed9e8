//! `remove` and `replace`: what is signed, to whom it goes, and what is refused.

use serde_json::{Value, json};
use stayput::clock;

use crate::masters::{addresses, at, cluster, json, keep, node, shown, stored};
use crate::support::{here, until};

const WITHOUT: &str = "--without-etcd";

#[test]
fn a_master_is_removed_and_its_name_given_to_a_new_machine() {
    if !here(false, &[]) {
        return;
    }
    let masters = cluster(2);
    let first = &masters[0];
    let records = [
        at(first, 1, 1_700_000_001, "127.77.0.21"),
        at(&masters[1], 2, 1_700_000_002, "127.77.0.22"),
    ];
    keep(first, &records);
    let begun = clock::unix_now();

    // Nobody can tell whether it is in etcd.
    let err = first.stayput(&["remove", "master-2"]).refused(69);
    assert!(
        err.contains("cannot be told") && err.contains(WITHOUT),
        "{err}"
    );
    assert!(err.contains("127."), "{err}");

    let (said, code) = json(first, &["remove", "master-2", WITHOUT]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(said["signed"], true);
    assert_eq!(said["says"], "removed");
    assert_eq!(said["master"], "master-2.prod.k8s.internal");
    assert_eq!(said["signer"], "master-1.prod.k8s.internal");
    assert_eq!(said["takenBy"], "command");
    assert!(said["version"].as_u64().unwrap() >= begun);
    assert_eq!(shown(first, 2), None);
    assert!(!first.hosts().contains("master-2"));
    let (listed, _) = json(first, &["peers"]);
    let says = |at: usize| listed["records"][at]["says"].as_str().unwrap();
    assert_eq!([says(0), says(1), says(2)], ["at", "removed", "at"]);
    assert_eq!(listed["records"][1]["record"], said["record"]);
    assert_eq!(listed["records"][2]["counts"], false);

    // It holds: signed once.
    let before = stored(first);
    let (again, code) = json(first, &["remove", "master-2.prod.k8s.internal", WITHOUT]);
    assert_eq!((code, &again["signed"]), (0, &json!(false)), "{again}");
    assert_eq!(stored(first), before);

    // The new machine speaks under a new certificate; what the old one says counts no more.
    let (back, code) = json(first, &["replace", "master-2"]);
    assert_eq!(code, 0, "{back}");
    assert_eq!(back["says"], "replaced");
    assert!(back["version"].as_u64() > said["version"].as_u64());
    assert!(back["notBefore"].is_string());
    let next = back["next"].to_string();
    assert!(next.contains("stayput import --ca-hash sha256:"), "{next}");
    let (listed, _) = json(first, &["peers"]);
    let (control, own) = (&listed["records"][1], &listed["records"][2]);
    assert_eq!(
        (&control["says"], &control["counts"]),
        (&json!("replaced"), &json!(true))
    );
    assert_eq!(own["counts"], false);
    // The cluster file counts again.
    assert_eq!(shown(first, 2).unwrap().1, "cluster-file");

    // Its old certificate is too old; a new one is not.
    let late = at(&masters[1], 2, clock::unix_now() + 1000, "127.77.0.99");
    let late = give(first, &late);
    assert_eq!(late["records"][0]["verdict"], "news", "{late}");
    assert_eq!(shown(first, 2).unwrap().1, "cluster-file");
    // Certificates begin in whole seconds, and this one has to begin later than the old one.
    until("the next second", || clock::unix_now() > begun);
    masters[1]
        .stayput(&["certs", "renew", "--force", "stayput"])
        .good();
    let new = at(&masters[1], 2, clock::unix_now() + 2000, "127.77.0.77");
    give(first, &new);
    let want = Some(("127.77.0.77".to_owned(), "record".to_owned()));
    assert_eq!(shown(first, 2), want);
}

/// Brings a record to a node as an export of its own would.
fn give(node: &crate::sandbox::Sandbox, record: &stayput::peers::record::Record) -> Value {
    use base64::Engine;
    let export = node.stayput(&["export"]).good();
    let mut export: Value = serde_json::from_str(&export).unwrap();
    let bytes = record.encode().unwrap();
    export["records"] = json!([base64::engine::general_purpose::STANDARD.encode(bytes)]);
    node.write("given", &export.to_string());
    let path = node.path("given").display().to_string();
    let hash = export["caHashes"][0].as_str().unwrap();
    json(node, &["import", &path, "--ca-hash", hash]).0
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    if !here(false, &[]) {
        return;
    }
    let masters = cluster(1);
    let first = &masters[0];
    for (arguments, code, word) in [
        (
            &["remove", "master-9"][..],
            65,
            "no master is called 'master-9'",
        ),
        (
            &["remove", "worker-1", WITHOUT],
            65,
            "the masters are master-1",
        ),
        (&["remove", "master-1", WITHOUT], 65, "--myself"),
        (&["replace", "master-1"], 65, "this master itself"),
        (&["replace", "api"], 65, "no master is called"),
    ] {
        let err = first.stayput(arguments).refused(code);
        assert!(err.contains(word), "{arguments:?}: {err}");
    }
    let worker = node("worker-9", &addresses());
    for order in [
        &["remove", "master-2", WITHOUT][..],
        &["replace", "master-2"],
    ] {
        let err = worker.stayput(order).refused(65);
        assert!(err.contains("only masters sign"), "{err}");
    }
    assert_eq!(stored(first), None);

    // The last one stays; its last word before may be about itself.
    first.stayput(&["remove", "master-2", WITHOUT]).good();
    let said = first.stayput(&["remove", "master-3", WITHOUT]).good();
    assert!(
        said.contains("master-3.prod.k8s.internal is removed"),
        "{said}"
    );
    assert!(said.contains("no peers process runs"), "{said}");
    let before = stored(first);
    let err = first
        .stayput(&["remove", "master-1", WITHOUT, "--myself"])
        .refused(1);
    assert!(err.contains("the only master"), "{err}");
    assert_eq!(stored(first), before);

    std::fs::remove_file(first.path("etc/kubernetes/pki/stayput.key")).unwrap();
    let err = first.stayput(&["replace", "master-2"]).refused(69);
    assert!(err.contains("stayput.key is not there"), "{err}");
    assert!(err.contains("stayput certs renew stayput"), "{err}");
    assert_eq!(stored(first), before);
}

/// On its way out a master may be the one that says it.
#[test]
fn a_master_may_remove_itself_as_its_last_word() {
    if !here(false, &[]) {
        return;
    }
    let masters = cluster(1);
    let (said, code) = json(&masters[0], &["remove", "master-1", WITHOUT, "--myself"]);
    assert_eq!(said["signer"], said["master"], "{said}");
    assert_eq!(code, 0, "{said}");
    assert_eq!(shown(&masters[0], 1), None);
}

#[test]
fn where_peers_are_off_nothing_is_signed_and_it_is_said() {
    if !here(false, &[]) {
        return;
    }
    let masters = cluster(2);
    let first = &masters[0];
    keep(
        &masters[1],
        &[at(&masters[1], 2, 1_700_000_002, "127.77.0.22")],
    );
    let export = masters[1].stayput(&["export"]).good();
    let file = first.path("etc/stayput/cluster.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text: Vec<&str> = text.lines().filter(|l| !l.starts_with("peers:")).collect();
    std::fs::write(&file, text.join("\n") + "\npeers: {mode: off}\n").unwrap();
    for order in [
        &["remove", "master-2", WITHOUT][..],
        &["replace", "master-2"],
    ] {
        let err = first.stayput(order).refused(65);
        assert!(err.contains("peers.mode is off"), "{err}");
    }
    assert_eq!(stored(first), None);
    let said = first.stayput(&["peers"]);
    assert_eq!(said.code, 69, "{said:?}");
    assert!(said.out.starts_with("peers.mode is off"), "{said:?}");
    // Nobody is sent to start what would do nothing.
    first.write("export.json", &export);
    let path = first.path("export.json").display().to_string();
    let read: Value = serde_json::from_str(&export).unwrap();
    let digest = read["caHashes"][0].as_str().unwrap();
    let said = first.stayput(&["import", &path, "--ca-hash", digest]);
    assert!(said.out.contains("peers.mode is off"), "{said:?}");
    assert!(!said.out.contains("systemctl start"), "{said:?}");
    assert!(stored(first).is_some());
}
