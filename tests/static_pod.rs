//! Death while a static pod is being restarted, or its manifest exchanged: a real process is killed at
//! each system call that changes a folder (strace's injection), beside a pretend kubelet that ends and
//! starts the pod's process. A manifest is in one of its places then, and in its own after the next run.
//!
//! The process that is killed is this very test, started once more: see [`restarting`], [`exchanging`].
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use stayput::root::Root;
use stayput::static_pod::processes::Processes;
use stayput::static_pod::{
    Change, FOLDER, Limits, MANIFESTS, Recovered, Restarted, exchange, recover, restart,
};

#[path = "support/mod.rs"]
#[allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test takes what it needs"
)]
mod support;

/// Tells the second start of this test in which sandbox it works.
const SANDBOX: &str = "STAYPUT_TEST_SANDBOX";
const POD: &str = "kube-scheduler";

/// A sandbox with one manifest, and a pretend kubelet.
struct Node {
    dir: tempfile::TempDir,
    text: String,
    done: Arc<AtomicBool>,
    kubelet: Option<JoinHandle<()>>,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().file_name().unwrap().to_str().unwrap();
        let command = format!("scheduler{}", name.trim_start_matches('.'));
        let text =
            format!("spec: {{hostNetwork: true, containers: [{{command: [{command}, -v]}}]}}\n");
        let mut node = Self {
            dir,
            text,
            done: Arc::new(AtomicBool::new(false)),
            kubelet: None,
        };
        std::fs::create_dir_all(node.file(MANIFESTS).parent().unwrap()).unwrap();
        std::fs::write(node.file(MANIFESTS), &node.text).unwrap();
        let (manifest, done) = (node.file(MANIFESTS), node.done.clone());
        let mut running = Some(pod(&command));
        // For an instant within execve(2) a process has no arguments.
        let processes = Processes::new(Path::new("/proc"));
        support::until("the pod is seen", || {
            let seen = processes.running(std::slice::from_ref(&command));
            !seen.unwrap().is_empty()
        });
        node.kubelet = Some(std::thread::spawn(move || {
            while !done.load(Ordering::SeqCst) {
                match (manifest.exists(), &mut running) {
                    (false, Some(child)) => {
                        end(child);
                        running = None;
                    }
                    (true, None) => running = Some(pod(&command)),
                    _ => {}
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            running.iter_mut().for_each(end);
        }));
        node
    }

    /// The pod's manifest, were it in this folder.
    fn file(&self, folder: &str) -> PathBuf {
        let folder = self.dir.path().join(folder.trim_start_matches('/'));
        folder.join(format!("{POD}.yaml"))
    }

    fn root(&self) -> Root {
        Root::open(self.dir.path()).unwrap()
    }

    fn assert_back(&self, context: &str) {
        let text = std::fs::read_to_string(self.file(MANIFESTS));
        assert_eq!(text.unwrap(), self.text, "{context}");
        let left = self.file(FOLDER).parent().unwrap().exists();
        assert!(!left, "{context}: {FOLDER} is left");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.done.store(true, Ordering::SeqCst);
        let _ = self.kubelet.take().unwrap().join();
    }
}

fn pod(command: &str) -> Child {
    let mut shell = Command::new("/bin/sh");
    shell
        .arg0(command)
        .args(["-c", "while :; do sleep 1; done"]);
    shell.spawn().unwrap()
}

fn end(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

const LIMITS: Limits = Limits {
    gone: support::PATIENCE,
    back: support::PATIENCE,
    look: Duration::from_millis(1),
};

fn run<T>(task: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(task)
}

fn restarted(root: &Root) -> Restarted {
    let processes = Processes::new(Path::new("/proc"));
    let never = std::future::pending();
    run(restart(root, &processes, POD, &LIMITS, never)).unwrap()
}

/// What the exchange makes of a manifest.
fn changed(text: &str) -> String {
    text.replace("-v", "-w")
}

fn exchanged(root: &Root, from: &str, to: &str) -> Restarted {
    let processes = Processes::new(Path::new("/proc"));
    let change = Change {
        from: from.as_bytes(),
        to: to.as_bytes(),
    };
    let never = std::future::pending();
    run(exchange(root, &processes, POD, change, &LIMITS, never)).unwrap()
}

/// What is killed. Started with the other tests it has nothing to do.
#[test]
fn restarting() {
    let Some(sandbox) = std::env::var_os(SANDBOX) else {
        return;
    };
    let root = Root::open(Path::new(&sandbox)).unwrap();
    assert!(matches!(restarted(&root), Restarted::Done { .. }));
}

/// The same.
#[test]
fn exchanging() {
    let Some(sandbox) = std::env::var_os(SANDBOX) else {
        return;
    };
    let root = Root::open(Path::new(&sandbox)).unwrap();
    let manifest = root.read(&Path::new(MANIFESTS).join(format!("{POD}.yaml")), 1 << 20);
    let text = String::from_utf8(manifest.unwrap().unwrap()).unwrap();
    let exchanged = exchanged(&root, &text, &changed(&text));
    assert!(matches!(exchanged, Restarted::Done { .. }));
}

const CALLS: [&str; 6] = [
    "mkdirat",
    "write",
    "renameat",
    "renameat2",
    "fsync",
    "unlinkat",
];

/// Runs `test` of this program in a sandbox until its `n`-th `call`; `false` where it came to its end.
fn dies(node: &Node, test: &str, call: &str, n: u32) -> bool {
    let inject = format!("inject={call}:signal=SIGKILL:when={n}");
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &inject])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(SANDBOX, node.dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let killed = output.status.signal() == Some(9) || output.status.code() == Some(137);
    assert!(killed || output.status.success(), "{call} {n}: {output:?}");
    killed
}

#[test]
fn a_manifest_is_never_lost() {
    if !support::here(false, &["strace"]) {
        return;
    }
    let mut kills: BTreeMap<&str, u32> = BTreeMap::new();
    let calls = ["mkdirat", "renameat2", "fsync", "unlinkat"];
    for call in calls {
        for n in 1..100 {
            let context = format!("killed at {call} {n}");
            let node = Node::new();
            if !dies(&node, "restarting", call, n) {
                node.assert_back(&context);
                break;
            }
            *kills.entry(call).or_default() += 1;
            let places = [MANIFESTS, FOLDER].map(|folder| node.file(folder).exists());
            assert!(places[0] != places[1], "{context}: {places:?}");
            let recovered = recover(&node.root()).unwrap();
            assert_eq!(recovered.len(), usize::from(places[1]), "{context}");
            assert_eq!(recover(&node.root()).unwrap(), [], "{context}");
            node.assert_back(&context);
            // The pod comes back, and can be restarted as ever.
            support::until("the pod runs again", || {
                matches!(restarted(&node.root()), Restarted::Done { .. })
            });
            node.assert_back(&context);
        }
    }
    for call in calls {
        assert!(kills.contains_key(call), "{call} was never met: {kills:?}");
    }
    println!("survived {kills:?}");
}

#[test]
fn an_exchange_is_done_or_not() {
    if !support::here(false, &["strace"]) {
        return;
    }
    let mut kills: BTreeMap<&str, u32> = BTreeMap::new();
    let (mut old, mut new, mut forward) = (0, 0, 0);
    for call in CALLS {
        for n in 1..100 {
            let context = format!("killed at {call} {n}");
            let mut node = Node::new();
            if !dies(&node, "exchanging", call, n) {
                node.text = changed(&node.text);
                node.assert_back(&context);
                break;
            }
            *kills.entry(call).or_default() += 1;
            let was_there = node.file(MANIFESTS).exists();
            let recovered = recover(&node.root()).unwrap();
            assert_eq!(recovered.is_empty(), was_there, "{context}: {recovered:?}");
            let told = matches!(recovered[..], [Recovered::Exchanged { .. }]);
            assert_eq!(told, !was_there, "{context}: {recovered:?}");
            assert_eq!(recover(&node.root()).unwrap(), [], "{context}");
            let text = std::fs::read_to_string(node.file(MANIFESTS)).unwrap();
            let is_new = text == changed(&node.text);
            assert!(is_new || text == node.text, "{context}: {text}");
            *(if is_new { &mut new } else { &mut old }) += 1;
            forward += u32::from(told);
            // The pod comes back, and whatever was done, the next exchange leaves nothing but its own.
            support::until("the pod runs again", || {
                matches!(restarted(&node.root()), Restarted::Done { .. })
            });
            node.text = format!("{text}# again\n");
            let again = exchanged(&node.root(), &text, &node.text);
            assert!(matches!(again, Restarted::Done { .. }), "{context}");
            node.assert_back(&context);
        }
    }
    for call in CALLS {
        assert!(kills.contains_key(call), "{call} was never met: {kills:?}");
    }
    println!("survived {kills:?}: old {old}, new {new}, of these by the next run {forward}");
    assert!(
        old > 0 && forward > 0 && new > forward,
        "{old} {new} {forward}"
    );
}
