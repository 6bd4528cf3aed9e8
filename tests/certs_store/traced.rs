//! The store in a process of its own, which strace kills or lies to.

use std::fmt;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Command, Output};

use stayput::pki::store::{Set, Store};

use crate::hosts_sample::{have, inner_dir};
use crate::node::{Node, apiserver, batch};
use crate::pair::Pair;

/// All that can change a file or a folder.
pub(crate) const CALLS: [&str; 10] = [
    "openat",
    "write",
    "fsync",
    "fchmod",
    "mkdirat",
    "linkat",
    "renameat",
    "renameat2",
    "unlinkat",
    "fchown",
];

/// What the process does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// Replaces the batch with the pair in the file `new`.
    Replace,
    /// Replaces one pair only.
    ReplacePair,
    /// Finishes or undoes what another has left.
    Recover,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Replace => "traced::inner_replace",
            Self::ReplacePair => "traced::inner_replace_pair",
            Self::Recover => "traced::inner_recover",
        })
    }
}

#[test]
#[ignore = "run by another test under strace"]
fn inner_replace() {
    replace(|pair| batch(pair).into());
}

#[test]
#[ignore = "run by another test under strace"]
fn inner_replace_pair() {
    replace(|pair| vec![apiserver(pair)]);
}

fn replace(sets: impl Fn(&Pair) -> Vec<Set>) {
    let node = Node::at(&inner_dir());
    let pair = Pair {
        key: node.read("new/key").unwrap(),
        certificate: node.read("new/certificate").unwrap(),
    };
    let replaced = node.replace(&sets(&pair));
    said(replaced.map_err(|error| error.to_string()));
}

#[test]
#[ignore = "run by another test under strace"]
fn inner_recover() {
    let opened = Store::open(&Node::at(&inner_dir()).root);
    said(opened.map(|_| ()).map_err(|error| error.to_string()));
}

/// Written in a way that a failing write cannot turn into a panic.
fn said(result: Result<(), String>) {
    use std::io::Write;
    let text = result.err().unwrap_or_else(|| "done".to_owned());
    let line = format!("\nSAID {text}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// A node with an old pair, and a new one that waits.
pub(crate) fn prepared(old: &Pair, new: &Pair) -> Node {
    let node = Node::with(old);
    fs::create_dir(node.path("new")).unwrap();
    node.write("new/key", &new.key, 0o600);
    node.write("new/certificate", &new.certificate, 0o600);
    node
}

/// Runs the work under strace.
pub(crate) fn traced(work: Work, dir: &Path, arguments: &[&str]) -> Output {
    Command::new("strace")
        .args(["-f", "-qq"])
        .args(arguments)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &work.to_string(), "--ignored"])
        .args(["--test-threads=1", "--nocapture"])
        .env("DIR", dir)
        .output()
        .unwrap()
}

/// The same, with the n-th call of a name tampered with; what the store said, if it lived to.
pub(crate) fn tampered(work: Work, dir: &Path, call: &str, how: &str, n: usize) -> Option<String> {
    let trace = format!("trace={call}");
    let inject = format!("inject={call}:{how}:when={n}");
    let output = traced(work, dir, &["-o", "/dev/null", "-e", &trace, "-e", &inject]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = text.lines().find_map(|line| line.strip_prefix("SAID "));
    said.map(str::to_owned)
}

/// Which calls the work makes, from [`CALLS`]: name and numbers, without those that the process makes
/// before it comes to the store.
pub(crate) fn calls(work: Work, node: &Node) -> Vec<(&'static str, RangeInclusive<usize>)> {
    let lines = trace(work, node, &CALLS);
    let dir = node.dir().to_str().unwrap();
    let start = lines.iter().position(|line| line.contains(dir)).unwrap();
    let number = |lines: &[String], call: &str| {
        let call = format!("{call}(");
        lines.iter().filter(|line| line.starts_with(&call)).count()
    };
    let range = |call: &'static str| {
        let first = number(&lines[..start], call) + 1;
        (call, first..=number(&lines, call))
    };
    CALLS.map(range).to_vec()
}

/// The calls of these names, with arguments, in order.
pub(crate) fn trace(work: Work, node: &Node, calls: &[&str]) -> Vec<String> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let trace = format!("trace={}", calls.join(","));
    let arguments = ["-y", "-o", log.path().to_str().unwrap(), "-e", &trace];
    let output = traced(work, node.dir(), &arguments);
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(log).unwrap();
    let call = |line: &str| line.split_once(' ').unwrap().1.trim_start().to_owned();
    text.lines().map(call).collect()
}

pub(crate) fn have_strace() -> bool {
    let output = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output();
    have(
        "strace, and the right to use it",
        output.is_ok_and(|output| output.status.success()),
    )
}
