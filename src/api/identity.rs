//! Certificates and keys that a client proves itself with, and authorities that it trusts, read from
//! files below the root.

use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::https::Identity;
use crate::pki::certificate::{self, Certificate};
use crate::pki::key::{self, PrivateKey};
use crate::root::Root;

/// Far above a bundle of authorities, or a chain and its key.
const LIMIT: u64 = 1 << 20;

/// Why a file cannot be used. Nothing of a key is in any of the texts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not there.
    #[error("{} is not there; `stayput certs status` tells what is missing", .0.display())]
    Missing(PathBuf),
    /// It is no certificate.
    #[error("{} {source}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: certificate::Error,
    },
    /// It is no key.
    #[error("{} {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: key::Error,
    },
}

/// The certificates of a file; at least one.
pub fn certificates(root: &Root, path: &Path) -> Result<Vec<Certificate>, Error> {
    let read = Certificate::parse_pem(&bytes(root, path)?);
    read.map_err(|source| Error::Certificate {
        path: path.to_owned(),
        source,
    })
}

/// A certificate, with its chain, and its key; both may be in one file.
pub fn identity(root: &Root, certificate: &Path, key: &Path) -> Result<Identity, Error> {
    let certificates = certificates(root, certificate)?;
    let read = PrivateKey::from_pem(&bytes(root, key)?);
    let key = read.map_err(|source| Error::Key {
        path: key.to_owned(),
        source,
    })?;
    Ok(Identity { certificates, key })
}

/// What a file holds, which may be a key.
pub(super) fn bytes(root: &Root, path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    match root.read(path, LIMIT) {
        Ok(Some(bytes)) => Ok(Zeroizing::new(bytes)),
        Ok(None) => Err(Error::Missing(path.to_owned())),
        Err(source) => Err(Error::Read {
            path: path.to_owned(),
            source,
        }),
    }
}
