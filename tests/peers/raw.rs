//! A client that keeps to no rules: any certificate or none, any bytes, and whoever is there is right.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion,
};
use stayput::peers::transport::PROTOCOL;
use stayput::peers::transport::frame::{Hello, Purpose, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::authority::Pair;

#[derive(Debug)]
struct Anybody(CryptoProvider);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = self.0.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// How it shows itself.
pub(crate) struct Raw {
    /// Shown, if any.
    pub(crate) pair: Option<Pair>,
    pub(crate) version: &'static SupportedProtocolVersion,
    pub(crate) protocols: Vec<Vec<u8>>,
    /// The last part of the loopback address from which it comes.
    pub(crate) from: u8,
}

impl Raw {
    pub(crate) fn new(pair: Option<Pair>) -> Self {
        Self {
            pair,
            version: &rustls::version::TLS13,
            protocols: vec![PROTOCOL.to_vec()],
            from: 66,
        }
    }

    /// The handshake; this side may think that it succeeded where the other side does not.
    pub(crate) async fn connect(&self, to: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = aws_lc_rs::default_provider();
        let config = ClientConfig::builder_with_provider(Arc::new(provider.clone()))
            .with_protocol_versions(&[self.version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)));
        let mut config = match &self.pair {
            None => config.with_no_client_auth(),
            Some(pair) => {
                let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes());
                let chain = chain.map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = self.protocols.clone();
        let stream = tcp(self.from, to).await?;
        let name = ServerName::try_from("x.example").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// A handshake, a hello, and more bytes.
    pub(crate) async fn say(
        &self,
        to: SocketAddr,
        purpose: Purpose,
        more: &[u8],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut stream = self.connect(to).await?;
        let mut bytes = hello(purpose);
        bytes.extend(more);
        stream.write_all(&bytes).await?;
        stream.flush().await?;
        Ok(stream)
    }
}

pub(crate) fn hello(purpose: Purpose) -> Vec<u8> {
    frames(&[&Hello { purpose, port: 0 }.encode()])
}

pub(crate) fn frames(all: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in all {
        encode(frame, &mut bytes);
    }
    bytes
}

/// A connection from 127.0.0.FROM, a source of its own.
pub(crate) async fn tcp(from: u8, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 0, from), 0).into())?;
    socket.connect(to).await
}

/// All that the other side still says; an end that is not signed is one, too.
pub(crate) async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    bytes
}
