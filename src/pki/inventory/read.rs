//! One item after the other: what is read of it, and what its parts are to each other.
//!
//! What stops the reading of an item is what is found of it, so the functions return [`Found`] both
//! ways.

use std::path::Path;

use super::file::{File, PUBLIC, SECRET, half, unusable};
use super::{Exposed, Found, KeyState, KubeconfigState, Present, Signer};
use crate::pki::authority::Authority;
use crate::pki::certificate::Certificate;
use crate::pki::key::PrivateKey;
use crate::pki::kubeconfig::{self, Authorities, Client};
use crate::pki::wanted::{Item, Kind};
use crate::root::Root;

/// How many certificates may stand between a leaf and its authority.
const CHAIN: usize = 4;

/// What is not an authority.
pub(super) fn signed(root: &Root, item: &Item, authority: Option<&Authority>) -> Option<Found> {
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

pub(super) fn authority(root: &Root, certificate: &Path, key: &Path) -> (Found, Option<Authority>) {
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

/// The certificate of a pair whose key is missing or of no use.
pub(super) fn remains(root: &Root, kind: &Kind) -> Option<Certificate> {
    let Kind::Leaf { certificate, .. } = kind else {
        return None;
    };
    let pem = File::read(root, certificate).ok()??;
    pem.certificates().ok()?.into_iter().next()
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
