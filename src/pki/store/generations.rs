//! The certificates that were replaced, the last three of each: what a person wants to look at when
//! something does not work since. Keys are not kept.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Dir, Mode, OFlags};

use crate::file::{self, Error};
use crate::root::Root;

/// Where they lie, as `apiserver.7.crt`; 0700.
pub(super) const FOLDER: &str = "/var/lib/stayput/certificates/old";
/// How many of each id.
const KEPT: usize = 3;
/// Far above the longest chain.
const LIMIT: u64 = 1 << 20;

/// Whether an id can be part of a file's name.
pub(super) fn is_name(id: &str) -> bool {
    let mut components = Path::new(id).components();
    let normal = matches!(components.next(), Some(Component::Normal(_)));
    normal && components.next().is_none() && !id.ends_with('/') && !id.starts_with('.')
}

/// Keeps a certificate that is about to be replaced, and removes what is too old. One that is the
/// newest already is not kept twice: an earlier run did not come further.
pub(super) fn keep(root: &Root, id: &str, pem: &[u8]) -> Result<(), Error> {
    file::make_folder(root, Path::new(FOLDER), 0o700)?;
    let mut kept = list(root, id)?;
    if let Some((_, newest)) = kept.last_key_value() {
        let bytes = root.read(newest, LIMIT).map_err(failed("read", newest))?;
        if bytes.as_deref() == Some(pem) {
            return Ok(());
        }
    }
    let number = kept.last_key_value().map_or(1, |(number, _)| number + 1);
    let path = Path::new(FOLDER).join(format!("{id}.{number}.crt"));
    file::replace(root, &path, pem, 0o600)?;
    kept.insert(number, path);
    while kept.len() > KEPT
        && let Some((_, oldest)) = kept.pop_first()
    {
        file::remove(root, &oldest)?;
    }
    Ok(())
}

/// What is kept of an id, by number: the highest is the newest.
fn list(root: &Root, id: &str) -> Result<BTreeMap<u32, PathBuf>, Error> {
    let path = Path::new(FOLDER);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let folder = root
        .open_at(path, flags, Mode::empty())
        .map_err(failed("open", path))?;
    let mut kept = BTreeMap::new();
    for entry in Dir::read_from(&folder).map_err(|e| failed("list", path)(e.into()))? {
        let entry = entry.map_err(|e| failed("list", path)(e.into()))?;
        let name = entry.file_name().to_str().unwrap_or_default();
        let number = name
            .strip_prefix(id)
            .and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".crt")?.parse().ok());
        if let Some(number) = number {
            kept.insert(number, path.join(name));
        }
    }
    Ok(kept)
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_three_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        root.create_folders(Path::new(FOLDER), 0o700).unwrap();
        let names = || {
            let entries = std::fs::read_dir(dir.path().join(&FOLDER[1..])).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<_> = names.collect();
            names.sort();
            names
        };
        keep(&root, "admin", b"another id").unwrap();
        for n in 1..=12 {
            let pem = format!("certificate {n}");
            keep(&root, "admin.conf", pem.as_bytes()).unwrap();
            keep(&root, "admin.conf", pem.as_bytes()).unwrap();
        }
        let want = [
            "admin.1.crt",
            "admin.conf.10.crt",
            "admin.conf.11.crt",
            "admin.conf.12.crt",
        ];
        assert_eq!(names(), want);
        let newest = Path::new(FOLDER).join("admin.conf.12.crt");
        assert_eq!(root.read(&newest, 100).unwrap().unwrap(), b"certificate 12");
    }

    #[test]
    fn an_id_is_one_name() {
        for id in ["ca", "admin.conf", "etcd-ca"] {
            assert!(is_name(id), "{id}");
        }
        for id in ["", ".", "..", "../x", "a/b", "/a", "a/", ".hidden"] {
            assert!(!is_name(id), "{id}");
        }
    }
}
