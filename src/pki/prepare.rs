//! Carries a plan out in memory: keys on all cores, certificates, and their verification. What comes
//! out has been checked as its users will check it, and is ready to take the old ones' places.

mod error;

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::authority::Authority;
use super::certificate::{self, Certificate};
use super::inventory::{Found, Inventory};
use super::issue::{self, Validity};
use super::key::{self, PrivateKey};
use super::kubeconfig::{self, New};
use super::plan::{Action, Decision};
use super::profile::{Names, Profile};
use super::store::{NewFile, Set};
use super::verify;
use super::wanted::{Item, Kind, Wanted};
use crate::root::Root;

pub use error::Error;

/// kubeadm's modes; its sa.pub is as closed as the key.
const PUBLIC: u32 = 0o644;
const SECRET: u32 = 0o600;

/// Far above any kubeconfig or key.
const LONGEST_FILE: u64 = 1 << 20;

/// Something new, not yet on disk.
#[derive(Debug)]
pub struct Prepared {
    /// Its files.
    pub set: Set,
    /// Absent for a key pair.
    pub certificate: Option<Certificate>,
}

/// An item's id, and what became of it.
pub type Outcome = (String, Result<Prepared, Error>);

/// Makes everything that the decisions ask for, in their order. Each has a result of its own, but for
/// keys: without a source of random numbers nothing can be made.
pub fn prepare(
    root: &Root,
    wanted: &Wanted,
    inventory: &Inventory,
    decisions: &[Decision],
    now: i64,
) -> Result<Vec<Outcome>, Error> {
    let tasks: Vec<Task<'_>> = decisions
        .iter()
        .filter_map(|decision| Task::of(decision, wanted))
        .collect();
    let kinds: Vec<_> = tasks.iter().map(|task| task.item.key_type).collect();
    let keys = key::generate_all(&kinds).map_err(|source| Error::Key {
        id: tasks
            .first()
            .map_or_else(String::new, |t| t.item.id.clone()),
        source,
    })?;
    let restored = decisions
        .iter()
        .filter(|decision| decision.action == Action::RestorePublic)
        .filter_map(|decision| wanted.items.iter().find(|item| item.id == decision.id))
        .map(|item| (item.id.clone(), public_again(root, item)));
    let mut press = Press {
        root,
        wanted,
        inventory,
        now,
        made: BTreeMap::new(),
    };
    let prepared = tasks.into_iter().zip(keys);
    let prepared = prepared.map(|(task, key)| (task.item.id.clone(), press.make(&task, key)));
    Ok(prepared.chain(restored).collect())
}

/// The public half of a key pair, from the private one. The private one is not written again.
fn public_again(root: &Root, item: &Item) -> Result<Prepared, Error> {
    let Kind::KeyPair { key, public } = &item.kind else {
        return Err(Error::NoKeyPair {
            id: item.id.clone(),
        });
    };
    let read = |source| Error::Read {
        id: item.id.clone(),
        path: key.display().to_string(),
        source,
    };
    let pem = root.read(key, LONGEST_FILE).map_err(read)?;
    let pem = Zeroizing::new(pem.ok_or_else(|| read(std::io::ErrorKind::NotFound.into()))?);
    let private = PrivateKey::from_pem(&pem).map_err(|source| Error::Key {
        id: item.id.clone(),
        source,
    })?;
    let file = NewFile {
        path: public.clone(),
        bytes: Zeroizing::new(private.public_pem().into_bytes()),
        mode: SECRET,
    };
    Ok(Prepared {
        set: Set {
            id: item.id.clone(),
            files: vec![file],
            old_certificate: None,
        },
        certificate: None,
    })
}

/// One item that is to be made.
#[derive(Debug, Clone, Copy)]
struct Task<'a> {
    item: &'a Item,
    profile: &'a Profile,
    validity: Validity,
    /// Of a kubeconfig: server and authority, too.
    corrects: bool,
}

impl<'a> Task<'a> {
    fn of(decision: &'a Decision, wanted: &'a Wanted) -> Option<Self> {
        let (profile, validity, corrects) = match &decision.action {
            Action::Issue { profile, validity } => (profile, validity, false),
            Action::Renew {
                profile,
                validity,
                corrects,
                ..
            } => (profile, validity, *corrects),
            Action::Keep | Action::RestorePublic | Action::Refuse => return None,
        };
        let item = wanted.items.iter().find(|item| item.id == decision.id)?;
        Some(Self {
            item,
            profile,
            validity: *validity,
            corrects,
        })
    }

    fn error(&self) -> impl Fn(issue::Error) -> Error + '_ {
        |source| Error::Issue {
            id: self.item.id.clone(),
            source,
        }
    }
}

/// What all items are made from.
#[derive(Debug)]
struct Press<'a> {
    root: &'a Root,
    wanted: &'a Wanted,
    inventory: &'a Inventory,
    now: i64,
    /// Authorities of this run, by id.
    made: BTreeMap<String, Authority>,
}

impl Press<'_> {
    fn make(&mut self, task: &Task<'_>, key: PrivateKey) -> Result<Prepared, Error> {
        let id = &task.item.id;
        let key_pem = key.to_pem().map_err(|source| Error::Key {
            id: id.clone(),
            source,
        })?;
        let secret = |path: &std::path::Path| NewFile {
            path: path.to_owned(),
            bytes: Zeroizing::new(key_pem.as_bytes().to_vec()),
            mode: SECRET,
        };
        let public = |path: &std::path::Path, text: &str| NewFile {
            path: path.to_owned(),
            bytes: Zeroizing::new(text.as_bytes().to_vec()),
            mode: PUBLIC,
        };
        let closed = |file| NewFile {
            mode: SECRET,
            ..file
        };
        let (files, certificate) = match &task.item.kind {
            Kind::Authority {
                certificate,
                key: at,
            } => {
                let pem = issue::authority(task.profile, &key, task.validity);
                let pem = pem.map_err(task.error())?;
                let made = self.authority(task, &pem, key)?;
                (vec![secret(at), public(certificate, &pem)], Some(made))
            }
            Kind::Leaf {
                certificate,
                key: at,
                authority,
            } => {
                let (pem, made) = self.leaf(task, authority, &key)?;
                (vec![secret(at), public(certificate, &pem)], Some(made))
            }
            Kind::Kubeconfig {
                path,
                authority,
                server,
            } => {
                let (pem, made) = self.leaf(task, authority, &key)?;
                let bytes = self.kubeconfig(task, authority, server, &pem, &key_pem)?;
                let bytes = Zeroizing::new(bytes.as_bytes().to_vec());
                let file = NewFile {
                    path: path.clone(),
                    bytes,
                    mode: SECRET,
                };
                (vec![file], Some(made))
            }
            Kind::KeyPair {
                key: at,
                public: to,
            } => (
                vec![secret(at), closed(public(to, &key.public_pem()))],
                None,
            ),
        };
        let set = Set {
            id: id.clone(),
            files,
            old_certificate: self.old(id),
        };
        Ok(Prepared { set, certificate })
    }

    /// Keeps a new authority for the leaves behind it in the plan.
    fn authority(
        &mut self,
        task: &Task<'_>,
        pem: &str,
        key: PrivateKey,
    ) -> Result<Certificate, Error> {
        let certificate = parsed(task, pem)?;
        let authority = Authority {
            certificate: certificate.clone(),
            bundle: vec![certificate.clone()],
            pem: pem.as_bytes().to_vec(),
            key: Some(key),
        };
        self.made.insert(task.item.id.clone(), authority);
        Ok(certificate)
    }

    /// A leaf that its users will accept: its authority, usages and names.
    fn leaf(
        &self,
        task: &Task<'_>,
        authority: &str,
        key: &PrivateKey,
    ) -> Result<(String, Certificate), Error> {
        let signer = self.signer(task, authority)?;
        let constraints = self.wanted.leaf_constraints;
        let pem = issue::leaf(
            signer,
            task.profile,
            self.subject(task),
            key,
            task.validity,
            constraints,
        );
        let pem = pem.map_err(task.error())?;
        let made = parsed(task, &pem)?;
        let usages = task.profile.usages;
        verify::chain(&made, &[], &signer.bundle, usages, self.now)
            .and_then(|()| verify::names(&made, &self.asked(task)))
            .map_err(|source| Error::Verify {
                id: task.item.id.clone(),
                source,
            })?;
        Ok((pem, made))
    }

    /// The names that have to hold: what the cluster file wants, and what the old certificate was good
    /// for. Others that it has are carried over, as texts that nobody can ask for.
    fn asked(&self, task: &Task<'_>) -> Names {
        let wanted = &task.item.profile.names;
        let Some(Found::Present(present)) = self.inventory.found.get(&task.item.id) else {
            return wanted.clone();
        };
        let inherited = verify::held(&present.certificate, &task.profile.names);
        wanted.union(&inherited.unwrap_or_default())
    }

    /// A renewal keeps the old subject to the byte. A new one, or one that gets another user or other
    /// groups, has none to keep; nor has the one by which a master speaks, which says nothing else.
    fn subject(&self, task: &Task<'_>) -> Option<&[u8]> {
        let Some(Found::Present(present)) = self.inventory.found.get(&task.item.id) else {
            return None;
        };
        let (old, new) = (&present.certificate.profile, task.profile);
        if task.item.is_stayputs() {
            return None;
        }
        let same = old.common_name == new.common_name && old.organizations == new.organizations;
        same.then_some(&present.certificate.subject_der)
    }

    fn signer(&self, task: &Task<'_>, authority: &str) -> Result<&Authority, Error> {
        let made = self.made.get(authority);
        let signer = made.or_else(|| self.inventory.authorities.get(authority));
        signer.ok_or_else(|| Error::NoAuthority {
            id: task.item.id.clone(),
            authority: authority.to_owned(),
        })
    }

    /// A kubeconfig that is there keeps everything but certificate and key, unless it points elsewhere.
    fn kubeconfig(
        &self,
        task: &Task<'_>,
        authority: &str,
        server: &str,
        certificate: &str,
        key: &str,
    ) -> Result<Zeroizing<String>, Error> {
        let id = || task.item.id.clone();
        let path = task.item.path();
        let old = self.root.read(path, LONGEST_FILE);
        let old = old.map_err(|source| Error::Read {
            id: id(),
            path: path.display().to_string(),
            source,
        })?;
        let readable = matches!(
            self.inventory.found.get(&task.item.id),
            Some(Found::Present(_))
        );
        let new = New {
            server,
            authority: &self.signer(task, authority)?.pem,
            user: &task.profile.common_name,
            certificate,
            key,
        };
        let result = match old.filter(|_| readable).map(Zeroizing::new) {
            Some(old) if task.corrects => {
                kubeconfig::corrected(&String::from_utf8_lossy(&old), &new)
            }
            Some(old) => kubeconfig::renewed(&String::from_utf8_lossy(&old), certificate, key),
            None => Ok(new.render()),
        };
        result.map_err(|source| Error::Kubeconfig { id: id(), source })
    }

    /// The certificate that is being replaced.
    fn old(&self, id: &str) -> Option<Vec<u8>> {
        let certificate = match self.inventory.found.get(id) {
            Some(Found::Present(present)) => Some(&present.certificate),
            _ => self.inventory.remains.get(id),
        };
        certificate.map(|certificate| certificate.to_pem().into_bytes())
    }
}

fn parsed(task: &Task<'_>, pem: &str) -> Result<Certificate, Error> {
    let error = |source| Error::Certificate {
        id: task.item.id.clone(),
        source,
    };
    let mut certificates = Certificate::parse_pem(pem.as_bytes()).map_err(error)?;
    if certificates.is_empty() {
        return Err(error(certificate::Error::None));
    }
    Ok(certificates.swap_remove(0))
}
