//! The one verifier of both sides: whoever is not of this cluster gets no further than the handshake.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    PeerIncompatible, SignatureScheme,
};

use super::trust::{Refused, Trust};
use super::who::Peer;
use crate::pki::certificate::Certificate;
use crate::pki::moment::Moment;

/// Tells what time it is, and what is known of that. Asked at each handshake.
pub type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// More certificates than this are no chain of a cluster.
const LONGEST_CHAIN: usize = 8;

/// See the module.
#[derive(Clone)]
pub struct Verifier {
    trust: Arc<ArcSwap<Trust>>,
    clock: Clock,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

impl Verifier {
    /// A verifier by a trust that is swapped when its files change.
    pub fn new(trust: Arc<ArcSwap<Trust>>, clock: Clock, provider: Arc<CryptoProvider>) -> Self {
        Self {
            trust,
            clock,
            provider,
        }
    }

    /// Who shows these certificates, its own first.
    pub fn judge(&self, chain: &[CertificateDer<'_>]) -> Result<Peer, Refused> {
        let unreadable = |text: &str| Refused::Unreadable(text.to_owned());
        if chain.len() > LONGEST_CHAIN {
            return Err(unreadable("is too long a chain"));
        }
        let read = |der: &CertificateDer<'_>| {
            Certificate::parse_der(der).map_err(|error| unreadable(&format!("is none: {error}")))
        };
        let certificates = chain.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let (leaf, intermediates) = certificates
            .split_first()
            .ok_or_else(|| unreadable("is none"))?;
        let trust = self.trust.load();
        trust.judge(leaf, intermediates, &(self.clock)())
    }

    fn verify(&self, leaf: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> Result<(), Error> {
        let chain: Vec<_> = std::iter::once(leaf).chain(rest).cloned().collect();
        let refused = |reason: Refused| {
            let reason = OtherError(Arc::new(reason));
            Error::InvalidCertificate(CertificateError::Other(reason))
        };
        self.judge(&chain).map(drop).map_err(refused)
    }

    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Nothing but TLS 1.3 is configured, so this is never asked.
fn too_old() -> Error {
    Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for Verifier {
    /// Who shows none may pull.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// Strangers are not told the authority's name.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}
