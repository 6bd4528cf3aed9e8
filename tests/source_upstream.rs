//! Followed names, asked of a real dnsmasq on loopback.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends at the first surprise"
)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use stayput::address::Loopback;
use stayput::config::Cluster;
use stayput::root::Root;
use stayput::source::upstream::{Error, Look, Observation, Resolver, Upstream};
use stayput::writer::Writer;
use tokio::time::timeout;

mod sample;

const DEADLINE: Duration = Duration::from_mins(1);
const DNSMASQ: &str = "/usr/sbin/dnsmasq";

/// Whether a test can run here; else it says so, and fails where everything must run.
fn can_run(needed: &str, there: bool) -> bool {
    let required = std::env::var_os("CI").is_some()
        || std::env::var_os("STAYPUT_REQUIRE_ALL").is_some_and(|v| v == "1");
    assert!(there || !required, "{needed} is needed to run all tests");
    if !there {
        eprintln!("SKIPPED: {needed} is missing");
    }
    there
}

fn has_dnsmasq() -> bool {
    can_run(
        "dnsmasq (Debian package dnsmasq-base)",
        std::path::Path::new(DNSMASQ).exists(),
    )
}

/// A dnsmasq that knows a few lines of configuration and nothing else.
struct Server {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(address: SocketAddr, records: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dnsmasq.conf");
        let fixed = format!(
            "port={}\nlisten-address={}\nbind-interfaces\nno-resolv\nno-hosts\nno-poll\nno-daemon\n\
             user=\ngroup=\npid-file=\nlocal-ttl=1\nlocal=/test/\n",
            address.port(),
            address.ip()
        );
        std::fs::write(&file, fixed + records).unwrap();
        let child = Command::new(DNSMASQ)
            .arg(format!("--conf-file={}", file.display()))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self {
            child,
            address,
            _folder: folder,
        };
        let end = Instant::now() + DEADLINE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < end, "dnsmasq does not listen at {address}");
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "dnsmasq ended: {ended:?}");
            std::thread::yield_now();
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// An address on loopback that no other test of this run uses.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [low, high, ..] = std::process::id().to_le_bytes();
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let ip = Ipv4Addr::new(127, 100 + high % 100, low, next);
    let listener = TcpListener::bind((ip, 0)).unwrap();
    listener.local_addr().unwrap()
}

fn cluster(follow: &str, upstream: &[SocketAddr]) -> Cluster {
    let upstream: Vec<String> = upstream.iter().map(|s| format!("\"{s}\"")).collect();
    let text = format!(
        "domain: prod.k8s.internal
endpoint: {{name: api}}
masters: [{{name: master-3, follow: {follow}}}]
aliases: {{k8s.example.test: api}}
dns: {{upstream: [{}]}}
",
        upstream.join(", ")
    );
    Cluster::clone(&sample::parse(&text))
}

struct Node {
    folder: tempfile::TempDir,
    cluster: Cluster,
    resolver: Resolver,
}

impl Node {
    fn new(cluster: Cluster) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        let root = Root::open(folder.path()).unwrap();
        let writer = Writer::start().unwrap();
        let resolver = Resolver::new(writer, root, &cluster, Loopback::Refused);
        Self {
            folder,
            cluster,
            resolver,
        }
    }

    async fn look(&mut self, name: &str) -> Look {
        self.resolver.look(&name.parse().unwrap(), &[]).await
    }
}

fn shown(look: &Look) -> String {
    match &look.result {
        Ok(addresses) => addresses
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" "),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn answers_of_all_kinds() {
    if !has_dnsmasq() {
        return;
    }
    let server = Server::start(
        free_address(),
        "host-record=ip-1.cloud.test,10.77.0.13,fd77::13,60
         host-record=ip-4.cloud.test,10.77.0.14,40
         cname=vm.cloud.test,ip-1.cloud.test,20
         cname=m3.example.test,vm.cloud.test,300
         host-record=mixed.test,127.0.0.1
         host-record=mixed.test,10.77.0.15
         host-record=sink.test,0.0.0.0
         host-record=local.test,fe80::1
         host-record=loopback.test,127.0.0.1,::1
         txt-record=text.test,no address
         host-record=master-1.prod.k8s.internal,10.9.9.9
         host-record=k8s.example.test,10.9.9.9
         cname=into-us.test,master-1.prod.k8s.internal
         cname=deeper.test,into-us.test
         cname=alias.test,k8s.example.test\n",
    );
    let mut node = Node::new(cluster("m3.example.test", &[server.address]));
    for (name, want) in [
        ("m3.example.test", "10.77.0.13 fd77::13"),
        ("ip-4.cloud.test", "10.77.0.14"),
        ("mixed.test", "10.77.0.15"),
        (
            "sink.test",
            "no address of sink.test is usable: 0.0.0.0 is the unspecified address",
        ),
        ("local.test", "fe80::1 is a link-local address"),
        ("loopback.test", "127.0.0.1 is a loopback address"),
        ("text.test", "text.test has neither an A nor an AAAA record"),
        ("nothing.test", "nothing.test does not exist (NXDOMAIN)"),
        ("unknown.example", "cannot resolve unknown.example at 127."),
        (
            "into-us.test",
            "into-us.test leads to master-1.prod.k8s.internal, which is the cluster's own",
        ),
        (
            "deeper.test",
            "deeper.test leads to master-1.prod.k8s.internal",
        ),
        ("alias.test", "alias.test leads to k8s.example.test"),
        (
            "k8s.example.test",
            "k8s.example.test leads to k8s.example.test",
        ),
        ("master-1.prod.k8s.internal", "the cluster's own name"),
        ("localhost", "127.0.0.1 is a loopback address"),
    ] {
        let look = node.look(name).await;
        assert!(shown(&look).contains(want), "{name}: {look:?}");
        assert_eq!(
            look.result.is_ok(),
            !want.contains(' ') || want.contains("fd77"),
            "{look:?}"
        );
    }
    let look = node.look("m3.example.test").await;
    assert_eq!(look.ttl, Some(20), "the shortest on the way");
    let look = node.look("mixed.test").await;
    assert!(
        look.notices[0].contains("127.0.0.1 is a loopback address"),
        "{look:?}"
    );
}

#[tokio::test]
async fn an_answer_too_large_for_a_datagram() {
    if !has_dnsmasq() {
        return;
    }
    let records: Vec<String> = (1..=200)
        .map(|n| format!("host-record=many.test,10.77.1.{n}\n"))
        .collect();
    let server = Server::start(free_address(), &records.concat());
    let mut node = Node::new(cluster("many.test", &[server.address]));
    let look = node.look("many.test").await;
    let addresses = look.result.unwrap();
    assert_eq!(addresses.len(), 200);
    assert!(
        addresses.is_sorted(),
        "so that the server's round robin is no event"
    );
}

#[tokio::test]
async fn a_server_that_refuses_or_is_silent_is_passed_over() {
    if !has_dnsmasq() {
        return;
    }
    // REFUSED: it has nobody to ask.
    let refusing = Server::start(free_address(), "");
    let knowing = Server::start(free_address(), "host-record=m3.example,10.77.0.13\n");
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let closed = free_address();
    for first in [refusing.address, closed, silent.local_addr().unwrap()] {
        let mut node = Node::new(cluster("m3.example", &[first, knowing.address]));
        assert_eq!(shown(&node.look("m3.example").await), "10.77.0.13");
    }
}

#[tokio::test]
async fn the_own_responder_is_never_asked() {
    let own = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    own.set_nonblocking(true).unwrap();
    let address = own.local_addr().unwrap();
    let mut cluster = cluster("m3.example.test", &[address]);
    cluster.dns.listen = vec![address];
    let mut node = Node::new(cluster);
    let look = node.look("m3.example.test").await;
    assert!(
        shown(&look).contains("dns.upstream has none besides this node's own"),
        "{look:?}"
    );
    assert!(own.recv(&mut [0; 512]).is_err(), "it was asked");
}

#[tokio::test]
async fn resolv_conf_is_read_below_the_root_at_each_look() {
    let root = rustix::process::geteuid().is_root();
    if !has_dnsmasq() || !can_run("root (to bind port 53 on loopback)", root) {
        return;
    }
    let at_53 = || SocketAddr::new(free_address().ip(), 53);
    let first = Server::start(at_53(), "host-record=m3.example.test,10.77.0.13\n");
    let second = Server::start(at_53(), "host-record=m3.example.test,10.77.0.14\n");
    let mut node = Node::new(cluster("m3.example.test", &[]));
    let file = node.folder.path().join("etc/resolv.conf");
    let look = node.look("m3.example.test").await;
    assert!(
        shown(&look).contains("/etc/resolv.conf has none"),
        "{look:?}"
    );
    for (server, want) in [(&first, "10.77.0.13"), (&second, "10.77.0.14")] {
        // A search list is not applied.
        let text = format!("search wrong.test\nnameserver {}\n", server.address.ip());
        std::fs::write(&file, text).unwrap();
        assert_eq!(shown(&node.look("m3.example.test").await), want);
    }
    std::fs::write(&file, vec![b'#'; 2 << 20]).unwrap();
    let look = node.look("m3.example.test").await;
    assert!(matches!(look.result, Err(Error::ResolvConf(_))), "{look:?}");
}

async fn next(upstream: &mut Upstream) -> Observation {
    timeout(DEADLINE, upstream.next())
        .await
        .expect("an observation")
}

/// A master moves at its provider; then the server dies; then it is back.
#[tokio::test]
async fn follows_changes_and_outlives_failures() {
    if !has_dnsmasq() {
        return;
    }
    let address = free_address();
    let server = Server::start(address, "host-record=m3.example.test,10.77.0.13,fd77::13\n");
    let node = Node::new(cluster("m3.example.test", &[address]));
    let mut upstream = Upstream::start(&node.resolver, &node.cluster, |_| Vec::new());
    let ips =
        |texts: &[&str]| -> Vec<IpAddr> { texts.iter().map(|t| t.parse().unwrap()).collect() };

    let observation = next(&mut upstream).await;
    assert_eq!(observation.master.as_str(), "master-3.prod.k8s.internal");
    assert_eq!(
        observation.look.result.unwrap(),
        ips(&["10.77.0.13", "fd77::13"])
    );
    assert_eq!(
        observation.next_in,
        Duration::from_secs(5),
        "one second, bounded below"
    );

    drop(server);
    let server = Server::start(address, "host-record=m3.example.test,10.77.0.99\n");
    let observation = next(&mut upstream).await;
    assert_eq!(observation.look.result.unwrap(), ips(&["10.77.0.99"]));

    drop(server);
    let first = next(&mut upstream).await;
    assert!(
        matches!(first.look.result, Err(Error::Lookup { .. })),
        "{first:?}"
    );
    let second = next(&mut upstream).await;
    assert!(
        second.look.result.is_err() && second.next_in > first.next_in,
        "{second:?}"
    );

    let _server = Server::start(address, "host-record=m3.example.test,10.77.0.13\n");
    let observation = next(&mut upstream).await;
    assert_eq!(observation.look.result.unwrap(), ips(&["10.77.0.13"]));
}

#[tokio::test]
async fn stops_when_dropped() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let node = Node::new(cluster("m3.example.test", &[silent.local_addr().unwrap()]));
    let mut upstream = Upstream::start(&node.resolver, &node.cluster, |_| Vec::new());
    assert!(
        timeout(Duration::from_millis(10), upstream.next())
            .await
            .is_err()
    );
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    assert!(tasks() > 0);
    drop(upstream);
    let gone = async {
        while tasks() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, gone).await.expect("the tasks end");
}
