//! Nodes of a cluster: each with a root folder of its own, a clock that stands, and a transport.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use stayput::name::Name;
use stayput::peers::transport::{
    self, Answer, Contact, Failure, Handle, Incoming, Limits, Peer, Settings, To,
};
use stayput::pki::moment::{Moment, Synchronised};
use stayput::root::Root;
use stayput::writer::Writer;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::authority::{Authority, DOMAIN, Leaf, NOW, Pair};
use crate::support::PATIENCE;

const PKI: &str = "etc/kubernetes/pki";
const KUBELET: &str = "var/lib/kubelet/pki";
pub(crate) const CURRENT: &str = "var/lib/kubelet/pki/kubelet-client-current.pem";

/// The files of one node.
pub(crate) struct Machine {
    dir: tempfile::TempDir,
    pub(crate) clock: Arc<AtomicI64>,
}

impl Machine {
    /// One that knows the authority and has no certificate.
    pub(crate) fn new(authority: &Authority) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in [PKI, KUBELET] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let machine = Self {
            dir,
            clock: Arc::new(AtomicI64::new(NOW)),
        };
        machine.write(&format!("{PKI}/ca.crt"), &authority.pem());
        machine
    }

    pub(crate) fn master(authority: &Authority, leaf: &Leaf) -> Self {
        let machine = Self::new(authority);
        machine.become_master(&authority.issue(leaf));
        machine
    }

    pub(crate) fn node(authority: &Authority, leaf: &Leaf) -> Self {
        let machine = Self::new(authority);
        machine.turn_kubelet("1", &authority.issue(leaf).together());
        machine
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Replaces a file by rename, as whoever writes certificates does.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    pub(crate) fn become_master(&self, pair: &Pair) {
        self.write(&format!("{PKI}/stayput.key"), &pair.key);
        self.write(&format!("{PKI}/stayput.crt"), &pair.certificate);
    }

    /// A new certificate of the kubelet's: a file of its own, and the symlink turned to it.
    pub(crate) fn turn_kubelet(&self, version: &str, text: &str) {
        let folder = self.path().join(KUBELET);
        let name = format!("kubelet-client-{version}.pem");
        std::fs::write(folder.join(&name), text).unwrap();
        let link = folder.join("updated");
        std::os::unix::fs::symlink(folder.join(&name), &link).unwrap();
        // As in the kubelet, the path is absolute; below this root that means the same place.
        let inside = Path::new("/").join(KUBELET).join(&name);
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(inside, &link).unwrap();
        std::fs::rename(link, self.path().join(CURRENT)).unwrap();
    }

    pub(crate) async fn start(self) -> Node {
        self.start_with(&Limits::default()).await
    }

    pub(crate) async fn start_with(self, limits: &Limits) -> Node {
        self.start_at(&[Ipv4Addr::LOCALHOST.into()], limits, Vec::new())
            .await
    }

    pub(crate) async fn start_at(
        self,
        listen: &[IpAddr],
        limits: &Limits,
        known: Vec<Contact>,
    ) -> Node {
        let settings = Settings {
            root: Root::open(self.path()).unwrap(),
            writer: Writer::start().unwrap(),
            domain: Name::parse(DOMAIN).unwrap(),
            port: 0,
            listen: listen.to_vec(),
            known,
            limits: *limits,
        };
        let clock = self.clock.clone();
        let clock = Arc::new(move || Moment {
            clock: clock.load(Ordering::SeqCst),
            seen: 0,
            synchronised: Synchronised::Unknown,
            trusted: false,
        });
        let (handle, incoming) = transport::start(settings, clock).await.unwrap();
        Node {
            machine: self,
            handle,
            incoming,
        }
    }
}

/// A node that runs.
pub(crate) struct Node {
    pub(crate) machine: Machine,
    pub(crate) handle: Handle,
    pub(crate) incoming: mpsc::Receiver<Incoming>,
}

impl Node {
    pub(crate) fn at(&self) -> SocketAddr {
        let port = self.handle.listening()[0].port();
        (Ipv4Addr::LOCALHOST, port).into()
    }

    pub(crate) fn peer(&self) -> Peer {
        self.handle.own().unwrap()
    }

    pub(crate) fn send(&self, to: &Self, text: &str) {
        let to = To::Peer(to.peer(), vec![to.at()]);
        self.handle.send(to, text.into());
    }

    pub(crate) fn send_at(&self, at: SocketAddr, text: &str) {
        self.handle.send(To::Address(at), text.into());
    }

    /// The next that comes.
    pub(crate) async fn next(&mut self) -> Incoming {
        let next = timeout(PATIENCE, self.incoming.recv()).await;
        next.expect("something comes").expect("it runs")
    }

    /// The next frame: who sent it, and what it says.
    pub(crate) async fn frame(&mut self) -> (Peer, String) {
        match self.next().await {
            Incoming::Frame { peer, bytes, .. } => {
                (peer, String::from_utf8_lossy(&bytes).into_owned())
            }
            pull @ Incoming::Pull { .. } => panic!("{pull:?}"),
        }
    }

    /// The next one that pulls.
    pub(crate) async fn pull(&mut self) -> (Option<Peer>, SocketAddr, Answer) {
        match self.next().await {
            Incoming::Pull { from, at, answer } => (from, at, answer),
            frame @ Incoming::Frame { .. } => panic!("{frame:?}"),
        }
    }

    pub(crate) fn nothing_came(&mut self) {
        let came = self.incoming.try_recv();
        assert!(came.is_err(), "{came:?}");
    }

    pub(crate) fn failures(&self, failure: Failure) -> u64 {
        self.handle.counters().failures(failure)
    }

    pub(crate) async fn counts(&self, failure: Failure, number: u64) {
        let what = format!("{number} {failure:?}");
        until(&what, || self.failures(failure) >= number).await;
    }
}

/// Waits for a condition; fails when it never holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for an end; fails when there is none.
pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| panic!("never: {what}"))
}

/// A master and a node of one cluster.
pub(crate) async fn two(limits: &Limits) -> (Authority, Node, Node) {
    let authority = Authority::new();
    let master = Machine::master(&authority, &Leaf::master("master-1"));
    let node = Machine::node(&authority, &Leaf::node("worker-1"));
    let (master, node) = (
        master.start_with(limits).await,
        node.start_with(limits).await,
    );
    (authority, master, node)
}
