//! What this node proves itself with, as it is on disk now.
//!
//! A master has the certificate by which it speaks; every node has its kubelet's client certificate; a
//! node that has not joined has none. The first of them that has not ended is shown, to both sides of a
//! connection. A file that is half written, or whose key is another's, leaves what was there before.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::verifier::Clock;
use super::who::{Nobody, Peer, who};
use crate::api::identity as files;
use crate::name::Name;
use crate::root::Root;

/// The certificate and key by which a master speaks.
pub const MASTER: [&str; 2] = [
    "/etc/kubernetes/pki/stayput.crt",
    "/etc/kubernetes/pki/stayput.key",
];
/// The kubelet's client certificate and its key, in one file behind a symlink that the kubelet turns.
pub const KUBELET: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

/// One certificate with its key. It shows nothing of the key.
#[derive(Clone)]
pub struct Credential {
    /// Who it is.
    pub peer: Peer,
    /// When it begins (Unix time).
    pub not_before: i64,
    /// The last second in which it is valid.
    pub not_after: i64,
    key: Arc<CertifiedKey>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.peer)
    }
}

/// Why a certificate that is there cannot be used. Nothing of a key is in any of the texts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// Certificate and key do not belong together, or the library does not take them.
    #[error(
        "{path} cannot be used: {reason}; the old one is used until certificate and key fit together"
    )]
    Unusable {
        /// The certificate.
        path: &'static str,
        /// In the library's words.
        reason: String,
    },
    /// It is somebody else's.
    #[error("{path}: {source}")]
    Nobody {
        /// The certificate.
        path: &'static str,
        /// Why not.
        source: Nobody,
    },
}

/// Reads one certificate and its key; `None` where there is none.
pub fn load(
    root: &Root,
    domain: &Name,
    [certificate, key]: [&'static str; 2],
    provider: &CryptoProvider,
) -> Result<Option<Credential>, Error> {
    let identity = match files::identity(root, Path::new(certificate), Path::new(key)) {
        Err(files::Error::Missing(_)) => return Ok(None),
        read => read?,
    };
    let unusable = |reason: String| Error::Unusable {
        path: certificate,
        reason,
    };
    // At least one: the reader says so.
    let own = identity.certificates.first();
    let own = own.ok_or_else(|| unusable("it is empty".into()))?;
    if own.public_key != identity.key.public_key() {
        return Err(unusable("its key is another's".into()));
    }
    let peer = who(own, domain).map_err(|source| Error::Nobody {
        path: certificate,
        source,
    })?;
    let chain = identity.certificates.iter();
    let chain = chain.map(|each| CertificateDer::from(each.der.clone()));
    let pair = identity.key.for_handshakes();
    let pair = pair.ok_or_else(|| unusable("its key is of no known form".into()))?;
    let key = CertifiedKey::from_der(chain.collect(), pair, provider)
        .map_err(|error| unusable(error.to_string()))?;
    Ok(Some(Credential {
        peer,
        not_before: own.not_before,
        not_after: own.not_after,
        key: Arc::new(key),
    }))
}

/// What this node has, in the order in which it is tried.
pub struct Own {
    all: ArcSwap<Vec<Credential>>,
    clock: Clock,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Own").field(&self.all.load()).finish()
    }
}

impl Own {
    /// Nothing yet.
    pub fn new(clock: Clock) -> Self {
        Self {
            all: ArcSwap::default(),
            clock,
        }
    }

    /// Takes the place of what was there.
    pub fn set(&self, all: Vec<Credential>) {
        self.all.store(Arc::new(all));
    }

    /// Who this node is to others, as long as it has a certificate that has not ended.
    pub fn peer(&self) -> Option<Peer> {
        self.current().map(|credential| credential.peer)
    }

    /// Whether this is this node itself, by any of its certificates.
    pub fn is(&self, peer: &Peer) -> bool {
        self.all.load().iter().any(|own| own.peer == *peer)
    }

    /// The first that has not ended. One that has not begun is shown all the same: then it is this
    /// node's clock that is wrong.
    fn current(&self) -> Option<Credential> {
        let now = (self.clock)().judged();
        let all = self.all.load();
        all.iter().find(|own| now <= own.not_after).cloned()
    }
}

impl ResolvesServerCert for Own {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current().map(|own| own.key)
    }
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.current().map(|own| own.key)
    }

    fn has_certs(&self) -> bool {
        self.current().is_some()
    }
}
