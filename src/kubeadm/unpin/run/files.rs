//! Files kept as they were, and written.

use std::path::Path;

use super::Run;
use crate::file;
use crate::kubeadm::unpin::backup;
use crate::kubeadm::unpin::error::Error;

const LIMIT: u64 = 1 << 20;

impl Run<'_> {
    pub(super) fn keep(&mut self, path: &Path) -> Result<(), Error> {
        let bytes = self.site.here.root.read(path, LIMIT);
        let bytes = bytes.map_err(backup::Error::Folder)?;
        if let Some(bytes) = bytes.map(zeroize::Zeroizing::new) {
            self.backup.keep(path, &bytes)?;
        }
        Ok(())
    }

    /// Keeps a file as it was read; gives the copy's path.
    pub(super) fn keep_bytes(&mut self, path: &Path, bytes: &[u8]) -> Result<String, Error> {
        let copy = self.backup.keep(path, bytes)?;
        Ok(copy.map_or_else(|| "nothing".to_owned(), |copy| copy.display().to_string()))
    }

    /// Writes a file that still holds what it was made of.
    pub(super) fn write(&self, path: &Path, from: &[u8], to: &[u8]) -> Result<(), Error> {
        let changed = || Error::Changed(path.to_owned());
        file::update(&self.site.here.root, path, LIMIT, 0o600, |old| match old {
            Some(old) if old == from => Ok(Some(to.to_vec())),
            Some(old) if old == to => Ok(None),
            _ => Err(changed()),
        })?;
        Ok(())
    }
}
