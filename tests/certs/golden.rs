//! The same table as a real kubeadm's, but for what differs on purpose.

use std::process::Command;

use serde_json::{Value, json};

use crate::sandbox::{CLUSTER, Sandbox};

/// What kubeadm 1.20.2 wrote for master-1 at 192.0.2.11 with the endpoint api.k8s.internal:8443.
const KUBEADM: &str = include_str!("kubeadm-1.20.2.json");

/// A node's `/etc/kubernetes` as a table, read by another X.509 library.
fn table(sandbox: &Sandbox) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certs/pki_table.py");
    let output = Command::new("/usr/bin/python3")
        .arg(script)
        .arg(sandbox.path("etc/kubernetes"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Every place where two tables differ, as JSON pointers with both values.
fn differences(at: &str, left: &Value, right: &Value, all: &mut Vec<(String, Value, Value)>) {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            let mut keys: Vec<&String> = left.keys().chain(right.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let (l, r) = (&left.get(key), &right.get(key));
                let none = Value::Null;
                let at = format!("{at}/{}", key.replace('/', "~1"));
                differences(&at, l.unwrap_or(&none), r.unwrap_or(&none), all);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (l, r)) in left.iter().zip(right).enumerate() {
                differences(&format!("{at}/{index}"), l, r, all);
            }
        }
        _ if left == right => {}
        _ => all.push((at.to_owned(), left.clone(), right.clone())),
    }
}

#[test]
fn the_table_is_kubeadms_but_for_addresses_that_change() {
    let cluster = format!("{CLUSTER}kubernetes: {{version: \"1.20\"}}\n");
    let sandbox = Sandbox::new("master-1", &cluster);
    sandbox.ok(&["certs", "init", "--new-cluster"]);
    let kubeadm: Value = serde_json::from_str(KUBEADM).unwrap();
    let mut found = Vec::new();
    let mut ours = table(&sandbox);
    // The one pair that kubeadm does not know: small, and good for one name.
    let rows = ours.as_object_mut().unwrap();
    let key = rows.remove("pki/stayput.key").unwrap();
    assert_eq!(
        (&key["key"], &key["mode"]),
        (&json!("EC-secp256r1"), &json!("0o600"))
    );
    let pair = rows.remove("pki/stayput.crt").unwrap();
    assert_eq!(pair["key"], "EC-secp256r1");
    assert_eq!(
        pair["subject"],
        json!({"O": "stayput:masters", "CN": "master-1.stayput.k8s.internal"})
    );
    assert_eq!(pair["issuer"], json!({"CN": "kubernetes"}));
    assert_eq!(pair["days"], rows["pki/apiserver.crt"]["days"]);
    let extensions = pair["extensions"].as_array().unwrap().iter();
    let of = |name: &str| extensions.clone().find(|it| it["oid"] == name).unwrap()["value"].clone();
    assert_eq!(
        of("subjectAltName"),
        json!({"dns": ["master-1.stayput.k8s.internal"], "ip": []})
    );
    assert_eq!(of("extendedKeyUsage"), json!(["clientAuth", "serverAuth"]));
    differences("", &kubeadm, &ours, &mut found);

    let own = "https://192.0.2.11:6443";
    let local = "https://127.0.0.1:6443";
    let wanted = [
        // Both talk to the kube-apiserver of their own machine: loopback never changes.
        ("/controller-manager.conf/server", json!(own), json!(local)),
        // The node's current address is in no certificate: that is the whole idea.
        (
            "/pki~1apiserver.crt/extensions/3/value/ip",
            json!(["10.96.0.1", "192.0.2.11", "127.0.0.1", "::1"]),
            json!(["10.96.0.1", "127.0.0.1", "::1"]),
        ),
        (
            "/pki~1etcd~1peer.crt/extensions/3/value/ip",
            json!(["192.0.2.11", "127.0.0.1", "::1"]),
            json!(["127.0.0.1", "::1"]),
        ),
        (
            "/pki~1etcd~1server.crt/extensions/3/value/ip",
            json!(["192.0.2.11", "127.0.0.1", "::1"]),
            json!(["127.0.0.1", "::1"]),
        ),
        ("/scheduler.conf/server", json!(own), json!(local)),
    ];
    let wanted: Vec<_> = wanted
        .into_iter()
        .map(|(at, kubeadm, ours)| (at.to_owned(), kubeadm, ours))
        .collect();
    assert_eq!(found, wanted);
}
