//! What a replacement keeps, and what it leaves.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{XattrFlags, getxattr, setxattr};
use stayput::pki::store::{Recovered, Set, Store};

use crate::hosts_sample::have;
use crate::node::{CERTIFICATE, ETCD_CERTIFICATE, ETCD_KEY, KEY, Node, Stands, apiserver, batch};
use crate::pair::Pair;

#[test]
fn a_batch_is_made_with_its_folders_and_leaves_nothing_else() {
    let (old, new) = (Pair::new(), Pair::new());
    let node = Node::with(&old);
    assert_eq!(node.stands(&old, &new), Some(Stands::Before));
    node.replace(&batch(&new)).unwrap();
    assert_eq!(node.stands(&old, &new), Some(Stands::After));
    node.assert_clean("after a batch");
    assert_eq!(node.mode("/etc/kubernetes/pki/etcd"), 0o755);
    assert_eq!(
        (node.mode(ETCD_KEY), node.mode(ETCD_CERTIFICATE)),
        (0o600, 0o644)
    );
    assert_eq!(node.mode("/var/lib/stayput"), 0o755);
    assert_eq!(node.mode("/var/lib/stayput/certificates"), 0o700);
    assert_eq!(node.open().unwrap(), Recovered::Nothing);
    node.replace(&[]).unwrap();
}

#[test]
fn a_file_that_is_replaced_keeps_what_belongs_to_it() {
    let node = Node::with(&Pair::new());
    let (key, certificate) = (node.path(KEY), node.path(CERTIFICATE));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(&certificate, fs::Permissions::from_mode(0o600)).unwrap();
    let label = setxattr(&key, "user.label", b"etcd", XattrFlags::empty()).is_ok();
    if !have("a filesystem with user attributes", label) {
        return;
    }
    let root = rustix::process::geteuid().is_root();
    if have("root", root) {
        std::os::unix::fs::chown(&key, Some(65534), Some(65533)).unwrap();
        setxattr(
            &key,
            "security.test",
            b"kubernetes_file_t",
            XattrFlags::empty(),
        )
        .unwrap();
    }
    let before = fs::metadata(&key).unwrap();
    let new = Pair::new();
    node.replace(&[apiserver(&new)]).unwrap();
    assert_eq!(node.pair(), new);
    let after = fs::metadata(&key).unwrap();
    assert_ne!(before.ino(), after.ino());
    assert_eq!(
        (before.uid(), before.gid(), before.mode()),
        (after.uid(), after.gid(), after.mode())
    );
    assert_eq!(node.mode(CERTIFICATE), 0o600);
    let attribute = |name: &str| {
        let mut value = vec![0; 100];
        let length = getxattr(&key, name, value.as_mut_slice()).unwrap();
        value.truncate(length);
        value
    };
    assert_eq!(attribute("user.label"), b"etcd");
    if root {
        assert_eq!(attribute("security.test"), b"kubernetes_file_t");
    }
}

#[test]
fn a_mode_that_lets_others_in_is_not_kept() {
    let node = Node::with(&Pair::new());
    for (key, certificate) in [(0o644, 0o666), (0o666, 0o664)] {
        fs::set_permissions(node.path(KEY), fs::Permissions::from_mode(key)).unwrap();
        fs::set_permissions(
            node.path(CERTIFICATE),
            fs::Permissions::from_mode(certificate),
        )
        .unwrap();
        node.replace(&[apiserver(&Pair::new())]).unwrap();
        assert_eq!((node.mode(KEY), node.mode(CERTIFICATE)), (0o640, 0o644));
    }
}

#[test]
fn old_certificates_are_kept_and_old_keys_are_not() {
    let mut pair = Pair::new();
    let node = Node::with(&pair);
    let mut old = Vec::new();
    for _ in 0..5 {
        let new = Pair::new();
        let set = Set {
            old_certificate: Some(pair.certificate.clone().into_bytes()),
            ..apiserver(&new)
        };
        node.replace(&[set]).unwrap();
        old.push(std::mem::replace(&mut pair, new));
    }
    let folder = Path::new("/var/lib/stayput/certificates/old");
    assert_eq!(node.mode(folder.to_str().unwrap()), 0o700);
    assert_eq!(
        fs::read_dir(node.path(folder.to_str().unwrap()))
            .unwrap()
            .count(),
        3
    );
    for (number, old) in old.iter().enumerate().skip(2) {
        let path = folder.join(format!("apiserver.{}.crt", number + 1));
        assert_eq!(
            node.read(path.to_str().unwrap()).as_ref(),
            Some(&old.certificate)
        );
    }
    let found = std::process::Command::new("grep")
        .args(["-rlE", "PRIVATE KEY"])
        .arg(node.dir())
        .output()
        .unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    // The pair, and the kubeconfig.
    assert_eq!(found.lines().count(), 2, "{found}");
}

#[test]
fn an_id_leads_nowhere_else() {
    let (old, new) = (Pair::new(), Pair::new());
    let node = Node::with(&old);
    let set = Set {
        id: "../../../etc/kubernetes/pki/x".to_owned(),
        ..apiserver(&new)
    };
    let error = node.replace(&[set]).unwrap_err();
    assert!(error.to_string().contains("is no id"), "{error}");
    assert_eq!(node.pair(), old);
    node.assert_clean("after a bad id");
}

#[test]
fn looking_for_a_journal_changes_nothing() {
    let node = Node::with(&Pair::new());
    assert!(!Store::peek(&node.root).unwrap());
    assert!(!node.path("/var").exists());
    fs::create_dir_all(node.path("/var/lib/stayput/certificates")).unwrap();
    node.write("/var/lib/stayput/certificates/journal.json", "{", 0o600);
    assert!(Store::peek(&node.root).unwrap());
    assert_eq!(
        node.read("/var/lib/stayput/certificates/journal.json")
            .unwrap(),
        "{"
    );
}
