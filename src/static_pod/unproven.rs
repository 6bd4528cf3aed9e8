//! A manifest of which no run has seen that its container comes.

use std::path::{Path, PathBuf};

use super::command::command_of;
use super::places::{FOLDER, Places};
use super::processes::Processes;
use super::{Error, is_here};
use crate::file::{self, remove_empty_folder};
use crate::root::Root;

/// Where the manifest before the last exchange lies, while the new one's process does not run. As soon
/// as it is seen running, the old one is forgotten. For whoever holds the certificates' lock.
pub fn unproven(root: &Root, processes: &Processes, pod: &str) -> Result<Option<PathBuf>, Error> {
    let places = Places::of(pod)?;
    if !places.exists(root, &places.replaced)? || !is_here(root, pod) {
        return Ok(None);
    }
    let Some(command) = command_of(root, &places.manifest)? else {
        return Ok(None);
    };
    if processes.running(&command)?.is_empty() {
        return Ok(Some(places.replaced));
    }
    file::remove(root, &places.replaced).map_err(Error::Kept)?;
    // A folder that stays is in nobody's way.
    let _ = remove_empty_folder(root, Path::new(FOLDER));
    Ok(None)
}
