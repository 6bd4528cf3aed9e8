//! A master's certificates, in a folder of their own: the node of the tour is a worker.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::sandbox::{MASTER, Sandbox};
use crate::cli::context::Failure;
use crate::cli::exit;

/// Every file of the master below `/etc/kubernetes`, with a digest of its contents.
pub(super) type Files = BTreeMap<PathBuf, [u8; 32]>;

/// What kubeadm would find on the master.
pub(super) fn files(sandbox: &Sandbox) -> Result<Files, Failure> {
    let mut files = Files::new();
    let folder = sandbox.path().join(MASTER).join("etc/kubernetes");
    collect(&folder, &mut files).map_err(|error| {
        let text = format!("cannot read {}: {error}", folder.display());
        Failure::new(exit::OS_ERROR, text)
    })?;
    Ok(files)
}

fn collect(folder: &Path, files: &mut Files) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            let digest = Sha256::digest(std::fs::read(&path)?);
            files.insert(path, digest.into());
        }
    }
    Ok(())
}

/// What an address change did to them.
pub(super) fn compared(before: &Files, after: &Files) -> String {
    if before == after {
        let count = after.len();
        return format!(
            "{MASTER}'s {count} certificates, keys and kubeconfigs are the same to the byte.\n"
        );
    }
    let changed = after
        .iter()
        .filter(|(path, digest)| before.get(*path) != Some(digest));
    let changed: Vec<String> = changed
        .map(|(path, _)| path.display().to_string())
        .collect();
    format!("CHANGED: {}\n", changed.join(", "))
}
