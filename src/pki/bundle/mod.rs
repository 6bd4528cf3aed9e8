//! What one master needs of another before it can issue anything itself: the authorities and the
//! service-account keys, as a tar that is piped through ssh.
//!
//! ```text
//! stayput certs bundle | ssh master-2 stayput certs unbundle
//! ```
//!
//! The archive holds what masters share, by names below `/etc/kubernetes` that the catalogue and the
//! cluster file give: plain ustar, so that
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
mod error;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::FOLDER;
use super::certificate::Certificate;
use super::key::PrivateKey;
use super::service_account;
use super::store::{NewFile, Set};
use super::wanted::{Item, Kind, Wanted};
use crate::clock;
use crate::root::Root;

pub use archive::LIMIT;
pub use error::Error;

/// Two files that belong together, by name below [`FOLDER`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The item, as commands call it.
    pub id: String,
    /// The authority's certificate, or the public keys.
    pub public: String,
    /// The private key.
    pub private: String,
    /// A key pair without a certificate.
    pub keys_only: bool,
}

impl Pair {
    /// What all masters of a cluster share: authorities and key pairs, in the catalogue's order.
    pub fn shared(wanted: &Wanted) -> Vec<Self> {
        let name = |path: &Path| {
            let below = path.strip_prefix(FOLDER).unwrap_or(path);
            below.display().to_string()
        };
        let pair = |item: &Item| {
            let (public, private, keys_only) = match &item.kind {
                Kind::Authority { certificate, key } => (certificate, key, false),
                Kind::KeyPair { key, public } => (public, key, true),
                Kind::Leaf { .. } | Kind::Kubeconfig { .. } => return None,
            };
            Some(Self {
                id: item.id.clone(),
                public: name(public),
                private: name(private),
                keys_only,
            })
        };
        wanted.items.iter().filter_map(pair).collect()
    }

    fn names(&self) -> [&str; 2] {
        [&self.public, &self.private]
    }
}

/// The files, by name below [`FOLDER`].
pub struct Bundle {
    pairs: Vec<Pair>,
    files: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

impl Bundle {
    fn empty(pairs: Vec<Pair>) -> Self {
        let files = BTreeMap::new();
        Self { pairs, files }
    }

    /// Collects what this machine has of these.
    pub fn collect(root: &Root, pairs: Vec<Pair>) -> Result<Self, Error> {
        let mut bundle = Self::empty(pairs);
        for name in bundle.pairs.iter().flat_map(Pair::names) {
            if let Some(bytes) = present(root, name)? {
                bundle.files.insert(name.to_owned(), bytes);
            }
        }
        Ok(bundle)
    }

    /// Checks that everything is there and belongs together, at a Unix time.
    pub fn check(&self, now: i64) -> Result<(), Error> {
        self.pairs.iter().try_for_each(|pair| {
            if pair.keys_only {
                return self.check_keys(pair);
            }
            let signing = self.signing(pair)?;
            match fault(&signing, now) {
                None => Ok(()),
                Some(reason) => Err(unusable(&pair.public, reason)),
            }
        })
    }

    fn check_keys(&self, pair: &Pair) -> Result<(), Error> {
        let advice = "`stayput certs init` writes it again from the private key";
        let public = self.required(&pair.public, advice)?;
        let advice = "it comes from the master that made the cluster";
        let key = private_key(&pair.private, self.required(&pair.private, advice)?)?;
        let keys = public_keys(&pair.public, public)?;
        if keys.iter().any(|public| public == key.public_key()) {
            return Ok(());
        }
        let reason = format!("is not the public key of {}", pair.private);
        Err(unusable(&pair.public, reason))
    }

    /// The certificate that an authority's key belongs to; the first where the key is kept elsewhere.
    fn signing(&self, pair: &Pair) -> Result<Certificate, Error> {
        let advice = "copy it from another master, or see `stayput certs init --new-cluster`";
        let pem = self.required(&pair.public, advice)?;
        let mut all = certificates(&pair.public, pem)?.into_iter();
        let Some(key) = self.files.get(&pair.private) else {
            let first = all.next();
            return first.ok_or_else(|| unusable(&pair.public, "holds no certificate"));
        };
        let key = private_key(&pair.private, key)?;
        let signing = all.find(|one| one.public_key == key.public_key());
        let reason = || format!("is not the key of {}", pair.public);
        signing.ok_or_else(|| unusable(&pair.private, reason()))
    }

    fn required(&self, name: &str, advice: &'static str) -> Result<&[u8], Error> {
        match self.files.get(name) {
            Some(bytes) => Ok(bytes),
            None => Err(Error::Missing(name.to_owned(), advice)),
        }
    }

    /// The authorities that come without their keys, by id.
    pub fn keyless(&self) -> Vec<&str> {
        let has = |name: &String| self.files.contains_key(name);
        let keyless = |pair: &&Pair| has(&pair.public) && !has(&pair.private);
        let keyless = self.pairs.iter().filter(keyless);
        keyless.map(|pair| pair.id.as_str()).collect()
    }

    /// What [`Store`](super::store::Store) has to write so that this machine has all of a bundle that
    /// was [checked](Self::check); empty where it has. Every conflict is named at once.
    pub fn sets(&self, root: &Root) -> Result<Vec<Set>, Error> {
        let here = Self::collect(root, self.pairs.clone())?;
        let conflicts = self.pairs.iter();
        let conflicts = conflicts.flat_map(|pair| self.conflicts(&here, pair));
        let conflicts: Vec<String> = conflicts
            .map(|name| path(name).display().to_string())
            .collect();
        if !conflicts.is_empty() {
            return Err(Error::Conflict(conflicts));
        }
        let sets = self.pairs.iter().map(|pair| Set {
            id: pair.id.clone(),
            // The key takes its place before what is made of it.
            files: [&pair.private, &pair.public]
                .into_iter()
                .filter(|name| !here.files.contains_key(*name))
                .filter_map(|name| self.new_file(name))
                .collect(),
            old_certificate: None,
        });
        Ok(sets.filter(|set| !set.files.is_empty()).collect())
    }

    fn new_file(&self, name: &str) -> Option<NewFile> {
        Some(NewFile {
            path: path(name),
            bytes: self.files.get(name)?.clone(),
            mode: mode(name),
        })
    }

    /// Which of a pair's files this machine has otherwise.
    fn conflicts<'a>(&self, here: &Self, pair: &'a Pair) -> Vec<&'a str> {
        let differs = |name: &&str| match (self.files.get(*name), here.files.get(*name)) {
            (Some(theirs), Some(ours)) => {
                let ours = identity(name, ours);
                ours.is_err() || ours.ok() != identity(name, theirs).ok()
            }
            // A key of this machine, for a certificate that comes without one.
            (None, Some(key)) => !self.certifies(pair, key),
            _ => false,
        };
        pair.names().into_iter().filter(differs).collect()
    }

    /// Whether one of a pair's certificates is that of a private key.
    fn certifies(&self, pair: &Pair, key: &[u8]) -> bool {
        let pem = self.files.get(&pair.public);
        let pem = pem.map(|pem| certificates(&pair.public, pem));
        let (Some(Ok(all)), Ok(key)) = (pem, PrivateKey::from_pem(key)) else {
            return false;
        };
        all.iter().any(|one| one.public_key == key.public_key())
    }
}

/// Why an authority's certificate is of no use at a Unix time.
fn fault(authority: &Certificate, now: i64) -> Option<String> {
    let (begins, ends) = (authority.not_before, authority.not_after);
    if !authority.is_authority {
        let subject = &authority.subject;
        return Some(format!(
            "is not an authority's certificate but that of {subject}"
        ));
    }
    if now > ends {
        return Some(format!(
            "is of no use any more: it ended at {}",
            clock::date(ends)
        ));
    }
    (now < begins).then(|| {
        let begins = clock::date(begins);
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

fn certificates(name: &str, pem: &[u8]) -> Result<Vec<Certificate>, Error> {
    Certificate::parse_pem(pem).map_err(|error| unusable(name, error.to_string()))
}

fn private_key(name: &str, pem: &[u8]) -> Result<PrivateKey, Error> {
    PrivateKey::from_pem(pem).map_err(|error| unusable(name, error.to_string()))
}

/// While service-account keys are rotated there may be several.
fn public_keys(name: &str, pem: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let keys = service_account::public_keys(pem).map_err(|reason| unusable(name, reason))?;
    if keys.is_empty() {
        return Err(unusable(name, "holds no public key"));
    }
    Ok(keys)
}

/// What makes a file the same as another that is written differently: certificates, public keys, the
/// public key of a private one.
fn identity(name: &str, pem: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    match Path::new(name).extension().and_then(|e| e.to_str()) {
        Some("key") => Ok(vec![private_key(name, pem)?.public_key().to_vec()]),
        Some("crt") => {
            let all = certificates(name, pem)?.into_iter();
            Ok(all.map(|certificate| certificate.der).collect())
        }
        _ => public_keys(name, pem),
    }
}

fn unusable(name: &str, reason: impl Into<String>) -> Error {
    let (name, reason) = (name.to_owned(), reason.into());
    Error::Unusable { name, reason }
}
