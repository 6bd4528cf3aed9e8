//! Running servers are asked what they serve: openssl's and etcd's.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection};
use stayput::config::node::{Node, Role, Selection};
use stayput::name::Name;
use stayput::pki::certificate::Certificate;
use stayput::pki::live::{Error, Row, Server, State, ask, compare, look, on_disk, servers};
use stayput::root::Root;

use crate::made::{Pair, authority, leaf, year};
use crate::support::{Process, eventually, here};

const NAME: &str = "master-1.k8s.internal";
/// Enough for any answer on loopback.
const LONG: Duration = Duration::from_secs(30);

struct Lab {
    dir: tempfile::TempDir,
    authority: Pair,
}

impl Lab {
    fn new() -> Self {
        let lab = Self {
            dir: tempfile::tempdir().unwrap(),
            authority: authority("etcd-ca", year()),
        };
        lab.authority.write(&lab.path("pki"), "ca");
        lab
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }

    fn root(&self) -> Root {
        Root::open(self.dir.path()).unwrap()
    }

    /// A pair in `pki/STEM`.
    fn pair(&self, stem: &str) -> Pair {
        let pair = leaf(&self.authority, NAME, &[NAME, "localhost"], &["127.0.0.1"]);
        pair.write(&self.path("pki"), stem);
        pair
    }

    /// openssl's server with `pki/STEM`, at a port that the kernel chooses.
    fn openssl(&self, stem: &str, arguments: &[&str]) -> (Process, SocketAddr) {
        let file = |suffix: &str| self.path(&format!("pki/{stem}.{suffix}"));
        let mut command = Command::new("openssl");
        command
            .args(["s_server", "-accept", "127.0.0.1:0", "-CAfile"])
            .arg(self.path("pki/ca.crt"))
            .arg("-cert")
            .arg(file("crt"))
            .arg("-key")
            .arg(file("key"))
            .arg("-www")
            .args(arguments);
        let mut process = Process::start(&mut command, &self.path("openssl.log"));
        let address = accepts(&mut process);
        (process, address)
    }
}

/// Where openssl's server says that it listens.
pub(crate) fn accepts(process: &mut Process) -> SocketAddr {
    eventually("openssl listens", || {
        process.must_run();
        let log = process.log();
        let line = log.lines().find_map(|line| line.strip_prefix("ACCEPT "));
        line.and_then(|address| address.trim().parse().ok())
            .ok_or(log)
    })
}

fn server(addresses: &[SocketAddr], files: &[&str]) -> Server {
    Server {
        name: "etcd".into(),
        addresses: addresses.to_vec(),
        server_name: NAME.into(),
        files: files
            .iter()
            .map(|file| Path::new("/pki").join(file))
            .collect(),
    }
}

/// A port at which nobody listens, and that nobody else gets while this lives.
struct Closed(OwnedFd);

impl Closed {
    fn new() -> Self {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        bind(&socket, &any).unwrap();
        Self(socket)
    }

    fn address(&self) -> SocketAddr {
        getsockname(&self.0).unwrap().try_into().unwrap()
    }
}

fn serials(chain: &[Certificate]) -> Vec<&str> {
    chain.iter().map(|one| one.serial.as_str()).collect()
}

/// What is found out about one server.
fn seen(lab: &Lab, addresses: &[SocketAddr], files: &[&str]) -> Row {
    let mut rows = look(&lab.root(), &[server(addresses, files)], LONG);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

#[test]
fn every_version_with_and_without_a_demand_for_a_client_certificate() {
    if !here(false, &["openssl"]) {
        return;
    }
    let lab = Lab::new();
    let pair = lab.pair("server");
    let demand = ["-Verify", "1", "-verify_return_error"];
    for version in ["-tls1_2", "-tls1_3"] {
        for demand in [&[][..], &demand] {
            let arguments = [&[version], demand].concat();
            let (_process, address) = lab.openssl("server", &arguments);
            // Twice: a refused client must not have ended the server, nor be remembered.
            for _ in 0..2 {
                let chain = ask(address, NAME, LONG).unwrap();
                assert_eq!(chain.first(), Some(&pair.parsed()), "{arguments:?}");
            }
            let row = seen(&lab, &[address], &["server.crt"]);
            assert_eq!(row.state, State::Agrees, "{row:?}");
            assert_eq!(row.serial_served, Some(pair.parsed().serial));
        }
    }
}

#[test]
fn the_whole_chain_is_told() {
    if !here(false, &["openssl"]) {
        return;
    }
    let lab = Lab::new();
    let pair = lab.pair("server");
    let file = lab.path("pki/ca.crt");
    let (_process, address) = lab.openssl("server", &["-cert_chain", file.to_str().unwrap()]);
    let chain = ask(address, "127.0.0.1", LONG).unwrap();
    let (leaf, authority) = (pair.parsed(), lab.authority.parsed());
    assert_eq!(serials(&chain), [leaf.serial, authority.serial]);
}

#[test]
fn a_server_that_has_not_read_the_new_file() {
    if !here(false, &["openssl"]) {
        return;
    }
    let lab = Lab::new();
    let old = lab.pair("server").parsed();
    let (_process, address) = lab.openssl("server", &[]);
    let new = lab.pair("server").parsed();
    let row = seen(&lab, &[address], &["server.crt"]);
    assert_eq!(row.state, State::Differs, "{row:?}");
    assert!(!row.agrees);
    assert!(
        row.detail.contains(&old.serial) && row.detail.contains(&new.serial),
        "{row:?}"
    );
    assert!(row.detail.contains("restart etcd"), "{row:?}");
    let json = serde_json::to_value(&row).unwrap();
    assert_eq!(json["serialServed"], old.serial);
    assert_eq!(json["serialOnDisk"], new.serial);
    assert_eq!(json["file"], "/pki/server.crt");
    assert_eq!(json["address"], address.to_string());
    assert_eq!(json["state"], "differs");
    assert_eq!(json["agrees"], false);
}

#[test]
fn of_several_files_the_one_that_is_served_counts() {
    if !here(false, &["openssl"]) {
        return;
    }
    let lab = Lab::new();
    lab.pair("left-over");
    lab.pair("server");
    let (_process, address) = lab.openssl("server", &[]);
    let files = ["missing.pem", "left-over.crt", "server.crt"];
    let closed = Closed::new();
    let row = seen(&lab, &[closed.address(), address], &files);
    assert_eq!(row.state, State::Agrees, "{row:?}");
    assert_eq!(row.file, Path::new("/pki/server.crt"));
    assert_eq!(row.address, address);

    let row = seen(&lab, &[address], &["missing.pem"]);
    assert_eq!(row.state, State::NoFile, "{row:?}");
    assert!(row.serial_served.is_some() && row.serial_on_disk.is_none());
    std::fs::write(lab.path("pki/broken.crt"), "-----BEGIN nothing").unwrap();
    let row = seen(&lab, &[address], &["broken.crt"]);
    assert_eq!(row.state, State::NoFile, "{row:?}");
    assert!(
        row.detail.contains("/pki/broken.crt cannot be compared"),
        "{row:?}"
    );
}

/// A loopback address that no other process of this machine's tests takes.
fn own_loopback() -> Ipv4Addr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 128 | high, middle, low)
}

#[test]
fn etcd_is_asked_at_both_of_its_ports() {
    if !here(false, &["etcd"]) {
        return;
    }
    let lab = Lab::new();
    let [server_pair, peer_pair] = ["server", "peer"].map(|stem| lab.pair(stem));
    let [clients, peers] = [2379, 2380].map(|port| SocketAddr::from((own_loopback(), port)));
    let (url, peer_url) = (format!("https://{clients}"), format!("https://{peers}"));
    let file = |name: &str| lab.path(name).to_str().unwrap().to_owned();
    let mut command = Command::new("etcd");
    command
        .args(["--name", "one", "--data-dir", &file("data")])
        .args(["--listen-client-urls", &url])
        .args(["--advertise-client-urls", &url])
        .args(["--listen-peer-urls", &peer_url])
        .args(["--initial-advertise-peer-urls", &peer_url])
        .args(["--initial-cluster", &format!("one={peer_url}")]);
    for (prefix, stem) in [("", "server"), ("peer-", "peer")] {
        command
            .arg(format!("--{prefix}client-cert-auth"))
            .args([
                &format!("--{prefix}cert-file"),
                &file(&format!("pki/{stem}.crt")),
            ])
            .args([
                &format!("--{prefix}key-file"),
                &file(&format!("pki/{stem}.key")),
            ])
            .args([&format!("--{prefix}trusted-ca-file"), &file("pki/ca.crt")]);
    }
    let mut etcd = Process::start(&mut command, &lab.path("etcd.log"));
    let asked = [
        server(&[clients], &["server.crt"]),
        server(&[peers], &["peer.crt"]),
    ];
    let rows = |state: State| {
        let rows = look(&lab.root(), &asked, LONG);
        let all = rows.iter().all(|row| row.state == state);
        all.then_some(()).ok_or(format!("{rows:?}"))
    };
    eventually("etcd serves both", || {
        etcd.must_run();
        rows(State::Agrees)
    });
    let chain = ask(clients, NAME, LONG).unwrap();
    assert_eq!(serials(&chain), [server_pair.parsed().serial]);
    let chain = ask(peers, NAME, LONG).unwrap();
    assert_eq!(serials(&chain), [peer_pair.parsed().serial]);
    // It reads the files at every handshake, so a renewal is seen at once.
    for stem in ["server", "peer"] {
        lab.pair(stem);
    }
    rows(State::Agrees).unwrap();
    drop(etcd);
    rows(State::NotRunning).unwrap();
}

#[test]
fn a_server_that_is_not_there() {
    let lab = Lab::new();
    lab.pair("server");
    let closed = [Closed::new(), Closed::new()];
    let addresses = closed.each_ref().map(Closed::address);
    let row = seen(&lab, &addresses, &["server.crt"]);
    assert_eq!(row.state, State::NotRunning, "{row:?}");
    assert!(
        row.detail
            .starts_with("not running: nothing listens on 127.0.0.1:"),
        "{row:?}"
    );
    assert!(row.serial_on_disk.is_some() && row.serial_served.is_none());
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let limit = Duration::from_millis(100);
    let error = ask(address, NAME, limit).unwrap_err();
    assert!(matches!(error, Error::Silent { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        format!("{address} did not answer within 100ms")
    );
}

#[test]
fn a_server_that_dribbles_is_given_up_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let dribble = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // The head of a record of 16 KiB, then its bytes one by one. Every single one comes in time, and
        // the whole would be another error.
        let mut next = vec![0x16, 0x03, 0x03, 0x40, 0x00, 0x02, 0x00, 0x3f, 0xfc].into_iter();
        while stream.write_all(&[next.next().unwrap_or(0)]).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let error = ask(address, NAME, Duration::from_millis(200)).unwrap_err();
    assert!(matches!(error, Error::Silent { .. }), "{error}");
    dribble.join().unwrap();
}

#[test]
fn a_server_that_speaks_no_tls() {
    for (says, want) in [
        (&b"HTTP/1.0 400 Bad Request\r\n\r\n"[..], "but not in TLS"),
        (&b"SSH-2.0-OpenSSH_9.2\r\n"[..], "but not in TLS"),
        (&b""[..], "it closed the connection"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let speaker = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // All of the question is read, or the kernel would answer it with a reset.
            let mut head = [0; 5];
            std::io::Read::read_exact(&mut stream, &mut head).unwrap();
            let mut rest = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
            std::io::Read::read_exact(&mut stream, &mut rest).unwrap();
            stream.write_all(says).unwrap();
        });
        let error = ask(address, NAME, LONG).unwrap_err().to_string();
        assert!(error.contains(want), "{says:?}: {error}");
        speaker.join().unwrap();
    }
}

#[test]
fn a_tls_server_without_a_common_version() {
    if !here(false, &["openssl"]) {
        return;
    }
    let lab = Lab::new();
    lab.pair("server");
    let old = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
    let (_process, address) = lab.openssl("server", &old);
    let error = ask(address, NAME, LONG).unwrap_err();
    assert!(matches!(error, Error::Handshake { .. }), "{error}");
}

#[test]
fn a_server_that_chooses_by_name() {
    if !here(false, &["openssl"]) {
        return;
    }
    let lab = Lab::new();
    let [default, named] = ["default", "named"].map(|stem| lab.pair(stem).parsed());
    let file = |name: &str| lab.path(&format!("pki/{name}")).display().to_string();
    let (cert, key) = (file("named.crt"), file("named.key"));
    let arguments = ["-servername", NAME, "-cert2", &cert, "-key2", &key];
    let (_process, address) = lab.openssl("default", &arguments);
    for (asked, want) in [
        (NAME, named),
        ("else.k8s.internal", default.clone()),
        ("127.0.0.1", default),
    ] {
        let chain = ask(address, asked, LONG).unwrap();
        assert_eq!(chain[0].serial, want.serial, "{asked}");
    }
}

/// Serves a certificate whose key it does not have.
#[derive(Debug)]
struct Impostor(Arc<CertifiedKey>);

impl ResolvesServerCert for Impostor {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

#[test]
fn a_certificate_alone_proves_nothing() {
    let lab = Lab::new();
    let (theirs, own) = (lab.pair("server").parsed(), lab.pair("own"));
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
    let pair = Arc::new(CertifiedKey::new(vec![theirs.der.clone().into()], key));
    for version in [&TLS12, &TLS13] {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Impostor(pair.clone())));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
            // The other side breaks it off.
            tls.complete_io(&mut stream).unwrap_err();
        });
        let error = ask(address, NAME, LONG).unwrap_err();
        assert!(matches!(error, Error::Handshake { .. }), "{error}");
        assert!(error.to_string().contains("ignature"), "{error}");
        serve.join().unwrap();
    }
}

#[test]
fn a_name_that_nobody_has() {
    let error = ask(Closed::new().address(), "not a name", LONG).unwrap_err();
    assert_eq!(
        error.to_string(),
        "'not a name' is neither a DNS name nor an address"
    );
}

#[test]
fn what_an_answer_means() {
    let lab = Lab::new();
    let (one, other) = (lab.pair("one").parsed(), lab.pair("other").parsed());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 2379));
    let asked = server(&[address], &["one.crt"]);
    let files = on_disk(&lab.root(), &asked);
    let silent = Error::Silent {
        address,
        limit: LONG,
    };
    let table = [
        (Ok(vec![one.clone()]), State::Agrees),
        (Ok(vec![one, other.clone()]), State::Agrees),
        (Ok(vec![other]), State::Differs),
        (Ok(Vec::new()), State::NoAnswer),
        (Err(Error::NotRunning(address)), State::NotRunning),
        (Err(Error::NotTls(address)), State::NoAnswer),
        (Err(silent), State::NoAnswer),
    ];
    for (served, want) in table {
        let row = compare(&asked, address, &files, &served);
        assert_eq!(row.state, want, "{served:?}");
        assert_eq!(row.agrees, want == State::Agrees);
        assert_eq!(row.file, Path::new("/pki/one.crt"));
    }
}

#[test]
fn which_servers_a_node_runs() {
    let cluster = crate::sample::cluster("k8s.internal", ["master-1"], &[]);
    let node = |role| Node {
        role,
        kubernetes_name: Name::parse("node-7").unwrap(),
        selection: Selection::DefaultRoute,
    };
    let own = crate::sample::ips(&["192.0.2.11", "2001:db8::11"]);
    let all = |role| {
        let servers = servers(&cluster, &node(role), &own);
        let show = |s: Server| {
            let addresses: Vec<_> = s.addresses.iter().map(ToString::to_string).collect();
            let files: Vec<_> = s.files.iter().map(|f| f.to_str().unwrap()).collect();
            format!(
                "{}: {} as {}: {}",
                s.name,
                addresses.join(" "),
                s.server_name,
                files.join(" ")
            )
        };
        servers.into_iter().map(show).collect::<Vec<_>>()
    };
    let kubelet = "kubelet: 127.0.0.1:10250 as node-7: /var/lib/kubelet/pki/kubelet-server-current.pem /var/lib/kubelet/pki/kubelet.crt";
    assert_eq!(all(Role::Worker), [kubelet]);
    assert_eq!(
        all(Role::Master(Name::parse(NAME).unwrap())),
        [
            "kube-apiserver: 127.0.0.1:6443 as master-1.k8s.internal: /etc/kubernetes/pki/apiserver.crt",
            "etcd (clients): 127.0.0.1:2379 as master-1.k8s.internal: /etc/kubernetes/pki/etcd/server.crt",
            "etcd (peers): 127.0.0.1:2380 192.0.2.11:2380 [2001:db8::11]:2380 as master-1.k8s.internal: /etc/kubernetes/pki/etcd/peer.crt",
            kubelet,
        ]
    );
}
