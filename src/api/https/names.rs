//! Verifies a server by an authority and any of several names.
//!
//! A kubeadm that was given addresses and one that was given names put different ones into the same
//! server's certificate. Any of them proves who it is, because all that the authority signs is the
//! cluster's.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::pki::certificate::Certificate;

/// See the module.
#[derive(Debug)]
pub(super) struct AnyOf {
    provider: Arc<CryptoProvider>,
    inner: Arc<WebPkiServerVerifier>,
    first: ServerName<'static>,
    others: Vec<ServerName<'static>>,
}

impl AnyOf {
    pub(super) fn new(authorities: &[Certificate], names: &[String]) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            let der = CertificateDer::from(authority.der.as_slice());
            let added = roots.add(der);
            added.map_err(|error| format!("the authority {}: {error}", authority.subject))?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let inner = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone());
        let inner = inner.build();
        let inner = inner.map_err(|error| format!("its authority cannot be used: {error}"))?;
        let mut names = names.iter().map(|name| {
            let parsed = ServerName::try_from(name.clone());
            parsed.map_err(|_| format!("'{name}' is neither a DNS name nor an address"))
        });
        let first = names.next().ok_or("it has no name")??;
        Ok(Self {
            provider,
            inner,
            first,
            others: names.collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn provider(&self) -> Arc<CryptoProvider> {
        self.provider.clone()
    }

    /// The name that is asked for.
    pub(super) fn first(&self) -> ServerName<'static> {
        self.first.clone()
    }
}

/// Whether all is well with a certificate but for the name.
fn is_of_another_name(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        )
    )
}

impl ServerCertVerifier for AnyOf {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |name| {
            let inner = &self.inner;
            inner.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
        };
        let refused = match verify(&self.first) {
            Err(error) if is_of_another_name(&error) => error,
            decided => return decided,
        };
        for other in &self.others {
            match verify(other) {
                Err(error) if is_of_another_name(&error) => {}
                decided => return decided,
            }
        }
        Err(refused)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
