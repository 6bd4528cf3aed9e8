//! Private keys: made here in kubeadm's form, or read in whatever form they are.

use std::fmt;

use zeroize::Zeroizing;

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
    pub(super) pair: rcgen::KeyPair,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text holds no key that can be used.
    #[error("holds no usable private key: {0}")]
    Unusable(String),
    /// The library cannot make one.
    #[error("cannot make a key: {0}")]
    Generate(String),
}

impl PrivateKey {
    /// Makes a key; about 50 ms of processor time for RSA-2048, up to seconds for RSA-4096.
    pub fn generate(_kind: KeyType) -> Result<Self, Error> {
        todo!()
    }

    /// Reads the first private key of a PEM text: PKCS#1, SEC1 or PKCS#8.
    pub fn from_pem(_pem: &[u8]) -> Result<Self, Error> {
        todo!()
    }

    /// The public key, as DER of SubjectPublicKeyInfo.
    pub fn public_key(&self) -> &[u8] {
        todo!()
    }

    /// The public key as PEM (`PUBLIC KEY`), as in kubeadm's sa.pub.
    pub fn public_pem(&self) -> String {
        todo!()
    }

    /// A key that was made here as PEM in kubeadm's form: PKCS#1 for RSA, SEC1 for ECDSA. Not for keys
    /// that were read: those are never written again.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, Error> {
        todo!()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}
