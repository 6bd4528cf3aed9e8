//! The files of a node that can pin an address, and the one place that reads them.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::certificates::Server;
use super::kubeconfigs::User;
use super::manifests::Pod;
use crate::root::Root;
use crate::surface::pods;

/// The largest file that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A static pod's manifest.
    Manifest(Pod),
    /// A kubeconfig.
    Kubeconfig(User),
    /// The kubelet's flags in an environment file.
    KubeletFlags,
    /// The kubelet's configuration.
    KubeletSettings,
    /// A server's certificate.
    Certificate(Server),
    /// A host-network pod's copy of the hosts file.
    HostsCopy,
    /// The cluster's authority, by which kubeconfigs of this cluster are known.
    Authority,
}

/// A file that was read.
#[derive(Clone)]
pub struct File {
    /// What it is.
    pub kind: Kind,
    /// Its path below the root.
    pub path: PathBuf,
    /// What is in it; a kubeconfig has a key.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// What was read of a node.
#[derive(Clone, Default)]
pub struct Files {
    /// The files that are there.
    pub found: Vec<File>,
    /// Those that are there and cannot be read, in words.
    pub unread: Vec<String>,
}

/// Every file that is looked for at a fixed place.
const PLACES: [(&str, Kind); 20] = [
    ("/etc/kubernetes/pki/ca.crt", Kind::Authority),
    (
        "/etc/kubernetes/manifests/kube-apiserver.yaml",
        Kind::Manifest(Pod::Apiserver),
    ),
    (
        "/etc/kubernetes/manifests/etcd.yaml",
        Kind::Manifest(Pod::Etcd),
    ),
    (
        "/etc/kubernetes/manifests/kube-controller-manager.yaml",
        Kind::Manifest(Pod::Other),
    ),
    (
        "/etc/kubernetes/manifests/kube-scheduler.yaml",
        Kind::Manifest(Pod::Other),
    ),
    (
        "/etc/kubernetes/controller-manager.conf",
        Kind::Kubeconfig(User::ControllerManager),
    ),
    (
        "/etc/kubernetes/scheduler.conf",
        Kind::Kubeconfig(User::Scheduler),
    ),
    (
        "/etc/kubernetes/kubelet.conf",
        Kind::Kubeconfig(User::Kubelet),
    ),
    (
        "/etc/kubernetes/bootstrap-kubelet.conf",
        Kind::Kubeconfig(User::Bootstrap),
    ),
    ("/etc/kubernetes/admin.conf", Kind::Kubeconfig(User::Admin)),
    (
        "/etc/kubernetes/super-admin.conf",
        Kind::Kubeconfig(User::Admin),
    ),
    ("/root/.kube/config", Kind::Kubeconfig(User::Person)),
    ("/var/lib/kubelet/kubeadm-flags.env", Kind::KubeletFlags),
    // KUBELET_EXTRA_ARGS of the packages for Debian and for Red Hat.
    ("/etc/default/kubelet", Kind::KubeletFlags),
    ("/etc/sysconfig/kubelet", Kind::KubeletFlags),
    ("/var/lib/kubelet/config.yaml", Kind::KubeletSettings),
    (
        "/etc/kubernetes/pki/apiserver.crt",
        Kind::Certificate(Server::Apiserver),
    ),
    (
        "/etc/kubernetes/pki/etcd/server.crt",
        Kind::Certificate(Server::Etcd),
    ),
    (
        "/etc/kubernetes/pki/etcd/peer.crt",
        Kind::Certificate(Server::Etcd),
    ),
    (
        "/var/lib/kubelet/pki/kubelet.crt",
        Kind::Certificate(Server::Kubelet),
    ),
];

impl Files {
    /// The files of a kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &File> {
        self.found.iter().filter(move |file| file.kind == kind)
    }
}

impl File {
    /// What is in it, as text.
    pub fn text(&self) -> Result<&str, String> {
        std::str::from_utf8(&self.bytes).map_err(|_| "is no UTF-8 text".to_owned())
    }
}

/// Reads what is there.
pub fn read(root: &Root) -> Files {
    let mut files = Files::default();
    for (path, kind) in PLACES {
        files.take(Path::new(path), kind, root.read(Path::new(path), LIMIT));
    }
    match pods::copies(root) {
        Ok(copies) => {
            for (path, read) in copies {
                files.take(&path, Kind::HostsCopy, read);
            }
        }
        Err(error) => files.unread.push(error.to_string()),
    }
    files
}

impl Files {
    fn take(&mut self, path: &Path, kind: Kind, read: std::io::Result<Option<Vec<u8>>>) {
        match read {
            Ok(Some(bytes)) => self.found.push(File {
                kind,
                path: path.to_owned(),
                bytes: Zeroizing::new(bytes),
            }),
            Ok(None) => {}
            // A file where a folder should be: what is below it is not there.
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {}
            Err(error) => {
                let text = format!("{} cannot be read: {error}", path.display());
                self.unread.push(text);
            }
        }
    }
}
