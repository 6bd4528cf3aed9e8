//! X.509 certificates as values: what stayput needs to know of one, whoever made it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustls_pki_types::pem::{PemObject, SectionKind};
use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use super::pem;
use super::profile::{Names, Profile, Usages};

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

    /// How long it is valid from its beginning to its end, in seconds.
    pub fn lifetime(&self) -> i64 {
        self.not_after - self.not_before
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
    Ok(Certificate {
        der: der.to_vec(),
        profile: Profile {
            // Go takes the last of several.
            common_name: texts(x509.subject().iter_common_name())?
                .pop()
                .unwrap_or_default(),
            organizations: texts(x509.subject().iter_organization())?,
            usages: usages(&x509).map_err(described)?,
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
    let text = name.to_string();
    if !text.contains(char::is_control) {
        return text;
    }
    let safe = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(safe).collect()
}

/// `anyExtendedKeyUsage` stands for both.
fn usages(x509: &X509Certificate<'_>) -> Result<Usages, X509Error> {
    let Some(extended) = x509.extended_key_usage()? else {
        return Ok(Usages::default());
    };
    let extended = extended.value;
    Ok(Usages {
        server: extended.server_auth || extended.any,
        client: extended.client_auth || extended.any,
    })
}

fn names(x509: &X509Certificate<'_>) -> Result<Names, String> {
    let alternatives = x509.subject_alternative_name();
    let mut names = Names::default();
    let Some(alternatives) = alternatives.map_err(|error| error.to_string())? else {
        return Ok(names);
    };
    for name in &alternatives.value.general_names {
        match name {
            GeneralName::DNSName(name) => {
                names.dns.insert(name.to_ascii_lowercase());
            }
            GeneralName::IPAddress(bytes) => {
                let address = address(bytes).ok_or("an IP address among its names is damaged")?;
                if !names.addresses.contains(&address) {
                    names.addresses.push(address);
                }
            }
            // Mail addresses, URIs: nothing in Kubernetes looks at them.
            _ => {}
        }
    }
    Ok(names)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(octets).into());
    }
    let octets = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(octets).into())
}
