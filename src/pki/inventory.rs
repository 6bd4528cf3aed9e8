//! What is on this machine, read and judged by itself: no plan yet.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustls_pki_types::pem::{PemObject, SectionKind};
use zeroize::Zeroizing;

use super::authority::Authority;
use super::certificate::Certificate;
use super::key::PrivateKey;
use super::kubeconfig::{self, Authorities, Client};
use super::pem;
use super::wanted::{Item, Kind, Wanted};
use crate::root::{Root, read_regular};

/// What was found, by item.
#[derive(Debug, Default)]
pub struct Inventory {
    /// By id, one for each wanted item.
    pub found: BTreeMap<String, Found>,
    /// The authorities that can be read, by id.
    pub authorities: BTreeMap<String, Authority>,
}

/// What is where an item should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Absent,
    /// One half of a pair.
    Half {
        /// The half that is there.
        present: PathBuf,
        /// The half that is not.
        missing: PathBuf,
    },
    /// Something that cannot be read, or is not what it should be.
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why, as in `holds no certificate`.
        reason: String,
    },
    /// A certificate.
    Present(Box<Present>),
    /// A key pair without a certificate.
    KeyPair {
        /// Files whose mode lets others in, each with what to do.
        exposed: Vec<Exposed>,
    },
}

/// A certificate that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// The leaf, or the authority that signs.
    pub certificate: Certificate,
    /// What came behind a leaf in its file, as far as it is looked at.
    pub chain: Vec<Certificate>,
    /// Its key.
    pub key: KeyState,
    /// Who signed it; [`Signer::Ours`] for an authority.
    pub signer: Signer,
    /// Files whose mode lets others in.
    pub exposed: Vec<Exposed>,
    /// Of a kubeconfig: the server, and whether its authorities are the node's.
    pub kubeconfig: Option<KubeconfigState>,
}

/// What is known of a certificate's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyState {
    /// It belongs to the certificate.
    Matches,
    /// It is another certificate's.
    Mismatch,
    /// It is not on this machine (an authority that is kept elsewhere).
    Absent,
    /// It is in a file of its own that its user renews (the kubelet).
    Elsewhere,
}

/// Who signed a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signer {
    /// The authority that the catalogue names.
    Ours,
    /// Somebody else, with the issuer's name.
    Foreign(String),
    /// The authority is not here or cannot be read.
    Unknown,
}

/// A file that more people can read or write than should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// The file.
    pub path: PathBuf,
    /// Its mode's permission bits.
    pub mode: u32,
    /// What they should be at most.
    pub want: u32,
}

/// What a kubeconfig points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeconfigState {
    /// The server's URL.
    pub server: String,
    /// Whether it trusts the node's authority; true where that one is not here to compare.
    pub trusts_authority: bool,
}

/// The largest file that is read, in bytes. A certificate has two thousand, a bundle some more.
const LIMIT: u64 = 1 << 20;

/// How many certificates may stand between a leaf and its authority.
const CHAIN: usize = 4;

/// Bits of a mode that let strangers in: to a key all of the others' and the group's writing, to a
/// certificate only writing. Kubeadm's own modes are 0600 and 0644; groups that read keys are wanted
/// where somebody has made them.
const SECRET: (u32, u32) = (0o037, 0o640);
const PUBLIC: (u32, u32) = (0o022, 0o644);

/// Reads everything that is wanted. A file that cannot be read is a finding, not an error.
pub fn take(root: &Root, wanted: &Wanted) -> Inventory {
    let mut inventory = Inventory::default();
    for item in &wanted.items {
        if let Kind::Authority { certificate, key } = &item.kind {
            let (found, authority) = authority(root, certificate, key);
            inventory.found.insert(item.id.clone(), found);
            let known = authority.map(|authority| (item.id.clone(), authority));
            inventory.authorities.extend(known);
        }
    }
    for item in &wanted.items {
        let signer = item
            .authority()
            .and_then(|id| inventory.authorities.get(id));
        if let Some(found) = signed(root, item, signer) {
            inventory.found.insert(item.id.clone(), found);
        }
    }
    inventory
}

/// What is not an authority.
fn signed(root: &Root, item: &Item, authority: Option<&Authority>) -> Option<Found> {
    let found = match &item.kind {
        Kind::Authority { .. } => return None,
        Kind::Leaf {
            certificate, key, ..
        } => leaf(root, certificate, key, authority),
        Kind::Kubeconfig { path, .. } => kubeconfig(root, path, authority),
        Kind::KeyPair { key, public } => key_pair(root, key, public),
    };
    // What stops the reading of one item is what is found of it.
    Some(found.unwrap_or_else(|found| found))
}

fn authority(root: &Root, certificate: &Path, key: &Path) -> (Found, Option<Authority>) {
    match read_authority(root, certificate, key) {
        Ok((present, authority)) => (Found::Present(Box::new(present)), Some(authority)),
        Err(found) => (found, None),
    }
}

fn read_authority(
    root: &Root,
    certificate: &Path,
    key: &Path,
) -> Result<(Present, Authority), Found> {
    let mut exposed = Vec::new();
    let (pem, key_pem) = match (File::read(root, certificate)?, File::read(root, key)?) {
        (None, None) => return Err(Found::Absent),
        (None, Some(_)) => return Err(half(key, certificate)),
        (Some(pem), key_pem) => (pem, key_pem),
    };
    pem.judge(PUBLIC, &mut exposed);
    let bundle = pem.certificates()?;
    let key = key_pem.map(|pem| {
        pem.judge(SECRET, &mut exposed);
        pem.key()
    });
    let key = key.transpose()?;
    let its = |certificate: &&Certificate| {
        let key = key.as_ref();
        key.is_some_and(|key| key.public_key() == certificate.public_key)
    };
    let (signing, state) = match (bundle.iter().find(its), &key) {
        (Some(signing), _) => (signing, KeyState::Matches),
        (None, Some(_)) => (&bundle[0], KeyState::Mismatch),
        (None, None) => (&bundle[0], KeyState::Absent),
    };
    if !signing.is_authority {
        return Err(pem.unusable("is not the certificate of an authority (CA:TRUE)"));
    }
    let signing = signing.clone();
    let present = Present {
        certificate: signing.clone(),
        chain: Vec::new(),
        key: state.clone(),
        signer: Signer::Ours,
        exposed,
        kubeconfig: None,
    };
    let authority = Authority {
        certificate: signing,
        bundle,
        pem: pem.bytes.to_vec(),
        // One that belongs to another certificate signs nothing.
        key: key.filter(|_| state == KeyState::Matches),
    };
    Ok((present, authority))
}

fn leaf(
    root: &Root,
    certificate: &Path,
    key: &Path,
    authority: Option<&Authority>,
) -> Result<Found, Found> {
    let (pem, key_pem) = match (File::read(root, certificate)?, File::read(root, key)?) {
        (None, None) => return Err(Found::Absent),
        (None, Some(_)) => return Err(half(key, certificate)),
        (Some(_), None) => return Err(half(certificate, key)),
        (Some(pem), Some(key_pem)) => (pem, key_pem),
    };
    let mut exposed = Vec::new();
    pem.judge(PUBLIC, &mut exposed);
    key_pem.judge(SECRET, &mut exposed);
    let chain = pem.certificates()?;
    let key = key_pem.key()?;
    let present = present(chain, Some(&key), authority, exposed);
    Ok(Found::Present(Box::new(present)))
}

fn kubeconfig(root: &Root, path: &Path, authority: Option<&Authority>) -> Result<Found, Found> {
    let Some(file) = File::read(root, path)? else {
        return Err(Found::Absent);
    };
    let mut exposed = Vec::new();
    file.judge(SECRET, &mut exposed);
    let read = kubeconfig::parse(&file.bytes).map_err(|error| file.unusable(error))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    // An absolute path replaces the folder.
    let pointed = |path: &str| -> Result<Vec<Certificate>, Found> {
        let path = folder.join(path);
        match File::read(root, &path)? {
            Some(file) => file.certificates(),
            None => Err(unusable(&path, "is not there")),
        }
    };
    let trusted = match read.authorities {
        Authorities::Embedded(certificates) => certificates,
        Authorities::File(path) => pointed(&path)?,
        Authorities::System => Vec::new(),
    };
    let trusts_authority = authority.is_none_or(|authority| trusts(&trusted, authority));
    let state = KubeconfigState {
        server: read.server,
        trusts_authority,
    };
    let (chain, key) = match read.client {
        Client::Embedded { certificates, key } => (certificates, Some(key)),
        Client::Files { certificate, .. } => (pointed(&certificate)?, None),
        Client::Other => {
            return Err(file.unusable("its user has no certificate (a token or a program)"));
        }
    };
    let present = Present {
        kubeconfig: Some(state),
        ..present(chain, key.as_deref(), authority, exposed)
    };
    Ok(Found::Present(Box::new(present)))
}

fn key_pair(root: &Root, key: &Path, public: &Path) -> Result<Found, Found> {
    let (key_pem, public_pem) = match (File::read(root, key)?, File::read(root, public)?) {
        (None, None) => return Err(Found::Absent),
        (None, Some(_)) => return Err(half(public, key)),
        (Some(_), None) => return Err(half(key, public)),
        (Some(key_pem), Some(public_pem)) => (key_pem, public_pem),
    };
    let mut exposed = Vec::new();
    key_pem.judge(SECRET, &mut exposed);
    public_pem.judge(PUBLIC, &mut exposed);
    let own = key_pem.key()?;
    if !public_pem
        .public_keys()?
        .iter()
        .any(|key| key == own.public_key())
    {
        let reason = format!("is not the public key of {}", key.display());
        return Err(public_pem.unusable(reason));
    }
    Ok(Found::KeyPair { exposed })
}

/// A chain (the leaf first) with its key, if that is read at all.
fn present(
    mut chain: Vec<Certificate>,
    key: Option<&PrivateKey>,
    authority: Option<&Authority>,
    exposed: Vec<Exposed>,
) -> Present {
    let certificate = chain.remove(0);
    let key = match key {
        None => KeyState::Elsewhere,
        Some(key) if key.public_key() == certificate.public_key => KeyState::Matches,
        Some(_) => KeyState::Mismatch,
    };
    let signer = match authority {
        None => Signer::Unknown,
        Some(authority) => {
            chain.truncate(CHAIN);
            match leads(&certificate, &chain, &authority.bundle, CHAIN) {
                Some(true) => Signer::Ours,
                Some(false) => Signer::Foreign(certificate.issuer.clone()),
                None => Signer::Unknown,
            }
        }
    };
    Present {
        certificate,
        chain,
        key,
        signer,
        exposed,
        kubeconfig: None,
    }
}

/// Whether signatures lead from a certificate to an authority, over at most `steps` of those that
/// came with it; `None` where one cannot be checked.
fn leads(
    from: &Certificate,
    between: &[Certificate],
    authorities: &[Certificate],
    steps: usize,
) -> Option<bool> {
    let directly = authorities
        .iter()
        .map(|authority| from.is_signed_by(authority));
    let over =
        between
            .iter()
            .filter(|next| next.is_authority)
            .map(|next| match from.is_signed_by(next) {
                Some(true) if steps > 0 => leads(next, between, authorities, steps - 1),
                Some(_) => Some(false),
                None => None,
            });
    let mut known = Some(false);
    for answer in directly.chain(over) {
        match answer {
            Some(true) => return answer,
            Some(false) => {}
            None => known = None,
        }
    }
    known
}

/// Whether whoever trusts these certificates trusts what the authority signs: Go compares subject
/// and key.
fn trusts(trusted: &[Certificate], authority: &Authority) -> bool {
    let own = &authority.certificate;
    trusted.iter().any(|certificate| {
        certificate.subject_der == own.subject_der && certificate.public_key == own.public_key
    })
}

fn half(present: &Path, missing: &Path) -> Found {
    Found::Half {
        present: present.to_owned(),
        missing: missing.to_owned(),
    }
}

fn unusable(path: &Path, reason: impl ToString) -> Found {
    Found::Unusable {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// A file that was read, wiped when dropped.
struct File {
    path: PathBuf,
    bytes: Zeroizing<Vec<u8>>,
    mode: u32,
}

impl File {
    /// A file, if it is there, through symlinks. Mode and contents are of one and the same file.
    fn read(root: &Root, path: &Path) -> Result<Option<Self>, Found> {
        let cannot = |error: io::Error| unusable(path, format!("cannot be read: {error}"));
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let fd = match root.open_at(path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
                    _ => Err(cannot(error)),
                };
            }
        };
        let stat = rustix::fs::fstat(&fd).map_err(|errno| cannot(errno.into()))?;
        let bytes = Zeroizing::new(read_regular(fd, LIMIT).map_err(cannot)?);
        Ok(Some(Self {
            path: path.to_owned(),
            bytes,
            mode: stat.st_mode & 0o7777,
        }))
    }

    fn judge(&self, (strangers, want): (u32, u32), exposed: &mut Vec<Exposed>) {
        if self.mode & strangers != 0 {
            exposed.push(Exposed {
                path: self.path.clone(),
                mode: self.mode,
                want,
            });
        }
    }

    fn unusable(&self, reason: impl ToString) -> Found {
        unusable(&self.path, reason)
    }

    fn certificates(&self) -> Result<Vec<Certificate>, Found> {
        Certificate::parse_pem(&self.bytes).map_err(|error| self.unusable(error))
    }

    fn key(&self) -> Result<PrivateKey, Found> {
        PrivateKey::from_pem(&self.bytes).map_err(|error| self.unusable(error))
    }

    /// The public keys that kube-apiserver finds in a file of `--service-account-key-file`, as DER.
    fn public_keys(&self) -> Result<Vec<Vec<u8>>, Found> {
        let mut keys = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(&self.bytes) {
            match section.map_err(|error| self.unusable(pem::fault(&error)))? {
                (SectionKind::PublicKey, der) => keys.push(der),
                (SectionKind::Certificate, der) => {
                    let read = Certificate::parse_der(&der);
                    keys.push(read.map_err(|error| self.unusable(error))?.public_key);
                }
                _ => {}
            }
        }
        Ok(keys)
    }
}
