//! The pair by which a master speaks to nodes: it comes by itself, it is one master's alone, and nothing
//! else depends on it.

use std::process::Command;

use serde_json::Value;

use crate::sandbox::{KUBERNETES, Sandbox, carry, changed, quick};
use crate::support::{here, run};

const PAIR: [&str; 2] = ["pki/stayput.crt", "pki/stayput.key"];

impl Sandbox {
    fn remove(&self, names: &[&str]) {
        for name in names {
            std::fs::remove_file(self.path(KUBERNETES).join(name)).unwrap();
        }
    }

    /// What a certificate says, as OpenSSL shows it.
    fn says(&self, name: &str) -> String {
        let mut command = Command::new("openssl");
        let options = [
            "x509",
            "-noout",
            "-subject",
            "-ext",
            "subjectAltName",
            "-in",
        ];
        run(command.args(options).arg(self.path(KUBERNETES).join(name))).good()
    }
}

fn first() -> Sandbox {
    let sandbox = Sandbox::new("master-1", &quick());
    sandbox.ok(&["certs", "init", "--new-cluster"]);
    sandbox
}

/// An item of what was done, or of what there is.
fn row(shown: &Value, list: &str, id: &str) -> Value {
    let rows = shown[list].as_array().unwrap();
    let row = rows.iter().find(|row| row["id"] == id);
    row.unwrap_or_else(|| panic!("no {id}: {shown}")).clone()
}

#[test]
fn a_master_of_before_has_it_after_the_next_renewal() {
    let sandbox = first();
    sandbox.remove(&PAIR);
    let (shown, code) = sandbox.json(&["certs", "status"]);
    assert_eq!(code, 1);
    let own = row(&shown, "certificates", "stayput");
    assert_eq!(own["state"], "missing");
    assert_eq!(
        own["details"][0],
        "the next `stayput certs renew` issues it"
    );
    assert_eq!(own["users"][0]["takes"], "itself");

    let before = sandbox.everything();
    let (plan, code) = sandbox.json(&["certs", "renew", "--dry-run"]);
    assert_eq!(
        (code, &row(&plan, "items", "stayput")["did"]),
        (0, &"issued".into())
    );
    assert_eq!(changed(&before, &sandbox.everything()), [""; 0]);
    let (done, code) = sandbox.json(&["certs", "renew"]);
    assert_eq!(
        (code, &row(&done, "items", "stayput")["did"]),
        (0, &"issued".into())
    );
    assert_eq!(changed(&before, &sandbox.everything()), PAIR);
    // No static pod has to take it.
    assert_eq!(done["after"], Value::Array(Vec::new()), "{done}");
    sandbox.ok(&["certs", "status"]);
    sandbox.ok(&["certs", "verify"]);

    let made = sandbox.everything();
    let (done, code) = sandbox.json(&["certs", "renew"]);
    assert_eq!(
        (code, &row(&done, "items", "stayput")["did"]),
        (0, &"kept".into())
    );
    assert_eq!(changed(&made, &sandbox.everything()), [""; 0]);
    // As any other it is renewed by order, with a new key.
    sandbox.ok(&["certs", "renew", "stayput", "--force"]);
    assert_eq!(changed(&made, &sandbox.everything()), PAIR);
}

#[test]
fn each_master_has_its_own() {
    if !here(false, &["openssl"]) {
        return;
    }
    let first = first();
    let second = Sandbox::new("master-2", &quick());
    carry(&first, &second);
    let (_, code) = second.json(&["certs", "init"]);
    assert_eq!(code, 0);
    for (sandbox, master) in [(&first, "master-1"), (&second, "master-2")] {
        let says = sandbox.says(PAIR[0]);
        let subject = format!("O = stayput:masters, CN = {master}.stayput.k8s.internal");
        assert!(says.contains(&subject), "{says}");
        assert!(
            says.ends_with(&format!("DNS:{master}.stayput.k8s.internal\n")),
            "{says}"
        );
    }
    // One master's is nothing on another.
    for name in PAIR {
        let theirs = std::fs::read(second.path(KUBERNETES).join(name)).unwrap();
        std::fs::write(first.path(KUBERNETES).join(name), theirs).unwrap();
    }
    let (shown, code) = first.json(&["certs", "status"]);
    let own = row(&shown, "certificates", "stayput");
    assert_eq!((code, &own["state"]), (1, &"unusable".into()), "{own}");
    let (kept, code) = first.json(&["certs", "renew"]);
    assert_eq!(
        (code, &row(&kept, "items", "stayput")["did"]),
        (0, &"kept".into())
    );
    first.ok(&["certs", "renew", "stayput", "--force"]);
    assert!(!first.says(PAIR[0]).contains("master-2"));
    first.ok(&["certs", "status"]);
}

/// The authority's key is kept elsewhere: that is said of this pair, and all else goes on.
#[test]
fn where_the_authority_s_key_is_elsewhere_it_comes_from_there() {
    if !here(false, &["openssl"]) {
        return;
    }
    let sandbox = first();
    let elsewhere = tempfile::tempdir().unwrap();
    let ca_key = elsewhere.path().join("ca.key");
    std::fs::rename(sandbox.path(KUBERNETES).join("pki/ca.key"), &ca_key).unwrap();
    sandbox.remove(&PAIR);
    sandbox.remove(&["pki/etcd/server.crt", "pki/etcd/server.key"]);

    let before = sandbox.everything();
    let told = "stayput: its authority ca has no key on this machine: issue it where the key is kept, and copy it here";
    let said = sandbox.fails(&["certs", "init"], 1);
    assert!(said.contains(told), "{said}");
    // etcd's authority is here, and what it signs does not wait.
    let etcd = ["pki/etcd/server.crt", "pki/etcd/server.key"];
    assert_eq!(changed(&before, &sandbox.everything()), etcd);
    let before = sandbox.everything();
    let (done, code) = sandbox.json(&["certs", "renew"]);
    assert_eq!(
        (code, &row(&done, "items", "stayput")["did"]),
        (1, &"refused".into())
    );
    let others = done["items"].as_array().unwrap().iter();
    let mut others = others.filter(|row| row["id"] != "stayput");
    assert!(others.all(|row| row["did"] == "kept"), "{done}");
    let said = sandbox.fails(&["certs", "renew"], 1);
    assert!(said.contains(told), "{said}");
    assert_eq!(changed(&before, &sandbox.everything()), [""; 0]);

    // By a request that is signed where the key is.
    let at = |name: &str| sandbox.path(KUBERNETES).join(name).display().to_string();
    let openssl = |line: &[&str]| run(Command::new("openssl").args(line)).good();
    let request = elsewhere.path().join("stayput.csr").display().to_string();
    let extensions = elsewhere.path().join("stayput.ext");
    std::fs::write(
        &extensions,
        "keyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n\
         basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:master-1.stayput.k8s.internal\n",
    )
    .unwrap();
    openssl(&[
        "ecparam",
        "-name",
        "prime256v1",
        "-genkey",
        "-noout",
        "-out",
        &at(PAIR[1]),
    ]);
    let subject = "/O=stayput:masters/CN=master-1.stayput.k8s.internal";
    openssl(&[
        "req",
        "-new",
        "-key",
        &at(PAIR[1]),
        "-subj",
        subject,
        "-out",
        &request,
    ]);
    openssl(&[
        "x509",
        "-req",
        "-days",
        "365",
        "-in",
        &request,
        "-CA",
        &at("pki/ca.crt"),
        "-CAkey",
        &ca_key.display().to_string(),
        "-CAcreateserial",
        "-extfile",
        &extensions.display().to_string(),
        "-out",
        &at(PAIR[0]),
    ]);
    sandbox.remove(&["pki/ca.srl"]);
    let (shown, _) = sandbox.json(&["certs", "status"]);
    let own = row(&shown, "certificates", "stayput");
    assert_eq!(
        (&own["state"], &own["authority"]),
        (&"ok".into(), &"ca".into()),
        "{own}"
    );
    sandbox.ok(&["certs", "renew"]);
    sandbox.ok(&["certs", "verify"]);
}

/// Where masters tell nobody anything, nothing is asked for.
#[test]
fn where_peers_are_off_it_is_not_asked_for() {
    let off = quick() + "peers: {mode: off}\n";
    let sandbox = Sandbox::new("master-1", &off);
    sandbox.ok(&["certs", "init", "--new-cluster"]);
    for name in PAIR {
        assert!(!sandbox.path(KUBERNETES).join(name).exists());
    }
    sandbox.ok(&["certs", "renew"]);
    sandbox.ok(&["certs", "status"]);
    sandbox.fails(&["certs", "renew", "stayput"], 65);
    // And as soon as they are to speak, the next run makes it.
    sandbox.write("etc/stayput/cluster.yaml", quick().as_bytes());
    let before = sandbox.everything();
    sandbox.ok(&["certs", "renew"]);
    assert_eq!(changed(&before, &sandbox.everything()), PAIR);
}
