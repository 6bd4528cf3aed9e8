//! A node's `/etc/kubernetes` in a folder of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use stayput::pki::store::{self, Error, NewFile, Recovered, Set, Store};
use stayput::root::Root;

use crate::pair::Pair;

pub(crate) const KEY: &str = "/etc/kubernetes/pki/apiserver.key";
pub(crate) const CERTIFICATE: &str = "/etc/kubernetes/pki/apiserver.crt";
pub(crate) const CONFIG: &str = "/etc/kubernetes/admin.conf";
pub(crate) const ETCD_KEY: &str = "/etc/kubernetes/pki/etcd/server.key";
pub(crate) const ETCD_CERTIFICATE: &str = "/etc/kubernetes/pki/etcd/server.crt";

/// The folder in the end goes, unless it is another's.
pub(crate) struct Node {
    dir: PathBuf,
    own: Option<tempfile::TempDir>,
    pub(crate) root: Root,
}

impl Node {
    /// With `/etc/kubernetes/pki`, and nothing in it.
    pub(crate) fn new() -> Self {
        let own = tempfile::tempdir().unwrap();
        fs::create_dir_all(own.path().join("etc/kubernetes/pki")).unwrap();
        let mut node = Self::at(own.path());
        node.own = Some(own);
        node
    }

    /// In a folder that exists.
    pub(crate) fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            own: None,
            root: Root::open(dir).unwrap(),
        }
    }

    /// With a pair and a kubeconfig, but no folder for etcd.
    pub(crate) fn with(old: &Pair) -> Self {
        let node = Self::new();
        node.write(KEY, &old.key, 0o600);
        node.write(CERTIFICATE, &old.certificate, 0o644);
        node.write(CONFIG, &config(old), 0o600);
        node
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, path: &str, text: &str, mode: u32) {
        fs::write(self.path(path), text).unwrap();
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    pub(crate) fn mode(&self, path: &str) -> u32 {
        let metadata = fs::metadata(self.path(path)).unwrap();
        metadata.permissions().mode() & 0o7777
    }

    pub(crate) fn open(&self) -> Result<Recovered, Error> {
        Store::open(&self.root).map(|(_, recovered)| recovered)
    }

    /// Opens the store, which must have nothing to do, and replaces.
    pub(crate) fn replace(&self, sets: &[Set]) -> Result<(), Error> {
        let (store, recovered) = Store::open(&self.root).unwrap();
        assert_eq!(recovered, Recovered::Nothing);
        store.replace(sets)
    }

    /// The pair of the kube-apiserver as it is now.
    pub(crate) fn pair(&self) -> Pair {
        Pair {
            key: self.read(KEY).unwrap(),
            certificate: self.read(CERTIFICATE).unwrap(),
        }
    }

    /// The batch of [`batch`] is there wholly, or not at all. `None`: something in between.
    pub(crate) fn stands(&self, old: &Pair, new: &Pair) -> Option<Stands> {
        let files = [KEY, CERTIFICATE, CONFIG, ETCD_KEY, ETCD_CERTIFICATE].map(|p| self.read(p));
        let (before, after) = (config(old), config(new));
        let before = [
            Some(&old.key),
            Some(&old.certificate),
            Some(&before),
            None,
            None,
        ];
        let after = [
            &new.key,
            &new.certificate,
            &after,
            &new.key,
            &new.certificate,
        ]
        .map(Some);
        let files = files.each_ref().map(Option::as_ref);
        if files == before {
            Some(Stands::Before)
        } else if files == after {
            Some(Stands::After)
        } else {
            // No file may ever be torn, or missing where there was one.
            for ((file, before), after) in files.iter().zip(before).zip(after) {
                assert!(*file == before || *file == after, "torn: {file:?}");
            }
            None
        }
    }

    /// All that a run could leave behind, below both folders.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.path("/etc"), &mut |path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let extension = path.extension().and_then(|extension| extension.to_str());
            if name.starts_with('.') || matches!(extension, Some("new" | "old")) {
                found.push(path.to_owned());
            }
        });
        let journal = self.path(store::JOURNAL);
        found.extend(journal.exists().then_some(journal));
        found
    }

    pub(crate) fn assert_clean(&self, context: &str) {
        assert_eq!(self.leftovers(), Vec::<PathBuf>::new(), "{context}");
        assert!(!Store::peek(&self.root).unwrap(), "{context}");
    }
}

/// How a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stands {
    Before,
    After,
}

fn walk(folder: &Path, see: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        see(&path);
        if path.is_dir() && !path.is_symlink() {
            walk(&path, see);
        }
    }
}

fn config(pair: &Pair) -> String {
    format!("kind: Config\n# {}{}", pair.key, pair.certificate)
}

fn file(path: &str, text: &str, mode: u32) -> NewFile {
    NewFile {
        path: path.into(),
        bytes: text.as_bytes().to_vec().into(),
        mode,
    }
}

/// A pair for the kube-apiserver.
pub(crate) fn apiserver(pair: &Pair) -> Set {
    Set {
        id: "apiserver".to_owned(),
        files: vec![
            file(KEY, &pair.key, 0o600),
            file(CERTIFICATE, &pair.certificate, 0o644),
        ],
        old_certificate: None,
    }
}

/// A pair that is replaced, a kubeconfig that is replaced, and a pair that is new.
pub(crate) fn batch(pair: &Pair) -> [Set; 3] {
    [
        apiserver(pair),
        Set {
            id: "admin.conf".to_owned(),
            files: vec![file(CONFIG, &config(pair), 0o600)],
            old_certificate: None,
        },
        Set {
            id: "etcd-server".to_owned(),
            files: vec![
                file(ETCD_KEY, &pair.key, 0o600),
                file(ETCD_CERTIFICATE, &pair.certificate, 0o644),
            ],
            old_certificate: None,
        },
    ]
}
