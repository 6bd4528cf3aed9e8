//! The demo: what it shows, and that it leaves nothing behind and uses nobody else's folder.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::support::{Process, STAYPUT, here, run, until};

#[test]
fn the_demo_shows_all_of_it() {
    let said = run(Command::new(STAYPUT).args(["demo", "--once"])).good();
    let (before, after) = said.split_once("── After").unwrap();
    assert!(
        before.contains("127.77.0.12 master-2.prod.k8s.internal master-2"),
        "{said}"
    );
    for want in [
        "127.77.0.22 master-2.prod.k8s.internal master-2",
        "master-2.prod.k8s.internal  127.77.0.22",
        "certificates, keys and kubeconfigs are the same to the byte",
    ] {
        assert!(after.contains(want), "{want} is not in:\n{said}");
    }
    if std::path::Path::new("/usr/sbin/haproxy").exists() {
        assert!(after.contains("  master-2 at 127.77.0.22"), "{said}");
    } else {
        assert!(said.contains("HAProxy is not on this machine"), "{said}");
    }
    assert!(!said.contains("DISAGREES"), "{said}");
}

/// Processes that name something below `folder` on their command line.
fn at_work_in(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let command_lines = processes.filter_map(|process| {
        let bytes = std::fs::read(process.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
    });
    command_lines
        .filter(|line| line.contains(&folder))
        .collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_signal_at_any_moment_ends_the_demo_with_all_that_it_started() {
    for (moment, signal) in [
        ("A node, below", Signal::TERM),
        ("hosts file:", Signal::INT),
        ("stayput event", Signal::TERM),
        ("It stays up", Signal::TERM),
        ("It stays up", Signal::HUP),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let logs = tempfile::tempdir().unwrap();
        let mut command = Command::new(STAYPUT);
        command.arg("demo").env("TMPDIR", scratch.path());
        let mut demo = Process::start(&mut command, &logs.path().join("demo.log"));
        until("the moment", || {
            demo.must_run();
            demo.log().contains(moment)
        });
        let folder = entries(scratch.path()).remove(0);
        let mode = folder.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        demo.signal(signal);
        assert_eq!(demo.end().code(), Some(0), "{moment}: {}", demo.log());
        // What ends with SIGKILL needs a moment.
        until("nothing is left", || at_work_in(scratch.path()).is_empty());
        assert_eq!(entries(scratch.path()), [""; 0].map(PathBuf::from));
    }
}

#[test]
fn the_demo_does_not_trust_a_folder_that_others_can_write_to() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("demo");
    let demo = || {
        run(Command::new(STAYPUT)
            .args(["demo", "--once", "--dir"])
            .arg(&folder))
    };
    let own = || {
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o755).create(&folder).unwrap();
    };
    for mode in [0o775, 0o757, 0o1777] {
        own();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
        let said = demo().refused(69);
        assert!(said.contains("others may write to it"), "{said}");
        assert!(entries(&folder).is_empty());
        std::fs::remove_dir(&folder).unwrap();
    }
    own();
    std::fs::write(folder.join("something"), "").unwrap();
    assert!(demo().refused(69).contains("it is not empty"));
    std::fs::remove_file(folder.join("something")).unwrap();
    demo().good();
    assert!(folder.join("etc/hosts").exists(), "it is kept");
    std::fs::remove_dir_all(&folder).unwrap();

    if !here(true, &[]) {
        return;
    }
    own();
    std::os::unix::fs::chown(&folder, Some(65534), None).unwrap();
    let said = demo().refused(69);
    assert!(said.contains("it belongs to somebody else"), "{said}");
    assert!(entries(&folder).is_empty());
}
