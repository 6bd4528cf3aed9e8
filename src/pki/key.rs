//! Private keys: made here in kubeadm's form, or read in whatever form they are.
//!
//! What is read: PKCS#1 (RFC 8017), SEC1 (RFC 5915) and PKCS#8 (RFC 5208), told apart by their
//! contents as Go does, not by the label of their PEM block. Kubernetes takes RSA and the NIST
//! curves, never Ed25519, so neither does this module. A key that was read is never written again:
//! [`PrivateKey::to_pem`] refuses it.

use std::fmt;
use std::num::NonZero;
use std::sync::Mutex;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm,
};
use rcgen::{KeyPair, PublicKeyData, RsaKeySize, SignatureAlgorithm};
use rustls_pki_types::pem::{PemObject, SectionKind};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use x509_parser::asn1_rs::{Any, FromDer, Oid, Tag};
use x509_parser::oid_registry;
use zeroize::{Zeroize, Zeroizing};

use super::pem;

/// The kinds of keys that are made (kubeadm's `encryptionAlgorithm`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeyType {
    /// 2048 bits.
    #[default]
    Rsa2048,
    /// 3072 bits.
    Rsa3072,
    /// 4096 bits.
    Rsa4096,
    /// NIST P-256.
    EcdsaP256,
    /// NIST P-384.
    EcdsaP384,
}

/// A private key. It shows nothing of itself and is wiped when dropped, as far as libraries allow.
pub struct PrivateKey {
    pub(super) pair: KeyPair,
    public_key: Vec<u8>,
    /// The kind of a key that was made here; a key that was read has none.
    made: Option<KeyType>,
}

/// Why there is no key. Nothing of a key is in any of the texts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text holds no key that can be used.
    #[error("holds no usable private key: {0}")]
    Unusable(String),
    /// The library cannot make one.
    #[error("cannot make a key: {0}")]
    Generate(String),
    /// A key that was read would be written.
    #[error("a key that was read is never written again; copy its file instead")]
    Loaded,
}

impl Error {
    fn unusable(reason: impl Into<String>) -> Self {
        Self::Unusable(reason.into())
    }
}

impl PrivateKey {
    /// Makes a key; about 50 ms of processor time for RSA-2048, up to seconds for RSA-4096.
    pub fn generate(kind: KeyType) -> Result<Self, Error> {
        let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
        let pair = match kind {
            KeyType::Rsa2048 => rsa(RsaKeySize::_2048),
            KeyType::Rsa3072 => rsa(RsaKeySize::_3072),
            KeyType::Rsa4096 => rsa(RsaKeySize::_4096),
            KeyType::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            KeyType::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        };
        let pair = pair.map_err(|error| Error::Generate(error.to_string()))?;
        Ok(Self::new(pair, Some(kind)))
    }

    /// Reads the first private key of a PEM text: PKCS#1, SEC1 or PKCS#8. Text and other blocks
    /// around it (`EC PARAMETERS`, certificates) are passed over.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        if let Some(reason) = encrypted(pem) {
            return Err(Error::unusable(reason));
        }
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
            let (kind, der) = section.map_err(|error| Error::unusable(pem::fault(&error)))?;
            let der = Zeroizing::new(der);
            if let SectionKind::RsaPrivateKey
            | SectionKind::EcPrivateKey
            | SectionKind::PrivateKey = kind
            {
                return Self::from_der(&der);
            }
        }
        Err(Error::unusable("there is no PRIVATE KEY block in it"))
    }

    fn from_der(der: &[u8]) -> Result<Self, Error> {
        let (form, algorithm) = recognise(der)?;
        let key = match form {
            Form::Pkcs1 => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der)),
            Form::Sec1 => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(der)),
            Form::Pkcs8 => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der)),
        };
        // The library's words tell the kind of fault only, and in its own terms.
        let pair = KeyPair::from_der_and_sign_algo(&key, algorithm).map_err(|_| {
            let length = if *algorithm == rcgen::PKCS_RSA_SHA256 {
                ", or shorter than 2048 or longer than 8192 bits"
            } else {
                ""
            };
            Error::unusable(format!("it is damaged{length}"))
        })?;
        Ok(Self::new(pair, None))
    }

    /// The key as it was read or made, for the library of handshakes, which wipes its copy.
    pub(crate) fn for_handshakes(&self) -> Option<PrivateKeyDer<'static>> {
        let der = PrivateKeyDer::try_from(self.pair.serialized_der());
        der.ok().map(|der| der.clone_key())
    }

    fn new(pair: KeyPair, made: Option<KeyType>) -> Self {
        let public_key = pair.subject_public_key_info();
        Self {
            pair,
            public_key,
            made,
        }
    }

    /// The public key, as DER of `SubjectPublicKeyInfo`.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The public key as PEM (`PUBLIC KEY`), as in kubeadm's sa.pub.
    pub fn public_pem(&self) -> String {
        String::clone(&pem::encode("PUBLIC KEY", &self.public_key))
    }

    /// A key that was made here as PEM in kubeadm's form: PKCS#1 for RSA, SEC1 for ECDSA. Keys that
    /// were read are never written again: [`Error::Loaded`].
    pub fn to_pem(&self) -> Result<Zeroizing<String>, Error> {
        let pkcs8 = self.pair.serialized_der();
        match self.made.ok_or(Error::Loaded)? {
            KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => {
                let inner = read_pkcs8(pkcs8).ok_or_else(|| Error::unusable("no PKCS#8"))?;
                Ok(pem::encode("RSA PRIVATE KEY", inner.key))
            }
            KeyType::EcdsaP256 => sec1(pkcs8, &ECDSA_P256_SHA256_ASN1_SIGNING),
            KeyType::EcdsaP384 => sec1(pkcs8, &ECDSA_P384_SHA384_ASN1_SIGNING),
        }
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.pair.zeroize();
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}

/// Whether a public key (DER of `SubjectPublicKeyInfo`) is one of NIST P-256, as a whole point.
pub fn is_p256(public_key: &[u8]) -> bool {
    // RFC 5480: SEQUENCE { SEQUENCE { id-ecPublicKey, secp256r1 }, BIT STRING { 04 X Y } }.
    const HEAD: [u8; 27] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08,
        0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
    ];
    public_key.len() == HEAD.len() + 64 && public_key.starts_with(&HEAD)
}

/// Makes keys of these kinds, in their order, on all processors at once.
pub fn generate_all(kinds: &[KeyType]) -> Result<Vec<PrivateKey>, Error> {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    // The time that an RSA key takes varies by ten: each thread takes the next one when it is free.
    let left = Mutex::new(kinds.iter().copied().enumerate());
    let next = || match left.lock() {
        Ok(mut left) => left.next(),
        Err(poisoned) => poisoned.into_inner().next(),
    };
    let work = || -> Vec<_> {
        std::iter::from_fn(next)
            .map(|(index, kind)| (index, PrivateKey::generate(kind)))
            .collect()
    };
    let mut made = std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..processors.min(kinds.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let mut made = work();
        for helper in helpers {
            // Generating does not panic; if it did, the key would be missing below.
            made.extend(helper.join().unwrap_or_default());
        }
        made
    });
    if made.len() != kinds.len() {
        return Err(Error::Generate("a thread ended before its time".into()));
    }
    made.sort_by_key(|(index, _)| *index);
    made.into_iter().map(|(_, key)| key).collect()
}

/// SEC1 with the curve's name in it, without which Go does not read it.
fn sec1(pkcs8: &[u8], curve: &'static EcdsaSigningAlgorithm) -> Result<Zeroizing<String>, Error> {
    let failed = |_| Error::unusable("the library does not write it as SEC1");
    let key = EcdsaKeyPair::from_pkcs8(curve, pkcs8)
        .map_err(|error| Error::unusable(error.to_string()))?;
    let der = key.private_key().as_der().map_err(failed)?;
    Ok(pem::encode("EC PRIVATE KEY", der.as_ref()))
}

/// Kubernetes asks nobody for a pass phrase.
fn encrypted(pem: &[u8]) -> Option<&'static str> {
    const MARKS: [&[u8]; 2] = [
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----",
        b"Proc-Type: 4,ENCRYPTED",
    ];
    let is_there = |mark: &&[u8]| pem.windows(mark.len()).any(|window| window == *mark);
    MARKS
        .iter()
        .any(is_there)
        .then_some("it is encrypted, which Kubernetes does not read; decrypt it with openssl pkey")
}

/// How a key is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `RSAPrivateKey` (RFC 8017, A.1.2).
    Pkcs1,
    /// `ECPrivateKey` (RFC 5915).
    Sec1,
    /// `PrivateKeyInfo` (RFC 5208).
    Pkcs8,
}

/// What of a `PrivateKeyInfo` matters.
struct Pkcs8<'a> {
    algorithm: Oid<'a>,
    curve: Option<Oid<'a>>,
    key: &'a [u8],
}

/// Tells the forms apart by what follows the version number.
fn recognise(der: &[u8]) -> Result<(Form, &'static SignatureAlgorithm), Error> {
    let damaged = || Error::unusable("it is damaged or cut off");
    let (rest, whole) = Any::from_der(der).map_err(|_| damaged())?;
    if !rest.is_empty() {
        return Err(Error::unusable("there is more behind it in its block"));
    }
    let (rest, _version) = Any::from_der(whole.data).map_err(|_| damaged())?;
    let (rest, second) = Any::from_der(rest).map_err(|_| damaged())?;
    match second.tag() {
        Tag::Integer => Ok((Form::Pkcs1, &rcgen::PKCS_RSA_SHA256)),
        Tag::OctetString => {
            let curve = sec1_curve(rest);
            let curve = curve.ok_or_else(|| Error::unusable("it does not name its curve"))?;
            Ok((Form::Sec1, by_curve(&curve)?))
        }
        _ => {
            let inner = read_pkcs8(der).ok_or_else(damaged)?;
            Ok((Form::Pkcs8, by_algorithm(&inner)?))
        }
    }
}

/// The named curve: `parameters [0]` behind the private key.
fn sec1_curve(rest: &[u8]) -> Option<Oid<'_>> {
    let (_, parameters) = Any::from_der(rest).ok()?;
    let tagged = parameters.header.is_contextspecific() && parameters.tag() == Tag(0);
    let named = tagged.then_some(parameters.data)?;
    Some(Oid::from_der(named).ok()?.1)
}

fn read_pkcs8(der: &[u8]) -> Option<Pkcs8<'_>> {
    let (_, whole) = Any::from_der(der).ok()?;
    let (rest, _version) = Any::from_der(whole.data).ok()?;
    let (rest, identifier) = Any::from_der(rest).ok()?;
    let (_, key) = Any::from_der(rest).ok()?;
    let (parameters, algorithm) = Oid::from_der(identifier.data).ok()?;
    (key.tag() == Tag::OctetString).then_some(Pkcs8 {
        algorithm,
        curve: Oid::from_der(parameters).ok().map(|(_, curve)| curve),
        key: key.data,
    })
}

fn by_algorithm(key: &Pkcs8<'_>) -> Result<&'static SignatureAlgorithm, Error> {
    if key.algorithm == oid_registry::OID_PKCS1_RSAENCRYPTION {
        Ok(&rcgen::PKCS_RSA_SHA256)
    } else if key.algorithm == oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = key.curve.as_ref();
        by_curve(curve.ok_or_else(|| Error::unusable("it does not name its curve"))?)
    } else {
        let what = if key.algorithm == oid_registry::OID_SIG_ED25519 {
            "an Ed25519 key".to_owned()
        } else {
            format!("a key of the algorithm {}", key.algorithm)
        };
        let reason = format!("it is {what}; Kubernetes takes RSA and ECDSA (P-256, P-384, P-521)");
        Err(Error::unusable(reason))
    }
}

fn by_curve(curve: &Oid<'_>) -> Result<&'static SignatureAlgorithm, Error> {
    if *curve == oid_registry::OID_EC_P256 {
        Ok(&rcgen::PKCS_ECDSA_P256_SHA256)
    } else if *curve == oid_registry::OID_NIST_EC_P384 {
        Ok(&rcgen::PKCS_ECDSA_P384_SHA384)
    } else if *curve == oid_registry::OID_NIST_EC_P521 {
        Ok(&rcgen::PKCS_ECDSA_P521_SHA512)
    } else {
        let reason =
            format!("its curve {curve} is none that Kubernetes takes (P-256, P-384, P-521)");
        Err(Error::unusable(reason))
    }
}

#[cfg(test)]
mod tests;
