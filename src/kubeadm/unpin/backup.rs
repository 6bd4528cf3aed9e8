//! What a run changes is kept as it was: in a numbered folder of its own, far from the kubelet's
//! folder of manifests, where a copy would start a pod.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, Mode, OFlags};

use crate::file::{self, make_folder, missing_folders, replaceable, write_like};
use crate::root::Root;

/// The folder of all backups.
pub const FOLDER: &str = "/var/lib/stayput/unpin";

/// Why nothing was kept. Then nothing is changed either.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be written.
    #[error("cannot keep a backup: {0}; nothing more has changed")]
    Write(#[from] file::Error),
    /// The folder cannot be looked into.
    #[error("cannot look into {FOLDER}: {0}; nothing more has changed")]
    Folder(#[source] io::Error),
}

/// One run's backups. The folder is made with the first of them.
#[derive(Debug)]
pub struct Backup {
    root: Root,
    folder: Option<PathBuf>,
}

impl Backup {
    /// For a new run.
    pub fn new(root: &Root) -> Self {
        Self {
            root: root.clone(),
            folder: None,
        }
    }

    /// Where they are, if there are any.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Keeps a file, with owner, mode and label, below the folder at its own path. The first copy of a
    /// run stays. Where there is no such file there is nothing to keep.
    pub fn keep(&mut self, path: &Path, bytes: &[u8]) -> Result<Option<PathBuf>, Error> {
        let Some(old) = replaceable(&self.root, path)? else {
            return Ok(None);
        };
        let copy = self.place(path)?;
        if !self.exists(&copy)? {
            write_like(&self.root, &old, &copy, bytes)?;
        }
        Ok(Some(copy))
    }

    /// Keeps an object of the cluster, as `objects/NAME`.
    pub fn keep_object(&mut self, name: &str, text: &str) -> Result<PathBuf, Error> {
        let copy = self.place(&Path::new("/objects").join(name))?;
        if !self.exists(&copy)? {
            file::replace(&self.root, &copy, text.as_bytes(), 0o600)?;
        }
        Ok(copy)
    }

    fn exists(&self, path: &Path) -> Result<bool, Error> {
        self.root.exists(path).map_err(Error::Folder)
    }

    /// The path of a copy, with its folders made.
    fn place(&mut self, path: &Path) -> Result<PathBuf, Error> {
        let folder = if let Some(folder) = &self.folder {
            folder.clone()
        } else {
            let number = last(&self.root).map_err(Error::Folder)? + 1;
            let folder = Path::new(FOLDER).join(format!("{number:04}"));
            self.folder.insert(folder).clone()
        };
        let copy = folder.join(path.strip_prefix("/").unwrap_or(path));
        if let Some(parent) = copy.parent() {
            let mut missing = missing_folders(&self.root, parent)?;
            missing.sort();
            for folder in missing {
                make_folder(&self.root, &folder, 0o700)?;
            }
        }
        Ok(copy)
    }
}

/// The highest number that is taken; 0 where none is.
fn last(root: &Root) -> io::Result<u32> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let folder = match root.open_at(Path::new(FOLDER), flags, Mode::empty()) {
        Ok(folder) => folder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut last = 0;
    for entry in Dir::read_from(&folder)? {
        let number = entry?
            .file_name()
            .to_str()
            .ok()
            .and_then(|it| it.parse().ok());
        last = last.max(number.unwrap_or(0));
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn each_run_has_its_own_folder_and_modes_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let path = Path::new("/etc/kubernetes/admin.conf");
        let file = dir.path().join("etc/kubernetes/admin.conf");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "one").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        for number in ["0001", "0002"] {
            let mut backup = Backup::new(&root);
            assert_eq!(backup.folder(), None);
            let copy = backup.keep(path, b"one").unwrap().unwrap();
            assert_eq!(
                copy,
                Path::new(FOLDER)
                    .join(number)
                    .join("etc/kubernetes/admin.conf")
            );
            // What the run itself has written meanwhile is no backup.
            backup.keep(path, b"two").unwrap();
            let copy = dir.path().join(copy.strip_prefix("/").unwrap());
            assert_eq!(std::fs::read(&copy).unwrap(), b"one");
            assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o640);
            let top = dir.path().join(&FOLDER[1..]);
            assert_eq!(top.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        }
        let mut backup = Backup::new(&root);
        assert_eq!(backup.keep(Path::new("/etc/nothing"), b"").unwrap(), None);
        assert_eq!(backup.folder(), None);
    }
}
