//! TLS 1.3 and nothing older, and every connection verified anew: no tickets, no sessions kept.

use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, CommonState, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::counters::Failure;
use super::identity::Own;
use super::trust::Refused;
use super::verifier::Verifier;
use super::who::Peer;

/// What both sides speak (ALPN, RFC 7301).
pub const PROTOCOL: &[u8] = b"stayput/1";

/// A connection of either side.
pub(super) type Stream = TlsStream<TcpStream>;

/// Both sides of a handshake.
#[derive(Clone)]
pub(super) struct Tls {
    accepting: TlsAcceptor,
    dialling: TlsConnector,
    pulling: TlsConnector,
    verifier: Arc<Verifier>,
    whoever: ServerName<'static>,
}

impl Tls {
    pub(super) fn new(
        verifier: Verifier,
        own: Arc<Own>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, rustls::Error> {
        let verifier = Arc::new(verifier);
        let protocols = || vec![PROTOCOL.to_vec()];

        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier.clone())
            .with_cert_resolver(own.clone());
        server.alpn_protocols = protocols();
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;

        let client = || {
            let builder = ClientConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&[&TLS13])?
                .dangerous()
                .with_custom_certificate_verifier(verifier.clone());
            Ok::<_, rustls::Error>(builder)
        };
        let settled = |mut config: ClientConfig| {
            config.alpn_protocols = protocols();
            config.resumption = Resumption::disabled();
            config.enable_sni = false;
            TlsConnector::from(Arc::new(config))
        };
        let whoever = ServerName::try_from("peer.invalid");
        let whoever = whoever.map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(Self {
            dialling: settled(client()?.with_client_cert_resolver(own)),
            pulling: settled(client()?.with_no_client_auth()),
            accepting: TlsAcceptor::from(Arc::new(server)),
            verifier,
            whoever,
        })
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<Stream> {
        Ok(self.accepting.accept(stream).await?.into())
    }

    /// As this node, with its certificate.
    pub(super) async fn dial(&self, stream: TcpStream) -> io::Result<Stream> {
        let shaken = self.dialling.connect(self.whoever.clone(), stream).await;
        Ok(shaken?.into())
    }

    /// As nobody: whether this node's certificate still counts does not matter.
    pub(super) async fn pull(&self, stream: TcpStream) -> io::Result<Stream> {
        let shaken = self.pulling.connect(self.whoever.clone(), stream).await;
        Ok(shaken?.into())
    }

    /// Who is at the other end after the handshake; `None` for one without a certificate.
    pub(super) fn peer(&self, state: &CommonState) -> Result<Option<Peer>, Refused> {
        let shown = state.peer_certificates();
        shown.map(|chain| self.verifier.judge(chain)).transpose()
    }
}

/// What both sides agreed on.
pub(super) fn state(stream: &Stream) -> &CommonState {
    match stream {
        TlsStream::Client(client) => client.get_ref().1,
        TlsStream::Server(server) => server.get_ref().1,
    }
}

/// Whether both sides named this protocol.
pub(super) fn is_ours(stream: &Stream) -> bool {
    state(stream).alpn_protocol() == Some(PROTOCOL)
}

/// What an error says to people.
pub(super) fn words(error: &io::Error) -> String {
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(reason))) => {
            reason.to_string()
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            format!("it ended the handshake ({alert:?}); its log says why")
        }
        Some(other) => other.to_string(),
        None => error.to_string(),
    }
}

/// What an error of a handshake, or of a connection after it, is counted as.
pub(super) fn failure(error: &io::Error) -> Failure {
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(
            rustls::Error::InvalidMessage(_)
            | rustls::Error::InappropriateMessage { .. }
            | rustls::Error::InappropriateHandshakeMessage { .. }
            | rustls::Error::PeerMisbehaved(_)
            | rustls::Error::DecryptError,
        ) => Failure::Garbage,
        Some(rustls::Error::InvalidCertificate(_)) => Failure::Certificate,
        Some(rustls::Error::AlertReceived(_)) => Failure::Refused,
        Some(_) => Failure::Protocol,
        None => Failure::Broken,
    }
}
