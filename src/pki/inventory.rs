//! What is on this machine, read and judged by itself: no plan yet.

mod file;
mod read;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::authority::Authority;
use super::certificate::Certificate;
use super::wanted::{Item, Kind, Wanted};
use crate::root::Root;

/// What was found, by item.
#[derive(Debug, Default)]
pub struct Inventory {
    /// By id, one for each wanted item.
    pub found: BTreeMap<String, Found>,
    /// The authorities that can be read, by id.
    pub authorities: BTreeMap<String, Authority>,
    /// The file of a leaf or kubeconfig that is a symlink, by id: it is read, and never replaced.
    pub links: BTreeMap<String, PathBuf>,
    /// Certificates that can be read although their pair cannot be used, by id: a new one keeps their
    /// names.
    pub remains: BTreeMap<String, Certificate>,
}

impl Inventory {
    /// What is where the item should be; what was not looked for counts as absent.
    pub fn of(&self, item: &Item) -> &Found {
        self.found.get(&item.id).unwrap_or(&Found::Absent)
    }
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

/// Reads everything that is wanted. A file that cannot be read is a finding, not an error.
pub fn take(root: &Root, wanted: &Wanted) -> Inventory {
    let mut inventory = Inventory::default();
    for item in &wanted.items {
        if let Kind::Authority { certificate, key } = &item.kind {
            let (found, authority) = read::authority(root, certificate, key);
            inventory.found.insert(item.id.clone(), found);
            let known = authority.map(|authority| (item.id.clone(), authority));
            inventory.authorities.extend(known);
        }
    }
    for item in &wanted.items {
        let signer = item
            .authority()
            .and_then(|id| inventory.authorities.get(id));
        if let Some(found) = read::signed(root, item, signer) {
            if matches!(found, Found::Half { .. } | Found::Unusable { .. })
                && let Some(certificate) = read::remains(root, &item.kind)
            {
                inventory.remains.insert(item.id.clone(), certificate);
            }
            inventory.found.insert(item.id.clone(), found);
        }
        if let Some(link) = replaced(&item.kind).find(|path| file::is_link(root, path)) {
            inventory.links.insert(item.id.clone(), link.clone());
        }
    }
    inventory
}

/// The files that a renewal replaces.
fn replaced(kind: &Kind) -> impl Iterator<Item = &PathBuf> {
    let files = match kind {
        Kind::Leaf {
            certificate, key, ..
        } => [Some(certificate), Some(key)],
        Kind::Kubeconfig { path, .. } => [Some(path), None],
        Kind::Authority { .. } | Kind::KeyPair { .. } => [None, None],
    };
    files.into_iter().flatten()
}
