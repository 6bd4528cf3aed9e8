//! The commands that change certificates die at any system call. What is there then is old or new,
//! or, between two renames, a new key beside the old certificate; and the next run makes it whole.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::sandbox::{CLUSTER, Files, Sandbox};
use crate::strace::Victim;
use crate::support::here;

const JOURNAL: &str = "var/lib/stayput/certificates/journal.json";
const INIT: [&str; 3] = ["certs", "init", "--new-cluster"];

/// The sample cluster with keys that are made fast.
pub(crate) fn cluster() -> String {
    format!("{CLUSTER}certificates: {{keyType: ecdsa-p256}}\n")
}

fn empty() -> Sandbox {
    Sandbox::new("master-1", &cluster())
}

fn provisioned() -> Sandbox {
    let node = empty();
    node.ok(&INIT);
    node
}

fn kubernetes(node: &Sandbox) -> Files {
    node.files("etc/kubernetes")
}

/// The public key by OpenSSL, of something in PEM.
fn public_key(command: &[&str], pem: &[u8]) -> String {
    use std::io::Write;
    let mut openssl = Command::new("openssl")
        .args(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(pem).unwrap();
    let output = openssl.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whether OpenSSL finds the same key in both. Both have to be whole.
pub(crate) fn is_pair(certificate: &[u8], key: &[u8]) -> bool {
    public_key(&["x509", "-noout", "-pubkey"], certificate) == public_key(&["pkey", "-pubout"], key)
}

/// A kubeconfig's value in base64.
fn embedded(kubeconfig: &[u8], field: &str) -> Vec<u8> {
    let text = str::from_utf8(kubeconfig).unwrap();
    let value = text.lines().find_map(|line| {
        let (name, value) = line.trim().split_once(": ")?;
        (name == field).then_some(value)
    });
    STANDARD.decode(value.unwrap()).unwrap()
}

fn is_whole(kubeconfig: &[u8]) -> bool {
    is_pair(
        &embedded(kubeconfig, "client-certificate-data"),
        &embedded(kubeconfig, "client-key-data"),
    )
}

fn hidden(path: &Path) -> bool {
    path.iter()
        .any(|part| part.as_encoded_bytes().starts_with(b"."))
}

/// What holds at any moment: nobody but root reads a key, wherever it lies.
fn assert_keys_are_closed(node: &Sandbox, context: &str) {
    for (path, (mode, bytes)) in node.files("") {
        let text = String::from_utf8_lossy(&bytes);
        if text.contains("PRIVATE KEY") || text.contains("client-key-data") {
            assert_eq!(mode & 0o077, 0, "{context}: {} {mode:o}", path.display());
        }
    }
}

/// What holds after the next run: nothing of the one that died is left. In stayput's own folder there
/// may be the temporary file of something that is not secret; the next one that writes the same takes it.
fn assert_tidy(node: &Sandbox, context: &str) {
    for path in node.files("").into_keys().filter(|path| hidden(path)) {
        let own =
            path.starts_with("var/lib/stayput") && path.extension() == Some("stayput".as_ref());
        assert!(own, "{context}: {} is left", path.display());
    }
    assert!(!node.path(JOURNAL).exists(), "{context}");
}

/// The run after a death. It tells what it found.
fn recover(node: &Sandbox, context: &str) -> i32 {
    let interrupted = node.path(JOURNAL).exists();
    let output = node.run(&["certs", "renew"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        said.contains("an earlier run was interrupted"),
        interrupted,
        "{context}: {output:?}"
    );
    assert_tidy(node, context);
    output.status.code().unwrap()
}

/// Only these files may differ, and they keep their modes.
fn assert_only(changed: &[&str], before: &Files, after: &Files, context: &str) {
    let paths = |files: &Files| -> Vec<PathBuf> {
        let shown = files.keys().filter(|path| !hidden(path));
        shown.cloned().collect()
    };
    assert_eq!(paths(before), paths(after), "{context}");
    for (path, (mode, bytes)) in before {
        let (now, contents) = &after[path];
        assert_eq!(mode, now, "{context}: {}", path.display());
        let may = changed.iter().any(|name| path == Path::new(name));
        assert!(may || bytes == contents, "{context}: {}", path.display());
    }
}

#[test]
fn a_pair_is_the_old_or_the_new_one() {
    if !here(false, &["strace", "openssl"]) {
        return;
    }
    let names = ["pki/apiserver.crt", "pki/apiserver.key"];
    let start = provisioned();
    let before = kubernetes(&start);
    let [old_certificate, old_key] = names.map(|path| &before[Path::new(path)].1);
    let victim = Victim {
        arguments: &["certs", "renew", "apiserver", "--force"],
        input: None,
    };
    let (mut mixed, mut old, mut new) = (0, 0, 0);
    let expected = [
        "write", "fsync", "renameat", "linkat", "unlinkat", "mkdirat",
    ];
    victim.kill_everywhere(
        &expected,
        || start.copy(),
        |node, context| {
            assert_keys_are_closed(&node, context);
            let found = kubernetes(&node);
            assert_only(&names, &before, &found, context);
            let [certificate, key] = names.map(|path| &found[Path::new(path)].1);
            let untouched = certificate == old_certificate && key == old_key;
            if !untouched && !is_pair(certificate, key) {
                mixed += 1;
                // The key goes first, and what is to follow is on record.
                assert!(
                    certificate == old_certificate && key != old_key,
                    "{context}"
                );
                assert!(node.path(JOURNAL).exists(), "{context}");
            }
            assert_eq!(recover(&node, context), 0, "{context}");
            let found = kubernetes(&node);
            assert_only(&names, &before, &found, context);
            let [certificate, key] = names.map(|path| &found[Path::new(path)].1);
            assert!(is_pair(certificate, key), "{context}");
            assert_eq!(certificate == old_certificate, key == old_key, "{context}");
            *(if key == old_key { &mut old } else { &mut new }) += 1;
            node.ok(&["certs", "verify"]);
        },
    );
    println!("mixed until the next run {mixed}, old {old}, new {new}");
    assert!(mixed > 0 && old > 0 && new > 0, "{mixed} {old} {new}");
}

#[test]
fn a_kubeconfig_is_the_old_or_the_new_one() {
    if !here(false, &["strace", "openssl"]) {
        return;
    }
    let name = "scheduler.conf";
    let start = provisioned();
    let before = kubernetes(&start);
    let victim = Victim {
        arguments: &["certs", "renew", name, "--force"],
        input: None,
    };
    let (mut old, mut new) = (0, 0);
    let expected = [
        "write", "fsync", "renameat", "linkat", "unlinkat", "mkdirat",
    ];
    victim.kill_everywhere(
        &expected,
        || start.copy(),
        |node, context| {
            assert_keys_are_closed(&node, context);
            let look = || {
                let found = kubernetes(&node);
                assert_only(&[name], &before, &found, context);
                let contents = found[Path::new(name)].1.clone();
                assert!(is_whole(&contents), "{context}");
                contents
            };
            look();
            // Looking tells of what was interrupted, and changes nothing.
            let (status, _) = node.json(&["certs", "status"]);
            let told = status["notices"].to_string().contains("was interrupted");
            assert_eq!(told, node.path(JOURNAL).exists(), "{context}: {status}");
            assert_eq!(recover(&node, context), 0, "{context}");
            let is_old = look() == before[Path::new(name)].1;
            *(if is_old { &mut old } else { &mut new }) += 1;
            node.ok(&["certs", "verify"]);
        },
    );
    assert!(old > 0 && new > 0, "{old} {new}");
}

/// Every pair and kubeconfig that is complete here is one.
fn assert_pairs(files: &Files, context: &str) {
    for (path, (_, bytes)) in files.iter().filter(|(path, _)| !hidden(path)) {
        match path.extension().and_then(|end| end.to_str()) {
            Some("crt") => {
                if let Some((_, key)) = files.get(&path.with_extension("key")) {
                    assert!(is_pair(bytes, key), "{context}: {}", path.display());
                }
            }
            Some("conf") => assert!(is_whole(bytes), "{context}: {}", path.display()),
            _ => {}
        }
    }
}

#[test]
fn a_new_cluster_is_there_or_not() {
    if !here(false, &["strace", "openssl"]) {
        return;
    }
    let victim = Victim {
        arguments: &INIT,
        input: None,
    };
    let all = kubernetes(&provisioned());
    let paths: Vec<&PathBuf> = all.keys().collect();
    let (mut none, mut complete) = (0, 0);
    victim.kill_everywhere(
        &["write", "fsync", "renameat", "mkdirat"],
        empty,
        |node, context| {
            assert_keys_are_closed(&node, context);
            let code = recover(&node, context);
            let found = kubernetes(&node);
            if found.is_empty() {
                none += 1;
                // All of it is missing, and that is said.
                assert_eq!(code, 1, "{context}");
                // Once in a while: it takes as long as all the rest.
                if none % 8 != 1 {
                    return;
                }
                node.ok(&INIT);
            } else {
                complete += 1;
                assert_eq!(code, 0, "{context}");
            }
            let found = kubernetes(&node);
            assert_eq!(found.keys().collect::<Vec<_>>(), paths, "{context}");
            node.ok(&["certs", "verify"]);
        },
    );
    assert!(none > 0 && complete > 0, "{none} {complete}");
}

#[test]
fn a_bundle_is_taken_or_not() {
    if !here(false, &["strace", "openssl"]) {
        return;
    }
    let first = provisioned();
    let bundle = first.path("bundle.tar");
    let written = first.run(&["certs", "bundle"]);
    assert!(written.status.success(), "{written:?}");
    std::fs::write(&bundle, written.stdout).unwrap();
    let theirs = kubernetes(&first);
    let victim = Victim {
        arguments: &["certs", "unbundle"],
        input: Some(&bundle),
    };
    let (mut none, mut complete) = (0, 0);
    victim.kill_everywhere(
        &["write", "fsync", "renameat", "mkdirat"],
        || Sandbox::new("master-2", &cluster()),
        |node, context| {
            assert_keys_are_closed(&node, context);
            recover(&node, context);
            let mut found = kubernetes(&node);
            // With the authority the run that puts things right makes what this master speaks by.
            let own = ["crt", "key"].map(|half| PathBuf::from(format!("pki/stayput.{half}")));
            let made = own
                .iter()
                .filter(|path| found.remove(*path).is_some())
                .count();
            *(if found.is_empty() {
                &mut none
            } else {
                &mut complete
            }) += 1;
            assert!(
                (found.is_empty() && made == 0) || (found.len() == 10 && made == 2),
                "{context}: {found:?}"
            );
            for (path, file) in &found {
                assert_eq!(file, &theirs[path], "{context}: {}", path.display());
            }
            // Once in a while: it takes as long as all the rest.
            if (none + complete) % 8 != 1 {
                return;
            }
            let mut again = node.command(victim.arguments);
            let again = again.stdin(std::fs::File::open(&bundle).unwrap());
            assert!(again.output().unwrap().status.success(), "{context}");
            node.ok(&["certs", "init"]);
            assert_pairs(&kubernetes(&node), context);
            node.ok(&["certs", "verify"]);
        },
    );
    assert!(none > 0 && complete > 0, "{none} {complete}");
}
