//! What one master needs of another before it can issue anything itself: the authorities and the
//! service-account keys, as a tar that is piped through ssh.
//!
//! ```text
//! stayput certs bundle | ssh master-2 stayput certs unbundle
//! ```
//!
//! The archive holds eight names at most, below `/etc/kubernetes`: plain ustar, so that
//! `tar -x -C /etc/kubernetes` reads it too, and one that `tar` made is taken where it holds nothing
//! else. It is checked as a whole before it leaves and again where it arrives: a key that does not
//! belong to its certificate would be found out by every master later.
//!
//! An authority whose key is kept elsewhere (kubeadm's external CA) travels as its certificate alone:
//! the other master needs that one too, and [`Bundle::keyless`] tells it, so that nobody takes it for
//! more. Everything else has to be there.
//!
//! Nothing that exists is replaced. What is the same already stays as it is, byte for byte, so that
//! a bundle can be read twice; anything else is a conflict, and then nothing at all is written.

mod archive;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroizing;

use super::FOLDER;
use super::certificate::Certificate;
use super::key::PrivateKey;
use super::pem;
use super::store::{NewFile, Set};
use crate::clock;
use crate::root::Root;

pub use archive::LIMIT;

/// Two files that belong together, by name below [`FOLDER`].
struct Pair {
    /// The item, as commands call it.
    id: &'static str,
    /// The authority's certificate, or the public keys.
    public: &'static str,
    /// The private key.
    private: &'static str,
}

const AUTHORITIES: [Pair; 3] = [
    Pair {
        id: "ca",
        public: "pki/ca.crt",
        private: "pki/ca.key",
    },
    Pair {
        id: "front-proxy-ca",
        public: "pki/front-proxy-ca.crt",
        private: "pki/front-proxy-ca.key",
    },
    Pair {
        id: "etcd-ca",
        public: "pki/etcd/ca.crt",
        private: "pki/etcd/ca.key",
    },
];

/// The service-account keys.
const SA: Pair = Pair {
    id: "sa",
    public: "pki/sa.pub",
    private: "pki/sa.key",
};

/// All of them, in the archive's order.
fn pairs() -> impl Iterator<Item = &'static Pair> {
    AUTHORITIES.iter().chain([&SA])
}

fn names() -> impl Iterator<Item = &'static str> {
    pairs().flat_map(|pair| [pair.public, pair.private])
}

/// The files, by name below [`FOLDER`].
#[derive(Default)]
pub struct Bundle {
    files: BTreeMap<&'static str, Zeroizing<Vec<u8>>>,
}

/// Why there is no bundle, or why it is not taken. Names are relative to [`FOLDER`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of this machine cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The archive cannot be read or written.
    #[error("cannot {operation} the bundle: {source}")]
    Archive {
        /// What was being done.
        operation: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// It is larger than any bundle.
    #[error("the bundle is larger than {LIMIT} bytes; make it with `stayput certs bundle`")]
    TooLarge,
    /// No archive, or the beginning of one.
    #[error(
        "the bundle is empty, cut off, or no tar at all; did `stayput certs bundle` fail on the other master?"
    )]
    CutOff,
    /// Something that is none of the files.
    #[error("the bundle holds '{name}', {what}; make it with `stayput certs bundle`")]
    Unexpected {
        /// The entry's name, with escapes for what a terminal would not show.
        name: String,
        /// What is wrong about it.
        what: &'static str,
    },
    /// A file that a second master cannot do without.
    #[error("there is no {0}; {1}")]
    Missing(&'static str, &'static str),
    /// A file that cannot be used.
    #[error("{name} {reason}")]
    Unusable {
        /// The file.
        name: &'static str,
        /// Why, as in `holds no certificate`.
        reason: String,
    },
    /// This machine has others already.
    #[error(
        "this machine has other files of that name: {}; nothing was changed. A master that belongs to another cluster must be reset first; if only a file is left over, move it away",
        .0.join(", ")
    )]
    Conflict(Vec<String>),
}

impl Error {
    fn archive(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Archive { operation, source }
    }
}

impl Bundle {
    /// Collects what this machine has.
    pub fn collect(root: &Root) -> Result<Self, Error> {
        let mut bundle = Self::default();
        for name in names() {
            if let Some(bytes) = present(root, name)? {
                bundle.files.insert(name, bytes);
            }
        }
        Ok(bundle)
    }

    /// Checks that everything is there and belongs together, at a Unix time.
    pub fn check(&self, now: i64) -> Result<(), Error> {
        for pair in &AUTHORITIES {
            let signing = self.signing(pair)?;
            if let Some(reason) = fault(&signing, now) {
                return Err(unusable(pair.public, reason));
            }
        }
        let advice = "`stayput certs init` writes it again from pki/sa.key";
        let public = self.required(SA.public, advice)?;
        let advice = "it comes from the master that made the cluster";
        let key = private_key(SA.private, self.required(SA.private, advice)?)?;
        if public_keys(SA.public, public)?
            .iter()
            .any(|public| public == key.public_key())
        {
            return Ok(());
        }
        let reason = format!("is not the public key of {}", SA.private);
        Err(unusable(SA.public, reason))
    }

    /// The certificate that an authority's key belongs to; the first where the key is kept elsewhere.
    fn signing(&self, pair: &Pair) -> Result<Certificate, Error> {
        let advice = "copy it from another master, or see `stayput certs init --new-cluster`";
        let pem = self.required(pair.public, advice)?;
        let mut all = certificates(pair.public, pem)?.into_iter();
        let Some(key) = self.files.get(pair.private) else {
            let first = all.next();
            return first.ok_or_else(|| unusable(pair.public, "holds no certificate"));
        };
        let key = private_key(pair.private, key)?;
        let signing = all.find(|one| one.public_key == key.public_key());
        let reason = || format!("is not the key of {}", pair.public);
        signing.ok_or_else(|| unusable(pair.private, reason()))
    }

    fn required(&self, name: &'static str, advice: &'static str) -> Result<&[u8], Error> {
        match self.files.get(name) {
            Some(bytes) => Ok(bytes),
            None => Err(Error::Missing(name, advice)),
        }
    }

    /// The authorities that come without their keys, by id.
    pub fn keyless(&self) -> Vec<&'static str> {
        let has = |name| self.files.contains_key(name);
        let keyless = |pair: &&Pair| has(pair.public) && !has(pair.private);
        AUTHORITIES
            .iter()
            .filter(keyless)
            .map(|pair| pair.id)
            .collect()
    }

    /// What [`Store`](super::store::Store) has to write so that this machine has all of a bundle that
    /// was [checked](Self::check); empty where it has. Every conflict is named at once.
    pub fn sets(&self, root: &Root) -> Result<Vec<Set>, Error> {
        let here = Self::collect(root)?;
        let conflicts = pairs().flat_map(|pair| self.conflicts(&here, pair));
        let conflicts: Vec<String> = conflicts
            .map(|name| path(name).display().to_string())
            .collect();
        if !conflicts.is_empty() {
            return Err(Error::Conflict(conflicts));
        }
        let sets = pairs().map(|pair| Set {
            id: pair.id.to_owned(),
            // The key takes its place before what is made of it.
            files: [pair.private, pair.public]
                .into_iter()
                .filter(|name| !here.files.contains_key(name))
                .filter_map(|name| self.new_file(name))
                .collect(),
            old_certificate: None,
        });
        Ok(sets.filter(|set| !set.files.is_empty()).collect())
    }

    fn new_file(&self, name: &'static str) -> Option<NewFile> {
        Some(NewFile {
            path: path(name),
            bytes: self.files.get(name)?.clone(),
            mode: mode(name),
        })
    }

    /// Which of a pair's files this machine has otherwise.
    fn conflicts(&self, here: &Self, pair: &Pair) -> Vec<&'static str> {
        let differs = |name: &&'static str| match (self.files.get(name), here.files.get(name)) {
            (Some(theirs), Some(ours)) => {
                let ours = identity(name, ours);
                ours.is_err() || ours.ok() != identity(name, theirs).ok()
            }
            // A key of this machine, for a certificate that comes without one.
            (None, Some(key)) => !self.certifies(pair, key),
            _ => false,
        };
        [pair.public, pair.private]
            .into_iter()
            .filter(differs)
            .collect()
    }

    /// Whether one of a pair's certificates is that of a private key.
    fn certifies(&self, pair: &Pair, key: &[u8]) -> bool {
        let pem = self
            .files
            .get(pair.public)
            .map(|pem| certificates(pair.public, pem));
        let (Some(Ok(all)), Ok(key)) = (pem, PrivateKey::from_pem(key)) else {
            return false;
        };
        all.iter().any(|one| one.public_key == key.public_key())
    }
}

/// Why an authority's certificate is of no use at a Unix time.
fn fault(authority: &Certificate, now: i64) -> Option<String> {
    let at = |time: i64| clock::rfc3339(u64::try_from(time).unwrap_or(0));
    let (begins, ends) = (authority.not_before, authority.not_after);
    if !authority.is_authority {
        let subject = &authority.subject;
        return Some(format!(
            "is not an authority's certificate but that of {subject}"
        ));
    }
    if now > ends {
        return Some(format!("is of no use any more: it ended at {}", at(ends)));
    }
    (now < begins).then(|| {
        let begins = at(begins);
        format!("is not valid before {begins}; is this machine's clock right?")
    })
}

/// Names and sizes: the contents are nobody's business.
impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes = self.files.iter().map(|(name, bytes)| (name, bytes.len()));
        f.debug_map().entries(sizes).finish()
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// kubeadm's modes.
fn mode(name: &str) -> u32 {
    if Path::new(name).extension().is_some_and(|e| e == "crt") {
        0o644
    } else {
        0o600
    }
}

fn present(root: &Root, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let path = path(name);
    match root.read(&path, LIMIT) {
        Ok(bytes) => Ok(bytes.map(Zeroizing::new)),
        Err(source) => Err(Error::File { path, source }),
    }
}

fn certificates(name: &'static str, pem: &[u8]) -> Result<Vec<Certificate>, Error> {
    Certificate::parse_pem(pem).map_err(|error| unusable(name, error.to_string()))
}

fn private_key(name: &'static str, pem: &[u8]) -> Result<PrivateKey, Error> {
    PrivateKey::from_pem(pem).map_err(|error| unusable(name, error.to_string()))
}

/// All public keys of a PEM text, as DER of `SubjectPublicKeyInfo`: while service-account keys are
/// rotated there may be several.
fn public_keys(name: &'static str, pem: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let keys = SubjectPublicKeyInfoDer::pem_slice_iter(pem).map(|key| Ok(key?.to_vec()));
    let keys: Result<Vec<_>, rustls_pki_types::pem::Error> = keys.collect();
    let keys = keys.map_err(|error| unusable(name, pem::fault(&error)))?;
    if keys.is_empty() {
        return Err(unusable(name, "holds no public key"));
    }
    Ok(keys)
}

/// What makes a file the same as another that is written differently: certificates, public keys, the
/// public key of a private one.
fn identity(name: &'static str, pem: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    match Path::new(name).extension().and_then(|e| e.to_str()) {
        Some("key") => Ok(vec![private_key(name, pem)?.public_key().to_vec()]),
        Some("crt") => {
            let all = certificates(name, pem)?.into_iter();
            Ok(all.map(|certificate| certificate.der).collect())
        }
        _ => public_keys(name, pem),
    }
}

fn unusable(name: &'static str, reason: impl Into<String>) -> Error {
    let reason = reason.into();
    Error::Unusable { name, reason }
}
