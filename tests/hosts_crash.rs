//! A real apply is killed at each of its system calls that change anything; the file is the old
//! one, the new one, or (in place) both, and the next apply finishes. The order of syncs is read
//! from a trace.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use stayput::config::cluster::HostsMode;
use stayput::root::Root;
use stayput::surface::{Outcome, hosts};

#[expect(dead_code, reason = "each test file uses a part of it")]
mod hosts_sample;
mod sample;
use hosts_sample::{have, inner_dir, three};

const OLD: [&str; 3] = ["10.77.0.11", "10.77.0.12", "10.77.0.13"];
const NEW: [&str; 3] = ["10.77.0.11", "10.77.0.99", "fd77::13"];

/// All that can change a file or a folder.
const CALLS: [&str; 14] = [
    "openat",
    "write",
    "pwrite64",
    "pwritev2",
    "fsync",
    "fdatasync",
    "ftruncate",
    "fallocate",
    "fchown",
    "fchmod",
    "fsetxattr",
    "renameat",
    "renameat2",
    "unlinkat",
];

#[test]
#[ignore = "run by another test under strace"]
fn inner_apply() {
    let root = Root::open(&inner_dir()).unwrap();
    let mode = std::env::var("MODE").unwrap();
    hosts::apply(&root, &three(way(&mode), NEW)).unwrap();
}

fn way(mode: &str) -> HostsMode {
    match mode {
        "in-place" => HostsMode::InPlace,
        _ => HostsMode::Rename,
    }
}

/// One apply in a process of its own under strace, with these arguments for it.
fn traced(dir: &Path, mode: &str, arguments: &[&str]) -> std::process::Output {
    Command::new("strace")
        .args(["-f", "-qq"])
        .args(arguments)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "inner_apply", "--ignored", "--test-threads=1"])
        .env("DIR", dir)
        .env("MODE", mode)
        .output()
        .unwrap()
}

fn have_strace() -> bool {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .current_dir(&dir)
        .output();
    have(
        "strace, and the right to use it",
        output.is_ok_and(|o| o.status.success()),
    )
}

/// How a file came to be as the apply finds it.
#[derive(Debug, Clone, Copy)]
enum Before {
    /// Only foreign lines, without a last newline.
    Nothing,
    /// A block written by rename.
    Tight,
    /// A pool with free slots.
    Pool,
    /// A pool whose area in use is full, so that lines move to the other one: up or down.
    Full { area: u8 },
}

/// The hosts file of that kind.
fn prepared(before: Before) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let root = lay_out(dir.path(), b"127.0.0.1 localhost\n10.0.0.1 foreign");
    let in_place = |second: &str| {
        let view = three(HostsMode::InPlace, [OLD[0], second, OLD[2]]);
        hosts::apply(&root, &view).unwrap();
    };
    match before {
        Before::Nothing => {}
        Before::Tight => {
            hosts::apply(&root, &three(HostsMode::Rename, OLD)).unwrap();
        }
        Before::Pool => in_place(OLD[1]),
        Before::Full { area } => {
            // An area has 20 slots; four are taken at first, or when lines move to it.
            for n in 0..16 + 17 * u16::from(area) {
                in_place(&format!("10.88.0.{n}"));
            }
            in_place(OLD[1]);
        }
    }
    fs::read(dir.path().join("etc/hosts")).unwrap()
}

fn lay_out(dir: &Path, text: &[u8]) -> Root {
    let _ = fs::remove_dir_all(dir.join("etc"));
    fs::create_dir(dir.join("etc")).unwrap();
    fs::write(dir.join("etc/hosts"), text).unwrap();
    Root::open(dir).unwrap()
}

fn mapped(path: &Path) -> BTreeSet<(String, String)> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .flat_map(|line| {
            let mut words = line.split_whitespace();
            let address = words.next().unwrap().to_owned();
            words.map(move |name| (name.to_owned(), address.clone()))
        })
        .collect()
}

fn wanted(addresses: [&str; 3]) -> BTreeSet<(String, String)> {
    let mut all: BTreeSet<(String, String)> = [
        ("localhost", "127.0.0.1"),
        ("foreign", "10.0.0.1"),
        ("api", "127.0.0.1"),
        ("api.k8s.internal", "127.0.0.1"),
    ]
    .iter()
    .map(|(name, address)| (name.to_string(), address.to_string()))
    .collect();
    for (i, address) in addresses.iter().enumerate() {
        all.insert((format!("master-{}", i + 1), address.to_string()));
        all.insert((
            format!("master-{}.k8s.internal", i + 1),
            address.to_string(),
        ));
    }
    all
}

/// Kills an apply at every call of [`CALLS`], one after the other, and checks each outcome.
fn kill_everywhere(mode: &str, before: Before) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("etc/hosts");
    let text = prepared(before);
    let mut kills = 0;
    for call in CALLS {
        for n in 1.. {
            let root = lay_out(dir.path(), &text);
            let old = mapped(&path);
            let new = wanted(NEW);
            let inject = format!("inject={call}:signal=SIGKILL:when={n}");
            let trace = format!("trace={call}");
            let output = traced(
                dir.path(),
                mode,
                &["-o", "/dev/null", "-e", &trace, "-e", &inject],
            );
            let seen = mapped(&path);
            let what = format!("{mode} {before:?}, killed at {call} number {n}: {seen:?}");
            let killed = !output.status.success();
            if !killed {
                assert_eq!(seen, new, "{what}");
                break;
            }
            kills += 1;
            if mode == "rename" {
                assert!(seen == old || seen == new, "{what}");
            } else {
                let either = |pair| old.contains(pair) || new.contains(pair);
                assert!(seen.iter().all(either), "torn: {what}");
                let named = |name| seen.iter().any(|(seen, _)| seen == name);
                assert!(old.iter().all(|(name, _)| named(name)), "none: {what}");
            }
            let view = three(way(mode), NEW);
            hosts::apply(&root, &view).unwrap();
            assert_eq!(mapped(&path), new, "not finished: {what}");
            assert_eq!(
                hosts::apply(&root, &view).unwrap().outcome,
                Outcome::Unchanged,
                "{what}"
            );
            let entries = fs::read_dir(dir.path().join("etc")).unwrap().count();
            assert_eq!(entries, 1, "a leftover stays: {what}");
        }
    }
    kills
}

#[test]
fn killed_anywhere_by_rename() {
    if have_strace() {
        for before in [Before::Nothing, Before::Tight, Before::Pool] {
            let kills = kill_everywhere("rename", before);
            assert!(kills >= 5, "only {kills} kills");
        }
    }
}

#[test]
fn killed_anywhere_in_place() {
    if have_strace() {
        for before in [
            Before::Nothing,
            Before::Tight,
            Before::Pool,
            Before::Full { area: 0 },
            Before::Full { area: 1 },
        ] {
            let kills = kill_everywhere("in-place", before);
            assert!(kills >= 8, "only {kills} kills");
        }
    }
}

/// What a trace says about our files: call and what it was done to.
fn calls(mode: &str, before: Before) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    lay_out(dir.path(), &prepared(before));
    let trace = dir.path().join("trace");
    let output = traced(
        dir.path(),
        mode,
        &[
            "-y",
            "-s",
            "40",
            "-o",
            trace.to_str().unwrap(),
            "-e",
            "trace=write,pwrite64,fsync,renameat,ftruncate,fchmod,clock_nanosleep",
        ],
    );
    assert!(output.status.success());
    let etc = dir.path().join("etc").to_str().unwrap().to_owned();
    fs::read_to_string(&trace)
        .unwrap()
        .lines()
        .filter(|line| line.contains(&etc) || line.contains("nanosleep"))
        .map(|line| {
            if line.contains("nanosleep") {
                return "wait".to_owned();
            }
            let call = line
                .split('(')
                .next()
                .unwrap()
                .split(' ')
                .next_back()
                .unwrap();
            let file = line.split('<').nth(1).unwrap().split('>').next().unwrap();
            let size = line.split(", ").nth(2).filter(|_| call == "pwrite64");
            let size = if size == Some("1") { " one byte" } else { "" };
            format!("{call} {}{size}", file.replace(&etc, "etc"))
        })
        .collect()
}

#[test]
fn the_order_of_syncs_by_rename() {
    if have_strace() {
        let calls = calls("rename", Before::Tight);
        assert_eq!(
            calls,
            [
                "fchmod etc/.hosts.stayput",
                "write etc/.hosts.stayput",
                "fsync etc/.hosts.stayput",
                "renameat etc",
                "fsync etc",
            ]
        );
    }
}

#[test]
fn the_order_of_syncs_in_place() {
    if have_strace() {
        let fill = ["pwrite64 etc/hosts"; 2];
        let switch = ["pwrite64 etc/hosts one byte"; 2];
        let sync = ["fsync etc/hosts"];
        let change = [&fill[..], &sync, &switch, &sync, &switch, &sync].concat();
        assert_eq!(calls("in-place", Before::Pool), change);

        // To the other area: all four lines move, behind a wait; downwards, another one.
        let fill = ["pwrite64 etc/hosts"; 4];
        let switch = ["pwrite64 etc/hosts one byte"; 4];
        let wait = ["wait"];
        let up = [&wait[..], &fill, &sync, &switch, &sync, &switch, &sync].concat();
        assert_eq!(calls("in-place", Before::Full { area: 0 }), up);
        let down = [
            &wait[..],
            &fill,
            &sync,
            &switch,
            &sync,
            &wait,
            &switch,
            &sync,
        ]
        .concat();
        assert_eq!(calls("in-place", Before::Full { area: 1 }), down);
    }
}
