//! What an old certificate says beyond what Kubernetes looks at: a renewal carries it over, and a person can
//! have it left out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::adopt::Existing;
use crate::bad::good;
use crate::support::here;

const PAIR: [&str; 2] = ["pki/apiserver.crt", "pki/apiserver.key"];
const FORCED: [&str; 4] = ["certs", "renew", "apiserver", "--force"];

/// A cluster whose kube-apiserver's certificate has these names beside `kubernetes`.
fn with(usages: &str, names: &str) -> Existing {
    let existing = Existing::new();
    existing.server(
        "pki/apiserver",
        "pki/ca",
        "/CN=kube-apiserver",
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        usages,
        &format!("DNS:kubernetes,{names}"),
    );
    existing
}

#[test]
fn names_that_nobody_can_ask_for_do_not_hold_up_a_renewal() {
    if !here(false, &["openssl"]) {
        return;
    }
    let odd = "DNS:10.0.0.1,DNS:api.example.com.,DNS:*,DNS:a b,DNS:*.com,DNS:a.*.example.com";
    let existing = with("serverAuth", odd);
    let (files, row) = existing.changes(&FORCED);
    assert_eq!(files, PAIR);
    assert_eq!(row["drops"], json!([]));
    let (_, names, _) = existing.about(PAIR[0]);
    for name in odd.split(',').chain(["DNS:api.k8s.internal"]) {
        assert!(names.iter().any(|is| is == name), "{name}: {names:?}");
    }
    existing.verify(
        PAIR[0],
        "pki/ca.crt",
        &["-verify_hostname", "api.k8s.internal"],
    );

    // An address that is written as a DNS name is left out like an address.
    let order = [&FORCED[..], &["--drop-name", "10.0.0.1"]].concat();
    let (_, row) = existing.changes(&order);
    assert_eq!(row["drops"], json!(["10.0.0.1"]));
    let (_, names, _) = existing.about(PAIR[0]);
    assert!(
        !names.iter().any(|name| name == "DNS:10.0.0.1"),
        "{names:?}"
    );
}

#[test]
fn names_and_usages_of_every_kind_are_carried_over() {
    if !here(false, &["openssl"]) {
        return;
    }
    let usages =
        "serverAuth,codeSigning,1.3.6.1.5.2.3.5,2.25.300000000000000000000000000000000000001";
    let odd = "URI:spiffe://example.com/api,email:ops@example.com,RID:1.2.3.4,\
               otherName:1.3.6.1.4.1.311.20.2.3;UTF8:api@example.com";
    let existing = with(usages, odd);
    let (_, old, old_usages) = existing.about(PAIR[0]);
    let (_, row) = existing.changes(&FORCED);
    assert_eq!(row["drops"], json!([]));
    let (_, new, new_usages) = existing.about(PAIR[0]);
    assert!(
        old.iter().all(|name| new.contains(name)),
        "{old:?}: {new:?}"
    );
    assert!(old_usages.matches(", ").count() == 3, "{old_usages}");
    assert_eq!(new_usages, old_usages);
    let (shown, _) = existing.0.json(&["certs", "status"]);
    assert!(
        shown
            .to_string()
            .contains("\"URI:spiffe://example.com/api\""),
        "{shown}"
    );
    existing.0.ok(&["certs", "renew", "apiserver", "--force"]);
    assert_eq!(existing.about(PAIR[0]).1, new);
}

#[test]
fn a_kubeconfig_with_a_strangers_authority_is_put_right_by_order() {
    let (ours, strangers) = (good(), good());
    let other = strangers.text("pki/ca.crt");
    let text = ours.text("admin.conf");
    let [own, other] = [ours.text("pki/ca.crt"), other].map(|pem| STANDARD.encode(pem));
    ours.write(
        "etc/kubernetes/admin.conf",
        text.replace(&own, &other).as_bytes(),
    );
    let said = ours.fails(&["certs", "status"], 1);
    let remedy = "`stayput certs renew admin.conf --force` puts that right";
    assert!(
        said.contains("foreign authority") && said.contains(remedy),
        "{said}"
    );
    let said = ours.fails(&["certs", "renew", "admin.conf"], 1);
    assert!(said.contains("REFUSED") && said.contains(remedy), "{said}");
    ours.ok(&["certs", "renew", "admin.conf", "--force"]);
    assert!(ours.text("admin.conf").contains(&own));
    ours.ok(&["certs", "status"]);
    ours.ok(&["certs", "verify"]);
}

#[test]
fn a_kubeconfig_that_points_to_files_is_no_kubelets() {
    let sandbox = good();
    let text = sandbox.text("scheduler.conf");
    let mut files = Vec::new();
    for line in text.lines() {
        match line.trim().split_once("-data: ") {
            Some((field, value)) if field.starts_with("client-") => {
                let path = format!("/etc/kubernetes/{field}.pem");
                sandbox.write(&path[1..], &STANDARD.decode(value).unwrap());
                files.push(format!("    {field}: {path}\n"));
            }
            _ => files.push(format!("{line}\n")),
        }
    }
    sandbox.write("etc/kubernetes/scheduler.conf", files.concat().as_bytes());
    let said = sandbox.fails(&["certs", "renew", "scheduler.conf"], 1);
    assert!(
        said.contains("REFUSED") && !said.contains("kubelet"),
        "{said}"
    );
    sandbox.ok(&["certs", "renew", "scheduler.conf", "--force"]);
    let new = sandbox.text("scheduler.conf");
    assert!(
        new.contains("client-key-data: ") && new != text,
        "{}",
        new.len()
    );
    sandbox.ok(&["certs", "verify"]);
}
