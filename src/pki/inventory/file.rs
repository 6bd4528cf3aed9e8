//! A file of the inventory: bounded, with the mode of the very file that was read.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use zeroize::Zeroizing;

use super::{Exposed, Found};
use crate::pki::certificate::Certificate;
use crate::pki::key::PrivateKey;
use crate::pki::service_account;
use crate::root::{Root, read_regular};

/// The largest file that is read, in bytes. A certificate has two thousand, a bundle some more.
const LIMIT: u64 = 1 << 20;

/// Bits of a mode that let strangers in: to a key all of the others' and the group's writing, to a
/// certificate only writing. Groups that read keys are wanted where somebody has made them. Beside them
/// kubeadm's own modes, which the file should have.
pub(super) const SECRET: (u32, u32) = (0o037, 0o600);
pub(super) const PUBLIC: (u32, u32) = (0o022, 0o644);

pub(super) fn half(present: &Path, missing: &Path) -> Found {
    Found::Half {
        present: present.to_owned(),
        missing: missing.to_owned(),
    }
}

pub(super) fn unusable(path: &Path, reason: impl ToString) -> Found {
    Found::Unusable {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// Whether a symlink lies there. What cannot be looked at is none: reading it says why.
pub(super) fn is_link(root: &Root, path: &Path) -> bool {
    let fd = root.open_at(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty());
    let stat = fd.and_then(|fd| Ok(rustix::fs::fstat(&fd)?));
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// A file that was read, wiped when dropped.
pub(super) struct File {
    path: PathBuf,
    pub(super) bytes: Zeroizing<Vec<u8>>,
    mode: u32,
}

impl File {
    /// A file, if it is there, through symlinks. Mode and contents are of one and the same file.
    pub(super) fn read(root: &Root, path: &Path) -> Result<Option<Self>, Found> {
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

    pub(super) fn judge(&self, (strangers, want): (u32, u32), exposed: &mut Vec<Exposed>) {
        if self.mode & strangers != 0 {
            exposed.push(Exposed {
                path: self.path.clone(),
                mode: self.mode,
                want,
            });
        }
    }

    pub(super) fn unusable(&self, reason: impl ToString) -> Found {
        unusable(&self.path, reason)
    }

    pub(super) fn certificates(&self) -> Result<Vec<Certificate>, Found> {
        Certificate::parse_pem(&self.bytes).map_err(|error| self.unusable(error))
    }

    pub(super) fn key(&self) -> Result<PrivateKey, Found> {
        PrivateKey::from_pem(&self.bytes).map_err(|error| self.unusable(error))
    }

    pub(super) fn public_keys(&self) -> Result<Vec<Vec<u8>>, Found> {
        service_account::public_keys(&self.bytes).map_err(|reason| self.unusable(reason))
    }
}
