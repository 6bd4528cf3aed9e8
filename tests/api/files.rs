//! A root folder with the authority and the pairs that a master has.

use std::path::PathBuf;

use stayput::root::Root;

use crate::authority::Authority;

/// Below it everything of a test lies.
pub(crate) struct Files {
    folder: tempfile::TempDir,
    pub(crate) authority: Authority,
}

const PKI: &str = "etc/kubernetes/pki/etcd";

impl Files {
    /// etcd's authority and a client's pair.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = folder.path().join(PKI);
        std::fs::create_dir_all(&pki).unwrap();
        let authority = Authority::new("etcd-ca");
        authority.write(&pki.join("ca.crt"));
        authority.write_pair(&pki, "healthcheck-client", "client", &["client"]);
        Self { folder, authority }
    }

    pub(crate) fn root(&self) -> Root {
        Root::open(self.folder.path()).unwrap()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// etcd's folder.
    pub(crate) fn pki(&self) -> PathBuf {
        self.path(PKI)
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        std::fs::write(self.path(path), text).unwrap();
    }
}
