//! Death at any system call: a real `stayput apply` is killed at each of its writes, fsyncs, renames
//! and unlinks (strace's injection), and what is left is read as its readers would read it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const STAYPUT: &str = env!("CARGO_BIN_EXE_stayput");
/// System calls that change a file.
const CALLS: [&str; 7] = [
    "write",
    "pwrite64",
    "fsync",
    "renameat",
    "renameat2",
    "ftruncate",
    "unlinkat",
];
const OLD: &str = "127.77.0.12";
const NEW: &str = "127.77.0.22";
const FOREIGN: &str = "127.0.0.1\tlocalhost\r\n192.0.2.7 nas.home\n";

struct Node(tempfile::TempDir);

impl Node {
    fn new(mode: &str) -> Self {
        let node = Self(tempfile::tempdir().unwrap());
        node.write("etc/hosts", FOREIGN);
        node.write("etc/hostname", "worker-1\n");
        node.declare(mode, OLD);
        node
    }

    fn declare(&self, mode: &str, address: &str) {
        // No program is run: HAProxy's part in this is its file.
        let text = format!(
            "domain: prod.k8s.internal\nendpoint: {{name: api}}\nmasters:\n\
             - {{name: master-1, address: 127.77.0.11}}\n- {{name: master-2, address: {address}}}\n\
             hosts: {{mode: {mode}}}\nhaproxy: {{binary: /nonexistent/haproxy}}\n"
        );
        self.write("etc/stayput/cluster.yaml", &text);
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn read(&self, path: &str) -> String {
        String::from_utf8(std::fs::read(self.path(path)).unwrap()).unwrap()
    }

    fn apply(&self) {
        let output = self.run(&mut Command::new(STAYPUT));
        assert!(output.status.success(), "{output:?}");
    }

    fn run(&self, command: &mut Command) -> Output {
        let root = self.0.path().to_str().unwrap();
        command
            .args(["--root", root, "apply"])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The same node again, so that each kill starts from the same files.
    fn copy(&self) -> Self {
        let copy = tempfile::tempdir().unwrap();
        let from = format!("{}/.", self.0.path().display());
        let copied = Command::new("cp")
            .args(["-a", &from])
            .arg(copy.path())
            .status();
        assert!(copied.unwrap().success());
        Self(copy)
    }

    /// What a resolver finds: name → addresses of lines that are switched on.
    fn hosts(&self) -> BTreeMap<String, Vec<String>> {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in self.read("etc/hosts").lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let Some(address) = words.next() else {
                continue;
            };
            for name in words {
                found
                    .entry(name.to_owned())
                    .or_default()
                    .push(address.to_owned());
            }
        }
        found
    }

    /// Nothing foreign is lost, no name is missing, no line is torn.
    fn assert_old_or_new(&self, context: &str) {
        let hosts = self.read("etc/hosts");
        assert!(hosts.starts_with(FOREIGN), "{context}:\n{hosts}");
        let found = self.hosts();
        for (name, allowed) in [
            ("api.prod.k8s.internal", &["127.0.0.1"][..]),
            ("master-1.prod.k8s.internal", &["127.77.0.11"]),
            ("master-2.prod.k8s.internal", &[OLD, NEW]),
            ("master-2", &[OLD, NEW]),
        ] {
            let addresses = found
                .get(name)
                .unwrap_or_else(|| panic!("{context}: no {name}\n{hosts}"));
            let known = |address: &String| allowed.contains(&address.as_str());
            assert!(
                addresses.iter().all(known),
                "{context}: {name} {addresses:?}\n{hosts}"
            );
        }
        let state: serde_json::Value =
            serde_json::from_str(&self.read("var/lib/stayput/state.json"))
                .unwrap_or_else(|error| panic!("{context}: torn state: {error}"));
        let address = &state["book"]["records"]["master-2.prod.k8s.internal"]["addresses"][0];
        assert!(address == OLD || address == NEW, "{context}: {state}");
        let haproxy = self.read("var/lib/stayput/haproxy.cfg");
        let whole = haproxy.ends_with('\n') && haproxy.contains("frontend stats");
        assert!(whole, "{context}: torn haproxy.cfg:\n{haproxy}");
    }

    fn assert_finished(&self, context: &str) {
        assert_eq!(
            self.hosts()["master-2.prod.k8s.internal"],
            [NEW],
            "{context}"
        );
        assert!(
            self.read("var/lib/stayput/state.json").contains(NEW),
            "{context}"
        );
        assert!(
            self.read("var/lib/stayput/haproxy.cfg").contains(NEW),
            "{context}"
        );
        for folder in ["etc", "var/lib/stayput"] {
            for entry in std::fs::read_dir(self.path(folder)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(
                    !name.starts_with('.'),
                    "{context}: {name} is left in {folder}"
                );
            }
        }
    }
}

fn strace_is_here() -> bool {
    if Path::new("/usr/bin/strace").exists() {
        return true;
    }
    let required =
        std::env::var_os("CI").is_some() || std::env::var_os("STAYPUT_REQUIRE_ALL").is_some();
    assert!(!required, "strace is missing: apt-get install strace");
    eprintln!("SKIPPED: strace is missing (apt-get install strace)");
    false
}

/// Kills an apply at the n-th call of each kind, for every n that it makes.
fn kill_everywhere(mode: &str, wanted: &[&str]) {
    if !strace_is_here() {
        return;
    }
    let start = Node::new(mode);
    start.apply();
    start.declare(mode, NEW);
    let mut kills: BTreeMap<&str, u32> = BTreeMap::new();
    for call in CALLS {
        for n in 1.. {
            let node = start.copy();
            let context = format!("{mode}, killed at {call} {n}");
            let inject = format!("inject={call}:signal=SIGKILL:when={n}");
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &inject, STAYPUT]);
            let output = node.run(&mut strace);
            node.assert_old_or_new(&context);
            let killed = output.status.signal() == Some(9) || output.status.code() == Some(137);
            if !killed {
                assert!(output.status.success(), "{context}: {output:?}");
                break;
            }
            *kills.entry(call).or_default() += 1;
            node.apply();
            node.assert_finished(&context);
            assert!(n < 200, "{context}: no end");
        }
    }
    for call in wanted {
        assert!(
            kills.contains_key(call),
            "{mode}: {call} was never met: {kills:?}"
        );
    }
    println!("{mode}: survived {kills:?}");
}

#[test]
fn a_file_replaced_by_rename_is_the_old_or_the_new_one() {
    kill_everywhere("rename", &["write", "fsync", "renameat"]);
}

#[test]
fn a_file_written_in_place_is_old_or_new_or_both() {
    kill_everywhere("in-place", &["pwrite64", "fsync"]);
}

/// One traced call: its name and the path that it is about.
fn trace(node: &Node) -> Vec<(String, String)> {
    let log = node.path("trace");
    let mut strace = Command::new("strace");
    let calls = format!("trace={}", CALLS.join(","));
    strace
        .args(["-f", "-y", "-qq", "-o"])
        .arg(&log)
        .args(["-e", &calls, STAYPUT]);
    assert!(node.run(&mut strace).status.success());
    let root = node.0.path().canonicalize().unwrap();
    let text = std::fs::read_to_string(log)
        .unwrap()
        .replace(root.to_str().unwrap(), "");
    text.lines()
        .filter_map(|line| {
            let call = line.split_once(' ')?.1.trim_start();
            let (name, arguments) = call.split_once('(')?;
            Some((name.to_owned(), arguments.to_owned()))
        })
        .collect()
}

#[test]
fn the_book_is_on_disk_before_anyone_sees_it_and_each_file_before_its_name() {
    if !strace_is_here() {
        return;
    }
    let node = Node::new("rename");
    node.apply();
    node.declare("rename", NEW);
    let calls = trace(&node);
    let first = |from: usize, name: &str, about: &str| {
        let found = calls[from..]
            .iter()
            .position(|(call, arguments)| call == name && arguments.contains(about));
        from + found
            .unwrap_or_else(|| panic!("no {name} of {about} after call {from} in {calls:#?}"))
    };
    let mut position = 0;
    for (folder, file) in [("/var/lib/stayput", "state.json"), ("/etc", "hosts")] {
        let temporary = format!("{folder}/.{file}");
        for (call, about) in [
            ("write", temporary.as_str()),
            ("fsync", &temporary),
            ("renameat", &format!("\"{file}\"")),
            ("fsync", &format!("<{folder}>")),
        ] {
            position = first(position, call, about) + 1;
        }
    }
}
