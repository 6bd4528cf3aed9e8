//! The hosts file and the pods' copies on real files, in each way of writing.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use inotify::{EventMask, Inotify, WatchMask};
use stayput::config::cluster::HostsMode;
use stayput::file;
use stayput::root::Root;
use stayput::surface::hosts::Error;
use stayput::surface::{Outcome, hosts, pods};

mod hosts_sample;
mod sample;
use hosts_sample::{in_mount_namespace, inner_dir, three};

const OLD: [&str; 3] = ["10.77.0.11", "10.77.0.12", "10.77.0.13"];
const NEW: [&str; 3] = ["10.77.0.11", "10.77.0.99", "fd77::13"];

fn sandbox(text: &str) -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("etc")).unwrap();
    fs::write(dir.path().join("etc/hosts"), text).unwrap();
    let root = Root::open(dir.path()).unwrap();
    (dir, root)
}

/// What a resolver sees: lines that are no comments, without blanks at the end.
fn active(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut lines: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
    lines.sort();
    lines
}

fn shown(addresses: [&str; 3], foreign: &[&str]) -> Vec<String> {
    let mut lines = vec!["127.0.0.1 api.k8s.internal api".to_owned()];
    for (i, address) in addresses.iter().enumerate() {
        lines.push(format!(
            "{address} master-{0}.k8s.internal master-{0}",
            i + 1
        ));
    }
    lines.extend(foreign.iter().map(ToString::to_string));
    lines.sort();
    lines
}

#[test]
fn each_mode_shows_the_view_once_and_is_then_quiet() {
    for mode in [HostsMode::Auto, HostsMode::Rename, HostsMode::InPlace] {
        let (dir, root) = sandbox("127.0.0.1 localhost\n");
        let path = dir.path().join("etc/hosts");
        // Held open, so that its inode is not given to another file.
        let held = fs::File::open(&path).unwrap();
        let inode = held.metadata().unwrap().ino();
        for addresses in [OLD, NEW] {
            let view = three(mode, addresses);
            let applied = hosts::apply(&root, &view).unwrap();
            assert_eq!(applied.outcome, Outcome::Updated, "{mode:?}");
            assert_eq!(active(&path), shown(addresses, &["127.0.0.1 localhost"]));
            let again = hosts::apply(&root, &view).unwrap();
            assert_eq!(again.outcome, Outcome::Unchanged, "{mode:?}: {again:?}");
        }
        let same = fs::metadata(&path).unwrap().ino() == inode;
        assert_eq!(same, mode == HostsMode::InPlace, "{mode:?}");
        let removed = hosts::remove(&root, &three(mode, NEW)).unwrap();
        assert_eq!(removed.outcome, Outcome::Updated);
        assert_eq!(active(&path), ["127.0.0.1 localhost"]);
    }
}

#[test]
fn a_file_that_is_missing_is_made() {
    for mode in [HostsMode::Auto, HostsMode::Rename, HostsMode::InPlace] {
        let (dir, root) = sandbox("");
        fs::remove_file(dir.path().join("etc/hosts")).unwrap();
        let view = three(mode, OLD);
        assert!(
            hosts::read(&root, &view)
                .unwrap()
                .addresses
                .values()
                .all(Vec::is_empty)
        );
        hosts::apply(&root, &view).unwrap();
        assert_eq!(active(&dir.path().join("etc/hosts")), shown(OLD, &[]));
    }
}

#[test]
fn tells_what_the_file_says_and_who_disagrees() {
    let (_dir, root) = sandbox("10.0.0.9 master-1.k8s.internal\n");
    let view = three(HostsMode::Auto, OLD);
    let applied = hosts::apply(&root, &view).unwrap();
    assert_eq!(applied.detail, "4 lines in /etc/hosts, written by rename");
    let conflict = "/etc/hosts: line 1 gives master-1.k8s.internal the address 10.0.0.9, which is not its own; remove that line";
    assert_eq!(applied.notices, [conflict]);
    // For as long as the line is there.
    let again = hosts::apply(&root, &view).unwrap();
    assert_eq!(again.detail, "4 lines in /etc/hosts, as it should be");
    assert_eq!(again.notices, [conflict]);
    let reading = hosts::read(&root, &view).unwrap();
    let addresses: Vec<String> = reading
        .addresses
        .iter()
        .map(|(name, list)| format!("{name} {list:?}"))
        .collect();
    assert_eq!(
        addresses,
        [
            "api.k8s.internal [127.0.0.1]",
            "master-1.k8s.internal [10.0.0.9, 10.77.0.11]",
            "master-2.k8s.internal [10.77.0.12]",
            "master-3.k8s.internal [10.77.0.13]",
        ]
    );
    assert_eq!(reading.conflicts.listed.len(), 1);
}

#[test]
fn shows_the_block_that_would_be_written() {
    let (_dir, root) = sandbox("10.0.0.1 master-1\nno newline");
    let block = hosts::show(&root, &three(HostsMode::Auto, OLD)).unwrap();
    let block = String::from_utf8(block).unwrap();
    assert!(
        block.starts_with("# BEGIN stayput k8s.internal ("),
        "{block}"
    );
    assert!(block.ends_with("\n# END stayput k8s.internal\n"), "{block}");
    assert!(
        block.contains("\n10.77.0.11 master-1.k8s.internal\n"),
        "{block}"
    );
}

#[test]
fn a_file_that_is_too_large_is_left_alone() {
    let (dir, root) = sandbox("");
    let file = fs::File::create(dir.path().join("etc/hosts")).unwrap();
    file.set_len(hosts::LIMIT + 1).unwrap();
    for mode in [HostsMode::Rename, HostsMode::InPlace] {
        let error = hosts::apply(&root, &three(mode, OLD)).unwrap_err();
        assert!(
            matches!(error, Error::File(file::Error::TooLarge { .. })),
            "{error}"
        );
    }
}

#[test]
fn a_mount_point_is_written_in_place_and_every_container_sees_it() {
    let (dir, _root) = sandbox("127.0.0.1 localhost\n");
    fs::write(dir.path().join("container"), "").unwrap();
    let script = "mount --bind \"$DIR\"/etc/hosts \"$DIR\"/container\n\
        mount --bind \"$DIR\"/etc/hosts \"$DIR\"/etc/hosts\n\
        inner inner_mount_point";
    in_mount_namespace(dir.path(), script);
}

#[test]
#[ignore = "run by another test in a namespace of its own"]
fn inner_mount_point() {
    let dir = inner_dir();
    let root = Root::open(&dir).unwrap();
    let error = hosts::apply(&root, &three(HostsMode::Rename, OLD)).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("; hosts.mode is rename: set it to auto or in-place"),
        "{error}"
    );
    for addresses in [OLD, NEW] {
        let applied = hosts::apply(&root, &three(HostsMode::Auto, addresses)).unwrap();
        assert_eq!(
            applied.detail,
            "4 lines in /etc/hosts, written in place (it is a mount point)"
        );
        assert_eq!(
            active(&dir.join("container")),
            shown(addresses, &["127.0.0.1 localhost"])
        );
    }
    hosts::remove(&root, &three(HostsMode::Auto, NEW)).unwrap();
    assert_eq!(active(&dir.join("container")), ["127.0.0.1 localhost"]);
}

#[test]
fn a_read_only_folder_with_a_writable_file_is_enough() {
    let (dir, _root) = sandbox("127.0.0.1 localhost\n");
    let script = "cp \"$DIR\"/etc/hosts \"$DIR\"/hosts\n\
        mount --bind \"$DIR\"/etc \"$DIR\"/etc\n\
        mount --bind \"$DIR\"/hosts \"$DIR\"/etc/hosts\n\
        mount -o remount,bind,ro \"$DIR\"/etc\n\
        inner inner_read_only_folder";
    in_mount_namespace(dir.path(), script);
}

#[test]
#[ignore = "run by another test in a namespace of its own"]
fn inner_read_only_folder() {
    let dir = inner_dir();
    let root = Root::open(&dir).unwrap();
    hosts::apply(&root, &three(HostsMode::Auto, NEW)).unwrap();
    assert_eq!(
        active(&dir.join("hosts")),
        shown(NEW, &["127.0.0.1 localhost"])
    );
}

#[test]
fn a_read_only_file_system_is_not_a_matter_of_how_to_write() {
    let (dir, _root) = sandbox("127.0.0.1 localhost\n");
    let script = "mount --bind \"$DIR\"/etc \"$DIR\"/etc\n\
        mount -o remount,bind,ro \"$DIR\"/etc\n\
        inner inner_read_only";
    in_mount_namespace(dir.path(), script);
}

#[test]
#[ignore = "run by another test in a namespace of its own"]
fn inner_read_only() {
    let root = Root::open(&inner_dir()).unwrap();
    for mode in [HostsMode::Auto, HostsMode::Rename, HostsMode::InPlace] {
        let error = hosts::apply(&root, &three(mode, NEW)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot write /etc/hosts: its file system is read-only; mount it for writing",
            "{mode:?}"
        );
    }
}

#[test]
fn a_full_disk_does_not_stop_a_change_in_place() {
    let (dir, _root) = sandbox("");
    let script = "mount -t tmpfs -o size=64k none \"$DIR\"/etc\n\
        echo '127.0.0.1 localhost' > \"$DIR\"/etc/hosts\n\
        inner inner_full_disk";
    in_mount_namespace(dir.path(), script);
}

#[test]
#[ignore = "run by another test in a namespace of its own"]
fn inner_full_disk() {
    let dir = inner_dir();
    let root = Root::open(&dir).unwrap();
    hosts::apply(&root, &three(HostsMode::InPlace, OLD)).unwrap();
    // The pool is there; the disk fills up.
    assert!(fs::write(dir.join("etc/filler"), vec![0; 1 << 17]).is_err());
    let error = hosts::apply(&root, &three(HostsMode::Rename, NEW)).unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    assert_eq!(
        active(&dir.join("etc/hosts")),
        shown(OLD, &["127.0.0.1 localhost"])
    );
    hosts::apply(&root, &three(HostsMode::InPlace, NEW)).unwrap();
    assert_eq!(
        active(&dir.join("etc/hosts")),
        shown(NEW, &["127.0.0.1 localhost"])
    );
}

const HOST_NETWORK: &str = "# Kubernetes-managed hosts file (host network).\n";

fn pod(dir: &Path, uid: &str, text: &str) -> std::path::PathBuf {
    let folder = dir.join("var/lib/kubelet/pods").join(uid);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("etc-hosts"), text).unwrap();
    folder.join("etc-hosts")
}

#[test]
fn copies_of_host_network_pods_are_kept_true_in_place() {
    let (dir, root) = sandbox("127.0.0.1 localhost\n");
    let applied = pods::apply(&root, &three(HostsMode::Auto, OLD)).unwrap();
    assert_eq!(applied.outcome, Outcome::Absent);

    hosts::apply(&root, &three(HostsMode::Auto, OLD)).unwrap();
    let hosts_file = fs::read_to_string(dir.path().join("etc/hosts")).unwrap();
    let etcd = pod(dir.path(), "1-etcd", &format!("{HOST_NETWORK}{hosts_file}"));
    let early = pod(
        dir.path(),
        "2-early",
        &format!("{HOST_NETWORK}127.0.0.1 localhost\n"),
    );
    let other_text = format!("# Kubernetes-managed hosts file.\n{hosts_file}");
    let other = pod(dir.path(), "3-other", &other_text);
    let inode = fs::metadata(&etcd).unwrap().ino();

    let applied = pods::apply(&root, &three(HostsMode::Auto, OLD)).unwrap();
    assert_eq!(applied.detail, "2 copies, 1 written in place");
    assert_eq!(
        fs::read_to_string(&etcd).unwrap(),
        format!("{HOST_NETWORK}{hosts_file}"),
        "it was right already"
    );
    let applied = pods::apply(&root, &three(HostsMode::Auto, NEW)).unwrap();
    assert_eq!(
        (applied.outcome, applied.detail.as_str()),
        (Outcome::Updated, "2 copies, 2 written in place")
    );
    for copy in [&etcd, &early] {
        assert_eq!(active(copy), shown(NEW, &["127.0.0.1 localhost"]));
        assert!(fs::read_to_string(copy).unwrap().starts_with(HOST_NETWORK));
    }
    assert_eq!(fs::metadata(&etcd).unwrap().ino(), inode);
    assert_eq!(fs::read_to_string(&other).unwrap(), other_text);
    let applied = pods::apply(&root, &three(HostsMode::Auto, NEW)).unwrap();
    assert_eq!(applied.outcome, Outcome::Unchanged);
}

#[test]
fn traps_among_the_copies_are_not_touched_and_hold_nobody_up() {
    let (dir, root) = sandbox("");
    let secret = dir.path().join("etc/secret");
    let bait = format!("{HOST_NETWORK}10.0.0.1 bait\n");
    fs::write(&secret, &bait).unwrap();
    let pods_folder = dir.path().join("var/lib/kubelet/pods");
    let good = pod(dir.path(), "5-good", HOST_NETWORK);
    fs::create_dir_all(pods_folder.join("1-link")).unwrap();
    symlink("/etc/secret", pods_folder.join("1-link/etc-hosts")).unwrap();
    fs::create_dir_all(dir.path().join("elsewhere")).unwrap();
    fs::write(dir.path().join("elsewhere/etc-hosts"), &bait).unwrap();
    symlink("/elsewhere", pods_folder.join("2-folder-link")).unwrap();
    fs::create_dir_all(pods_folder.join("3-fifo")).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, pods_folder.join("3-fifo/etc-hosts"), mode).unwrap();
    let large = pod(dir.path(), "4-large", &bait);
    fs::OpenOptions::new()
        .write(true)
        .open(&large)
        .unwrap()
        .set_len(pods::LIMIT + 1)
        .unwrap();
    fs::create_dir_all(pods_folder.join("6-none")).unwrap();
    fs::write(pods_folder.join("7-file"), "").unwrap();

    let applied = pods::apply(&root, &three(HostsMode::Auto, NEW)).unwrap();
    assert_eq!(active(&good), shown(NEW, &[]));
    assert_eq!(applied.detail, "1 copies, 1 written in place");
    assert_eq!(
        applied.notices,
        [
            "/var/lib/kubelet/pods/1-link/etc-hosts is not a regular file; it is left alone",
            "/var/lib/kubelet/pods/3-fifo/etc-hosts is not a regular file; it is left alone",
            "/var/lib/kubelet/pods/4-large/etc-hosts is larger than 1048576 bytes; it is left alone",
        ]
    );
    assert_eq!(fs::read_to_string(&secret).unwrap(), bait);
    assert_eq!(
        fs::read_to_string(dir.path().join("elsewhere/etc-hosts")).unwrap(),
        bait
    );
}

/// A container's root may write into its copy what it likes.
#[test]
fn a_copy_full_of_conflicts_is_told_in_a_few_lines() {
    let (dir, root) = sandbox("");
    let lines = "192.0.2.1 master-1.k8s.internal\n".repeat(20_000);
    let hostile = pod(dir.path(), "1-hostile", &format!("{HOST_NETWORK}{lines}"));
    let good = pod(dir.path(), "2-good", HOST_NETWORK);
    let applied = pods::apply(&root, &three(HostsMode::Auto, NEW)).unwrap();
    assert_eq!(applied.detail, "2 copies, 2 written in place");
    assert_eq!(active(&good), shown(NEW, &[]));
    assert!(active(&hostile).contains(&"10.77.0.99 master-2.k8s.internal master-2".to_owned()));
    assert_eq!(applied.notices.len(), 6, "{:?}", applied.notices);
    assert!(
        applied.notices[5].ends_with("1-hostile/etc-hosts: and 19995 more like these"),
        "{:?}",
        applied.notices
    );
}

/// More copies than are held at once.
#[test]
fn many_copies_are_all_written() {
    let (dir, root) = sandbox("");
    let padding = "# x\n".repeat(25_000);
    let copies: Vec<_> = (0..100)
        .map(|n| {
            pod(
                dir.path(),
                &format!("pod-{n:03}"),
                &format!("{HOST_NETWORK}{padding}"),
            )
        })
        .collect();
    let applied = pods::apply(&root, &three(HostsMode::Auto, NEW)).unwrap();
    assert_eq!(applied.detail, "100 copies, 100 written in place");
    for copy in &copies {
        assert_eq!(active(copy), shown(NEW, &[]));
    }
}

#[test]
fn a_copy_that_cannot_be_written_fails_the_surface_and_holds_no_other() {
    let (dir, _root) = sandbox("");
    let full = dir.path().join("var/lib/kubelet/pods/2-full");
    fs::create_dir_all(&full).unwrap();
    let script = "mount -t tmpfs -o size=16k none \"$DIR\"/var/lib/kubelet/pods/2-full\n\
        inner inner_full_copy";
    in_mount_namespace(dir.path(), script);
}

#[test]
#[ignore = "run by another test in a namespace of its own"]
fn inner_full_copy() {
    let dir = inner_dir();
    let root = Root::open(&dir).unwrap();
    let first = pod(&dir, "1-first", HOST_NETWORK);
    // The last block that the file has is full, too.
    pod(
        &dir,
        "2-full",
        &format!("{HOST_NETWORK}{}", "# x\n".repeat(1000)),
    );
    let last = pod(&dir, "3-last", HOST_NETWORK);
    let filler = dir.join("var/lib/kubelet/pods/2-full/filler");
    assert!(fs::write(&filler, vec![0; 1 << 15]).is_err());
    let view = three(HostsMode::Auto, NEW);
    for _ in 0..2 {
        let error = pods::apply(&root, &view).unwrap_err().to_string();
        assert!(
            error.starts_with("1 of 3 copies could not be written: "),
            "{error}"
        );
        assert!(
            error.contains("/2-full/etc-hosts: No space left"),
            "{error}"
        );
        assert_eq!(active(&first), shown(NEW, &[]));
        assert_eq!(active(&last), shown(NEW, &[]));
    }
    fs::remove_file(filler).unwrap();
    let applied = pods::apply(&root, &view).unwrap();
    assert_eq!(applied.detail, "3 copies, 1 written in place");
}

/// What inotify told since the last call: whether one of the files was closed by a writer.
fn a_writer_closed(inotify: &mut Inotify) -> bool {
    let mut space = [0; 4096];
    match inotify.read_events(&mut space) {
        Ok(mut events) => events.any(|event| event.mask.contains(EventMask::CLOSE_WRITE)),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}

/// Waits for it: a child that another test is just starting may hold the file a little longer.
fn until_a_writer_closes(inotify: &mut Inotify) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !a_writer_closed(inotify) {
        assert!(Instant::now() < deadline, "the watch does not work");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The agent looks again whenever a writer closes one of these files. A look that opened one for
/// writing would be the reason for the next look, without end.
#[test]
fn a_look_that_changes_nothing_opens_nothing_for_writing() {
    let (dir, root) = sandbox("127.0.0.1 localhost\n");
    let copy = pod(dir.path(), "1-etcd", HOST_NETWORK);
    let (old, new) = (
        three(HostsMode::InPlace, OLD),
        three(HostsMode::InPlace, NEW),
    );
    let mut inotify = Inotify::init().unwrap();
    for path in [dir.path().join("etc/hosts"), copy] {
        inotify.watches().add(path, WatchMask::CLOSE_WRITE).unwrap();
    }
    for view in [&old, &new] {
        assert_eq!(hosts::apply(&root, view).unwrap().outcome, Outcome::Updated);
        until_a_writer_closes(&mut inotify);
        assert_eq!(pods::apply(&root, view).unwrap().outcome, Outcome::Updated);
        until_a_writer_closes(&mut inotify);
        for _ in 0..3 {
            let looked = hosts::apply(&root, view).unwrap();
            assert_eq!(looked.outcome, Outcome::Unchanged);
            let looked = pods::apply(&root, view).unwrap();
            assert_eq!(looked.outcome, Outcome::Unchanged);
        }
        assert!(!a_writer_closed(&mut inotify));
    }
    hosts::remove(&root, &new).unwrap();
    until_a_writer_closes(&mut inotify);
    hosts::remove(&root, &new).unwrap();
    assert!(!a_writer_closed(&mut inotify));
}

#[test]
fn a_container_that_has_the_hosts_file_mounted_is_why_in_place_exists() {
    // Documents the reason: after a rename, a bind mount made before still shows the old file.
    let (dir, _root) = sandbox("127.0.0.1 localhost\n");
    fs::write(dir.path().join("container"), "").unwrap();
    let script = "mount --bind \"$DIR\"/etc/hosts \"$DIR\"/container\n\
        inner inner_container";
    in_mount_namespace(dir.path(), script);
}

#[test]
#[ignore = "run by another test in a namespace of its own"]
fn inner_container() {
    let dir = inner_dir();
    let root = Root::open(&dir).unwrap();
    let container = dir.join("container");
    hosts::apply(&root, &three(HostsMode::InPlace, OLD)).unwrap();
    assert_eq!(active(&container), shown(OLD, &["127.0.0.1 localhost"]));
    hosts::apply(&root, &three(HostsMode::Rename, NEW)).unwrap();
    assert_eq!(active(&container), shown(OLD, &["127.0.0.1 localhost"]));
}
