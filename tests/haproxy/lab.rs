//! A sandbox with a HAProxy of its own.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use std::io::{Read, Write};

use stayput::book::{Event, reduce};
use stayput::config::Cluster;
use stayput::config::cluster::Master;
use stayput::config::node::Role;
use stayput::name::Name;
use stayput::root::Root;
use stayput::surface::haproxy::{Error, Haproxy as Surface, Observation};
use stayput::surface::{Applied, Outcome};
use stayput::view::View;
use stayput::writer::Writer;

use crate::masters::{self, Authority, Client};
use crate::sample;

pub(crate) const HAPROXY: &str = "/usr/sbin/haproxy";

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the test can run. Without HAProxy it fails where everything is required.
pub(crate) fn haproxy_is_here() -> bool {
    if Path::new(HAPROXY).exists() {
        return true;
    }
    let required = |key: &str| std::env::var_os(key).is_some_and(|value| !value.is_empty());
    assert!(
        !required("CI") && !required("STAYPUT_REQUIRE_ALL"),
        "{HAPROXY} is missing: apt-get install haproxy"
    );
    eprintln!("SKIPPED: {HAPROXY} is missing: apt-get install haproxy");
    false
}

/// A sandbox: a root folder, a surface, a view that tests change, and a HAProxy when started.
pub(crate) struct Lab {
    pub(crate) view: View,
    pub(crate) surface: Surface,
    pub(crate) writer: Writer,
    pub(crate) authority: Authority,
    pub(crate) client: Client,
    dir: tempfile::TempDir,
    haproxy: Option<Child>,
    network: u8,
}

impl Lab {
    /// Three masters at [`Lab::address`] 1, 2 and 3; the node is a worker that has joined.
    pub(crate) fn new() -> Self {
        let authority = Authority::new("kubernetes");
        let lab = Self::before_join(authority);
        lab.write("etc/kubernetes/pki/ca.crt", lab.authority.pem().as_bytes());
        lab
    }

    /// The same without the cluster's authority on the node.
    pub(crate) fn before_join(authority: Authority) -> Self {
        static NETWORKS: AtomicU8 = AtomicU8::new(1);
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let writer = Writer::start().unwrap();
        let surface = Surface::new(root, writer.clone());
        let [api, endpoint, stats] = free_ports();
        let mut lab = Self {
            view: view(dir.path(), api, endpoint, stats),
            surface,
            writer,
            client: authority.client(),
            authority,
            dir,
            haproxy: None,
            network: NETWORKS.fetch_add(1, Ordering::SeqCst),
        };
        for (label, host) in [("master-1", 1), ("master-2", 2), ("master-3", 3)] {
            lab.tell(label, lab.address(host));
        }
        lab
    }

    /// An address that this test alone uses.
    pub(crate) fn address(&self, host: u8) -> IpAddr {
        let process = 64 + (std::process::id() % 128) as u8;
        Ipv4Addr::new(127, process, self.network, host).into()
    }

    /// A master's server at one of the test's addresses, by this cluster's authority.
    pub(crate) async fn master(&self, label: &str, host: u8) -> masters::Master {
        self.stranger(&self.authority, label, self.address(host))
            .await
    }

    /// A server of any authority under any name.
    pub(crate) async fn stranger(
        &self,
        authority: &Authority,
        label: &str,
        at: IpAddr,
    ) -> masters::Master {
        let port = self.view.cluster.kubernetes.api_port;
        masters::Master::start(authority, label, (at, port)).await
    }

    /// An event: a master has moved.
    pub(crate) fn tell(&mut self, label: &str, address: IpAddr) {
        let event = Event::Told {
            name: master_name(label),
            addresses: vec![address],
        };
        self.view.book = Arc::new(reduce(&self.view.book, &event, 1).unwrap());
    }

    /// Changes what the cluster file says.
    pub(crate) fn cluster(&mut self) -> &mut Cluster {
        Arc::make_mut(&mut self.view.cluster)
    }

    /// Makes the node a master.
    pub(crate) fn be_master(&mut self, label: &str) {
        Arc::make_mut(&mut self.view.node).role = Role::Master(master_name(label));
    }

    pub(crate) async fn apply(&mut self) -> Result<Applied, Error> {
        self.surface.apply(&self.view).await
    }

    pub(crate) async fn observe(&self) -> Observation {
        self.surface.observe(&self.view).await.unwrap()
    }

    /// Where clients connect.
    pub(crate) fn endpoint(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.view.cluster.endpoint.port).into()
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    pub(crate) fn write(&self, below: &str, bytes: &[u8]) {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// The configuration as it is on disk.
    pub(crate) fn file(&self) -> String {
        std::fs::read_to_string(self.path("var/lib/stayput/haproxy.cfg")).unwrap()
    }

    /// Applies, starts HAProxy with the file and waits until it answers.
    pub(crate) async fn start(&mut self) {
        let applied = self.apply().await.unwrap();
        assert_eq!(applied.outcome, Outcome::Absent, "{applied:?}");
        self.start_haproxy();
        self.eventually("HAProxy runs", async |lab| lab.observe().await.current)
            .await;
    }

    /// Starts HAProxy as a master with a worker, as the unit does.
    pub(crate) fn start_haproxy(&mut self) {
        let log = std::fs::File::create(self.path("haproxy.log")).unwrap();
        let child = std::process::Command::new(HAPROXY)
            .arg("-W")
            .arg("-p")
            .arg(self.path("haproxy.pid"))
            .arg("-f")
            .arg(self.path("var/lib/stayput/haproxy.cfg"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.haproxy = Some(child);
    }

    /// Ends HAProxy and its workers.
    pub(crate) fn stop_haproxy(&mut self) {
        let Some(mut child) = self.haproxy.take() else {
            return;
        };
        let pid = rustix::process::Pid::from_child(&child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = child.wait();
    }

    /// Where the Runtime API is.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("run/stayput/haproxy.sock")
    }

    /// Asks HAProxy without the code under test.
    pub(crate) fn ask(&self, command: &str) -> String {
        ask(&self.socket(), command)
    }

    /// Stops HAProxy's master and worker in their tracks, until this is dropped.
    pub(crate) fn freeze(&self) -> Frozen {
        let pid = |text: &str| rustix::process::Pid::from_raw(text.trim().parse().unwrap());
        let master = std::fs::read_to_string(self.path("haproxy.pid")).unwrap();
        let frozen = Frozen([&master, &self.pid()].map(|text| pid(text).unwrap()));
        frozen.signal(rustix::process::Signal::STOP);
        frozen
    }

    /// The worker that answers.
    pub(crate) fn pid(&self) -> String {
        let answer = self.ask("show info");
        let pid = answer.lines().find_map(|line| line.strip_prefix("Pid: "));
        pid.unwrap().to_owned()
    }

    /// A server's status by HAProxy's CSV: `UP`, `DOWN`, `MAINT`.
    pub(crate) fn status(&self, label: &str) -> String {
        let statistics = self.ask("show stat masters 4 -1");
        let line = statistics
            .lines()
            .find(|line| line.starts_with(&format!("masters,{label},")));
        line.map_or("none", |line| line.split(',').nth(17).unwrap())
            .to_owned()
    }

    /// Waits until the servers have these statuses.
    pub(crate) async fn statuses(&self, want: &[(&str, &str)]) {
        let what = format!("the servers are {want:?}");
        self.eventually(&what, async |lab| {
            want.iter()
                .all(|(label, status)| lab.status(label) == *status)
        })
        .await;
    }

    /// Polls until something holds.
    pub(crate) async fn eventually(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self).await {
            let log = std::fs::read_to_string(self.path("haproxy.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "never: {what}\n{log}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop_haproxy();
    }
}

/// Processes that stand still.
pub(crate) struct Frozen([rustix::process::Pid; 2]);

impl Frozen {
    fn signal(&self, signal: rustix::process::Signal) {
        for pid in self.0 {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.signal(rustix::process::Signal::CONT);
    }
}

/// Asks the HAProxy behind a socket.
pub(crate) fn ask(socket: &Path, command: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(format!("{command}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Awaits something that must come to pass.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(PATIENCE, future).await;
    ended.unwrap_or_else(|_| panic!("never: {what}"))
}

pub(crate) fn master_name(label: &str) -> Name {
    Name::parse(&format!("{label}.prod.k8s.internal")).unwrap()
}

/// Ports that nobody had on 127.0.0.1 a moment ago, below those that the kernel gives to clients.
fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| {
        loop {
            // Ports of the ephemeral range may be taken by any client before HAProxy binds them.
            let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0_u8);
            let port = 10_000 + (random % 20_000) as u16;
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                break listener;
            }
        }
    });
    held.map(|listener| listener.local_addr().unwrap().port())
}

fn view(root: &Path, api: u16, endpoint: u16, stats: u16) -> View {
    let masters = ["master-1", "master-2", "master-3"];
    let cluster = sample::cluster("prod.k8s.internal", masters, &[]);
    let mut view = sample::worker(cluster, []);
    let cluster = Arc::make_mut(&mut view.cluster);
    cluster.endpoint.port = endpoint;
    cluster.kubernetes.api_port = api;
    let pidfile = root.join("haproxy.pid").display().to_string();
    cluster.haproxy.reload = ["/usr/bin/pkill", "-USR2", "-F", &pidfile]
        .map(str::to_owned)
        .into();
    cluster.haproxy.stats = (Ipv4Addr::LOCALHOST, stats).into();
    view
}

pub(crate) fn master(label: &str) -> Master {
    Master {
        name: master_name(label),
        addresses: Vec::new(),
        follow: None,
        stable: None,
    }
}
