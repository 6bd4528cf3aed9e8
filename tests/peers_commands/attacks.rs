//! What `import` refuses, and that nothing moves by it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stayput::peers::carry::Hash;
use stayput::peers::record::Record;

use crate::masters::{addresses, at, cluster, json, keep, master, node, say, shown, stored, trust};
use crate::sandbox::Sandbox;
use crate::support::here;
use stayput::peers::statement::Says;

fn base64(record: &Record) -> String {
    STANDARD.encode(record.encode().unwrap())
}

/// A node of two masters' cluster, and what a third one, of another authority, would like it to believe.
struct Scene {
    masters: Vec<Sandbox>,
    stranger: Sandbox,
    export: Value,
    hash: String,
}

fn scene() -> Scene {
    let masters = cluster(2);
    keep(
        &masters[0],
        &[at(&masters[0], 1, 1_700_000_001, "127.77.0.21")],
    );
    let export = masters[0].stayput(&["export"]).good();
    let export: Value = serde_json::from_str(&export).unwrap();
    let hash = export["caHashes"][0].as_str().unwrap().to_owned();
    let stranger = cluster(1).remove(0);
    keep(&stranger, &[at(&stranger, 1, 1_800_000_000, "127.66.6.6")]);
    Scene {
        masters,
        stranger,
        export,
        hash,
    }
}

fn import(node: &Sandbox, text: &str, hash: &str) -> crate::support::Said {
    node.write("given", text);
    let path = node.path("given").display().to_string();
    node.stayput(&["import", &path, "--ca-hash", hash])
}

/// Files that are refused as a whole, on a node with an authority and on one without.
#[test]
fn what_is_not_from_here_is_refused_whole() {
    if !here(false, &[]) {
        return;
    }
    let Scene {
        masters,
        stranger,
        export,
        hash,
    } = scene();
    let theirs = stranger.stayput(&["export"]).good();
    let their_hash = Hash::of(&trust(&stranger).authorities[0])
        .as_str()
        .to_owned();
    let with = |key: &str, value: Value| {
        let mut export = export.clone();
        export[key] = value;
        export.to_string()
    };
    let good = export.to_string();
    let new = node("worker-9", &addresses());
    let refused = |node: &Sandbox, what: &str, text: &str, hash: &str, word: &str| {
        let err = import(node, text, hash).refused(65);
        assert!(err.contains(word), "{what}: {err}");
        assert!(stored(node).is_none(), "{what}");
    };
    let none = "none of the authorities";
    let no_export = "this is not what `stayput export` prints";
    for (what, text, hash, word) in [
        ("another's digest", &good, &their_hash, none),
        ("another's export", &theirs, &hash, none),
        (
            "no authority",
            &with("authority", json!("")),
            &hash,
            no_export,
        ),
        ("no list", &with("records", json!("AA")), &hash, no_export),
        ("no JSON", &"apiVersion: v1".to_owned(), &hash, no_export),
        (
            "another format",
            &with("format", json!("x 9")),
            &hash,
            "x 9",
        ),
        ("no digest", &good, &"sha256:12".to_owned(), "is no digest"),
        (
            "another cluster",
            &with("cluster", json!("else.internal")),
            &hash,
            "else.internal",
        ),
    ] {
        for node in [&new, &masters[1]] {
            refused(node, what, text, hash, word);
        }
    }
    // A node without an authority believes the one that it is told; no other does.
    let own = &masters[1];
    refused(
        own,
        "another's altogether",
        &theirs,
        &their_hash,
        "another cluster",
    );
    assert_eq!(shown(&new, 1).unwrap().1, "cluster-file");
}

/// Records that are refused one by one, while the good one beside them counts.
#[test]
fn a_record_that_nobody_may_make_is_refused_alone() {
    if !here(false, &[]) {
        return;
    }
    let Scene {
        masters,
        stranger,
        export,
        hash,
    } = scene();
    let good = at(&masters[1], 2, 1_700_000_009, "127.77.0.32");
    let mut forged = at(&masters[0], 1, 1_900_000_000, "127.66.6.6");
    *forged.signature.last_mut().unwrap() ^= 1;
    let mut moved = at(&masters[0], 1, 1_900_000_000, "127.66.6.6");
    let place = moved.statement.len() - 1;
    moved.statement[place] ^= 1;
    let another = at(&stranger, 1, 1_900_000_000, "127.66.6.6");
    let removal = say(&stranger, &master(2), 1_900_000_000, Says::Removed);
    let mut records: Vec<Value> = [&forged, &moved, &another, &removal, &good]
        .map(|record| json!(base64(record)))
        .to_vec();
    records.extend([json!("%"), json!("AAAA"), json!("A".repeat(20_000))]);
    let mut export = export;
    export["records"] = Value::from(records);
    let new = node("worker-9", &addresses());
    new.write("given", &export.to_string());
    let path = new.path("given").display().to_string();
    let (said, code) = json(&new, &["import", &path, "--ca-hash", &hash]);
    assert_eq!(code, 1, "{said}");
    let verdicts: Vec<&str> = said["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["verdict"].as_str().unwrap())
        .collect();
    let refused = "refused";
    assert_eq!(
        verdicts,
        [
            refused, refused, refused, refused, "news", refused, refused, refused
        ],
        "{said}"
    );
    for at in [0, 1, 2, 3, 5, 6, 7] {
        assert!(said["records"][at]["reason"].is_string(), "{said}");
    }
    let want = Some(("127.77.0.32".to_owned(), "record".to_owned()));
    assert_eq!(shown(&new, 2), want);
    assert_eq!(shown(&new, 1).unwrap().1, "cluster-file");
    let file = stored(&new).unwrap();
    assert!(file.len() < 2000, "{}", file.len());
}

/// An older record than the one that is held changes nothing.
#[test]
fn what_is_old_is_outdone() {
    if !here(false, &[]) {
        return;
    }
    let Scene {
        masters,
        export,
        hash,
        ..
    } = scene();
    keep(
        &masters[1],
        &[at(&masters[0], 1, 1_700_000_055, "127.77.0.55")],
    );
    let before = stored(&masters[1]);
    masters[1].write("given", &export.to_string());
    let path = masters[1].path("given").display().to_string();
    let (said, code) = json(&masters[1], &["import", &path, "--ca-hash", &hash]);
    assert_eq!(
        (code, &said["records"][0]["verdict"]),
        (0, &json!("outdone"))
    );
    assert_eq!(stored(&masters[1]), before);
}

/// A file of another cluster's records is not thrown away by a mistaken import.
#[test]
fn records_of_another_authority_are_kept() {
    if !here(false, &[]) {
        return;
    }
    let Scene {
        stranger,
        export,
        hash,
        ..
    } = scene();
    let node = node("worker-9", &addresses());
    let folder = node.path("var/lib/stayput/peers");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("records"), stored(&stranger).unwrap()).unwrap();
    let before = stored(&node);
    let err = import(&node, &export.to_string(), &hash).refused(1);
    assert!(err.contains("nothing to do with"), "{err}");
    assert_eq!(stored(&node), before);
}
