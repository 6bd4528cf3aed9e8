//! Makes records with this master's own key.

use std::fmt;
use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use zeroize::Zeroize;

use super::certificate::{self, MasterCertificate};
use super::record::{self, Record};
use super::statement::{self, Says, Statement};
use crate::address::Loopback;
use crate::api::identity;
use crate::name::Name;
use crate::root::Root;

/// This master's certificate, issued and renewed as the others are.
pub const CERTIFICATE: &str = "/etc/kubernetes/pki/stayput.crt";
/// Its key.
pub const KEY: &str = "/etc/kubernetes/pki/stayput.key";

/// How often the pair is read again, because it is being renewed at this moment: between the two renames
/// lie microseconds.
const ATTEMPTS: usize = 5;

/// The key of a master, with its certificate. It shows nothing of the key.
pub struct Signer {
    key: EcdsaKeyPair,
    own: MasterCertificate,
    cluster: Name,
    loopback: Loopback,
}

/// Why nothing can be signed. Nothing of a key is in any of the texts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is missing or makes no sense.
    #[error(transparent)]
    File(#[from] identity::Error),
    /// Two halves of different pairs.
    #[error("{KEY} does not belong to {CERTIFICATE}; see `stayput certs verify`")]
    Pair,
    /// It is not such a certificate as masters have.
    #[error(
        "{CERTIFICATE} is no certificate to speak with: {0}; `stayput certs renew --force stayput` makes a good one"
    )]
    Certificate(#[from] certificate::Error),
    /// Another kind of key.
    #[error(
        "{KEY} is not a key of P-256; remove the pair, and `stayput certs renew stayput` makes a good one"
    )]
    Key,
    /// It may not be said.
    #[error("{0}")]
    Statement(#[from] statement::Error),
    /// It is another cluster's, or another master's to say.
    #[error("{signer} cannot say in {cluster} where {master} is")]
    NotOurs {
        /// This master.
        signer: Name,
        /// The statement's cluster.
        cluster: Name,
        /// The statement's master.
        master: Name,
    },
    /// It would be too long.
    #[error("{0}")]
    Record(#[from] record::Error),
    /// The library refuses.
    #[error("cannot sign with {KEY}: the cryptographic library refuses")]
    Refused,
}

impl Signer {
    /// Reads this master's pair below the root, for the cluster of that domain.
    pub fn load(root: &Root, cluster: &Name) -> Result<Self, Error> {
        let (certificate, key) = (Path::new(CERTIFICATE), Path::new(KEY));
        for _ in 0..ATTEMPTS {
            let pair = identity::identity(root, certificate, key)?;
            let Some(leaf) = pair.certificates.first() else {
                continue;
            };
            if pair.key.public_key() != leaf.public_key {
                continue;
            }
            let own = MasterCertificate::read(&leaf.der, cluster)?;
            let key = pair.key.for_handshakes().ok_or(Error::Key)?;
            return Self::new(key, own, cluster, root.loopback());
        }
        Err(Error::Pair)
    }

    fn new(
        mut der: PrivateKeyDer<'static>,
        own: MasterCertificate,
        cluster: &Name,
        loopback: Loopback,
    ) -> Result<Self, Error> {
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let key = EcdsaKeyPair::from_private_key_der(algorithm, der.secret_der());
        der.zeroize();
        Ok(Self {
            key: key.map_err(|_| Error::Key)?,
            own,
            cluster: cluster.clone(),
            loopback,
        })
    }

    /// Signs what may be said: where this master is itself, and that any was removed or replaced.
    pub fn sign(&self, statement: &Statement) -> Result<Record, Error> {
        let own_word = matches!(statement.says, Says::At(_));
        let ours =
            statement.cluster == self.cluster && (!own_word || statement.master == self.own.master);
        if !ours {
            return Err(Error::NotOurs {
                signer: self.own.master.clone(),
                cluster: statement.cluster.clone(),
                master: statement.master.clone(),
            });
        }
        let statement = statement.encode(self.loopback)?;
        let signed = Record::signed(&statement);
        let signature = self.key.sign(&SystemRandom::new(), &signed);
        let record = Record {
            statement,
            certificate: self.own.certificate.der.clone(),
            signature: signature.map_err(|_| Error::Refused)?.as_ref().to_vec(),
        };
        record.encode()?;
        Ok(record)
    }

    /// The master whose key it is, fully qualified.
    pub fn master(&self) -> &Name {
        &self.own.master
    }

    /// Its certificate, with the master's name.
    pub fn certificate(&self) -> &MasterCertificate {
        &self.own
    }

    /// The cluster's domain.
    pub fn cluster(&self) -> &Name {
        &self.cluster
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("own", &self.own.master)
            .finish_non_exhaustive()
    }
}
