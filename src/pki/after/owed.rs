//! What still has to follow a renewal: remembered, so that a step that failed, or a run that died, is
//! made good by the next run, although nothing is due then any more. Without it a process would go on
//! with its old certificate until that ends.

use std::collections::BTreeSet;
use std::path::Path;

use crate::file;
use crate::root::Root;

/// A list of ids as JSON; there is no file where nothing is owed.
pub const PATH: &str = "/var/lib/stayput/certificates/owed.json";
/// Far above what a thousand extra rows need.
const LIMIT: u64 = 1 << 20;

/// The ids of renewed items whose steps are not all done. A file that makes no sense owes nothing:
/// it is replaced by the next renewal.
pub fn owed(root: &Root) -> BTreeSet<String> {
    let bytes = root.read(Path::new(PATH), LIMIT).ok().flatten();
    bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

/// Adds ids to what is owed.
pub fn owe<'a>(root: &Root, ids: impl IntoIterator<Item = &'a str>) -> Result<(), file::Error> {
    let mut all = owed(root);
    all.extend(ids.into_iter().map(str::to_owned));
    set(root, &all)
}

/// Takes an id out again: its renewal did not come to pass.
pub fn forget(root: &Root, id: &str) -> Result<(), file::Error> {
    let mut all = owed(root);
    all.remove(id);
    set(root, &all)
}

/// Makes it these.
pub fn set(root: &Root, ids: &BTreeSet<String>) -> Result<(), file::Error> {
    let path = Path::new(PATH);
    if ids.is_empty() {
        return file::remove(root, path).map(drop);
    }
    let failed = |operation, source| file::Error::Io {
        operation,
        path: path.to_owned(),
        source,
    };
    let mut bytes = serde_json::to_vec(ids).map_err(|error| failed("render", error.into()))?;
    bytes.push(b'\n');
    let folder = path.parent().unwrap_or(Path::new("/"));
    // The folder also holds the store's journal, which is root's alone.
    let above = Path::new(crate::state::FOLDER);
    root.create_folders(above, 0o755)
        .and_then(|()| root.create_folders(folder, 0o700))
        .map_err(|source| failed("make the folder of", source))?;
    file::replace(root, path, &bytes, 0o600).map(drop)
}
