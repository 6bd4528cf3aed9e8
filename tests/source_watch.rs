//! Files changed as people and programs change them are reported, through every kind of way to them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends at the first surprise"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use stayput::root::Root;
use stayput::source::watch::Watch;
use stayput::writer::Writer;
use tokio::time::timeout;

/// Far above what a report takes, and below the 30 s after which files are looked at unasked.
const DEADLINE: Duration = Duration::from_secs(15);

struct Node {
    folder: tempfile::TempDir,
    watch: Watch,
    _writer: Writer,
}

impl Node {
    /// A root with `/etc/x/cluster.yaml` and what `prepare` makes, and a watch of the paths.
    async fn new(paths: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("etc/x")).unwrap();
        fs::write(folder.path().join("etc/x/cluster.yaml"), "old").unwrap();
        prepare(folder.path());
        let root = Root::open(folder.path()).unwrap();
        let writer = Writer::start().unwrap();
        let paths = paths.iter().map(PathBuf::from).collect();
        let watch = Watch::start(&writer, &root, paths).await.unwrap();
        Self {
            folder,
            watch,
            _writer: writer,
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    /// Waits for a report of the path at which `done` holds: the change is visible when it is told.
    async fn reports(&mut self, path: &str, done: impl Fn() -> bool) {
        let wait = async {
            loop {
                let reported = self.watch.next().await;
                if reported == Path::new(path) && done() {
                    return;
                }
            }
        };
        timeout(DEADLINE, wait).await.expect(path);
        self.settle().await;
    }

    /// Takes what is left of the last change, so that it is not taken for the next one's.
    async fn settle(&mut self) {
        while timeout(Duration::from_millis(150), self.watch.next())
            .await
            .is_ok()
        {}
    }
}

fn shell(folder: &Path, script: &str) {
    let status = Command::new("sh")
        .args(["-ec", script])
        .current_dir(folder)
        .status();
    assert!(status.unwrap().success(), "{script}");
}

#[tokio::test]
async fn every_way_to_change_a_file() {
    const PATH: &str = "/etc/x/cluster.yaml";
    let mut node = Node::new(&[PATH], |_| {}).await;
    let file = node.at(PATH);
    let folder = file.parent().unwrap().to_owned();
    for (script, content) in [
        ("printf a > cluster.yaml", Some("a")),
        ("printf b >> cluster.yaml", Some("ab")),
        ("printf c > .new; mv .new cluster.yaml", Some("c")),
        ("sed -i s/c/d/ cluster.yaml", Some("d")),
        // vim with 'backup': the old file moves away, a new one is written.
        (
            "mv cluster.yaml cluster.yaml~; printf e > cluster.yaml; rm cluster.yaml~",
            Some("e"),
        ),
        ("rm cluster.yaml", None),
        ("printf f > cluster.yaml", Some("f")),
        ("mv cluster.yaml elsewhere", None),
        ("printf g > elsewhere; mv elsewhere cluster.yaml", Some("g")),
        ("ln cluster.yaml other; printf h > other", Some("h")),
        ("truncate -s 0 cluster.yaml", Some("")),
    ] {
        shell(&folder, script);
        let holds = || fs::read_to_string(&file).ok().as_deref() == content;
        assert!(holds(), "{script}");
        node.reports(PATH, holds).await;
    }
    shell(&folder, "chmod 600 cluster.yaml");
    node.reports(PATH, || true).await;
}

#[tokio::test]
async fn folders_that_come_and_go() {
    const PATH: &str = "/etc/kubernetes/pki/ca.crt";
    let mut node = Node::new(&[PATH], |_| {}).await;
    let root = node.folder.path().to_owned();
    let file = node.at(PATH);
    for (script, content) in [
        (
            "mkdir -p etc/kubernetes/pki; printf a > etc/kubernetes/pki/ca.crt",
            Some("a"),
        ),
        ("mv etc/kubernetes etc/k", None),
        ("mv etc/k etc/kubernetes", Some("a")),
        ("rm -r etc/kubernetes", None),
        (
            "mkdir -p new/pki; printf b > new/pki/ca.crt; mv new etc/kubernetes",
            Some("b"),
        ),
        ("printf c > etc/kubernetes/pki/ca.crt", Some("c")),
        (
            "mv etc/kubernetes/pki elsewhere; mkdir etc/kubernetes/pki",
            None,
        ),
        ("printf d > etc/kubernetes/pki/ca.crt", Some("d")),
        ("rm -r etc", None),
        (
            "mkdir -p etc/kubernetes/pki; printf e > etc/kubernetes/pki/ca.crt",
            Some("e"),
        ),
    ] {
        shell(&root, script);
        let holds = || fs::read_to_string(&file).ok().as_deref() == content;
        assert!(holds(), "{script}");
        node.reports(PATH, holds).await;
    }
}

#[tokio::test]
async fn symlinks_on_the_way() {
    const MAPPED: &str = "/etc/map/cluster.yaml";
    const LINKED: &str = "/etc/linked.yaml";
    let prepare = |root: &Path| {
        // A ConfigMap as the kubelet writes it.
        fs::create_dir_all(root.join("etc/map/..2026_1")).unwrap();
        fs::write(root.join("etc/map/..2026_1/cluster.yaml"), "old").unwrap();
        symlink("..2026_1", root.join("etc/map/..data")).unwrap();
        symlink("..data/cluster.yaml", root.join("etc/map/cluster.yaml")).unwrap();
        // Absolute, so below the root; and upwards, which ends at the root.
        symlink("/etc/second", root.join("etc/linked.yaml")).unwrap();
        symlink("../../../etc/x/cluster.yaml", root.join("etc/second")).unwrap();
    };
    let mut node = Node::new(&[MAPPED, LINKED], prepare).await;
    let root = node.folder.path().to_owned();
    let read = |path: &str| {
        let root = Root::open(&root).unwrap();
        root.read(Path::new(path), 100).unwrap_or(None)
    };
    for (path, script, content) in [
        (
            MAPPED,
            "cd etc/map; mkdir ..2026_2; printf a > ..2026_2/cluster.yaml; ln -s ..2026_2 ..data_tmp
             mv -T ..data_tmp ..data; rm -r ..2026_1",
            "a",
        ),
        (
            MAPPED,
            "cd etc/map; mkdir ..2026_3; printf b > ..2026_3/cluster.yaml; ln -s ..2026_3 ..data_tmp
             mv -T ..data_tmp ..data; rm -r ..2026_2",
            "b",
        ),
        (LINKED, "printf c > etc/x/cluster.yaml", "c"),
        (LINKED, "printf d > etc/x/new; mv etc/x/new etc/x/cluster.yaml", "d"),
        (LINKED, "printf e > etc/third; ln -sfn /etc/third etc/second", "e"),
        (LINKED, "printf f > etc/third", "f"),
        (LINKED, "printf g > etc/new; mv etc/new etc/linked.yaml", "g"),
        (LINKED, "printf h > etc/linked.yaml", "h"),
    ] {
        shell(&root, script);
        let holds = || read(path).as_deref() == Some(content.as_bytes());
        assert!(holds(), "{script}");
        node.reports(path, holds).await;
    }
}

#[tokio::test]
async fn a_circle_of_symlinks_is_waited_out() {
    const PATH: &str = "/etc/a";
    let prepare = |root: &Path| {
        symlink("/etc/b", root.join("etc/a")).unwrap();
        symlink("/etc/a", root.join("etc/b")).unwrap();
    };
    let mut node = Node::new(&[PATH], prepare).await;
    shell(node.folder.path(), "rm etc/b; printf a > etc/b");
    let file = node.at("etc/b");
    node.reports(PATH, || fs::read(&file).is_ok_and(|b| b == b"a"))
        .await;
}

#[tokio::test]
async fn other_files_are_not_reported() {
    const PATH: &str = "/etc/x/cluster.yaml";
    let mut node = Node::new(&["/etc/x/other", PATH], |_| {}).await;
    shell(
        node.folder.path(),
        "printf a > etc/x/stranger; rm etc/x/stranger; mkdir etc/y; printf b > etc/x/cluster.yaml",
    );
    let first = timeout(DEADLINE, node.watch.next()).await.unwrap();
    assert_eq!(first, Path::new(PATH));
}

#[tokio::test]
async fn a_folder_is_reported_when_its_entries_change() {
    const PATH: &str = "/etc/x";
    let mut node = Node::new(&[PATH], |_| {}).await;
    let file = node.at("/etc/x/new");
    shell(node.folder.path(), "printf a > etc/x/new");
    node.reports(PATH, || file.exists()).await;
}

/// A burst is told in a few reports. Nothing is read while this thread is busy writing.
#[tokio::test]
async fn bursts_are_told_together() {
    const PATH: &str = "/etc/x/cluster.yaml";
    let mut node = Node::new(&[PATH], |_| {}).await;
    let file = node.at(PATH);
    for n in 0..1_000 {
        fs::write(&file, n.to_string()).unwrap();
    }
    let mut reports = 0;
    while timeout(Duration::from_millis(500), node.watch.next())
        .await
        .is_ok()
    {
        reports += 1;
    }
    assert!((1..100).contains(&reports), "{reports} reports");
}

/// However the writes fall between reports, none comes after the last report.
#[tokio::test]
async fn bursts_end_with_a_report() {
    const PATH: &str = "/etc/x/cluster.yaml";
    const LAST: &str = "1000";
    let mut node = Node::new(&[PATH], |_| {}).await;
    let file = node.at(PATH);
    let writing = file.clone();
    let writer = std::thread::spawn(move || {
        for n in 1..=1_000 {
            fs::write(writing.with_extension("new"), n.to_string()).unwrap();
            fs::rename(writing.with_extension("new"), &writing).unwrap();
        }
    });
    let wait = async {
        while fs::read_to_string(&file).unwrap() != LAST {
            node.watch.next().await;
        }
    };
    timeout(DEADLINE, wait)
        .await
        .expect("a report after the last write");
    writer.join().unwrap();
}

/// The kernel's queue runs over with events of strangers, and the one that counts is lost.
#[tokio::test]
async fn an_overflow_reports_everything() {
    const PATH: &str = "/etc/x/cluster.yaml";
    let mut node = Node::new(&[PATH], |_| {}).await;
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    let stranger = node.at("/etc/x/stranger");
    for _ in 0..=limit / 2 {
        fs::write(&stranger, "").unwrap();
        fs::remove_file(&stranger).unwrap();
    }
    fs::write(node.at(PATH), "new").unwrap();
    node.reports(PATH, || true).await;
}
