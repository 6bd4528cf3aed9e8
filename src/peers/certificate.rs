//! A master's certificate: `pki/stayput`, by which it speaks to other nodes.
//!
//! It is no API server's, no node's and no client's of Kubernetes, and none of theirs is one:
//!
//! - its only name is `LABEL.stayput.DOMAIN`, as CN and as the one DNS name, for the master `LABEL.DOMAIN`;
//! - its one organization is `stayput:masters`, which means nothing to Kubernetes;
//! - it is for servers *and* for clients. The signers behind Kubernetes' CSR API never issue both together
//!   (`kubernetes.io/kube-apiserver-client` and `…/kubelet-serving`, `pkg/controller/certificates/signer`),
//!   so nobody gets one by a request to the cluster.
//!
//! What is here looks at the certificate alone; who issued it is for [`verify`](super::verify) to say.

use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;

use super::record::Record;
use crate::name::Name;
use crate::pki::certificate::Certificate;

/// The organization of every master's certificate.
pub const ORGANIZATION: &str = "stayput:masters";
/// The label between a master's own and the cluster's domain.
pub const LABEL: &str = "stayput";

/// A certificate that says it is a master's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterCertificate {
    /// The master, fully qualified: `LABEL.DOMAIN`.
    pub master: Name,
    /// The certificate.
    pub certificate: Certificate,
}

/// Why a certificate is no master's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("its certificate cannot be read: {0}")]
    Malformed(String),
    /// It is an authority's.
    #[error("its certificate is an authority's")]
    Authority,
    /// Another group, several, or none.
    #[error("its certificate's organization is {0}, and a master's is exactly {ORGANIZATION}")]
    Organization(String),
    /// Not exactly one name in the right form.
    #[error(
        "its certificate is for {found}, and a master's is for exactly one name LABEL.{LABEL}.{domain}, as CN and as DNS name"
    )]
    Name {
        /// What it is for.
        found: String,
        /// The cluster's domain.
        domain: Name,
    },
    /// Not for both sides.
    #[error("its certificate is not for servers and clients both (extended key usage)")]
    Usage,
    /// Not for signatures.
    #[error("its certificate is not for signatures (key usage)")]
    KeyUsage,
    /// Another kind of key.
    #[error("its certificate's key is not one of P-256")]
    Key,
    /// The signature is of another key, or over something else.
    #[error("the signature is not by its certificate's key over this statement")]
    Signature,
}

impl MasterCertificate {
    /// Reads a certificate and judges what it says of itself, for the cluster of that domain.
    pub fn read(der: &[u8], domain: &Name) -> Result<Self, Error> {
        let malformed = |reason: String| Error::Malformed(shortened(&reason));
        let certificate =
            Certificate::parse_der(der).map_err(|error| malformed(error.to_string()))?;
        let (_, x509) =
            X509Certificate::from_der(der).map_err(|error| malformed(error.to_string()))?;
        if certificate.is_authority {
            return Err(Error::Authority);
        }
        let organizations = texts(x509.subject().iter_organization());
        if organizations != [Some(ORGANIZATION)] {
            return Err(Error::Organization(listed(&organizations)));
        }
        let master = named(&x509, domain)?;
        check_usages(&x509)?;
        Ok(Self {
            master,
            certificate,
        })
    }

    /// Checks the signature of a record's statement by this certificate's key: P-256 with SHA-256, whatever
    /// other kinds of keys the authority certifies.
    pub fn check_signature(&self, statement: &[u8], signature: &[u8]) -> Result<(), Error> {
        let der = CertificateDer::from(self.certificate.der.as_slice());
        let entity =
            EndEntityCert::try_from(&der).map_err(|error| Error::Malformed(error.to_string()))?;
        let algorithm = webpki::aws_lc_rs::ECDSA_P256_SHA256;
        let checked = entity.verify_signature(algorithm, &Record::signed(statement), signature);
        checked.map_err(|error| match error {
            webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Error::Key,
            _ => Error::Signature,
        })
    }
}

/// The master by the one name, which is CN and DNS name in exactly these letters.
fn named(x509: &X509Certificate<'_>, domain: &Name) -> Result<Name, Error> {
    let common = texts(x509.subject().iter_common_name());
    let extension = x509.subject_alternative_name().ok().flatten();
    let alternatives = extension.map_or(&[][..], |extension| &extension.value.general_names);
    let found = || {
        let names = alternatives.iter().map(|name| match name {
            GeneralName::DNSName(name) => format!("DNS:{name}"),
            other => format!("{other:?}"),
        });
        let names: Vec<String> = names.take(4).collect();
        let names = names.join(", ");
        Error::Name {
            found: shortened(&format!("CN {} and [{names}]", listed(&common))),
            domain: domain.clone(),
        }
    };
    let ([Some(common)], [GeneralName::DNSName(name)]) = (&common[..], alternatives) else {
        return Err(found());
    };
    if common != name {
        return Err(found());
    }
    let parsed = Name::parse(name)
        .ok()
        .filter(|parsed| parsed.as_str() == *name);
    parsed
        .and_then(|name| master(&name, domain))
        .ok_or_else(found)
}

/// The master that a certificate for `LABEL.stayput.DOMAIN` belongs to: `LABEL.DOMAIN`.
pub fn master(name: &Name, domain: &Name) -> Option<Name> {
    let label = name.relative_to(domain)?.strip_suffix(LABEL)?;
    let label = Name::parse(label.strip_suffix('.')?).ok()?;
    label.below(domain).ok()
}

/// The name in the certificate of a master: `LABEL.stayput.DOMAIN` for `LABEL.DOMAIN`.
pub fn name_of(master: &Name, domain: &Name) -> Option<Name> {
    let label = master.relative_to(domain)?;
    Name::parse(&format!("{label}.{LABEL}.{domain}")).ok()
}

/// `anyExtendedKeyUsage` is not taken for both.
fn check_usages(x509: &X509Certificate<'_>) -> Result<(), Error> {
    let malformed = |error: X509Error| Error::Malformed(error.to_string());
    let extended = x509.extended_key_usage().map_err(malformed)?;
    if !extended.is_some_and(|usage| usage.value.server_auth && usage.value.client_auth) {
        return Err(Error::Usage);
    }
    let usage = x509.key_usage().map_err(malformed)?;
    if usage.is_some_and(|usage| !usage.value.digital_signature()) {
        return Err(Error::KeyUsage);
    }
    Ok(())
}

fn texts<'a>(
    attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>,
) -> Vec<Option<&'a str>> {
    attributes
        .map(|attribute| attribute.as_str().ok())
        .collect()
}

/// For people: `a and b`, `none`.
fn listed(texts: &[Option<&str>]) -> String {
    if texts.is_empty() {
        return "none".into();
    }
    let texts = texts.iter().map(|text| text.unwrap_or("no text"));
    let texts: Vec<&str> = texts.take(4).collect();
    shortened(&texts.join(" and "))
}

/// A stranger's text in a line of the log.
pub(super) fn shortened(text: &str) -> String {
    let safe = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut short: String = text.chars().take(160).map(safe).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificates_name_is_one_masters() {
        let name = |text: &str| Name::parse(text).unwrap();
        let domain = name("k8s.internal");
        for (certificate, want) in [
            ("m1.stayput.k8s.internal", Some("m1.k8s.internal")),
            ("a.b.stayput.k8s.internal", Some("a.b.k8s.internal")),
            // A master that is called like the label between.
            ("stayput.stayput.k8s.internal", Some("stayput.k8s.internal")),
            ("stayput.k8s.internal", None),
            ("m1.k8s.internal", None),
            ("m1xstayput.k8s.internal", None),
            ("m1.stayput.other.internal", None),
            ("m1.stayput.xk8s.internal", None),
        ] {
            let found = master(&name(certificate), &domain);
            assert_eq!(found, want.map(name), "{certificate}");
            if let Some(found) = found {
                assert_eq!(name_of(&found, &domain), Some(name(certificate)));
            }
        }
    }

    #[test]
    fn strangers_texts_are_short_and_harmless() {
        assert_eq!(shortened("a\x1b[2J\nb"), "a\u{fffd}[2J\u{fffd}b");
        assert_eq!(shortened(&"ä".repeat(5000)).chars().count(), 161);
    }
}
