//! X.509 certificates as values: what stayput needs to know of one, whoever made it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustls_pki_types::pem::{PemObject, SectionKind};
use x509_parser::asn1_rs::{Any, Oid, Tag, oid};
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;
use zeroize::Zeroizing;

use super::pem;
use super::profile::{Names, OtherName, Profile, Usages};
use super::tbs;

/// A certificate. Times are Unix times in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The whole certificate.
    pub der: Vec<u8>,
    /// Subject, usages and names.
    pub profile: Profile,
    /// The subject for people: `O=system:masters, CN=kubernetes-admin`.
    pub subject: String,
    /// The subject as DER.
    pub subject_der: Vec<u8>,
    /// The issuer for people.
    pub issuer: String,
    /// The issuer as DER.
    pub issuer_der: Vec<u8>,
    /// When it begins to be valid.
    pub not_before: i64,
    /// The last second in which it is valid.
    pub not_after: i64,
    /// The serial number in hexadecimal, lower-case, without leading zeros; `0` of an old kubeadm's CA.
    pub serial: String,
    /// The public key, as DER of `SubjectPublicKeyInfo`.
    pub public_key: Vec<u8>,
    /// Whether it says that it is an authority.
    pub is_authority: bool,
}

/// Why a text holds no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No `CERTIFICATE` block at all.
    #[error("holds no certificate")]
    None,
    /// A block that cannot be read.
    #[error("certificate {number} of the file cannot be read: {reason}")]
    Malformed {
        /// Counted from 1.
        number: usize,
        /// In the library's words.
        reason: String,
    },
}

impl Certificate {
    /// All certificates of a PEM text, in order; at least one. Text and other blocks around them
    /// (keys) are passed over.
    pub fn parse_pem(pem: &[u8]) -> Result<Vec<Self>, Error> {
        let mut certificates = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
            let malformed = |reason: String| Error::Malformed {
                number: certificates.len() + 1,
                reason,
            };
            let (kind, der) = section.map_err(|error| malformed(pem::fault(&error).into()))?;
            // The kubelet's key is in the same file.
            let der = Zeroizing::new(der);
            if kind == SectionKind::Certificate {
                let read = read(&der).map_err(malformed)?;
                certificates.push(read);
            }
        }
        if certificates.is_empty() {
            return Err(Error::None);
        }
        Ok(certificates)
    }

    /// One certificate of a DER text.
    pub fn parse_der(der: &[u8]) -> Result<Self, Error> {
        read(der).map_err(|reason| Error::Malformed { number: 1, reason })
    }

    /// The certificate as PEM.
    pub fn to_pem(&self) -> String {
        String::clone(&pem::encode("CERTIFICATE", &self.der))
    }

    /// Whether this certificate names that authority as its issuer and has its signature; times and
    /// usages do not matter. `None` where the kind of signature is unknown here.
    pub fn is_signed_by(&self, authority: &Self) -> Option<bool> {
        if self.issuer_der != authority.subject_der {
            return Some(false);
        }
        let (_, own) = X509Certificate::from_der(&self.der).ok()?;
        let (_, signer) = X509Certificate::from_der(&authority.der).ok()?;
        match own.verify_signature(Some(signer.public_key())) {
            Ok(()) => Some(true),
            Err(X509Error::SignatureUnsupportedAlgorithm) => None,
            Err(_) => Some(false),
        }
    }
}

fn read(der: &[u8]) -> Result<Certificate, String> {
    let (rest, x509) = X509Certificate::from_der(der).map_err(|error| match error {
        x509_parser::nom::Err::Incomplete(_) => "it is cut off".to_owned(),
        x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => {
            error.to_string()
        }
    })?;
    if !rest.is_empty() {
        return Err("there is more behind it in its block".into());
    }
    let described = |error: X509Error| error.to_string();
    let constraints = x509.basic_constraints().map_err(described)?;
    let validity = x509.validity();
    let (usages, other_usages) = usages(&x509).map_err(described)?;
    Ok(Certificate {
        der: der.to_vec(),
        profile: Profile {
            // Go takes the last of several.
            common_name: texts(x509.subject().iter_common_name())?
                .pop()
                .unwrap_or_default(),
            organizations: texts(x509.subject().iter_organization())?,
            usages,
            other_usages,
            names: names(&x509)?,
        },
        subject: printable(x509.subject()),
        subject_der: x509.subject().as_raw().to_vec(),
        issuer: printable(x509.issuer()),
        issuer_der: x509.issuer().as_raw().to_vec(),
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
        serial: format!("{:x}", x509.serial),
        public_key: x509.public_key().raw.to_vec(),
        is_authority: constraints.is_some_and(|constraints| constraints.value.ca),
    })
}

/// Values of attributes that Kubernetes compares as texts.
fn texts<'a>(
    attributes: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>,
) -> Result<Vec<String>, String> {
    attributes
        .map(|attribute| text(attribute.attr_value()))
        .collect::<Option<_>>()
        .ok_or_else(|| "a CN or O of its subject is no text".into())
}

/// A `DirectoryString` (RFC 5280, 4.1.2.4), of the old types what can be told for certain.
fn text(value: &Any<'_>) -> Option<String> {
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString => {
            Some(std::str::from_utf8(value.data).ok()?.to_owned())
        }
        Tag::T61String if value.data.is_ascii() => {
            Some(std::str::from_utf8(value.data).ok()?.to_owned())
        }
        Tag::BmpString => {
            let (units, []) = value.data.as_chunks::<2>() else {
                return None;
            };
            let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    }
}

/// A name for people; control characters of strangers do not reach the terminal.
fn printable(name: &X509Name<'_>) -> String {
    shown(&name.to_string())
}

fn shown(text: &str) -> String {
    let safe = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(safe).collect()
}

/// `anyExtendedKeyUsage` stands for both, and is one of the others, too.
fn usages(x509: &X509Certificate<'_>) -> Result<(Usages, Vec<Oid<'static>>), X509Error> {
    let Some(extended) = x509.extended_key_usage()? else {
        return Ok(Default::default());
    };
    let extended = extended.value;
    let usages = Usages {
        server: extended.server_auth || extended.any,
        client: extended.client_auth || extended.any,
    };
    let known = [
        (extended.any, oid!(2.5.29.37.0)),
        (extended.code_signing, oid!(1.3.6.1.5.5.7.3.3)),
        (extended.email_protection, oid!(1.3.6.1.5.5.7.3.4)),
        (extended.time_stamping, oid!(1.3.6.1.5.5.7.3.8)),
        (extended.ocsp_signing, oid!(1.3.6.1.5.5.7.3.9)),
    ];
    let known = known.into_iter().filter_map(|(is, oid)| is.then_some(oid));
    let others = extended.other.iter().map(Oid::to_owned);
    Ok((usages, known.chain(others).collect()))
}

fn names(x509: &X509Certificate<'_>) -> Result<Names, String> {
    let mut names = Names::default();
    let extension = x509.get_extension_unique(&OID_X509_EXT_SUBJECT_ALT_NAME);
    let Some(extension) = extension.map_err(|error| error.to_string())? else {
        return Ok(names);
    };
    let ParsedExtension::SubjectAlternativeName(alternatives) = extension.parsed_extension() else {
        return Err("its subject alternative names cannot be read".into());
    };
    let raw = tbs::each_alternative(extension.value)?;
    if raw.len() != alternatives.general_names.len() {
        return Err("its subject alternative names cannot be read".into());
    }
    for (name, der) in alternatives.general_names.iter().zip(raw) {
        match name {
            GeneralName::DNSName(name)
                if !name.contains(|c: char| c.is_control() || !c.is_ascii()) =>
            {
                names.dns.insert(name.to_ascii_lowercase());
            }
            GeneralName::IPAddress(bytes) => {
                let address = address(bytes).ok_or("an IP address among its names is damaged")?;
                if !names.addresses.contains(&address) {
                    names.addresses.push(address);
                }
            }
            other => {
                let text = other_name(other);
                let other = OtherName {
                    text: shown(&text),
                    der: der.to_vec(),
                };
                if !names.others.contains(&other) {
                    names.others.push(other);
                }
            }
        }
    }
    Ok(names)
}

/// As OpenSSL calls it.
fn other_name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => format!("DNS:{name}"),
        GeneralName::RFC822Name(address) => format!("email:{address}"),
        GeneralName::URI(uri) => format!("URI:{uri}"),
        GeneralName::RegisteredID(oid) => format!("Registered ID:{oid}"),
        GeneralName::DirectoryName(name) => format!("DirName:{name}"),
        GeneralName::OtherName(oid, _) => format!("othername:{oid}"),
        _ => "a name of an unknown kind".to_owned(),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(octets).into());
    }
    let octets = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(octets).into())
}
