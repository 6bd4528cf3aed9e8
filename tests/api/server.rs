//! A server of the test: TLS by the test's authority on a loopback address, one answer to everything.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::files::Files;

/// What it does with a request.
#[derive(Clone)]
pub(crate) enum Manner {
    /// Says these bytes and hangs up.
    Says(Vec<u8>),
    /// Reads, and never answers.
    Silent,
}

impl Manner {
    /// A whole answer.
    pub(crate) fn answer(status: u16, body: &str) -> Self {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n");
        Self::Says((head + body).into_bytes())
    }
}

/// Where it listens, and what it was asked.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Requests so far: heads and bodies.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

/// Serves with a certificate that carries `names`, and takes clients of the authority only.
pub(crate) async fn serve(files: &Files, names: &[&str], manner: Manner) -> Server {
    let pki = files.pki();
    files.authority.write_pair(&pki, "server", names[0], names);
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(pki.join("ca.crt")).unwrap();
    roots.add(authority).unwrap();
    let clients = WebPkiClientVerifier::builder(roots.into()).build().unwrap();
    let chain = vec![CertificateDer::from_pem_file(pki.join("server.crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(pki.join("server.key")).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .unwrap();
    let tls = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = asked.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (tls, manner, heard) = (tls.clone(), manner.clone(), heard.clone());
            tokio::spawn(async move {
                // A client that is refused, or breaks off, is what some tests are about.
                let Ok(mut stream) = tls.accept(stream).await else {
                    return;
                };
                let Some(request) = read(&mut stream).await else {
                    return;
                };
                heard.lock().unwrap().push(request);
                match manner {
                    Manner::Silent => std::future::pending().await,
                    Manner::Says(bytes) => {
                        let _ = stream.write_all(&bytes).await;
                        let _ = stream.shutdown().await;
                    }
                }
            });
        }
    });
    Server { address, asked }
}

/// A head, and the body that it announces.
async fn read(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(request).unwrap().to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(head + &String::from_utf8(body).unwrap())
}
