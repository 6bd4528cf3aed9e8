//! A node: a network namespace and folders that its processes see as `/etc`, `/run` and `/var/lib`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::namespace::Namespace;
use crate::support::{Process, STAYPUT, Said, eventually, run};

/// Enters a node's mounts and host name, then becomes the program. Each process has mounts of its
/// own, so that nothing is left of them when it ends.
///
/// `$1`: the node's folder; `$2`: host name; `$3`: a pod's folder, or empty. A pod sees an `/etc` of
/// its own, the node's `/etc/kubernetes` in it, and as `/etc/hosts` the one file that the kubelet
/// made for it.
const ENTER: &str = r#"
mount --bind "$1/var/lib" /var/lib
if [ -z "$3" ]; then
    mount --bind "$1/etc" /etc
else
    mount --bind "$3/etc" /etc
    mount --bind "$1/etc/kubernetes" /etc/kubernetes
    mount --bind "$3/etc-hosts" /etc/hosts
fi
echo "$2" > /proc/sys/kernel/hostname
mount --bind "$1/run" /run
shift 3
exec "$@"
"#;

/// Lets stayput take the time of day from [`CLOCK`], by libfaketime (Debian's package faketime), also while
/// it runs; `$LIB` is the dynamic linker's. What libfaketime leaves in `/dev/shm` goes with the mounts.
const OTHER_TIME: &str = r#"
mount -t tmpfs tmpfs /dev/shm
exec env 'LD_PRELOAD=/usr/$LIB/faketime/libfaketimeMT.so.1' FAKETIME_TIMESTAMP_FILE=/etc/faketimerc \
    FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1 "$@"
"#;

/// Where it lies, a stayput that starts on the node has its time: seconds that are added to the machine's, as
/// `-1700000000`.
const CLOCK: &str = "etc/faketimerc";

/// What the kubelet writes above a host-network pod's copy of the hosts file.
const POD_HEADER: &str = "# Kubernetes-managed hosts file (host network).\n";

/// Files of the machine that programs expect below `/etc`.
const COPIED: [&str; 3] = ["passwd", "group", "ld.so.cache"];

pub(crate) struct Node {
    pub(crate) name: String,
    // Dropped in this order: processes before the namespace.
    agent: Option<Process>,
    haproxy: Option<Process>,
    pub(crate) namespace: Namespace,
    folder: PathBuf,
}

impl Node {
    /// A node below `folder` with a cluster file.
    pub(crate) fn new(folder: &Path, name: &str, namespace: Namespace, cluster: &str) -> Self {
        let node = Self {
            name: name.to_owned(),
            agent: None,
            haproxy: None,
            namespace,
            folder: folder.join(name),
        };
        for below in [
            "run",
            "var/lib/etcd",
            "etc/kubernetes/pki/etcd",
            "etc/stayput",
        ] {
            std::fs::create_dir_all(node.folder.join(below)).unwrap();
        }
        for file in COPIED {
            // A machine without one does not need it.
            let _ = std::fs::copy(Path::new("/etc").join(file), node.path("etc").join(file));
        }
        node.write("etc/nsswitch.conf", "hosts: files dns\n");
        node.write("etc/resolv.conf", "nameserver 127.0.0.1\n");
        node.write(
            "etc/hosts",
            "127.0.0.1 localhost\n::1 localhost ip6-localhost\n",
        );
        node.write("etc/stayput/cluster.yaml", cluster);
        node
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.join(below)
    }

    pub(crate) fn write(&self, below: &str, text: &str) {
        std::fs::write(self.path(below), text).unwrap();
    }

    pub(crate) fn read(&self, below: &str) -> String {
        std::fs::read_to_string(self.path(below)).unwrap()
    }

    /// A program on this node.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.enter(program, "")
    }

    /// A program in a host-network pod of this node, whose containers start now.
    pub(crate) fn in_pod(&self, pod: &str, program: &str) -> Command {
        let folder = self.path("var/lib/kubelet/pods").join(pod);
        let etc = folder.join("etc");
        std::fs::create_dir_all(etc.join("kubernetes")).unwrap();
        for file in [
            "passwd",
            "group",
            "ld.so.cache",
            "nsswitch.conf",
            "resolv.conf",
        ] {
            let _ = std::fs::copy(self.path("etc").join(file), etc.join(file));
        }
        std::fs::write(etc.join("hosts"), "").unwrap();
        let copy = POD_HEADER.to_owned() + &self.read("etc/hosts");
        std::fs::write(folder.join("etc-hosts"), copy).unwrap();
        self.enter(program, folder.to_str().unwrap())
    }

    fn enter(&self, program: &str, pod: &str) -> Command {
        let mut command = Command::new("setpriv");
        // Ends with this test's thread even where that is killed.
        command.args(["--pdeathsig", "KILL", "--"]);
        command.args(["ip", "netns", "exec", self.namespace.name()]);
        command.args([
            "unshare", "--mount", "--uts", "--", "sh", "-ec", ENTER, "sh",
        ]);
        command.arg(&self.folder).args([&self.name, pod]);
        if program == STAYPUT && self.path(CLOCK).exists() {
            command.args(["sh", "-ec", OTHER_TIME, "sh"]);
        }
        command.arg(program);
        command
    }

    /// A command of stayput.
    pub(crate) fn stayput(&self, arguments: &[&str]) -> Said {
        run(self.command(STAYPUT).args(arguments))
    }

    /// Starts the agent and waits until it is ready.
    pub(crate) fn start_agent(&mut self) {
        let mut command = self.command(STAYPUT);
        let agent = Process::start(command.arg("run"), &self.path("agent.log"));
        self.agent.insert(agent).ready();
    }

    /// Starts HAProxy on what the agent has written.
    pub(crate) fn start_haproxy(&mut self) {
        let mut command = self.command("/usr/sbin/haproxy");
        command.args([
            "-W",
            "-p",
            "/run/haproxy.pid",
            "-f",
            "/var/lib/stayput/haproxy.cfg",
        ]);
        self.haproxy = Some(Process::start(&mut command, &self.path("haproxy.log")));
    }

    /// Ends agent and HAProxy at once, as a power failure does; `/run` is empty afterwards.
    pub(crate) fn kill(&mut self) {
        let processes = [self.agent.take(), self.haproxy.take()];
        for mut process in processes.into_iter().flatten() {
            process.kill();
        }
        std::fs::remove_dir_all(self.path("run")).unwrap();
        std::fs::create_dir(self.path("run")).unwrap();
    }

    /// Waits until the agent sees all masters up.
    pub(crate) fn sees_masters_up(&self) {
        eventually("the agent sees three servers up", || {
            let status = self.status();
            let servers = status["servers"].as_array().unwrap();
            let up = servers
                .iter()
                .filter(|server| server["status"] == "UP")
                .count();
            if up == 3 {
                Ok(())
            } else {
                Err(status.to_string())
            }
        });
    }

    pub(crate) fn status(&self) -> Value {
        let json = self.stayput(&["status", "--output", "json"]).good();
        serde_json::from_str(&json).unwrap()
    }

    /// The node's processes must all be the ones that were started.
    pub(crate) fn must_run(&mut self) {
        for process in [&mut self.agent, &mut self.haproxy].into_iter().flatten() {
            process.must_run();
        }
    }
}
