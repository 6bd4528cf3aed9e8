//! The whole set of a new cluster's first master: OpenSSL and kubectl take all of it for what it is.

use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::sandbox::{CLUSTER, KUBERNETES, Sandbox, quick};
use crate::support::{Said, here, run};

const KUBEADM_ADMINS: &str = "O=kubeadm:cluster-admins";

/// What a row of the set is, and who takes it.
struct Leaf {
    path: &'static str,
    authority: &'static str,
    subject: &'static [&'static str],
    server: bool,
    client: bool,
    names: &'static [&'static str],
}

const ETCD: [&str; 5] = [
    "master-1.k8s.internal",
    "master-1",
    "localhost",
    "127.0.0.1",
    "::1",
];

const fn client(
    path: &'static str,
    authority: &'static str,
    subject: &'static [&'static str],
) -> Leaf {
    Leaf {
        path,
        authority,
        subject,
        server: false,
        client: true,
        names: &[],
    }
}

/// From Kubernetes 1.29 on.
const LEAVES: [Leaf; 8] = [
    Leaf {
        path: "pki/apiserver",
        authority: "pki/ca",
        subject: &["CN=kube-apiserver"],
        server: true,
        client: false,
        names: &[
            "master-1.k8s.internal",
            "master-1",
            "api.k8s.internal",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "localhost",
            "10.96.0.1",
            "127.0.0.1",
            "::1",
        ],
    },
    Leaf {
        path: "pki/etcd/server",
        authority: "pki/etcd/ca",
        subject: &["CN=master-1"],
        server: true,
        client: true,
        names: &ETCD,
    },
    Leaf {
        path: "pki/etcd/peer",
        authority: "pki/etcd/ca",
        subject: &["CN=master-1"],
        server: true,
        client: true,
        names: &ETCD,
    },
    client(
        "pki/apiserver-kubelet-client",
        "pki/ca",
        &[KUBEADM_ADMINS, "CN=kube-apiserver-kubelet-client"],
    ),
    client(
        "pki/front-proxy-client",
        "pki/front-proxy-ca",
        &["CN=front-proxy-client"],
    ),
    client(
        "pki/etcd/healthcheck-client",
        "pki/etcd/ca",
        &["CN=kube-etcd-healthcheck-client"],
    ),
    client(
        "pki/apiserver-etcd-client",
        "pki/etcd/ca",
        &["CN=kube-apiserver-etcd-client"],
    ),
    Leaf {
        path: "pki/stayput",
        authority: "pki/ca",
        subject: &["O=stayput:masters", "CN=master-1.stayput.k8s.internal"],
        server: true,
        client: true,
        names: &["master-1.stayput.k8s.internal"],
    },
];

const AUTHORITIES: [(&str, &str); 3] = [
    ("pki/ca", "CN=kubernetes"),
    ("pki/etcd/ca", "CN=etcd-ca"),
    ("pki/front-proxy-ca", "CN=front-proxy-ca"),
];

const ENDPOINT: &str = "https://api.k8s.internal:8443";
const LOCAL: &str = "https://127.0.0.1:6443";

/// Kubeconfigs: file, user (which is the CN), group, server.
const KUBECONFIGS: [(&str, &str, Option<&str>, &str); 5] = [
    (
        "admin.conf",
        "kubernetes-admin",
        Some(KUBEADM_ADMINS),
        ENDPOINT,
    ),
    (
        "super-admin.conf",
        "kubernetes-super-admin",
        Some("O=system:masters"),
        ENDPOINT,
    ),
    (
        "kubelet.conf",
        "system:node:master-1",
        Some("O=system:nodes"),
        ENDPOINT,
    ),
    (
        "controller-manager.conf",
        "system:kube-controller-manager",
        None,
        LOCAL,
    ),
    ("scheduler.conf", "system:kube-scheduler", None, LOCAL),
];

/// The addresses of the cluster file, which can change, in text and as certificates hold them.
const CHANGING: [(&str, [u8; 4]); 3] = [
    ("192.0.2.11", [192, 0, 2, 11]),
    ("192.0.2.12", [192, 0, 2, 12]),
    ("192.0.2.13", [192, 0, 2, 13]),
];

/// openssl in the folder of Kubernetes.
fn openssl(sandbox: &Sandbox, arguments: &[&str]) -> Said {
    let mut command = Command::new("openssl");
    run(command
        .current_dir(sandbox.path(KUBERNETES))
        .args(arguments))
}

/// `openssl verify` with strict rules; its word on a leaf.
fn verify(sandbox: &Sandbox, leaf: &str, authority: &str, arguments: &[&str]) -> Said {
    let (leaf, authority) = (format!("{leaf}.crt"), format!("{authority}.crt"));
    let strict = ["verify", "-x509_strict", "-CAfile", &authority];
    openssl(sandbox, &[&strict[..], arguments, &[&leaf]].concat())
}

/// All that OpenSSL says of a certificate, one trimmed line each.
fn lines(sandbox: &Sandbox, path: &str) -> Vec<String> {
    let said = openssl(sandbox, &["x509", "-noout", "-text", "-in", path]).good();
    said.lines().map(|line| line.trim().to_owned()).collect()
}

/// What follows the line of an extension.
fn extension<'a>(lines: &'a [String], title: &str) -> Option<&'a str> {
    let at = lines.iter().position(|line| line.trim_end() == title)?;
    Some(&lines[at + 1])
}

fn subject(sandbox: &Sandbox, path: &str) -> String {
    let arguments = [
        "x509", "-noout", "-subject", "-nameopt", "RFC2253", "-in", path,
    ];
    openssl(sandbox, &arguments).good().trim_end().to_owned()
}

/// RFC 2253 writes the last part first.
fn written(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts.iter().rev().copied().collect();
    format!("subject={}", parts.join(","))
}

fn is_pair(sandbox: &Sandbox, path: &str) {
    let (crt, key) = (format!("{path}.crt"), format!("{path}.key"));
    let of_crt = openssl(sandbox, &["x509", "-noout", "-pubkey", "-in", &crt]).good();
    let of_key = openssl(sandbox, &["pkey", "-pubout", "-in", &key]).good();
    assert_eq!(of_crt, of_key, "{path}");
}

fn authorities(sandbox: &Sandbox) {
    for (path, name) in AUTHORITIES {
        verify(sandbox, path, path, &[]).good();
        is_pair(sandbox, path);
        let crt = format!("{path}.crt");
        assert_eq!(subject(sandbox, &crt), written(&[name]));
        let lines = lines(sandbox, &crt);
        let usage = extension(&lines, "X509v3 Key Usage: critical");
        let signs = "Digital Signature, Key Encipherment, Certificate Sign";
        assert_eq!(usage, Some(signs), "{path}");
        let constraints = extension(&lines, "X509v3 Basic Constraints: critical");
        assert_eq!(constraints, Some("CA:TRUE"), "{path}");
        assert_eq!(extension(&lines, "X509v3 Extended Key Usage:"), None);
    }
}

fn leaf(sandbox: &Sandbox, leaf: &Leaf) {
    let Leaf {
        path, authority, ..
    } = leaf;
    is_pair(sandbox, path);
    let crt = format!("{path}.crt");
    assert_eq!(subject(sandbox, &crt), written(leaf.subject));
    let lines = lines(sandbox, &crt);
    let usage = extension(&lines, "X509v3 Key Usage: critical");
    assert_eq!(usage, Some("Digital Signature, Key Encipherment"), "{path}");
    let constraints = extension(&lines, "X509v3 Basic Constraints: critical");
    assert_eq!(constraints, Some("CA:FALSE"), "{path}");
    let mut usages = Vec::new();
    for (has, purpose, usage) in [
        (leaf.server, "sslserver", "TLS Web Server Authentication"),
        (leaf.client, "sslclient", "TLS Web Client Authentication"),
    ] {
        let said = verify(sandbox, path, authority, &["-purpose", purpose]);
        assert_eq!(said.code == 0, has, "{path} {purpose}: {said:?}");
        if has {
            usages.push(usage);
        }
    }
    let usages = usages.join(", ");
    let extended = extension(&lines, "X509v3 Extended Key Usage:");
    assert_eq!(extended, Some(usages.as_str()), "{path}");
    names(sandbox, leaf, &lines);
    // Another authority has nothing to do with it.
    for (other, _) in AUTHORITIES.iter().filter(|(path, _)| path != authority) {
        assert_ne!(verify(sandbox, path, other, &[]).code, 0, "{path} {other}");
    }
}

/// Exactly the wanted names, and OpenSSL takes each.
fn names(sandbox: &Sandbox, leaf: &Leaf, lines: &[String]) {
    let Leaf {
        path, authority, ..
    } = leaf;
    let has = extension(lines, "X509v3 Subject Alternative Name:");
    let count = has.map_or(0, |names| names.split(", ").count());
    assert_eq!(count, leaf.names.len(), "{path}: {has:?}");
    for name in leaf.names {
        verify(sandbox, path, authority, &by_name(name)).good();
    }
    let changing = CHANGING.map(|(address, _)| address);
    for name in [&changing[..], &["master-2.k8s.internal"]].concat() {
        let said = verify(sandbox, path, authority, &by_name(name));
        assert_ne!(said.code, 0, "{path} is not for {name}");
    }
}

fn by_name(name: &str) -> [&str; 2] {
    let address = name.parse::<std::net::IpAddr>().is_ok();
    [
        if address {
            "-verify_ip"
        } else {
            "-verify_hostname"
        },
        name,
    ]
}

/// What kubectl reads in a kubeconfig.
fn kubectl(path: &Path) -> Value {
    let mut command = Command::new("kubectl");
    command
        .args(["config", "view", "--raw", "-o", "json", "--kubeconfig"])
        .arg(path);
    serde_json::from_str(&run(&mut command).good()).unwrap()
}

fn kubeconfig(sandbox: &Sandbox, file: &str, user: &str, group: Option<&str>, server: &str) {
    let seen = kubectl(&sandbox.path(KUBERNETES).join(file));
    let at = |pointer: &str| seen.pointer(pointer).and_then(Value::as_str).unwrap();
    assert_eq!(at("/clusters/0/name"), "kubernetes");
    assert_eq!(at("/clusters/0/cluster/server"), server, "{file}");
    assert_eq!(at("/users/0/name"), user);
    let context = format!("{user}@kubernetes");
    assert_eq!(at("/contexts/0/name"), context);
    assert_eq!(at("/contexts/0/context/cluster"), "kubernetes");
    assert_eq!(at("/contexts/0/context/user"), user);
    assert_eq!(at("/current-context"), context);
    let embedded = |pointer: &str| STANDARD.decode(at(pointer)).unwrap();
    let authority = embedded("/clusters/0/cluster/certificate-authority-data");
    assert_eq!(authority, sandbox.text("pki/ca.crt").into_bytes());

    // As a pair of files, OpenSSL judges it like the others.
    let folder = tempfile::tempdir_in(sandbox.path(KUBERNETES)).unwrap();
    let stem = folder.path().join("user");
    for (suffix, data) in [("crt", "certificate"), ("key", "key")] {
        let data = embedded(&format!("/users/0/user/client-{data}-data"));
        std::fs::write(stem.with_extension(suffix), data).unwrap();
    }
    let stem = stem.to_str().unwrap();
    is_pair(sandbox, stem);
    verify(sandbox, stem, "pki/ca", &["-purpose", "sslclient"]).good();
    assert_ne!(
        verify(sandbox, stem, "pki/ca", &["-purpose", "sslserver"]).code,
        0
    );
    let cn = format!("CN={user}");
    let parts: Vec<&str> = group.into_iter().chain([cn.as_str()]).collect();
    assert_eq!(subject(sandbox, &format!("{stem}.crt")), written(&parts));
}

/// No file holds an address that can change, in whatever form.
fn no_changing_address(sandbox: &Sandbox) {
    let everything = sandbox.everything();
    assert_eq!(
        everything.len(),
        2 + 2 * (AUTHORITIES.len() + LEAVES.len() + 1) + KUBECONFIGS.len(),
        "two folders, pairs, the service-account key, kubeconfigs, and nothing else: {everything:?}"
    );
    for (path, (_, mode, _, bytes)) in everything {
        if mode & 0o170_000 == 0o040_000 {
            continue;
        }
        let text = String::from_utf8(bytes).unwrap();
        // All that is base64 in it: of PEM, and of values within a kubeconfig the PEM in them.
        let mut decoded = Vec::new();
        for value in text.split_whitespace() {
            if let Ok(inner) = STANDARD.decode(value).map(String::from_utf8)
                && let Ok(inner) = inner
            {
                decoded.extend(der(&inner));
            }
        }
        decoded.extend(der(&text));
        assert!(!decoded.is_empty(), "{}", path.display());
        for (address, octets) in CHANGING {
            assert!(!text.contains(address), "{}", path.display());
            // [7] iPAddress of four octets (RFC 5280, GeneralName).
            let name = [&[0x87, 4][..], &octets].concat();
            for der in &decoded {
                let found = der.windows(name.len()).any(|part| part == name);
                let written = der
                    .windows(address.len())
                    .any(|part| part == address.as_bytes());
                assert!(!found && !written, "{}: {address}", path.display());
            }
        }
    }
}

/// What PEM holds.
fn der(text: &str) -> Vec<Vec<u8>> {
    let blocks = text.split("-----BEGIN ").skip(1);
    let inner = blocks.map(|block| {
        let body = block.split_once("-----\n").unwrap().1;
        let body = body.split_once("-----END").unwrap().0;
        STANDARD.decode(body.replace('\n', "")).unwrap()
    });
    inner.collect()
}

/// The pair whose key is always of P-256.
const SPEAKS: &str = "pki/stayput";

/// The whole set, and what it is made with.
fn whole(cluster: &str, algorithm: &str, key: &str) {
    let sandbox = Sandbox::new("master-1", cluster);
    sandbox.ok(&["certs", "init", "--new-cluster"]);
    no_changing_address(&sandbox);
    authorities(&sandbox);
    for row in &LEAVES {
        leaf(&sandbox, row);
        let lines = lines(&sandbox, &format!("{}.crt", row.path));
        let (algorithm, key) = match row.path {
            SPEAKS => ("ASN1 OID: prime256v1", "EC PRIVATE KEY"),
            _ => (algorithm, key),
        };
        let has = lines.iter().any(|line| line == algorithm);
        assert!(has, "{}: {lines:#?}", row.path);
        let text = sandbox.text(&format!("{}.key", row.path));
        assert!(text.starts_with(&format!("-----BEGIN {key}-----\n")));
    }
    for (file, user, group, server) in KUBECONFIGS {
        kubeconfig(&sandbox, file, user, group, server);
    }
    // kubeadm writes both halves of it.
    let of_key = openssl(&sandbox, &["pkey", "-pubout", "-in", "pki/sa.key"]).good();
    assert_eq!(of_key, sandbox.text("pki/sa.pub"));
    sandbox.ok(&["certs", "verify"]);
    sandbox.ok(&["certs", "status"]);
}

#[test]
fn of_ecdsa_keys() {
    if !here(false, &["openssl", "kubectl"]) {
        return;
    }
    whole(&quick(), "ASN1 OID: prime256v1", "EC PRIVATE KEY");
}

#[test]
fn of_rsa_keys_as_kubeadm_makes_them() {
    if !here(false, &["openssl", "kubectl"]) {
        return;
    }
    whole(CLUSTER, "Public-Key: (2048 bit)", "RSA PRIVATE KEY");
}

#[test]
fn an_address_that_never_changes_is_in_all_three_servers_and_nowhere_else() {
    if !here(false, &["openssl"]) {
        return;
    }
    let cluster = quick().replace(
        "address: 192.0.2.11}",
        "address: 192.0.2.11, stable: 198.51.100.7}",
    );
    let sandbox = Sandbox::new("master-1", &cluster);
    sandbox.ok(&["certs", "init", "--new-cluster"]);
    no_changing_address(&sandbox);
    for leaf in &LEAVES {
        let said = verify(
            &sandbox,
            leaf.path,
            leaf.authority,
            &by_name("198.51.100.7"),
        );
        let has = leaf.server && leaf.path != SPEAKS;
        assert_eq!(said.code == 0, has, "{}: {said:?}", leaf.path);
    }
}

/// What the first master of a cluster gets, and no other one: a kubelet.conf would make `kubeadm join`
/// fail.
#[test]
fn another_master_gets_neither_a_kubelet_conf_nor_a_super_admin_conf() {
    let first = Sandbox::new("master-1", &quick());
    first.ok(&["certs", "init", "--new-cluster"]);
    let second = Sandbox::new("master-2", &quick());
    crate::sandbox::carry(&first, &second);
    second.ok(&["certs", "init"]);
    let names = |sandbox: &Sandbox| {
        let all = sandbox.everything().into_keys();
        all.map(|path| path.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let mut expected = names(&first);
    expected.retain(|name| !["kubelet.conf", "super-admin.conf"].contains(&name.as_str()));
    assert_eq!(names(&second), expected);
    for shared in ["pki/ca.crt", "pki/etcd/ca.key", "pki/sa.key", "pki/sa.pub"] {
        assert_eq!(first.text(shared), second.text(shared));
    }
    second.ok(&["certs", "verify"]);
    second.ok(&["certs", "status"]);
}
