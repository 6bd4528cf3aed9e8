//! A machine: network, mount, process and host name spaces of its own, with containerd in it. Its first
//! process ends with the thread that made it, and everything on the machine with that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::cgroup;
use crate::kit::Kit;
use crate::lab::readdress;
use crate::measure::within;
use crate::support::{STAYPUT, Said, run};

/// The folders and files that the node has instead of the machine's. `$1`: the node's folder, `$2`: its
/// name, `$3`: Kubernetes' programs, `$4`: the folder of stayput's, `$5`: that of this suite.
const BOOT: &str = r#"
hostname "$2"
mount -t proc proc /proc
mount --bind "$3" /usr/local/bin
for program in stayput stayput-certs; do
    touch "$1/sbin/$program"
    mount --bind "$4/$program" "$1/sbin/$program"
done
cp "$5/crictl" "$1/sbin/crictl"
mount --rbind "$1/sbin" /usr/local/sbin
# The kubelet sets these for the whole machine where they differ: it sees files that have what it wants.
while read -r name value; do
    echo "$value" > "$1/sysctl/$(echo "$name" | tr / .)"
    mount --bind "$1/sysctl/$(echo "$name" | tr / .)" "/proc/sys/$name"
done <<SYSCTL
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
SYSCTL
for folder in etc var/lib var/log usr/libexec root; do
    mount --bind "$1/$folder" "/$folder"
done
mount -t tmpfs -o mode=755 run /run
mkdir /run/lab
cd /
exec /usr/local/bin/pause
"#;

/// As the kubelet's unit with `Restart=always`: what kubeadm has written decides how it is started, and
/// it is started again whenever it ends.
const KUBELET: &str = r"
trap 'kill $child; wait $child; exit' TERM
while :; do
    if [ -f /var/lib/kubelet/config.yaml ]; then
        KUBELET_KUBEADM_ARGS=
        KUBELET_EXTRA_ARGS=
        [ ! -f /var/lib/kubelet/kubeadm-flags.env ] || . /var/lib/kubelet/kubeadm-flags.env
        . /etc/default/kubelet
        kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \
            --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml \
            $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS &
        child=$!
        echo $child > /run/lab/kubelet.child
        wait $child
    fi
    sleep 0.2 &
    child=$!
    wait $child
done
";

/// Files of the machine that programs expect below `/etc`.
const COPIED: [&str; 12] = [
    "passwd",
    "group",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "ssl",
    "alternatives",
    "services",
    "protocols",
    "iproute2",
    "ethertypes",
    "os-release",
];

const CONTAINERD: &str = r#"version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "k8s.gcr.io/pause:3.2"
  # Without CAP_SYS_RESOURCE a lower oom_score_adj is refused, and every sandbox with it.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"#;

/// A node. It ends with this value, also when the test panics; then it tells how it was.
pub(crate) struct Node {
    pub(crate) name: String,
    namespace: String,
    folder: PathBuf,
    /// unshare(1), whose child is the node's first process.
    boot: Child,
    /// That process' ID on the machine.
    first: u32,
    /// What runs on the node beside the kubelet's pods, by name.
    running: BTreeMap<&'static str, Child>,
}

impl Node {
    pub(crate) fn start(
        kit: &Kit,
        folder: PathBuf,
        name: &str,
        namespace: &str,
        cluster: &str,
    ) -> Self {
        furnish(&folder, name, cluster);
        cgroup::make(name);
        let programs = Path::new(STAYPUT).parent().unwrap();
        let suite = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kubernetes"));
        let log = std::fs::File::create(folder.join("log/boot")).unwrap();
        let boot = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "nsenter"])
            .arg(format!("--net=/run/netns/{namespace}"))
            .args([
                "unshare",
                "--mount",
                "--uts",
                "--ipc",
                "--pid",
                "--propagation",
                "private",
            ])
            .args(["--fork", "--kill-child", "sh", "-ec", BOOT, "sh"])
            .args([&folder, Path::new(name), &kit.bin, programs, suite])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut node = Self {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            folder,
            boot,
            first: 0,
            running: BTreeMap::new(),
        };
        let minute = Duration::from_mins(1);
        (node.first, _) = within("the node has booted", minute, || node.booted());
        node.spawn("containerd", &["containerd"]);
        within("containerd answers", minute, || {
            node.ok("ctr", &["version"])
        });
        for image in &kit.images {
            let image = image.to_str().unwrap();
            // The node may have a /root of its own: what is outside of it is read from here.
            let file = std::fs::File::open(image).unwrap();
            let mut import = node.command("ctr");
            import
                .args(["-n", "k8s.io", "image", "import", "-"])
                .stdin(file);
            let output = import.output().unwrap();
            assert!(output.status.success(), "{image}: {output:?}");
        }
        node
    }

    /// The first process, once it has nothing left to do but wait.
    fn booted(&mut self) -> Result<u32, String> {
        let log = || std::fs::read_to_string(self.folder.join("log/boot")).unwrap_or_default();
        assert!(
            self.boot.try_wait().unwrap().is_none(),
            "it ended: {}",
            log()
        );
        let id = self.boot.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let child = children.unwrap_or_default();
        let child = child
            .trim()
            .parse()
            .map_err(|_| "no process yet".to_owned())?;
        let name = std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
        (name.trim() == "pause").then_some(child).ok_or_else(log)
    }

    /// A path on the node, seen from the machine. Nothing below `/run`.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.join(below.trim_start_matches('/'))
    }

    pub(crate) fn read(&self, below: &str) -> String {
        let path = self.path(below);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub(crate) fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// A program on the node.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            "-t",
            &self.first.to_string(),
            "-m",
            "-n",
            "-u",
            "-i",
            "-p",
            "--wd=/",
            "--",
        ]);
        command.args(["env", "-i", "HOME=/root", "LANG=C.UTF-8"]);
        command.arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.args([
            "KUBECONFIG=/etc/kubernetes/admin.conf",
            "ETCDCTL_API=3",
            program,
        ]);
        command
    }

    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Said {
        run(self.command(program).args(arguments))
    }

    /// What a program says that must succeed in time; what it says instead is for [`within`].
    pub(crate) fn ok(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let said = self.run(program, arguments);
        (said.code == 0).then_some(said.out).ok_or(said.err)
    }

    pub(crate) fn stayput(&self, arguments: &[&str]) -> Said {
        self.run("stayput", arguments)
    }

    pub(crate) fn kubeadm(&self, arguments: &[&str]) -> Said {
        self.run("kubeadm", arguments)
    }

    /// kubectl with admin.conf, which gives up soon.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let timeout = ["--request-timeout=5s"];
        self.ok("kubectl", &[&timeout, arguments].concat())
    }

    /// Starts something that runs beside the pods, in the node's control groups.
    pub(crate) fn spawn(&mut self, name: &'static str, words: &[&str]) {
        let log = self.folder.join("log").join(name);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let join = cgroup::join(&self.name);
        let script = format!("{join}; echo $$ > /run/lab/{name}; exec \"$@\"");
        let mut command = self.command("sh");
        command.args(["-ec", &script, "sh"]).args(words);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.running.insert(name, command.spawn().unwrap());
    }

    /// Ends what [`spawn`](Self::spawn) started.
    pub(crate) fn stop(&mut self, name: &'static str) {
        let mut child = self.running.remove(name).unwrap();
        self.run("sh", &["-c", &format!("kill $(cat /run/lab/{name})")])
            .good();
        within("it ends", Duration::from_mins(1), || {
            child.try_wait().unwrap().ok_or_else(|| name.to_owned())
        });
    }

    /// What [`spawn`](Self::spawn) started ends by itself.
    pub(crate) fn must_end(&mut self, name: &'static str) {
        let mut child = self.running.remove(name).unwrap();
        within("it ends", Duration::from_mins(1), || {
            child.try_wait().unwrap().ok_or_else(|| name.to_owned())
        });
    }

    /// Starts the agent and waits until it is ready.
    pub(crate) fn start_agent(&mut self) {
        self.spawn("agent", &["stayput", "run"]);
        within("the agent is ready", Duration::from_mins(1), || {
            let log = std::fs::read_to_string(self.folder.join("log/agent")).unwrap();
            let ready = log.lines().any(|line| line.ends_with("ready"));
            ready.then_some(()).ok_or(log)
        });
    }

    /// Starts HAProxy on what the agent has written.
    pub(crate) fn start_haproxy(&mut self) {
        let words = "haproxy -W -p /run/haproxy.pid -f /var/lib/stayput/haproxy.cfg";
        self.spawn("haproxy", &words.split(' ').collect::<Vec<_>>());
    }

    /// Starts the kubelet, as soon as kubeadm has written its configuration.
    pub(crate) fn start_kubelet(&mut self) {
        self.spawn("kubelet", &["sh", "-c", KUBELET]);
    }

    /// What runs on the node beside the pods must not have ended.
    pub(crate) fn must_run(&mut self) {
        for (name, child) in &mut self.running {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{name} on {}: {ended:?}", self.name);
        }
    }

    /// The node's IDs of the processes of a static pod's program.
    pub(crate) fn pids(&self, program: &str) -> Vec<u32> {
        let said = self.run("pgrep", &["-f", &format!("^{program} ")]);
        let pids = said.out.lines().map(|line| line.trim().parse().unwrap());
        pids.collect()
    }

    /// Gives the node another address.
    pub(crate) fn readdress(&self, address: &str) {
        readdress(&self.namespace, address);
    }

    /// Tells how everything was.
    fn tell(&self) {
        for name in ["boot", "containerd", "haproxy", "agent", "kubelet"] {
            let log = std::fs::read(self.folder.join("log").join(name)).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(25)..];
            eprintln!(
                "== {name} on {}, last lines\n{}",
                self.name,
                last.join("\n")
            );
        }
        let script = "ip -4 -o addr; cat /etc/hosts; stayput status; for log in /var/log/pods/*/*/*.log; do echo == $log; tail -n 12 $log; done";
        let said = self.run("sh", &["-c", script]);
        eprintln!("== {}\n{}{}", self.name, said.out, said.err);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        // The kernel ends all processes of the node with its first one, containers too.
        let _ = self.boot.kill();
        let _ = self.boot.wait();
        for child in self.running.values_mut() {
            let _ = child.wait();
        }
    }
}

/// The node's own files.
fn furnish(folder: &Path, name: &str, cluster: &str) {
    for below in [
        "etc/containerd",
        "etc/cni/net.d",
        "etc/default",
        "etc/kubernetes",
        "etc/stayput",
        "var/lib/kubelet",
        "var/lib/containerd",
        "var/lib/stayput",
        "var/log",
        "usr/libexec/kubernetes",
        "root",
        "sbin",
        "sysctl",
        "log",
    ] {
        std::fs::create_dir_all(folder.join(below)).unwrap();
    }
    for file in COPIED {
        let from = Path::new("/etc").join(file);
        if from.exists() {
            run(Command::new("cp")
                .arg("-aL")
                .arg(from)
                .arg(folder.join("etc")))
            .good();
        }
    }
    let id = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
    let hosts = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n";
    for (file, text) in [
        ("hostname", format!("{name}\n")),
        ("machine-id", id.replace('-', "")),
        ("hosts", hosts.to_owned()),
        ("nsswitch.conf", "hosts: files dns\n".to_owned()),
        ("resolv.conf", "nameserver 127.0.0.1\n".to_owned()),
        (
            "default/kubelet",
            format!("KUBELET_EXTRA_ARGS=--cgroup-root={}\n", cgroup::root(name)),
        ),
        ("containerd/config.toml", CONTAINERD.to_owned()),
        ("stayput/cluster.yaml", cluster.to_owned()),
    ] {
        std::fs::write(folder.join("etc").join(file), text).unwrap();
    }
}
