//! Asks a server which certificate it serves: a TLS handshake that accepts any, and remembers it.
//!
//! The server is verified afterwards, by whoever asked, because the question is what it serves and not
//! whether that is good. It has to show that it holds the key, though. No client certificate is sent;
//! etcd demands one and ends the handshake, but has served its own by then. Its log says so, once for
//! each question.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

use crate::pki::certificate::{self, Certificate};

/// Why it is not known what a server serves.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens there.
    #[error("nothing listens on {0}")]
    NotRunning(SocketAddr),
    /// No connection, for another reason.
    #[error("cannot connect to {address}: {source}")]
    Unreachable {
        /// Where to.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// It did not answer, or not to the end.
    #[error("{address} did not answer within {limit:?}")]
    Silent {
        /// Who.
        address: SocketAddr,
        /// The time that it had.
        limit: Duration,
    },
    /// It speaks something else.
    #[error("{0} answers, but not in TLS")]
    NotTls(SocketAddr),
    /// It ended the handshake before it had served a certificate.
    #[error("{address} served no certificate: {reason}")]
    Handshake {
        /// Who.
        address: SocketAddr,
        /// In the library's or system's words.
        reason: String,
    },
    /// It serves something that is no certificate.
    #[error("what {address} serves cannot be read: {source}")]
    Malformed {
        /// Who.
        address: SocketAddr,
        /// Why not.
        source: certificate::Error,
    },
    /// The name cannot be asked for.
    #[error("'{0}' is neither a DNS name nor an address")]
    Name(String),
}

/// The chain that the server at `address` serves to clients that ask for `server_name` (SNI; an
/// address is asked for without it), the server's own certificate first. `limit` is for all of it.
pub fn ask(
    address: SocketAddr,
    server_name: &str,
    limit: Duration,
) -> Result<Vec<Certificate>, Error> {
    let name = ServerName::try_from(server_name.to_owned())
        .map_err(|_| Error::Name(server_name.to_owned()))?;
    let chain = handshake(address, name, limit)?;
    chain
        .iter()
        .map(|der| Certificate::parse_der(der))
        .collect::<Result<_, _>>()
        .map_err(|source| Error::Malformed { address, source })
}

fn handshake(
    address: SocketAddr,
    name: ServerName<'static>,
    limit: Duration,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let witness = Arc::new(Witness::default());
    let mut tls = client(&witness, name).map_err(|error| Error::Handshake {
        address,
        reason: error.to_string(),
    })?;
    let deadline = Instant::now() + limit;
    let stream = TcpStream::connect_timeout(&address, limit)
        .map_err(|source| not_connected(address, source, limit))?;
    let mut stream = Limited { stream, deadline };
    let ended = tls.complete_io(&mut stream);
    // Its own certificate counts, however the handshake ended after that.
    if let Some(chain) = witness.proven() {
        tls.send_close_notify();
        // Only politeness: the server may have hung up.
        let _ = tls.write_tls(&mut stream);
        return Ok(chain);
    }
    Err(match ended {
        Ok(_) => Error::Handshake {
            address,
            reason: "the handshake ended without one".into(),
        },
        Err(error) => not_served(address, error, limit),
    })
}

fn client(
    witness: &Arc<Witness>,
    name: ServerName<'static>,
) -> Result<ClientConnection, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(witness.provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(witness.clone())
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    ClientConnection::new(Arc::new(config), name)
}

fn not_connected(address: SocketAddr, source: io::Error, limit: Duration) -> Error {
    match source.kind() {
        io::ErrorKind::ConnectionRefused => Error::NotRunning(address),
        io::ErrorKind::TimedOut => Error::Silent { address, limit },
        _ => Error::Unreachable { address, source },
    }
}

fn not_served(address: SocketAddr, error: io::Error, limit: Duration) -> Error {
    let tls = error.get_ref().and_then(|e| e.downcast_ref());
    match (error.kind(), tls) {
        (io::ErrorKind::TimedOut, _) => Error::Silent { address, limit },
        (_, Some(rustls::Error::InvalidMessage(_))) => Error::NotTls(address),
        (io::ErrorKind::UnexpectedEof, _) => Error::Handshake {
            address,
            reason: "it closed the connection".into(),
        },
        _ => Error::Handshake {
            address,
            reason: error.to_string(),
        },
    }
}

/// A connection that is given up at a deadline, however slowly the other side dribbles.
struct Limited {
    stream: TcpStream,
    deadline: Instant,
}

impl Limited {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(Some(left))
    }
}

/// Linux says EAGAIN where the time limit of a socket has passed (socket(7), `SO_RCVTIMEO`).
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer).map_err(timed_out)
    }
}

impl Write for Limited {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(buffer).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Accepts every certificate and remembers it.
#[derive(Debug)]
struct Witness {
    provider: Arc<CryptoProvider>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    chain: Vec<CertificateDer<'static>>,
    /// The server has signed with the key of the first one.
    proven: bool,
}

impl Default for Witness {
    fn default() -> Self {
        Self {
            provider: Arc::new(aws_lc_rs::default_provider()),
            seen: Mutex::default(),
        }
    }
}

impl Witness {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn proven(&self) -> Option<Vec<CertificateDer<'static>>> {
        let mut seen = self.seen();
        seen.proven.then(|| std::mem::take(&mut seen.chain))
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        self.seen().chain = chain.map(|der| der.clone().into_owned()).collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let valid = verify_tls12_signature(message, cert, dss, algorithms)?;
        self.seen().proven = true;
        Ok(valid)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        let valid = verify_tls13_signature(message, cert, dss, algorithms)?;
        self.seen().proven = true;
        Ok(valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
