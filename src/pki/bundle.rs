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

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use tar::{Archive, Builder, EntryType, Header};
use zeroize::Zeroizing;

use super::FOLDER;
use super::certificate::Certificate;
use super::key::PrivateKey;
use super::pem;
use super::store::{NewFile, Set};
use crate::clock;
use crate::root::Root;

/// The authorities, by id: certificate and key.
const AUTHORITIES: [(&str, &str, &str); 3] = [
    ("ca", "pki/ca.crt", "pki/ca.key"),
    (
        "front-proxy-ca",
        "pki/front-proxy-ca.crt",
        "pki/front-proxy-ca.key",
    ),
    ("etcd-ca", "pki/etcd/ca.crt", "pki/etcd/ca.key"),
];

/// The service-account keys, last in the archive: one that ends too early lacks them.
const SA: &str = "sa";
const SA_KEY: &str = "pki/sa.key";
const SA_PUB: &str = "pki/sa.pub";

/// How many bytes an archive may have; a usual one has 20,000.
pub const LIMIT: u64 = 1 << 20;

/// A tar ends with two blocks of zeros (POSIX pax, ustar interchange format).
const END: [u8; 1024] = [0; 1024];

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
        /// The entry's name.
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

    /// Reads an archive to its end before anything is made of it. Regular files of the expected names
    /// only, each once; the folders that they lie in are passed over.
    pub fn read(input: impl Read) -> Result<Self, Error> {
        let failed = |source| Error::Archive {
            operation: "read",
            source,
        };
        let bytes = read_bounded(input)?;
        if !bytes.ends_with(&END) {
            return Err(Error::CutOff);
        }
        let mut bundle = Self::default();
        let mut archive = Archive::new(bytes.as_slice());
        for entry in archive.entries().map_err(failed)? {
            let mut entry = entry.map_err(failed)?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let kind = entry.header().entry_type();
            let folder = matches!(path.as_str(), "pki" | "pki/" | "pki/etcd" | "pki/etcd/");
            if kind == EntryType::Directory && folder {
                continue;
            }
            let refused = |what| {
                let name = path.clone();
                Error::Unexpected { name, what }
            };
            let name = names().find(|name| *name == path);
            let name = name.ok_or_else(|| refused("which does not belong there"))?;
            if kind != EntryType::Regular {
                return Err(refused("which is no regular file"));
            }
            let room = usize::try_from(entry.size()).map_or(0, |size| size.min(bytes.len()));
            let mut contents = Zeroizing::new(Vec::with_capacity(room));
            entry.read_to_end(&mut contents).map_err(failed)?;
            if bundle.files.insert(name, contents).is_some() {
                return Err(refused("twice"));
            }
        }
        Ok(bundle)
    }

    /// Writes the archive: keys 0600, the rest as kubeadm's files, no times and no owners.
    pub fn write(&self, output: impl Write) -> Result<(), Error> {
        let mut archive = Builder::new(output);
        let written = names()
            .filter_map(|name| Some((name, self.files.get(name)?)))
            .try_for_each(|(name, bytes)| {
                let mut header = Header::new_ustar();
                header.set_entry_type(EntryType::Regular);
                header.set_mode(mode(name));
                header.set_size(bytes.len() as u64);
                archive.append_data(&mut header, name, bytes.as_slice())
            })
            .and_then(|()| archive.finish())
            .and_then(|()| archive.get_mut().flush());
        written.map_err(|source| Error::Archive {
            operation: "write",
            source,
        })
    }

    /// Checks that everything is there and belongs together, at a Unix time.
    pub fn check(&self, now: i64) -> Result<(), Error> {
        for (_, certificate, key) in AUTHORITIES {
            self.check_authority(certificate, key, now)?;
        }
        let key = self.required(SA_KEY, "it comes from the master that made the cluster")?;
        let advice = "`stayput certs init` writes it again from pki/sa.key";
        let public = public_keys(SA_PUB, self.required(SA_PUB, advice)?)?;
        let key = private_key(SA_KEY, key)?;
        if public.iter().any(|public| public == key.public_key()) {
            return Ok(());
        }
        Err(unusable(SA_PUB, "is not the public key of pki/sa.key"))
    }

    fn check_authority(
        &self,
        name: &'static str,
        key_name: &'static str,
        now: i64,
    ) -> Result<(), Error> {
        let advice = "copy it from another master, or see `stayput certs init --new-cluster`";
        let all = certificates(name, self.required(name, advice)?)?;
        let signing = match self.files.get(key_name) {
            None => all.first(),
            Some(key) => {
                let key = private_key(key_name, key)?;
                let signing = all.iter().find(|one| one.public_key == key.public_key());
                Some(
                    signing
                        .ok_or_else(|| unusable(key_name, format!("is not the key of {name}")))?,
                )
            }
        };
        let Some(signing) = signing else {
            return Err(unusable(name, "holds no certificate"));
        };
        let at = |time: i64| clock::rfc3339(u64::try_from(time).unwrap_or(0));
        if !signing.is_authority {
            let reason = format!(
                "is not an authority's certificate but that of {}",
                signing.subject
            );
            return Err(unusable(name, reason));
        }
        if now > signing.not_after {
            let reason = format!(
                "is of no use any more: it ended at {}",
                at(signing.not_after)
            );
            return Err(unusable(name, reason));
        }
        if now < signing.not_before {
            let begins = at(signing.not_before);
            let reason = format!("is not valid before {begins}; is this machine's clock right?");
            return Err(unusable(name, reason));
        }
        Ok(())
    }

    fn required(&self, name: &'static str, advice: &'static str) -> Result<&[u8], Error> {
        let bytes = self.files.get(name);
        let bytes = bytes.ok_or(Error::Missing(name, advice))?;
        Ok(bytes)
    }

    /// The authorities that come without their keys, by id.
    pub fn keyless(&self) -> Vec<&'static str> {
        let keyless = |(_, certificate, key): &&(&str, &'static str, &'static str)| {
            self.files.contains_key(certificate) && !self.files.contains_key(key)
        };
        let ids = AUTHORITIES.iter().filter(keyless);
        ids.map(|(id, ..)| *id).collect()
    }

    /// What [`Store`](super::store::Store) has to write so that this machine has all of a bundle that
    /// was [checked](Self::check); empty where it has. Every conflict is named at once.
    pub fn sets(&self, root: &Root) -> Result<Vec<Set>, Error> {
        let here = Self::collect(root)?;
        let conflicts = self.conflicts(&here);
        if !conflicts.is_empty() {
            return Err(Error::Conflict(conflicts));
        }
        // The key takes its place before what is made of it.
        let authorities = AUTHORITIES.map(|(id, certificate, key)| (id, [key, certificate]));
        let sets = authorities.into_iter().chain([(SA, [SA_KEY, SA_PUB])]);
        let sets = sets.map(|(id, names)| Set {
            id: id.to_owned(),
            files: names
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

    /// This machine's files that are not what the bundle says, however they are written.
    fn conflicts(&self, here: &Self) -> Vec<String> {
        let differs = |name: &&'static str| match (self.files.get(*name), here.files.get(*name)) {
            (Some(theirs), Some(ours)) => {
                let ours = identity(name, ours);
                ours.is_err() || ours.ok() != identity(name, theirs).ok()
            }
            (None, Some(ours)) => !self.is_key_of_ours(name, ours),
            _ => false,
        };
        let conflicts = names().filter(differs);
        conflicts
            .map(|name| path(name).display().to_string())
            .collect()
    }

    /// Whether a key of this machine belongs to the certificate that comes without one.
    fn is_key_of_ours(&self, name: &str, key: &[u8]) -> bool {
        let pair = AUTHORITIES.iter().find(|(_, _, key)| *key == name);
        let certificate = pair.and_then(|(_, certificate, _)| {
            let pem = self.files.get(certificate)?;
            Certificate::parse_pem(pem).ok()
        });
        let key = PrivateKey::from_pem(key);
        key.is_ok_and(|key| {
            let mut all = certificate.into_iter().flatten();
            all.any(|one| one.public_key == key.public_key())
        })
    }
}

/// Names and sizes: the contents are nobody's business.
impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes = self.files.iter().map(|(name, bytes)| (name, bytes.len()));
        f.debug_map().entries(sizes).finish()
    }
}

/// All names, in the archive's order.
fn names() -> impl Iterator<Item = &'static str> {
    let authorities = AUTHORITIES.iter();
    authorities
        .flat_map(|(_, certificate, key)| [*certificate, *key])
        .chain([SA_KEY, SA_PUB])
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

/// All of the input, in one buffer that is wiped: one that grew would leave copies behind.
fn read_bounded(input: impl Read) -> Result<Zeroizing<Vec<u8>>, Error> {
    let room = usize::try_from(LIMIT + 1).map_err(|_| Error::TooLarge)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let read = input.take(LIMIT + 1).read_to_end(&mut bytes);
    read.map_err(|source| Error::Archive {
        operation: "read",
        source,
    })?;
    if bytes.len() as u64 > LIMIT {
        return Err(Error::TooLarge);
    }
    Ok(bytes)
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
