//! Masters and strangers: TLS servers that speak enough HTTP for health checks and clients.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

/// The endpoint's name, which every master's certificate carries.
pub(crate) const ENDPOINT: &str = "api.prod.k8s.internal";

/// An authority with its key.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A serving certificate for a name and the endpoint, as a TLS server's configuration.
    fn server(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let names = vec![name.to_owned(), ENDPOINT.to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        // As Go's crypto/x509 does for kubeadm. It tells two authorities of one name apart.
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// A client that trusts this authority alone, as a kubelet does.
    pub(crate) fn client(&self) -> Client {
        let mut roots = rustls::RootCertStore::empty();
        let certificate: CertificateDer<'static> = self.0.der().clone();
        roots.add(certificate).unwrap();
        let config = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Client(TlsConnector::from(Arc::new(config)))
    }
}

/// A client of the endpoint.
pub(crate) struct Client(TlsConnector);

/// An open connection of a client.
pub(crate) struct Session(TlsStream<TcpStream>);

impl Client {
    /// Connects and checks the endpoint's name.
    pub(crate) async fn connect(&self, to: SocketAddr) -> std::io::Result<Session> {
        let name = ServerName::try_from(ENDPOINT).unwrap();
        let stream = TcpStream::connect(to).await?;
        Ok(Session(self.0.connect(name, stream).await?))
    }

    /// Which master answers.
    pub(crate) async fn ask(&self, to: SocketAddr) -> std::io::Result<String> {
        self.connect(to).await?.ask().await
    }
}

impl Session {
    /// Which master answers on this connection.
    pub(crate) async fn ask(&mut self) -> std::io::Result<String> {
        self.0
            .write_all(b"GET /whoami HTTP/1.1\r\nHost: x\r\n\r\n")
            .await?;
        let head = read_head(&mut self.0).await?;
        let name = head.lines().find_map(|line| line.strip_prefix("x-name: "));
        Ok(name.expect("an answer with a name").to_owned())
    }

    /// Waits until the other side ends the connection.
    pub(crate) async fn closed(mut self) {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = self.0.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{rest:?}");
    }
}

/// A running apiserver, or what pretends to be one. It ends when dropped, with its sessions.
pub(crate) struct Master {
    readyz: Arc<AtomicU16>,
    task: tokio::task::JoinHandle<()>,
}

impl Master {
    /// Serves on an address under a name. `/readyz` answers 200.
    pub(crate) async fn start(authority: &Authority, name: &str, at: (IpAddr, u16)) -> Self {
        let name = format!("{name}.prod.k8s.internal");
        let tls = authority.server(&name);
        let listener = TcpListener::bind(at).await.unwrap();
        let readyz = Arc::new(AtomicU16::new(200));
        let status = readyz.clone();
        let task = tokio::spawn(async move {
            let mut sessions = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, name, status) = (tls.clone(), name.clone(), status.clone());
                sessions.spawn(async move {
                    // Health checks that do not trust the certificate break off here.
                    if let Ok(stream) = tls.accept(stream).await {
                        let _ = serve(stream, &name, &status).await;
                    }
                });
            }
        });
        Self { readyz, task }
    }

    /// What `/readyz` answers from now on.
    pub(crate) fn set_readyz(&self, status: u16) {
        self.readyz.store(status, Ordering::SeqCst);
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: tokio_rustls::server::TlsStream<TcpStream>,
    name: &str,
    readyz: &AtomicU16,
) -> std::io::Result<()> {
    loop {
        let head = read_head(&mut stream).await?;
        let (health, close) = (
            head.starts_with("GET /readyz "),
            head.to_ascii_lowercase().contains("connection: close"),
        );
        // An HTTP/1.1 request without it is refused by Go's server, and so by kube-apiserver.
        assert!(head.to_ascii_lowercase().contains("host: "), "{head}");
        let status = if health {
            readyz.load(Ordering::SeqCst)
        } else {
            200
        };
        let answer = format!("HTTP/1.1 {status} X\r\nx-name: {name}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await?;
        if close {
            return stream.shutdown().await;
        }
    }
}

async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head).unwrap())
}
