//! Issues certificates in memory, in the shape that kubeadm gives them (Go's `crypto/x509`). Nothing
//! here touches a file.
//!
//! rcgen writes all but the two names, and what others' certificates may hold of names and usages: it
//! keeps a name as a map, which has no place for `DC=corp, DC=example` or for several organizations.
//! So the names are written by `tbs`, the authority's as the
//! bytes of its own certificate, and the whole is signed afterwards. What was issued is read again
//! and compared with what was asked for before anybody sees it.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, PublicKeyData, SignatureAlgorithm, SigningKey,
};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use super::authority::Authority;
use super::certificate::Certificate;
use super::key::PrivateKey;
use super::profile::Profile;
use super::tbs;

/// kubeadm's allowance for clocks that differ: a certificate begins this many seconds in the past.
pub const BACKDATED: i64 = 300;

/// From when to when a certificate is valid, in Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: i64,
    /// The last second.
    pub not_after: i64,
}

/// Why a certificate was not issued.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The authority's key is not on this machine.
    #[error("the authority's key is not on this machine")]
    NoKey,
    /// The authority's key is another one's.
    #[error("the authority's key does not belong to its certificate ({subject})")]
    ForeignKey {
        /// The authority's subject.
        subject: String,
    },
    /// The library refuses.
    #[error("cannot issue a certificate for {subject}: {reason}")]
    Refused {
        /// The subject's CN.
        subject: String,
        /// In the library's words.
        reason: String,
    },
}

/// A self-signed authority, as PEM.
pub fn authority(profile: &Profile, key: &PrivateKey, validity: Validity) -> Result<String, Error> {
    let refused = refusal(profile);
    let mut parameters = parameters(profile, validity).map_err(&refused)?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages.push(KeyUsagePurpose::KeyCertSign);
    let issuer = Issuer::from_params(&parameters, Unsigned(&key.pair));
    let draft = parameters.signed_by(&key.pair, &issuer);
    let draft = draft.map_err(|error| refused(error.to_string()))?;
    let name = tbs::name(profile).map_err(&refused)?;
    let der = tbs::signed(draft.der(), &name, &name, &key.pair).map_err(&refused)?;
    let wanted = Wanted {
        profile,
        subject: &name,
        validity,
        issuer: &name,
        public_key: key.public_key(),
        is_authority: true,
    };
    wanted.check(&der).map_err(&refused)
}

/// A leaf signed by an authority, as PEM. `subject`: DER that is kept as it stands, with parts that a
/// profile does not know; without it the subject is CN and O as Go writes them. `constraints`: say
/// CA:FALSE.
pub fn leaf(
    authority: &Authority,
    profile: &Profile,
    subject: Option<&[u8]>,
    key: &PrivateKey,
    validity: Validity,
    constraints: bool,
) -> Result<String, Error> {
    let signer = authority.key.as_ref().ok_or(Error::NoKey)?;
    let own = &authority.certificate;
    if signer.public_key() != own.public_key {
        let subject = own.subject.clone();
        return Err(Error::ForeignKey { subject });
    }
    let refused = refusal(profile);
    let mut parameters = parameters(profile, validity).map_err(&refused)?;
    if constraints {
        parameters.custom_extensions.push(no_authority());
    }
    let mut issuer = CertificateParams::default();
    if let Some(identifier) = key_identifier(own).map_err(&refused)? {
        parameters.use_authority_key_identifier_extension = true;
        issuer.key_identifier_method = KeyIdMethod::PreSpecified(identifier);
    }
    let issuer = Issuer::from_params(&issuer, Unsigned(&signer.pair));
    let draft = parameters.signed_by(&key.pair, &issuer);
    let draft = draft.map_err(|error| refused(error.to_string()))?;
    let name = match subject {
        Some(subject) => subject.to_vec(),
        None => tbs::name(profile).map_err(&refused)?,
    };
    let der = tbs::signed(draft.der(), &own.subject_der, &name, &signer.pair).map_err(&refused)?;
    let wanted = Wanted {
        profile,
        subject: &name,
        validity,
        issuer: &own.subject_der,
        public_key: key.public_key(),
        is_authority: false,
    };
    wanted.check(&der).map_err(&refused)
}

fn refusal(profile: &Profile) -> impl Fn(String) -> Error {
    |reason| Error::Refused {
        subject: profile.common_name.clone(),
        reason,
    }
}

/// What all have in common. Key usages are kubeadm's, keyEncipherment also for ECDSA.
fn parameters(profile: &Profile, validity: Validity) -> Result<CertificateParams, String> {
    if profile.common_name.is_empty() {
        return Err("it has no CN".into());
    }
    let mut parameters = CertificateParams::default();
    parameters.not_before = moment(validity.not_before)?;
    parameters.not_after = moment(validity.not_after)?;
    if validity.not_after <= validity.not_before {
        return Err("it would end before it begins".into());
    }
    parameters.serial_number = Some(serial()?.into());
    parameters.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    // Not by rcgen, which has no place for some of what others' certificates hold.
    let mut extension = |oid: &[u64], der| {
        let extension = CustomExtension::from_oid_content(oid, der);
        parameters.custom_extensions.push(extension);
    };
    if let Some(usages) = tbs::usages(profile)? {
        extension(&[2, 5, 29, 37], usages);
    }
    if !profile.names.is_empty() {
        extension(&[2, 5, 29, 17], tbs::alternatives(&profile.names)?);
    }
    Ok(parameters)
}

/// Basic constraints with CA:FALSE. The library would add a subject key identifier.
fn no_authority() -> CustomExtension {
    const EMPTY_SEQUENCE: [u8; 2] = [0x30, 0x00];
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 19], EMPTY_SEQUENCE.to_vec());
    extension.set_criticality(true);
    extension
}

/// A time that a certificate can hold (RFC 5280, 4.1.2.5, ends with the year 9999).
fn moment(seconds: i64) -> Result<OffsetDateTime, String> {
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .filter(|time| (1950..=9999).contains(&time.year()))
        .ok_or_else(|| format!("the time {seconds} is none that a certificate can hold"))
}

/// Random, positive, below 2^63, as kubeadm's.
fn serial() -> Result<u64, String> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "the system gives no random numbers")?;
    Ok((u64::from_be_bytes(bytes) >> 1).max(1))
}

/// The authority's subject key identifier. Without one Go writes none into leaves either.
fn key_identifier(authority: &Certificate) -> Result<Option<Vec<u8>>, String> {
    let (_, x509) = X509Certificate::from_der(&authority.der).map_err(|error| error.to_string())?;
    let identifier = |extension: &ParsedExtension<'_>| match extension {
        ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
        _ => None,
    };
    Ok(x509
        .iter_extensions()
        .find_map(|extension| identifier(extension.parsed_extension())))
}

/// Signs nothing: the draft is signed once its names are in it.
struct Unsigned<'a>(&'a KeyPair);

impl PublicKeyData for Unsigned<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl SigningKey for Unsigned<'_> {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Vec::new())
    }
}

/// What was asked for.
struct Wanted<'a> {
    profile: &'a Profile,
    subject: &'a [u8],
    validity: Validity,
    issuer: &'a [u8],
    public_key: &'a [u8],
    is_authority: bool,
}

impl Wanted<'_> {
    /// Reads what was issued; as PEM where it says what was asked for, else what differs.
    fn check(&self, der: &[u8]) -> Result<String, String> {
        let issued = Certificate::parse_der(der).map_err(|error| error.to_string())?;
        let (is, want) = (&issued.profile, self.profile);
        let differs = [
            ("CN or O", !is.same_subject(want)),
            ("subject", issued.subject_der != self.subject),
            (
                "usages",
                is.usages != want.usages || is.other_usages != want.other_usages,
            ),
            ("names", is.names != want.names),
            ("issuer", issued.issuer_der != self.issuer),
            ("key", issued.public_key != self.public_key),
            ("beginning", issued.not_before != self.validity.not_before),
            ("end", issued.not_after != self.validity.not_after),
            ("authority", issued.is_authority != self.is_authority),
        ];
        match differs.iter().find(|(_, differs)| *differs) {
            None => Ok(issued.to_pem()),
            Some((what, _)) => Err(format!("its {what} would not be what was asked for")),
        }
    }
}

#[cfg(test)]
mod tests;
