//! A server that reads its pair at each handshake, as etcd does, while the pair is renewed, and while
//! renewals die.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use crate::kill::{cluster, is_pair};
use crate::sandbox::Sandbox;
use crate::strace::Victim;
use crate::support::{PATIENCE, here, until};

const NAME: &str = "master-1.k8s.internal";
const CERTIFICATE: &str = "etc/kubernetes/pki/etcd/server.crt";
const KEY: &str = "etc/kubernetes/pki/etcd/server.key";
const RENEW: [&str; 4] = ["certs", "renew", "etcd-server", "--force"];
/// What a client waits before it tries again.
const PAUSE: Duration = Duration::from_millis(50);

/// The certificate first, then the key: Go's order (`tls.LoadX509KeyPair`).
fn pair_on_disk(folder: &Path) -> Result<ServerConfig, String> {
    let error = |error: &dyn std::fmt::Display| error.to_string();
    let certificate = CertificateDer::from_pem_file(folder.join(CERTIFICATE));
    let certificate = certificate.map_err(|e| error(&e))?;
    let key = PrivateKeyDer::from_pem_file(folder.join(KEY)).map_err(|e| error(&e))?;
    // A key that is not the certificate's is refused here.
    ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .map_err(|e| error(&e))
}

/// The server, and a client that asks it all the time.
struct Etcd {
    address: SocketAddr,
    trust: Arc<ClientConfig>,
    stop: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Etcd {
    fn start(node: &Sandbox) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let folder: PathBuf = node.path("");
        let ending = stop.clone();
        let server = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ending.load(Ordering::SeqCst) {
                    break;
                }
                let mut stream = stream.unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                // Without a pair, as without a handshake, the connection is closed.
                if let Ok(config) = pair_on_disk(&folder) {
                    let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
                    while tls.is_handshaking() && tls.complete_io(&mut stream).is_ok() {}
                }
            }
        });
        let mut roots = RootCertStore::empty();
        let authority = node.path("etc/kubernetes/pki/etcd/ca.crt");
        roots
            .add(CertificateDer::from_pem_file(authority).unwrap())
            .unwrap();
        let trust = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            address,
            trust: Arc::new(trust),
            stop,
            server: Some(server),
        }
    }

    /// One handshake: the certificate that was served.
    fn ask(&self) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from(NAME).unwrap();
        let mut tls = ClientConnection::new(self.trust.clone(), name).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        Ok(tls.peer_certificates().unwrap()[0].to_vec())
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        let ended = self.server.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

/// What a client saw that asks all the time.
#[derive(Default)]
struct Seen {
    /// Even while nothing is being done and nothing is left to be put right, odd otherwise.
    epoch: AtomicU64,
    good: AtomicU64,
    /// Failures that nobody is allowed: epoch and what was said.
    bad: Mutex<Vec<String>>,
    done: AtomicBool,
}

impl Seen {
    fn quiet(&self) -> bool {
        self.epoch.load(Ordering::SeqCst).is_multiple_of(2)
    }

    /// Some more handshakes have succeeded.
    fn goes_on(&self) {
        let before = self.good.load(Ordering::SeqCst);
        until("handshakes succeed", || {
            self.good.load(Ordering::SeqCst) > before + 1
        });
    }

    fn turn(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }
}

fn provisioned() -> Sandbox {
    let node = Sandbox::new("master-1", &cluster());
    node.ok(&["certs", "init", "--new-cluster"]);
    node
}

fn on_disk(node: &Sandbox) -> Vec<u8> {
    let certificate = CertificateDer::from_pem_file(node.path(CERTIFICATE));
    certificate.unwrap().to_vec()
}

#[test]
fn a_renewal_that_dies_fails_handshakes_until_the_next_run_at_most() {
    if !here(false, &["strace", "openssl"]) {
        return;
    }
    let node = provisioned();
    let etcd = Etcd::start(&node);
    let seen = Seen::default();
    let read = |path: &str| std::fs::read(node.path(path)).unwrap();
    let (mut kills, mut mixed) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !seen.done.load(Ordering::SeqCst) {
                let (before, quiet) = (seen.epoch.load(Ordering::SeqCst), seen.quiet());
                let answer = etcd.ask();
                let same = seen.epoch.load(Ordering::SeqCst) == before;
                match answer {
                    Ok(_) => drop(seen.good.fetch_add(1, Ordering::SeqCst)),
                    Err(error) if quiet && same => {
                        seen.bad.lock().unwrap().push(format!("{before}: {error}"));
                    }
                    Err(_) => {}
                }
            }
        });
        let end = Ends(&seen.done);
        let victim = Victim {
            arguments: &RENEW,
            input: None,
        };
        for call in ["renameat", "linkat", "unlinkat", "fsync"] {
            for n in 1.. {
                let context = format!("killed at {call} {n}");
                seen.goes_on();
                seen.turn();
                let killed = victim.dies(&node, call, n, &context);
                let broken = !is_pair(&read(CERTIFICATE), &read(KEY));
                mixed += u32::from(broken);
                assert_eq!(etcd.ask().is_err(), broken, "{context}");
                node.ok(&["certs", "renew"]);
                assert_eq!(etcd.ask().unwrap(), on_disk(&node), "{context}");
                seen.turn();
                if !killed {
                    break;
                }
                kills += 1;
            }
        }
        seen.goes_on();
        drop(end);
    });
    let bad = seen.bad.into_inner().unwrap();
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(mixed > 0, "no kill met the swap");
    let good = seen.good.load(Ordering::SeqCst);
    println!("{kills} kills, {mixed} in the swap, {good} good handshakes");
}

#[test]
fn a_client_that_tries_again_sees_nothing_of_a_renewal() {
    let node = provisioned();
    let etcd = Etcd::start(&node);
    let done = AtomicBool::new(false);
    let (good, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                if etcd.ask().is_err() {
                    failed.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(PAUSE);
                    etcd.ask().expect("the second try");
                }
                good.fetch_add(1, Ordering::SeqCst);
            }
        });
        let end = Ends(&done);
        for _ in 0..40 {
            let (old, before) = (on_disk(&node), good.load(Ordering::SeqCst));
            node.ok(&RENEW);
            assert_ne!(on_disk(&node), old);
            assert_eq!(etcd.ask().unwrap(), on_disk(&node));
            until("the client goes on", || {
                client.is_finished() || good.load(Ordering::SeqCst) > before
            });
        }
        drop(end);
    });
    println!(
        "40 renewals: {} good handshakes, {} that were tried again",
        good.into_inner(),
        failed.into_inner()
    );
}

/// Ends the other thread, also when the test panics.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
