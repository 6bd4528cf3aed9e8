//! A cluster that is there already, made by OpenSSL in the forms that kubeadm and others use: it is
//! read, put right one certificate after the other, and nothing else changes.

use std::collections::BTreeMap;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::sandbox::{KUBERNETES, Sandbox, changed, quick};
use crate::support::{here, run};

const PKCS1: &str = "genrsa -traditional 2048";
const SEC1: &str = "ecparam -name prime256v1 -genkey -noout";
const PKCS8: &str = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256";

const AUTHORITY: &str = "basicConstraints=critical,CA:TRUE\n\
    keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign\n";
const LEAF: &str = "keyUsage=critical,digitalSignature,keyEncipherment\n";

/// The node's address as kubeadm wrote it in, and the names beside it.
const OLD: &str = "192.0.2.11";
const SERVED: &str = "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,\
    DNS:kubernetes.default.svc.cluster.local,DNS:master-1,IP:10.96.0.1,IP:192.0.2.11";
const ETCD: &str = "DNS:localhost,DNS:master-1,IP:192.0.2.11,IP:127.0.0.1,IP:::1";

/// The cluster.
pub(crate) struct Existing(pub(crate) Sandbox);

impl Existing {
    fn openssl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("openssl");
        run(command.current_dir(self.0.path(KUBERNETES)).args(arguments)).good()
    }

    pub(crate) fn write(&self, name: &str, text: &str, mode: &str) {
        self.0
            .write(&format!("{KUBERNETES}/{name}"), text.as_bytes());
        let path = self.0.path(KUBERNETES).join(name);
        run(Command::new("chmod").arg(mode).arg(path)).good();
    }

    fn key(&self, path: &str, how: &str) {
        let arguments: Vec<&str> = how.split(' ').collect();
        let text = self.openssl(&arguments);
        self.write(&format!("{path}.key"), &text, "0600");
    }

    /// As kubeadm did until it used random ones: with serial 0.
    fn authority(&self, path: &str, name: &str, form: &str) {
        self.key(path, form);
        let config = format!(
            "[req]\ndistinguished_name=name\nx509_extensions=extensions\n[name]\n[extensions]\n{AUTHORITY}"
        );
        self.write("openssl.cnf", &config, "0600");
        let (key, subject) = (format!("{path}.key"), format!("/CN={name}"));
        let fixed = "req -new -x509 -config openssl.cnf -days 3650 -set_serial 0 -key";
        let arguments: Vec<&str> = fixed.split(' ').chain([&*key, "-subj", &subject]).collect();
        let text = self.openssl(&arguments);
        self.write(&format!("{path}.crt"), &text, "0644");
    }

    fn leaf(&self, path: &str, authority: &str, subject: &str, form: &str, extensions: &str) {
        self.key(path, form);
        self.write(
            "openssl.cnf",
            "[req]\ndistinguished_name=name\n[name]\n",
            "0600",
        );
        self.write("extensions.cnf", &format!("{LEAF}{extensions}"), "0600");
        let key = format!("{path}.key");
        let fixed = "req -new -config openssl.cnf -out leaf.csr -key";
        let arguments: Vec<&str> = fixed.split(' ').chain([&*key, "-subj", subject]).collect();
        self.openssl(&arguments);
        let [ca, ca_key] = ["crt", "key"].map(|suffix| format!("{authority}.{suffix}"));
        let fixed = "x509 -req -days 365 -set_serial 4711 -extfile extensions.cnf -in leaf.csr -CA";
        let arguments: Vec<&str> = fixed.split(' ').chain([&*ca, "-CAkey", &ca_key]).collect();
        let text = self.openssl(&arguments);
        self.write(&format!("{path}.crt"), &text, "0644");
    }

    fn client(&self, path: &str, authority: &str, subject: &str, form: &str) {
        self.leaf(
            path,
            authority,
            subject,
            form,
            "extendedKeyUsage=clientAuth\n",
        );
    }

    pub(crate) fn server(
        &self,
        path: &str,
        authority: &str,
        subject: &str,
        form: &str,
        usages: &str,
        names: &str,
    ) {
        let extensions = format!("extendedKeyUsage={usages}\nsubjectAltName={names}\n");
        self.leaf(path, authority, subject, form, &extensions);
    }

    /// A kubeconfig as a person may have edited it: a comment, an order of keys of its own.
    fn kubeconfig(&self, file: &str, user: &str, subject: &str, server: &str) {
        self.client("user", "pki/ca", subject, PKCS1);
        let data = |path: &str| STANDARD.encode(self.0.text(path));
        let text = format!(
            "# ours\nkind: Config\napiVersion: v1\ncurrent-context: {user}@kubernetes\n\
             preferences: {{colors: true}}\nusers:\n- user:\n    client-key-data: {}\n    \
             client-certificate-data: {}\n  name: {user}\nclusters:\n- name: kubernetes\n  cluster:\n    \
             server: {server}\n    certificate-authority-data: {}\ncontexts:\n- name: {user}@kubernetes\n  \
             context: {{user: {user}, cluster: kubernetes}}\n",
            data("user.key"),
            data("user.crt"),
            data("pki/ca.crt"),
        );
        self.write(file, &text, "0600");
    }

    pub(crate) fn new() -> Self {
        let made = Self(Sandbox::new("master-1", &quick()));
        std::fs::create_dir_all(made.0.path(KUBERNETES)).unwrap();
        made.authority("pki/ca", "kubernetes", PKCS1);
        made.authority("pki/etcd/ca", "etcd-ca", SEC1);
        made.authority("pki/front-proxy-ca", "front-proxy-ca", PKCS8);
        // A bundle: the authority that signs, and one that was trusted before it.
        made.authority("older", "kubernetes", SEC1);
        let bundle = made.0.text("pki/ca.crt") + &made.0.text("older.crt");
        made.write("pki/ca.crt", &bundle, "0644");
        made.server(
            "pki/apiserver",
            "pki/ca",
            "/CN=kube-apiserver",
            PKCS1,
            "serverAuth",
            SERVED,
        );
        let (both, etcd) = ("serverAuth,clientAuth", "pki/etcd/ca");
        made.server("pki/etcd/server", etcd, "/CN=master-1", SEC1, both, ETCD);
        made.server("pki/etcd/peer", etcd, "/CN=master-1", PKCS8, both, ETCD);
        let masters = |name: &str| format!("/O=system:masters/CN={name}");
        for (path, authority, subject, form) in [
            (
                "pki/apiserver-kubelet-client",
                "pki/ca",
                masters("kube-apiserver-kubelet-client"),
                SEC1,
            ),
            (
                "pki/front-proxy-client",
                "pki/front-proxy-ca",
                "/CN=front-proxy-client".into(),
                PKCS8,
            ),
            (
                "pki/etcd/healthcheck-client",
                etcd,
                masters("kube-etcd-healthcheck-client"),
                SEC1,
            ),
            (
                "pki/apiserver-etcd-client",
                etcd,
                masters("kube-apiserver-etcd-client"),
                SEC1,
            ),
        ] {
            made.client(path, authority, &subject, form);
        }
        let (endpoint, own) = ("https://api.k8s.internal:8443", "https://192.0.2.11:6443");
        let admin = masters("kubernetes-admin");
        made.kubeconfig("admin.conf", "kubernetes-admin", &admin, endpoint);
        for name in ["controller-manager", "scheduler"] {
            let user = format!("system:kube-{name}");
            made.kubeconfig(&format!("{name}.conf"), &user, &format!("/CN={user}"), own);
        }
        made.key("pki/sa", PKCS1);
        let public = made.openssl(&["pkey", "-pubout", "-in", "pki/sa.key"]);
        made.write("pki/sa.pub", &public, "0600");
        for name in [
            "openssl.cnf",
            "extensions.cnf",
            "leaf.csr",
            "user.crt",
            "user.key",
            "older.crt",
            "older.key",
        ] {
            std::fs::remove_file(made.0.path(KUBERNETES).join(name)).unwrap();
        }
        made
    }

    /// What needs attention, by name.
    fn states(&self) -> BTreeMap<String, String> {
        let (shown, code) = self.0.json(&["certs", "status"]);
        let states: BTreeMap<String, String> = rows(&shown)
            .filter(|row| row["state"] != "ok")
            .map(|row| (string(&row["id"]), string(&row["state"])))
            .collect();
        assert_eq!(code, i32::from(!states.is_empty()), "{shown}");
        assert_eq!(shown["attention"], !states.is_empty());
        states
    }

    /// Runs a command; which files of Kubernetes it has changed, and what it says of the first item.
    pub(crate) fn changes(&self, arguments: &[&str]) -> (Vec<String>, Value) {
        let before = self.0.everything();
        let (done, code) = self.0.json(arguments);
        assert_eq!(code, 0, "{arguments:?}: {done}");
        (
            changed(&before, &self.0.everything()),
            done["items"][0].clone(),
        )
    }

    /// Subject, names and usages of a certificate, as OpenSSL shows them.
    pub(crate) fn about(&self, path: &str) -> (String, Vec<String>, String) {
        let options = "subjectAltName,extendedKeyUsage";
        let arguments = ["x509", "-noout", "-subject", "-ext", options, "-in", path];
        let said = self.openssl(&arguments);
        let after = |title: &str| {
            let rest = said.split_once(title)?.1;
            rest.lines().nth(1).map(|line| line.trim().to_owned())
        };
        let names = after("Subject Alternative Name:").unwrap_or_default();
        let mut names: Vec<String> = names.split(", ").map(str::to_owned).collect();
        names.sort();
        let subject = said.lines().find(|line| line.starts_with("subject="));
        let usages = after("Extended Key Usage:").unwrap_or_default();
        (subject.unwrap_or_default().to_owned(), names, usages)
    }

    pub(crate) fn verify(&self, path: &str, authority: &str, arguments: &[&str]) {
        let fixed = ["verify", "-CAfile", authority];
        self.openssl(&[&fixed[..], arguments, &[path]].concat());
    }
}

fn rows(shown: &Value) -> impl Iterator<Item = &Value> {
    shown["certificates"].as_array().unwrap().iter()
}

fn string(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    let owned = pairs.map(|(id, state)| (id.to_owned(), state.to_owned()));
    owned.into()
}

/// What no renewal of the test is about.
const NEVER_TOUCHED: [&str; 12] = [
    "pki/ca.crt",
    "pki/ca.key",
    "pki/etcd/ca.crt",
    "pki/etcd/ca.key",
    "pki/front-proxy-ca.crt",
    "pki/front-proxy-ca.key",
    "pki/front-proxy-client.crt",
    "pki/front-proxy-client.key",
    "pki/etcd/healthcheck-client.crt",
    "pki/apiserver-etcd-client.key",
    "pki/sa.key",
    "pki/sa.pub",
];

#[test]
fn step_by_step() {
    if !here(false, &["openssl"]) {
        return;
    }
    let existing = Existing::new();
    let begun = existing.0.everything();

    // It is read, and what is wrong is said.
    let wrong_servers = [
        ("controller-manager.conf", "wrongServer"),
        ("scheduler.conf", "wrongServer"),
    ];
    let lacks = [
        ("apiserver", "nameMissing"),
        ("etcd-peer", "nameMissing"),
        ("etcd-server", "nameMissing"),
    ];
    let [server, peer, own] = lacks;
    assert_eq!(
        existing.states(),
        pairs([
            server,
            peer,
            own,
            wrong_servers[0],
            wrong_servers[1],
            ("stayput", "missing"),
        ])
    );
    let said = existing.0.fails(&["certs", "status"], 1);
    for part in [
        "apiserver: lacks api.k8s.internal, localhost, master-1.k8s.internal, 127.0.0.1, ::1: \
         `stayput certs renew apiserver --force` adds it",
        "scheduler.conf: points to https://192.0.2.11:6443, not to https://127.0.0.1:6443: \
         edit `server` in /etc/kubernetes/scheduler.conf, or let `stayput certs renew scheduler.conf --force` do it",
    ] {
        assert!(said.contains(part), "{said}");
    }
    existing.0.fails(&["certs", "verify"], 1);

    // What only stayput has is made, and nothing else changes by it.
    let (files, _) = existing.changes(&["certs", "renew"]);
    assert_eq!(files, ["pki/stayput.crt", "pki/stayput.key"]);
    existing.verify("pki/stayput.crt", "pki/ca.crt", &["-purpose", "sslclient"]);
    existing.verify("pki/stayput.crt", "pki/ca.crt", &["-purpose", "sslserver"]);

    // None of that is a reason to change anything.
    let still: [&[&str]; 3] = [
        &["certs", "init"],
        &["certs", "renew"],
        &["certs", "renew", "apiserver", "--force", "--dry-run"],
    ];
    for arguments in still {
        assert_eq!(existing.changes(arguments).0, [""; 0], "{arguments:?}");
    }

    the_api_servers(&existing);
    let [old_server, old_peer] =
        ["server", "peer"].map(|stem| existing.about(&format!("pki/etcd/{stem}.crt")));
    let order = [
        "certs",
        "renew",
        "etcd-server",
        "etcd-peer",
        "--force",
        "--drop-name",
        OLD,
    ];
    let (files, _) = existing.changes(&order);
    let wanted =
        ["peer.crt", "peer.key", "server.crt", "server.key"].map(|name| format!("pki/etcd/{name}"));
    assert_eq!(files, wanted);
    for (stem, (subject, _, usages)) in [("server", old_server), ("peer", old_peer)] {
        let path = format!("pki/etcd/{stem}.crt");
        let names = [
            "DNS:localhost",
            "DNS:master-1",
            "DNS:master-1.k8s.internal",
            "IP Address:0:0:0:0:0:0:0:1",
            "IP Address:127.0.0.1",
        ];
        assert_eq!(
            existing.about(&path),
            (subject, names.map(str::to_owned).to_vec(), usages)
        );
        existing.verify(&path, "pki/etcd/ca.crt", &["-purpose", "sslclient"]);
        existing.verify(&path, "pki/etcd/ca.crt", &["-purpose", "sslserver"]);
    }
    a_client(&existing);
    kubeconfigs(&existing);

    // All is as the cluster file says, and the old is gone but for what was never touched.
    assert_eq!(existing.states(), BTreeMap::new());
    existing.0.ok(&["certs", "verify"]);
    let now = changed(&begun, &existing.0.everything());
    for path in NEVER_TOUCHED {
        assert!(!now.iter().any(|changed| changed == path), "{path}");
    }
    assert_eq!(
        now.len(),
        2 * 5 + 3,
        "five pairs and three kubeconfigs: {now:?}"
    );
    no_key_is_kept(&existing);
}

/// The union first; then, when nobody uses the address any longer, without it.
fn the_api_servers(existing: &Existing) {
    let pair = ["pki/apiserver.crt", "pki/apiserver.key"];
    let old = existing.about(pair[0]);
    let (files, row) = existing.changes(&["certs", "renew", "apiserver", "--force"]);
    assert_eq!(files, pair);
    let adds = json!([
        "api.k8s.internal",
        "localhost",
        "master-1.k8s.internal",
        "127.0.0.1",
        "::1"
    ]);
    assert_eq!(
        (&row["did"], &row["adds"], &row["drops"]),
        (&json!("renewed"), &adds, &json!([]))
    );
    let union = existing.about(pair[0]);
    assert_eq!(
        (&union.0, &union.2),
        (&old.0, &old.2),
        "subject and usages stay"
    );
    assert!(old.1.iter().all(|name| union.1.contains(name)), "{union:?}");
    existing.verify(pair[0], "pki/ca.crt", &["-verify_ip", OLD]);
    for name in [
        "master-1",
        "master-1.k8s.internal",
        "api.k8s.internal",
        "kubernetes",
    ] {
        existing.verify(
            pair[0],
            "pki/ca.crt",
            &["-purpose", "sslserver", "-verify_hostname", name],
        );
    }

    // Without --force it is not due, and nothing would be dropped.
    let order = ["certs", "renew", "apiserver", "--drop-name", OLD];
    assert!(existing.0.fails(&order, 2).contains("--force"));
    let order = ["certs", "renew", "apiserver", "--force", "--drop-name", OLD];
    let (files, row) = existing.changes(&order);
    assert_eq!(files, pair);
    assert_eq!((&row["adds"], &row["drops"]), (&json!([]), &json!([OLD])));
    let mut names = union.1;
    names.retain(|name| *name != format!("IP Address:{OLD}"));
    assert_eq!(existing.about(pair[0]), (old.0, names, old.2));
    let said = existing.0.fails(&order, 65);
    assert!(
        said.contains("nothing to drop: none of these certificates has 192.0.2.11"),
        "{said}"
    );
}

/// Its O stays what it is, although this release writes another.
fn a_client(existing: &Existing) {
    let path = "pki/apiserver-kubelet-client.crt";
    let old = existing.about(path);
    assert!(old.0.contains("system:masters"), "{old:?}");
    let (files, row) = existing.changes(&["certs", "renew", "apiserver-kubelet-client", "--force"]);
    assert_eq!(files, [path, "pki/apiserver-kubelet-client.key"]);
    assert_eq!((&row["adds"], &row["drops"]), (&json!([]), &json!([])));
    assert_eq!(existing.about(path), old);
    existing.verify(path, "pki/ca.crt", &["-purpose", "sslclient"]);
}

/// A renewal changes two values. The server is put right by the operator's hand or order.
fn kubeconfigs(existing: &Existing) {
    let old = existing.0.text("admin.conf");
    assert_eq!(
        existing
            .changes(&["certs", "renew", "admin.conf", "--force"])
            .0,
        ["admin.conf"]
    );
    let new = existing.0.text("admin.conf");
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (old, new) = (lines(&old), lines(&new));
    assert_eq!(old.len(), new.len());
    let differing = old.iter().zip(&new).filter(|(old, new)| old != new);
    let differing: Vec<&str> = differing
        .map(|(_, new)| new.trim().split(':').next().unwrap())
        .collect();
    assert_eq!(differing, ["client-key-data", "client-certificate-data"]);
    let data = new
        .iter()
        .find_map(|line| line.trim().strip_prefix("client-certificate-data: "));
    existing.write(
        "user.crt",
        &String::from_utf8(STANDARD.decode(data.unwrap()).unwrap()).unwrap(),
        "0644",
    );
    let (subject, _, usages) = existing.about("user.crt");
    assert!(
        subject.contains("system:masters") && subject.contains("kubernetes-admin"),
        "{subject}"
    );
    assert_eq!(usages, "TLS Web Client Authentication");
    existing.verify("user.crt", "pki/ca.crt", &["-purpose", "sslclient"]);
    std::fs::remove_file(existing.0.path(KUBERNETES).join("user.crt")).unwrap();

    let right = |text: &str| text.replace("https://192.0.2.11:6443", "https://127.0.0.1:6443");
    let text = right(&existing.0.text("controller-manager.conf"));
    existing.write("controller-manager.conf", &text, "0600");
    // By order, and nothing else of the file with it.
    let old = existing.0.text("scheduler.conf");
    let (_, row) = existing.changes(&["certs", "renew", "scheduler.conf", "--force"]);
    assert_eq!(
        row["reason"],
        "by order; its server and authority are put right"
    );
    let frame = |text: &str| {
        let data = |line: &&str| !line.contains("client-");
        text.lines()
            .filter(data)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let new = existing.0.text("scheduler.conf");
    assert_eq!(frame(&new), frame(&right(&old)));
}

/// Old certificates are kept for a while, in a folder for nobody else. Keys are not.
fn no_key_is_kept(existing: &Existing) {
    let own = existing.0.path("var/lib/stayput");
    let kept = run(Command::new("find").arg(&own).args(["-type", "f"])).good();
    assert!(
        kept.contains("/old/apiserver.2.crt") && kept.contains("/old/etcd-peer.1.crt"),
        "{kept}"
    );
    assert!(kept.contains("/old/admin.conf.1.crt"), "{kept}");
    for path in kept.lines() {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(!text.contains("PRIVATE"), "{path}");
    }
    let mode = run(Command::new("stat")
        .args(["-c", "%a"])
        .arg(own.join("certificates/old")))
    .good();
    assert_eq!(mode.trim(), "700");
}

/// What a certificate says is not lost with its key.
#[test]
fn a_lost_key_costs_no_names() {
    let extra = "keyType: ecdsa-p256, extraNames: {apiserver: [old.example.com]}";
    let known = quick().replace("keyType: ecdsa-p256", extra);
    for damage in ["missing", "cut off"] {
        let node = Sandbox::new("master-1", &known);
        node.ok(&["certs", "init", "--new-cluster"]);
        node.write("etc/stayput/cluster.yaml", quick().as_bytes());
        let key = node.path(KUBERNETES).join("pki/apiserver.key");
        match damage {
            "missing" => std::fs::remove_file(&key).unwrap(),
            _ => std::fs::write(&key, "").unwrap(),
        }
        let before = node.text("pki/apiserver.crt");
        let (done, code) = node.json(&["certs", "renew", "apiserver", "--force"]);
        assert_eq!(code, 0, "{damage}: {done}");
        assert_eq!(done["items"][0]["drops"], json!([]), "{damage}");
        let (shown, _) = node.json(&["certs", "status"]);
        let served = rows(&shown).find(|row| row["id"] == "apiserver").unwrap();
        let names = served["names"].as_array().unwrap();
        assert!(
            names.contains(&json!("old.example.com")),
            "{damage}: {served}"
        );
        let kept = node.path("var/lib/stayput/certificates/old");
        let kept = std::fs::read_dir(kept)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let kept: Vec<String> = kept
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        assert_eq!(kept, [before], "{damage}");
    }
}
