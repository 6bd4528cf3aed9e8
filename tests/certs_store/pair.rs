//! Real pairs of one authority, and what a TLS server makes of files.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

static AUTHORITY: LazyLock<CertifiedIssuer<'static, KeyPair>> = LazyLock::new(|| {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
});

/// A key and its certificate for `localhost`, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) key: String,
    pub(crate) certificate: String,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        Self {
            certificate: params.signed_by(&key, &AUTHORITY).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// The certificate as it is served.
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()
    }
}

/// A client that trusts the authority.
pub(crate) fn client() -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(AUTHORITY.der().clone()).unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// One handshake as a client; the certificate that the server has shown.
pub(crate) fn handshake(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
) -> Result<CertificateDer<'static>, String> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = ClientConnection::new(config.clone(), name).map_err(|e| e.to_string())?;
    let mut tcp = TcpStream::connect(address).map_err(|e| e.to_string())?;
    let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
    let mut word = [0; 2];
    stream.read_exact(&mut word).map_err(|e| e.to_string())?;
    let shown = tls.peer_certificates().ok_or("no certificate")?;
    Ok(shown[0].clone().into_owned())
}

/// The files as a server takes them: like etcd, it refuses a key that is not the certificate's.
pub(crate) fn serving(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
    let text = |path: &Path| std::fs::read(path).map_err(|error| error.to_string());
    let chain = CertificateDer::pem_slice_iter(&text(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(&text(key)?).map_err(|error| error.to_string())?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(config))
}

/// Serves one connection with the pair as it is on disk now.
pub(crate) fn serve_one(listener: &TcpListener, certificate: &Path, key: &Path) {
    let (mut tcp, _) = listener.accept().unwrap();
    // A pair that does not match fails this handshake, and no other: the connection is closed.
    let Ok(config) = serving(certificate, key) else {
        return;
    };
    let mut tls = ServerConnection::new(config).unwrap();
    let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
    let _ = stream.write_all(b"ok").and_then(|()| stream.flush());
}
