//! HTTPS/1.1 to one server, with a client certificate.
//!
//! Where to connect and who has to be there are two things: addresses change, names in certificates do
//! not. A request is a connection of its own; whoever asks a dozen things needs no pool.

mod client;
mod names;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use hyper::body::Bytes;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};

use self::names::AnyOf;
use crate::pki::certificate::Certificate;
use crate::pki::key::PrivateKey;

/// How long a request may take, connecting included. etcd itself gives up after 7 s (its request
/// timeout of 5 s and two elections).
pub const LIMIT: Duration = Duration::from_secs(10);
/// The largest answer that is read, in bytes.
pub const BODY_LIMIT: usize = 16 << 20;

/// Where a server is, and who it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Tried in this order. Where there are none, the first name is looked up by the system.
    pub addresses: Vec<SocketAddr>,
    /// DNS names and addresses, at least one of which its certificate has to carry; the first is asked
    /// for (SNI, `Host`).
    pub names: Vec<String>,
    /// The port.
    pub port: u16,
}

/// Who asks: a certificate, its chain, and its key.
#[derive(Debug)]
pub struct Identity {
    /// The first is the client's own.
    pub certificates: Vec<Certificate>,
    /// Its key.
    pub key: PrivateKey,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// All of the body.
    pub body: Bytes,
}

/// Why there is no answer. Nothing of a key is in any of the texts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate, key or name that no handshake can be made with.
    #[error("cannot prepare a connection to {whom}: {reason}")]
    Unusable {
        /// The server.
        whom: String,
        /// Why not.
        reason: String,
    },
    /// No address took the connection and proved to be the server.
    #[error("cannot reach {whom}: {reasons}")]
    Unreachable {
        /// The server.
        whom: String,
        /// For each address why not, joined by semicolons.
        reasons: String,
    },
    /// It did not answer in time. It may have done what it was asked for.
    #[error("{whom} did not answer within {} s", limit.as_secs())]
    Silent {
        /// The server.
        whom: String,
        /// The time that it had.
        limit: Duration,
    },
    /// The connection ended before the answer did. It may have done what it was asked for.
    #[error("{whom} broke off: {reason}")]
    Broken {
        /// The server.
        whom: String,
        /// In the libraries' words.
        reason: String,
    },
    /// More than [`BODY_LIMIT`].
    #[error("the answer of {0} is larger than {BODY_LIMIT} bytes")]
    TooLarge(String),
}

/// A client of one server.
#[derive(Clone)]
pub struct Https {
    whom: String,
    place: Place,
    server: ServerName<'static>,
    config: Arc<ClientConfig>,
    limit: Duration,
}

impl std::fmt::Debug for Https {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Https")
            .field("whom", &self.whom)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Https {
    /// A client for the server at `place`, which people call `whom`, and which one of `authorities` has
    /// to have signed. Opens nothing yet.
    pub fn new(
        whom: &str,
        place: Place,
        authorities: &[Certificate],
        identity: Option<&Identity>,
    ) -> Result<Self, Error> {
        let unusable = |reason: String| Error::Unusable {
            whom: whom.to_owned(),
            reason,
        };
        let verifier = AnyOf::new(authorities, &place.names).map_err(unusable)?;
        let server = verifier.first();
        let config = ClientConfig::builder_with_provider(verifier.provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let chain = identity.certificates.iter();
                let chain = chain.map(|own| CertificateDer::from(own.der.clone()));
                let key = identity.key.for_handshakes();
                let key = key.ok_or_else(|| unusable("its key is of no known form".into()))?;
                config
                    .with_client_auth_cert(chain.collect(), key)
                    .map_err(|error| unusable(format!("the client's certificate: {error}")))?
            }
        };
        Ok(Self {
            whom: whom.to_owned(),
            place,
            server,
            config: Arc::new(config),
            limit: LIMIT,
        })
    }

    /// The same with another time limit for each request.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// What people call the server.
    pub fn whom(&self) -> &str {
        &self.whom
    }

    /// Asks, and reads the whole answer, whatever its status. `body` is a content type and the bytes.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Vec<u8>)>,
    ) -> Result<Answer, Error> {
        let asked = client::exchange(self, method, path, body);
        let answered = tokio::time::timeout(self.limit, asked).await;
        answered.unwrap_or_else(|_| {
            Err(Error::Silent {
                whom: self.whom.clone(),
                limit: self.limit,
            })
        })
    }
}
