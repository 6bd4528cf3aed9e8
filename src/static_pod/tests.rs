//! Against a pretend kubelet: it starts a process for a manifest and ends it when the manifest goes.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use super::command::{first_command, process_of};
use super::places::Places;
use super::processes::Processes;
use super::*;
use crate::root::Root;
use crate::yaml;

/// A sandbox with one manifest, whose command no other test's process has.
struct Node {
    dir: tempfile::TempDir,
    root: Root,
    command: String,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/kubernetes/manifests")).unwrap();
        let name = dir.path().file_name().unwrap().to_str().unwrap();
        let command = format!("scheduler{}", name.trim_start_matches('.'));
        let root = Root::open(dir.path()).unwrap();
        let node = Self { dir, root, command };
        std::fs::write(node.path(MANIFESTS), node.manifest("first")).unwrap();
        node
    }

    /// `kube-scheduler.yaml` in a folder.
    fn path(&self, folder: &str) -> PathBuf {
        let folder = self.dir.path().join(folder.trim_start_matches('/'));
        folder.join("kube-scheduler.yaml")
    }

    fn manifest(&self, name: &str) -> String {
        format!(
            "metadata: {{name: {name}}}\nspec:\n  hostNetwork: true\n  containers:\n  - name: c\n    command:\n    - {}\n    - --leader-elect=true\n    resources: {{}}\n",
            self.command
        )
    }

    fn text(&self, folder: &str) -> Option<String> {
        std::fs::read_to_string(self.path(folder)).ok()
    }

    async fn restart(&self, limits: &Limits) -> Result<Restarted, Error> {
        self.restart_until(limits, std::future::pending()).await
    }

    async fn restart_until(
        &self,
        limits: &Limits,
        stop: impl Future<Output = ()>,
    ) -> Result<Restarted, Error> {
        let processes = Processes::new(Path::new("/proc"));
        restart(&self.root, &processes, "kube-scheduler", limits, stop).await
    }

    async fn exchange(&self, limits: &Limits) -> Result<Restarted, Error> {
        self.exchange_until(limits, std::future::pending()).await
    }

    /// `first` for `second`.
    async fn exchange_until(
        &self,
        limits: &Limits,
        stop: impl Future<Output = ()>,
    ) -> Result<Restarted, Error> {
        let (from, to) = (self.manifest("first"), self.manifest("second"));
        let change = Change {
            from: from.as_bytes(),
            to: to.as_bytes(),
        };
        let processes = Processes::new(Path::new("/proc"));
        let pod = "kube-scheduler";
        exchange(&self.root, &processes, pod, change, limits, stop).await
    }

    /// What is kept of a manifest in [`FOLDER`], with this ending.
    fn kept(&self, ending: &str) -> Option<String> {
        let mut path = self.path(FOLDER).into_os_string();
        path.push(ending);
        std::fs::read_to_string(path).ok()
    }

    fn is_clean(&self) -> bool {
        !self.dir.path().join(&FOLDER[1..]).exists()
    }
}

const PATIENT: Limits = Limits {
    gone: Duration::from_mins(1),
    back: Duration::from_mins(1),
    look: Duration::from_millis(5),
};
const HASTY: Limits = Limits {
    gone: Duration::from_millis(50),
    back: Duration::from_millis(50),
    look: Duration::from_millis(5),
};

/// What the pretend kubelet does when the manifest goes.
#[derive(Clone, Copy, PartialEq)]
enum Habit {
    Works,
    NeverEnds,
    NeverStarts,
    SomebodyWrites,
}

struct Kubelet {
    done: Arc<AtomicBool>,
    started: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Kubelet {
    fn start(node: &Node, habit: Habit) -> Self {
        let (done, started) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU32::new(0)),
        );
        let (path, command) = (node.path(MANIFESTS), node.command.clone());
        let other = node.manifest("theirs");
        let (end, count) = (done.clone(), started.clone());
        let start = move |count: &AtomicU32| {
            let mut sleeping = Command::new("/bin/sh");
            sleeping.arg0(format!("/usr/local/bin/{command}"));
            sleeping.args(["-c", "while :; do sleep 1; done"]);
            // Counted first: it is seen before `spawn` returns.
            count.fetch_add(1, Ordering::SeqCst);
            sleeping.spawn().unwrap()
        };
        let mut running = Some(start(&count));
        // For an instant within execve(2) a process has no arguments.
        let processes = Processes::new(Path::new("/proc"));
        let deadline = std::time::Instant::now() + PATIENT.back;
        while processes
            .running(std::slice::from_ref(&node.command))
            .unwrap()
            .is_empty()
        {
            assert!(std::time::Instant::now() < deadline, "the pod is not seen");
            std::thread::yield_now();
        }
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::SeqCst) {
                match (path.exists(), &mut running) {
                    (false, Some(child)) if habit != Habit::NeverEnds => {
                        kill(child);
                        running = None;
                        if habit == Habit::SomebodyWrites {
                            std::fs::write(&path, &other).unwrap();
                        }
                    }
                    (true, None) if habit != Habit::NeverStarts => running = Some(start(&count)),
                    _ => {}
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            if let Some(child) = &mut running {
                kill(child);
            }
        });
        Self {
            done,
            started,
            thread: Some(thread),
        }
    }

    fn started(&self) -> u32 {
        self.started.load(Ordering::SeqCst)
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.done.store(true, Ordering::SeqCst);
        let _ = self.thread.take().unwrap().join();
    }
}

fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn a_pod_is_restarted_and_its_manifest_stays_as_it_was() {
    use std::os::unix::fs::MetadataExt;
    let node = Node::new();
    let inode = node.path(MANIFESTS).metadata().unwrap().ino();
    let kubelet = Kubelet::start(&node, Habit::Works);
    for starts in 2..4 {
        let restarted = node.restart(&PATIENT).await.unwrap();
        assert!(matches!(restarted, Restarted::Done { .. }), "{restarted:?}");
        assert_eq!(kubelet.started(), starts);
    }
    assert_eq!(node.path(MANIFESTS).metadata().unwrap().ino(), inode);
    assert!(node.is_clean());
}

#[tokio::test]
async fn what_is_not_there_is_not_restarted() {
    let node = Node::new();
    assert_eq!(node.restart(&HASTY).await.unwrap(), Restarted::NotRunning);
    assert_eq!(node.text(MANIFESTS), Some(node.manifest("first")));
    std::fs::remove_file(node.path(MANIFESTS)).unwrap();
    assert_eq!(node.restart(&HASTY).await.unwrap(), Restarted::NoManifest);
    std::fs::remove_dir(node.path(MANIFESTS).parent().unwrap()).unwrap();
    assert_eq!(node.restart(&HASTY).await.unwrap(), Restarted::NoManifest);
    assert!(node.is_clean());
}

#[tokio::test]
async fn the_manifest_is_back_whatever_the_kubelet_does() {
    for (habit, told) in [
        (Habit::NeverEnds, "did not end"),
        (Habit::NeverStarts, "does not run again"),
    ] {
        let node = Node::new();
        let _kubelet = Kubelet::start(&node, habit);
        let limits = if habit == Habit::NeverEnds {
            HASTY
        } else {
            Limits {
                gone: PATIENT.gone,
                ..HASTY
            }
        };
        let error = node.restart(&limits).await.unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
        assert_eq!(node.text(MANIFESTS), Some(node.manifest("first")));
        assert!(node.is_clean());
    }
}

#[tokio::test]
async fn a_signal_puts_the_manifest_back_at_once() {
    let node = Node::new();
    let _kubelet = Kubelet::start(&node, Habit::NeverEnds);
    let is_out = || node.text(MANIFESTS).is_none();
    let signal = async {
        while !is_out() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let error = node.restart_until(&PATIENT, signal).await.unwrap_err();
    assert!(matches!(error, Error::Stopped(_)), "{error}");
    assert!(!is_out() && node.is_clean());
}

#[tokio::test]
async fn a_manifest_that_somebody_wrote_meanwhile_wins() {
    let node = Node::new();
    let _kubelet = Kubelet::start(&node, Habit::SomebodyWrites);
    let error = node.restart(&PATIENT).await.unwrap_err();
    let Error::Displaced { manifest, kept } = &error else {
        panic!("{error}");
    };
    assert_eq!(manifest, &Path::new(MANIFESTS).join("kube-scheduler.yaml"));
    assert_eq!(node.text(MANIFESTS), Some(node.manifest("theirs")));
    let kept = node.dir.path().join(kept.strip_prefix("/").unwrap());
    assert_eq!(
        std::fs::read_to_string(kept).unwrap(),
        node.manifest("first")
    );
    assert!(error.to_string().contains("displaced-1"), "{error}");
    // It has been told, and is not taken for a manifest that is left out.
    assert_eq!(left_out(&node.root).unwrap(), [""; 0]);
    assert_eq!(recover(&node.root).unwrap(), []);
    assert_eq!(node.text(MANIFESTS), Some(node.manifest("theirs")));
}

#[test]
fn what_a_dead_run_left_out_is_put_back() {
    let node = Node::new();
    assert_eq!(recover(&node.root).unwrap(), []);
    let places = Places::of("kube-scheduler").unwrap();
    for _ in 0..2 {
        assert!(places.take_out(&node.root).unwrap());
        assert_eq!(node.text(MANIFESTS), None);
        assert_eq!(left_out(&node.root).unwrap(), ["kube-scheduler"]);
        let back = Recovered::Restored(places.manifest.clone());
        assert_eq!(recover(&node.root).unwrap(), [back]);
        assert_eq!(node.text(MANIFESTS), Some(node.manifest("first")));
        assert_eq!(recover(&node.root).unwrap(), []);
        assert!(node.is_clean());
    }
}

#[test]
fn every_displaced_manifest_is_kept() {
    let node = Node::new();
    let places = Places::of("kube-scheduler").unwrap();
    for (number, text) in [(1, "a"), (2, "b")] {
        std::fs::write(node.path(MANIFESTS), text).unwrap();
        assert!(places.take_out(&node.root).unwrap());
        std::fs::write(node.path(MANIFESTS), "theirs").unwrap();
        let recovered = recover(&node.root).unwrap();
        let [Recovered::Displaced { kept, .. }] = &recovered[..] else {
            panic!("{recovered:?}");
        };
        assert!(
            kept.to_str()
                .unwrap()
                .ends_with(&format!(".displaced-{number}"))
        );
        let kept = node.dir.path().join(kept.strip_prefix("/").unwrap());
        assert_eq!(std::fs::read_to_string(kept).unwrap(), text);
    }
}

#[tokio::test]
async fn a_manifest_that_tells_no_process_is_left_alone() {
    for (text, told) in [
        (
            "spec: {hostNetwork: true, containers: [{image: x}]}",
            "names no command",
        ),
        (
            "spec: {hostNetwork: true, containers: []}",
            "names no command",
        ),
        (
            "spec: {hostNetwork: true, containers: [{command: [1]}]}",
            "names no command",
        ),
        (
            "spec: {containers: [{command: [a]}]}",
            "no `hostNetwork: true`",
        ),
        (
            "spec: {hostNetwork: false, containers: [{command: [a]}]}",
            "no `hostNetwork: true`",
        ),
        ("a: [", "did not find"),
    ] {
        let node = Node::new();
        std::fs::write(node.path(MANIFESTS), text).unwrap();
        let error = node.restart(&HASTY).await.unwrap_err().to_string();
        assert!(error.contains(told), "{text}: {error}");
        assert!(error.contains("afterRenew"), "{error}");
        assert_eq!(node.text(MANIFESTS).as_deref(), Some(text));
    }
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_refused() {
    let node = Node::new();
    let processes = Processes::new(Path::new("/proc"));
    for pod in ["", "..", "../x", "a/b", ".hidden", "a b", "a\n"] {
        let pending = std::future::pending();
        let error = restart(&node.root, &processes, pod, &HASTY, pending).await;
        assert!(matches!(error, Err(Error::Name(_))), "{pod:?}");
    }
}

#[test]
fn reads_what_kubeadm_writes() {
    let text = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - command:\n    - kube-scheduler\n    - --authentication-kubeconfig=/etc/kubernetes/scheduler.conf\n    image: k8s.gcr.io/kube-scheduler:v1.20.2\n  hostNetwork: true\nstatus: {}\n";
    let command = process_of(&yaml::parse(text).unwrap()).unwrap();
    assert_eq!(command[0], "kube-scheduler");
    assert_eq!(command.len(), 2);
    let with_args = yaml::parse("spec: {containers: [{command: [a], args: [b, c]}]}").unwrap();
    assert_eq!(first_command(&with_args).unwrap(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_manifest_is_exchanged_and_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let node = Node::new();
    let mode = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(node.path(MANIFESTS), mode).unwrap();
    let kubelet = Kubelet::start(&node, Habit::Works);
    let exchanged = node.exchange(&PATIENT).await.unwrap();
    assert!(matches!(exchanged, Restarted::Done { .. }), "{exchanged:?}");
    assert_eq!(kubelet.started(), 2);
    assert_eq!(node.text(MANIFESTS), Some(node.manifest("second")));
    let mode = node.path(MANIFESTS).metadata().unwrap().permissions();
    assert_eq!(mode.mode() & 0o7777, 0o640);
    assert!(node.is_clean());
}

#[tokio::test]
async fn equal_manifests_are_a_restart() {
    use std::os::unix::fs::MetadataExt;
    let node = Node::new();
    let inode = node.path(MANIFESTS).metadata().unwrap().ino();
    let kubelet = Kubelet::start(&node, Habit::Works);
    let text = node.manifest("first");
    let change = Change {
        from: text.as_bytes(),
        to: text.as_bytes(),
    };
    let processes = Processes::new(Path::new("/proc"));
    let never = std::future::pending();
    let pod = "kube-scheduler";
    let exchanged = exchange(&node.root, &processes, pod, change, &PATIENT, never).await;
    assert!(matches!(exchanged, Ok(Restarted::Done { .. })));
    assert_eq!(kubelet.started(), 2);
    assert_eq!(node.path(MANIFESTS).metadata().unwrap().ino(), inode);
}

#[tokio::test]
async fn without_a_process_nobody_is_waited_for() {
    let node = Node::new();
    assert_eq!(
        node.exchange(&PATIENT).await.unwrap(),
        Restarted::NotRunning
    );
    assert_eq!(node.text(MANIFESTS), Some(node.manifest("second")));
    assert!(node.is_clean());
    std::fs::remove_file(node.path(MANIFESTS)).unwrap();
    assert_eq!(
        node.exchange(&PATIENT).await.unwrap(),
        Restarted::NoManifest
    );
    assert!(node.is_clean());
}

#[tokio::test]
async fn the_old_one_goes_back_where_its_container_stays() {
    let node = Node::new();
    let _kubelet = Kubelet::start(&node, Habit::NeverEnds);
    let error = node.exchange(&HASTY).await.unwrap_err();
    assert!(matches!(error, Error::StillRuns { .. }), "{error}");
    assert_eq!(node.text(MANIFESTS), Some(node.manifest("first")));
    assert!(node.is_clean());
    let is_out = || node.text(MANIFESTS).is_none();
    let signal = async {
        while !is_out() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let error = node.exchange_until(&PATIENT, signal).await.unwrap_err();
    assert!(matches!(error, Error::Stopped(_)), "{error}");
    assert_eq!(node.text(MANIFESTS), Some(node.manifest("first")));
    assert!(node.is_clean());
}

#[tokio::test]
async fn the_new_one_stays_where_its_container_does_not_come() {
    let node = Node::new();
    let _kubelet = Kubelet::start(&node, Habit::NeverStarts);
    let limits = Limits {
        gone: PATIENT.gone,
        ..HASTY
    };
    let error = node.exchange(&limits).await.unwrap_err();
    assert!(
        error.to_string().contains("kube-scheduler.yaml.replaced"),
        "{error}"
    );
    assert_eq!(node.text(MANIFESTS), Some(node.manifest("second")));
    assert_eq!(node.kept(".replaced"), Some(node.manifest("first")));
    // It is for a person, and nothing that a later run would put anywhere.
    assert_eq!(left_out(&node.root).unwrap(), [""; 0]);
    assert_eq!(recover(&node.root).unwrap(), []);
    assert_eq!(node.kept(".replaced"), Some(node.manifest("first")));
}

#[tokio::test]
async fn another_s_manifest_is_never_exchanged() {
    // Before it is taken out.
    let node = Node::new();
    std::fs::write(node.path(MANIFESTS), node.manifest("theirs")).unwrap();
    let error = node.exchange(&PATIENT).await.unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error}");
    assert_eq!(node.text(MANIFESTS), Some(node.manifest("theirs")));
    assert!(node.is_clean());
    // While its container ends.
    std::fs::write(node.path(MANIFESTS), node.manifest("first")).unwrap();
    let _kubelet = Kubelet::start(&node, Habit::SomebodyWrites);
    let error = node.exchange(&PATIENT).await.unwrap_err();
    assert!(matches!(error, Error::Displaced { .. }), "{error}");
    assert_eq!(node.text(MANIFESTS), Some(node.manifest("theirs")));
    assert_eq!(node.kept(".displaced-1"), Some(node.manifest("first")));
    assert_eq!(node.kept(".new"), None);
}

#[tokio::test]
async fn what_tells_no_process_is_not_put_in() {
    let node = Node::new();
    let from = node.manifest("first");
    let link = node.dir.path().join("elsewhere");
    for (to, told) in [("a: [", "unusable"), ("spec: {}", "hostNetwork")] {
        let change = Change {
            from: from.as_bytes(),
            to: to.as_bytes(),
        };
        let processes = Processes::new(Path::new("/proc"));
        let never = std::future::pending();
        let error = exchange(
            &node.root,
            &processes,
            "kube-scheduler",
            change,
            &HASTY,
            never,
        )
        .await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
        assert_eq!(node.text(MANIFESTS).as_ref(), Some(&from));
        assert!(node.is_clean());
    }
    // Nor is one that is kept elsewhere replaced by a plain file.
    std::fs::rename(node.path(MANIFESTS), &link).unwrap();
    std::os::unix::fs::symlink("/elsewhere", node.path(MANIFESTS)).unwrap();
    let error = node.exchange(&HASTY).await.unwrap_err().to_string();
    assert!(error.contains("symbolic link"), "{error}");
    assert!(node.path(MANIFESTS).is_symlink() && node.is_clean());
}

/// What a run leaves that dies, step by step, and what the next one makes of it.
#[test]
fn an_exchange_that_died_is_finished_or_forgotten() {
    let aside = "";
    for (found, told, manifest, kept) in [
        // Nothing had begun.
        (&["manifest", ".new"][..], "", "first", None),
        // The old one was out, its container ending or ended.
        (
            &[aside, ".new"],
            "in its place",
            "second",
            Some(".replaced"),
        ),
        // Between the two last renames.
        (
            &[".replaced", ".new"],
            "in its place",
            "second",
            Some(".replaced"),
        ),
        // Finished, or told to a person.
        (&["manifest", ".replaced"], "", "first", Some(".replaced")),
        // Somebody has put another one in, at either point.
        (
            &["manifest", aside, ".new"],
            "stays",
            "first",
            Some(".displaced-1"),
        ),
        (
            &["manifest", ".replaced", ".new"],
            "stays",
            "first",
            Some(".displaced-1"),
        ),
        // Somebody has taken it away behind us: that is their wish.
        (&[".replaced"], "", "", Some(".replaced")),
    ] {
        let node = Node::new();
        std::fs::remove_file(node.path(MANIFESTS)).unwrap();
        std::fs::create_dir(node.path(FOLDER).parent().unwrap()).unwrap();
        for file in found {
            let mut path = node.path(FOLDER).into_os_string();
            path.push(file);
            match *file {
                "manifest" => std::fs::write(node.path(MANIFESTS), "first").unwrap(),
                ".new" => std::fs::write(path, "second").unwrap(),
                _ => std::fs::write(path, "old").unwrap(),
            }
        }
        let missing = !found.contains(&"manifest") && found.contains(&".new");
        let is_left_out = missing || found.contains(&aside);
        assert_eq!(
            left_out(&node.root).unwrap().len(),
            usize::from(is_left_out),
            "{found:?}"
        );
        let recovered = recover(&node.root).unwrap();
        let words: Vec<String> = recovered.iter().map(ToString::to_string).collect();
        assert_eq!(
            words.len(),
            usize::from(!told.is_empty()),
            "{found:?}: {words:?}"
        );
        assert!(words.concat().contains(told), "{found:?}: {words:?}");
        assert_eq!(
            node.text(MANIFESTS).unwrap_or_default(),
            manifest,
            "{found:?}"
        );
        assert_eq!(recover(&node.root).unwrap(), [], "{found:?}");
        match kept {
            Some(kept) => assert_eq!(node.kept(kept).as_deref(), Some("old"), "{found:?}"),
            None => assert!(node.is_clean(), "{found:?}"),
        }
        assert_eq!(node.kept(".new"), None, "{found:?}");
    }
}
