//! One node's patches of kubeadm's static pods: what makes a master without a stable address start
//! again at another one.
//!
//! `extraArgs` in kubeadm's configuration hold for the whole cluster, so what has a master's name in it
//! is a patch (`kubeadm init --help`, `--patches`: `TARGET[SUFFIX][+TYPE].EXTENSION`). A strategic
//! merge patch finds a container by its name, but replaces `command` as a whole; so flags go into
//! `args`, which kubeadm leaves empty and which follow `command`, and of a flag that is given twice Go's
//! `flag` package takes the last. kube-apiserver's `--advertise-address` is no part of this: it has to be
//! an address, and is kept at the current one.

use std::io;
use std::path::{Component, Path, PathBuf};

use super::annotations::ETCD_CLIENT_URLS;
use crate::api::etcd::{CLIENTS, PEERS};
use crate::config::Cluster;
use crate::file;
use crate::name::Name;
use crate::root::Root;
use crate::static_pod::MANIFESTS;
use crate::yaml::{self, Tree, mapping, texts};

/// Where the patches lie, unless somebody says otherwise.
pub const FOLDER: &str = "/etc/stayput/patches";

/// One patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Its file's name.
    pub file: &'static str,
    /// Its text.
    pub text: String,
}

/// Why there are no patches.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Where the kubelet would take a patch for a pod.
    #[error(
        "{} is or lies in the kubelet's folder of static pods, where every file is a pod; choose another folder, such as {FOLDER}",
        path.display()
    )]
    Manifests {
        /// The folder that was given.
        path: PathBuf,
    },
    /// Not a path below the root.
    #[error("'{}' is not an absolute path without ..; write one such as {FOLDER}", path.display())]
    Path {
        /// What was given.
        path: PathBuf,
    },
    /// Cannot be told in a command or a line of text.
    #[error(
        "the folder {path:?} has control characters in its name, or is no UTF-8; choose another, such as {FOLDER}"
    )]
    Unsafe {
        /// What was given.
        path: PathBuf,
    },
    /// The folder cannot be made or looked at.
    #[error("cannot make the folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] file::Error),
}

/// The patches of a master: its fully qualified name, and the name of its Node object, which kubeadm
/// gives to its etcd member.
pub fn patches(master: &Name, node: &Name) -> Vec<Patch> {
    let text = |tree| HEAD.to_owned() + &yaml::write(&tree);
    vec![
        Patch {
            file: "etcd+strategic.yaml",
            text: text(etcd(master, node)),
        },
        Patch {
            file: "kube-apiserver+strategic.yaml",
            text: text(apiserver()),
        },
    ]
}

const HEAD: &str = "\
# Written by `stayput kubeadm patches`; a change here is lost when it runs again. Patches of your own
# go into files of other names beside this one.
";

/// etcd listens at every address of the machine, and tells its name.
fn etcd(master: &Name, node: &Name) -> Tree {
    let client = format!("https://{master}:{CLIENTS}");
    let peer = format!("https://{master}:{PEERS}");
    let args = texts([
        format!("--listen-client-urls=https://0.0.0.0:{CLIENTS}"),
        format!("--listen-peer-urls=https://0.0.0.0:{PEERS}"),
        format!("--advertise-client-urls={client}"),
        format!("--initial-advertise-peer-urls={peer}"),
        // Read when a cluster is made; with data on the disk the members know each other already.
        format!("--initial-cluster={node}={peer}"),
    ]);
    let container = mapping([("name", "etcd".into()), ("args", args)]);
    let annotations = mapping([(ETCD_CLIENT_URLS, client.into())]);
    mapping([
        ("metadata", mapping([("annotations", annotations)])),
        (
            "spec",
            mapping([("containers", Tree::Sequence(vec![container]))]),
        ),
    ])
}

/// The kubelet asks kube-apiserver on loopback whether it lives.
fn apiserver() -> Tree {
    let host = || mapping([("httpGet", mapping([("host", "127.0.0.1".into())]))]);
    let probes = super::manifest::PROBES.map(|probe| (probe, host()));
    let name = ("name", Tree::from("kube-apiserver"));
    let container = mapping(std::iter::once(name).chain(probes));
    mapping([(
        "spec",
        mapping([("containers", Tree::Sequence(vec![container]))]),
    )])
}

/// Whether this master needs them: one with an address that never changes is pinned to that one.
pub fn needed(cluster: &Cluster, master: &Name) -> bool {
    cluster
        .master(master)
        .is_none_or(|master| master.stable.is_none())
}

/// Whether patches may be written to a folder, as far as its path tells.
pub fn check_folder(path: &Path) -> Result<(), Error> {
    let plain = |component| matches!(component, Component::RootDir | Component::Normal(_));
    let owned = || path.to_owned();
    if !path.is_absolute() || !path.components().all(plain) {
        return Err(Error::Path { path: owned() });
    }
    if path
        .to_str()
        .is_none_or(|text| text.contains(char::is_control))
    {
        return Err(Error::Unsafe { path: owned() });
    }
    if path.starts_with(MANIFESTS) {
        return Err(Error::Manifests { path: owned() });
    }
    Ok(())
}

/// Writes the patches into a folder, which is made where it is missing. Whatever else lies there
/// stays. Gives each file with whether it was written; one that holds its text already was not.
pub fn write(root: &Root, folder: &Path, all: &[Patch]) -> Result<Vec<(PathBuf, bool)>, Error> {
    check_folder(folder)?;
    let failed = |source| Error::Folder {
        path: folder.to_owned(),
        source,
    };
    if leads_to(root, folder, Path::new(MANIFESTS)).map_err(failed)? {
        let path = folder.to_owned();
        return Err(Error::Manifests { path });
    }
    root.create_folders(folder, 0o755).map_err(failed)?;
    let write = |patch: &Patch| {
        let path = folder.join(patch.file);
        let wrote = file::replace(root, &path, patch.text.as_bytes(), 0o644)?;
        Ok((path, wrote))
    };
    all.iter().map(write).collect()
}

/// Whether a folder, which may not be there yet, is or lies in another one by way of a symlink.
fn leads_to(root: &Root, folder: &Path, other: &Path) -> io::Result<bool> {
    let real = |path: &Path| -> io::Result<Option<PathBuf>> {
        if !root.exists(path)? {
            return Ok(None);
        }
        let inside = root.host_path(&path.join("x"))?;
        Ok(inside.parent().map(Path::to_owned))
    };
    let Some(other) = real(other)? else {
        return Ok(false);
    };
    for ancestor in folder.ancestors() {
        if let Some(real) = real(ancestor)? {
            return Ok(real.starts_with(&other));
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubeadm::manifest::Manifest;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn patches_hold_no_address_that_is_a_machine_s() {
        let all = patches(&name("m1.prod.k8s.internal"), &name("m1"));
        let [etcd, apiserver] = &all[..] else {
            panic!("{all:?}")
        };
        let etcd = Manifest::parse(&etcd.text).unwrap();
        for (flag, want) in [
            ("listen-client-urls", "https://0.0.0.0:2379"),
            ("listen-peer-urls", "https://0.0.0.0:2380"),
            ("advertise-client-urls", "https://m1.prod.k8s.internal:2379"),
            (
                "initial-advertise-peer-urls",
                "https://m1.prod.k8s.internal:2380",
            ),
            ("initial-cluster", "m1=https://m1.prod.k8s.internal:2380"),
        ] {
            assert_eq!(etcd.flag(flag).unwrap().value, want);
        }
        let annotation = etcd.annotation(ETCD_CLIENT_URLS).unwrap().value;
        assert_eq!(annotation, "https://m1.prod.k8s.internal:2379");
        let hosts = Manifest::parse(&apiserver.text).unwrap().probe_hosts();
        let hosts: Vec<_> = hosts.iter().map(|probe| probe.host.as_str()).collect();
        assert_eq!(hosts, ["127.0.0.1"; 3]);
    }

    #[test]
    fn the_kubelet_s_folder_is_refused_by_every_way() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let all = patches(&name("m1.k8s.internal"), &name("m1"));
        std::fs::create_dir_all(folder.path().join("etc/kubernetes/manifests")).unwrap();
        std::os::unix::fs::symlink("kubernetes/manifests", folder.path().join("etc/link")).unwrap();
        for path in [
            "/etc/kubernetes/manifests",
            "/etc/kubernetes/manifests/deeper",
            "/etc/link",
            "/etc/link/deeper",
        ] {
            let error = write(&root, Path::new(path), &all).unwrap_err();
            assert!(matches!(error, Error::Manifests { .. }), "{path}: {error}");
        }
        for path in ["patches", "/etc/../etc/kubernetes/manifests", ""] {
            let error = write(&root, Path::new(path), &all).unwrap_err();
            assert!(matches!(error, Error::Path { .. }), "{path}: {error}");
        }
        let manifests = folder.path().join("etc/kubernetes/manifests");
        let files = std::fs::read_dir(manifests).unwrap();
        assert_eq!(files.count(), 0);
    }

    #[test]
    fn a_second_run_writes_nothing_and_others_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let all = patches(&name("m1.k8s.internal"), &name("m1"));
        let path = Path::new("/etc/stayput/patches");
        let wrote = |written: Vec<(PathBuf, bool)>| written.iter().filter(|(_, w)| *w).count();
        assert_eq!(wrote(write(&root, path, &all).unwrap()), 2);
        let own = folder.path().join("etc/stayput/patches/etcd1+json.yaml");
        std::fs::write(&own, "[]").unwrap();
        assert_eq!(wrote(write(&root, path, &all).unwrap()), 0);
        assert_eq!(std::fs::read(own).unwrap(), b"[]");
    }
}
