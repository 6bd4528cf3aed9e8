//! What an old certificate says beyond what Kubernetes looks at: a renewal carries it over, and a person can
//! have it left out.

use serde_json::json;

use crate::adopt::Existing;
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
