//! What can be in the way: a clear message, and nothing has changed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use stayput::pki::store::Error;

use crate::hosts_sample::{have, in_mount_namespace, inner_dir};
use crate::node::{CERTIFICATE, KEY, Node, batch};
use crate::pair::Pair;

/// The replacement is refused with these words, and all is as it was.
fn assert_refused(node: &Node, words: &[&str]) -> Error {
    let before = node.pair();
    let error = node.replace(&batch(&Pair::new())).unwrap_err();
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word} in {text}");
    }
    assert_eq!(node.pair(), before, "{text}");
    assert!(!node.path("/etc/kubernetes/pki/etcd").exists(), "{text}");
    node.assert_clean(&text);
    error
}

#[test]
fn what_is_no_plain_file_is_refused() {
    let node = Node::with(&Pair::new());
    for (path, kind) in [(CERTIFICATE, "symbolic link"), (KEY, "symbolic link")] {
        let real = node.path("/etc/kubernetes/real");
        fs::rename(node.path(path), &real).unwrap();
        symlink("../real", node.path(path)).unwrap();
        assert_refused(&node, &[path, kind, "put the file"]);
        assert!(node.path(path).is_symlink());
        fs::remove_file(node.path(path)).unwrap();
        fs::rename(&real, node.path(path)).unwrap();
    }
    // Also one that leads nowhere: nothing appears behind it.
    fs::remove_file(node.path("/etc/kubernetes/admin.conf")).unwrap();
    symlink("/etc/nowhere", node.path("/etc/kubernetes/admin.conf")).unwrap();
    assert_refused(&node, &["admin.conf", "symbolic link"]);
    fs::remove_file(node.path("/etc/kubernetes/admin.conf")).unwrap();
    fs::create_dir(node.path("/etc/kubernetes/admin.conf")).unwrap();
    assert_refused(&node, &["admin.conf", "not a regular file"]);
}

#[test]
fn folders_may_be_links_within_the_root() {
    let (old, new) = (Pair::new(), Pair::new());
    let node = Node::with(&old);
    fs::rename(node.path("/etc/kubernetes/pki"), node.path("/pki")).unwrap();
    symlink("../../pki", node.path("/etc/kubernetes/pki")).unwrap();
    node.replace(&batch(&new)).unwrap();
    assert_eq!(node.pair(), new);
    assert!(node.path("/etc/kubernetes/pki").is_symlink());
    assert_eq!(
        fs::read_to_string(node.path("/pki/etcd/server.key")).unwrap(),
        new.key
    );
    assert!(!node.path("/pki/.stayput").exists());
}

#[test]
fn a_hidden_folder_that_others_can_write_in_is_not_used() {
    let node = Node::with(&Pair::new());
    let hidden = node.path("/etc/kubernetes/pki/.stayput");
    for kind in ["open", "link", "file"] {
        match kind {
            "open" => {
                fs::create_dir(&hidden).unwrap();
                fs::set_permissions(&hidden, fs::Permissions::from_mode(0o777)).unwrap();
            }
            "link" => symlink("/etc", &hidden).unwrap(),
            _ => fs::write(&hidden, "").unwrap(),
        }
        let before = node.pair();
        let error = node.replace(&batch(&Pair::new())).unwrap_err().to_string();
        assert!(error.contains("look at what it holds"), "{kind}: {error}");
        assert_eq!(node.pair(), before);
        let removed = fs::remove_dir(&hidden).or_else(|_| fs::remove_file(&hidden));
        removed.unwrap();
        node.assert_clean(kind);
    }
}

#[test]
fn an_immutable_file_takes_the_rest_back() {
    let node = Node::with(&Pair::new());
    let chattr = |flag: &str| {
        let path = node.path(CERTIFICATE);
        let status = Command::new("chattr").arg(flag).arg(path).status();
        status.is_ok_and(|status| status.success())
    };
    if !have(
        "chattr, the right to use it, and a filesystem that knows it",
        chattr("+i"),
    ) {
        return;
    }
    let result = std::panic::catch_unwind(|| {
        let error = assert_refused(&node, &[CERTIFICATE, "Operation not permitted"]);
        assert!(matches!(error, Error::Undone(_)), "{error}");
    });
    assert!(chattr("-i"));
    result.unwrap();
}

#[test]
fn a_full_disk_leaves_the_old_files_and_nothing_else() {
    let node = Node::with(&Pair::new());
    let script = "mount -t tmpfs -o size=256k,mode=755 none \"$DIR\"/etc/kubernetes/pki\n\
        mkdir \"$DIR\"/full\n\
        inner obstacles::inner_full_disk";
    in_mount_namespace(node.dir(), script);
}

#[test]
#[ignore = "run by another test in a namespace of its own"]
fn inner_full_disk() {
    let node = Node::at(&inner_dir());
    let old = Pair::new();
    node.write(KEY, &old.key, 0o600);
    node.write(CERTIFICATE, &old.certificate, 0o644);
    // However much is left: nothing, a block, some.
    let filler = node.path("/etc/kubernetes/pki/filler");
    for left in [0, 4096, 8192, 12288] {
        let mut size = 512 << 10;
        while fs::write(&filler, vec![b'x'; size]).is_err() {
            size -= 4096;
        }
        fs::write(&filler, vec![b'x'; size - left]).unwrap();
        assert_refused(&node, &["No space left"]);
    }
    fs::remove_file(&filler).unwrap();
    node.replace(&batch(&Pair::new())).unwrap();
}

#[test]
fn a_read_only_filesystem_and_a_mount_point_are_named() {
    let node = Node::with(&Pair::new());
    let script = "P=\"$DIR\"/etc/kubernetes/pki\n\
        mount --bind $P/apiserver.crt $P/apiserver.crt\n\
        inner obstacles::inner_mount_point\n\
        umount $P/apiserver.crt\n\
        mount --bind $P $P\n\
        mount -o remount,bind,ro $P\n\
        inner obstacles::inner_read_only";
    in_mount_namespace(node.dir(), script);
}

#[test]
#[ignore = "run by another test in a namespace of its own"]
fn inner_mount_point() {
    let node = Node::at(&inner_dir());
    assert_refused(&node, &[CERTIFICATE, "it is a mount point"]);
}

#[test]
#[ignore = "run by another test in a namespace of its own"]
fn inner_read_only() {
    let node = Node::at(&inner_dir());
    assert_refused(&node, &["/etc/kubernetes/pki", "read-only"]);
}

#[test]
fn an_overlay_will_do() {
    let node = Node::with(&Pair::new());
    // Upper and lower layer on different file systems: a file that is linked gets another inode.
    let script = "cd \"$DIR\"; mkdir upper; mount -t tmpfs none upper; mkdir upper/u upper/w\n\
        mount -t overlay -o lowerdir=etc/kubernetes,upperdir=upper/u,workdir=upper/w none etc/kubernetes\n\
        inner obstacles::inner_overlay";
    in_mount_namespace(node.dir(), script);
}

#[test]
#[ignore = "run by another test in a namespace of its own"]
fn inner_overlay() {
    let node = Node::at(&inner_dir());
    for _ in 0..3 {
        let new = Pair::new();
        node.replace(&batch(&new)).unwrap();
        assert_eq!(node.pair(), new);
        node.assert_clean("on an overlay");
    }
}

#[test]
fn a_journal_that_cannot_be_read_stops_everything() {
    let node = Node::with(&Pair::new());
    fs::create_dir_all(node.path("/var/lib/stayput")).unwrap();
    fs::write(node.path("/var/lib/stayput/certificates"), "").unwrap();
    let error = node.open().unwrap_err().to_string();
    assert!(error.contains("/var/lib/stayput/certificates"), "{error}");
    assert!(error.contains("nothing is changed"), "{error}");
}
