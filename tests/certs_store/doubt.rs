//! What an interrupted run has left was changed since, or is damaged.

use std::fs;

use stayput::pki::store::{Error, JOURNAL, Recovered};

use crate::node::{CERTIFICATE, KEY, Node, Stands, apiserver};
use crate::pair::Pair;
use crate::traced::{Work, have_strace, prepared, tampered};

const HIDDEN: &str = "/etc/kubernetes/pki/.stayput";

/// The new key beside the old certificate.
fn half(old: &Pair, new: &Pair) -> Node {
    let halves = (1..20).map(|n| {
        let node = prepared(old, new);
        tampered(Work::Replace, node.dir(), "renameat", "signal=SIGKILL", n);
        node
    });
    let mut halves = halves.filter(|node| {
        let pair = node.pair();
        pair.key == new.key && pair.certificate == old.certificate
    });
    halves.next().expect("no death between key and certificate")
}

/// Everything below the node's folder, with contents.
fn everything(node: &Node) -> String {
    let script = "cd \"$1\" && find . -type f | sort | xargs sha256sum";
    let output = std::process::Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(node.dir())
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// Opening fails, touches nothing, and the message names these.
fn assert_doubtful(node: &Node, names: &[&str]) {
    let before = everything(node);
    let error = node.open().unwrap_err();
    assert!(matches!(error, Error::Doubtful { .. }), "{error}");
    let text = error.to_string();
    for name in names
        .iter()
        .chain(&[HIDDEN.rsplit_once('/').unwrap().1, JOURNAL])
    {
        assert!(text.contains(name), "{name} in {text}");
    }
    assert_eq!(everything(node), before);
}

#[test]
fn what_was_changed_since_is_not_touched() {
    if !have_strace() {
        return;
    }
    let (old, new) = (Pair::new(), Pair::new());
    // Another program renewed it meanwhile.
    let node = half(&old, &new);
    fs::remove_file(node.path(CERTIFICATE)).unwrap();
    node.write(CERTIFICATE, &Pair::new().certificate, 0o644);
    assert_doubtful(&node, &[CERTIFICATE]);
    // Forward is impossible, and so is back.
    let node = half(&old, &new);
    fs::remove_dir_all(node.path(HIDDEN)).unwrap();
    assert_doubtful(&node, &[CERTIFICATE]);
    // A backup that was taken in the middle, and came back as other files.
    let node = half(&old, &new);
    for path in [KEY, CERTIFICATE] {
        let text = node.read(path).unwrap();
        fs::remove_file(node.path(path)).unwrap();
        node.write(path, &text, 0o600);
    }
    assert_doubtful(&node, &[KEY, CERTIFICATE]);
    // What the message says helps.
    fs::remove_dir_all(node.path(HIDDEN)).unwrap();
    fs::remove_dir_all(node.path("/etc/kubernetes/.stayput")).unwrap();
    fs::remove_file(node.path(JOURNAL)).unwrap();
    node.replace(&[apiserver(&new)]).unwrap();
    assert_eq!(node.pair(), new);
}

#[test]
fn staged_files_that_vanished_take_the_others_back() {
    if !have_strace() {
        return;
    }
    let (old, new) = (Pair::new(), Pair::new());
    let node = half(&old, &new);
    fs::remove_file(node.path(HIDDEN).join("apiserver.crt.new")).unwrap();
    assert!(matches!(node.open().unwrap(), Recovered::Undone(ids) if ids[0] == "apiserver"));
    assert_eq!(node.stands(&old, &new), Some(Stands::Before));
    node.assert_clean("after an undo");
}

#[test]
fn a_damaged_journal_is_an_error_and_nothing_is_touched() {
    if !have_strace() {
        return;
    }
    let (old, new) = (Pair::new(), Pair::new());
    let node = half(&old, &new);
    let journal = node.read(JOURNAL).unwrap();
    for secret in [&old.key, &new.key] {
        let line = secret.lines().nth(1).unwrap();
        assert!(!journal.contains(line), "a key in {journal}");
    }
    let half = journal[..journal.len() / 2].to_owned();
    for damaged in [
        half,
        String::new(),
        journal.replace("\"format\": 1", "\"format\": 7"),
    ] {
        node.write(JOURNAL, &damaged, 0o600);
        let before = everything(&node);
        let error = node.open().unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
        assert!(
            error.to_string().contains("stayput certs verify"),
            "{error}"
        );
        assert_eq!(everything(&node), before);
    }
}

#[test]
fn staged_files_without_a_journal_are_not_taken_for_rubbish() {
    if !have_strace() {
        return;
    }
    let (old, new) = (Pair::new(), Pair::new());
    let node = half(&old, &new);
    fs::remove_file(node.path(JOURNAL)).unwrap();
    let before = everything(&node);
    let error = node.replace(&[apiserver(&Pair::new())]).unwrap_err();
    assert!(error.to_string().contains("no journal"), "{error}");
    assert_eq!(everything(&node), before);
}

#[test]
fn a_link_that_was_left_is_removed() {
    let (old, new) = (Pair::new(), Pair::new());
    let node = Node::with(&old);
    fs::create_dir(node.path(HIDDEN)).unwrap();
    let closed = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
    fs::set_permissions(node.path(HIDDEN), closed).unwrap();
    fs::hard_link(node.path(KEY), node.path(HIDDEN).join("apiserver.key.old")).unwrap();
    node.replace(&[apiserver(&new)]).unwrap();
    assert_eq!(node.pair(), new);
    node.assert_clean("after a sweep");
}
