//! The files of a node that name a server or an address, by who reads them: each group is written, and
//! its reader restarted, before the next one is begun.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::difference;
use super::kubeconfigs::{mended, shown, without_node_ip};
use super::pins::Ways;
use super::plan::Change;
use crate::root::Root;

/// What kubeadm gives the kubelet to start with.
pub const KUBELET_FLAGS: &str = "/var/lib/kubelet/kubeadm-flags.env";
const AUTHORITY: &str = "/etc/kubernetes/pki/ca.crt";
const LIMIT: u64 = 1 << 20;

/// Who reads a group of files, and only when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// A static pod.
    Pod(&'static str),
    /// The kubelet.
    Kubelet,
    /// People, and programs that are run anew each time.
    Nobody,
}

impl Restart {
    /// The word that people read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pod(pod) => pod,
            Self::Kubelet => "kubelet",
            Self::Nobody => "nobody",
        }
    }
}

/// Which server a file is to name.
#[derive(Debug, Clone, Copy)]
enum Reads {
    /// The master's own kube-apiserver.
    Local,
    /// The endpoint.
    Endpoint,
    /// The endpoint, in clusters of this authority only.
    Ours,
    /// No server: the kubelet's flags.
    Flags,
}

/// All groups, in the order in which they are mended.
const GROUPS: [(Restart, &[(&str, Reads)]); 4] = [
    (
        Restart::Pod("kube-controller-manager"),
        &[("/etc/kubernetes/controller-manager.conf", Reads::Local)],
    ),
    (
        Restart::Pod("kube-scheduler"),
        &[("/etc/kubernetes/scheduler.conf", Reads::Local)],
    ),
    (
        Restart::Kubelet,
        &[
            ("/etc/kubernetes/kubelet.conf", Reads::Endpoint),
            ("/etc/kubernetes/bootstrap-kubelet.conf", Reads::Endpoint),
            (KUBELET_FLAGS, Reads::Flags),
        ],
    ),
    (
        Restart::Nobody,
        &[
            ("/etc/kubernetes/admin.conf", Reads::Endpoint),
            ("/etc/kubernetes/super-admin.conf", Reads::Endpoint),
            ("/root/.kube/config", Reads::Ours),
        ],
    ),
];

/// Files with one reader, of which something is left to do.
#[derive(Debug)]
pub struct Group {
    /// The reader.
    pub restart: Restart,
    /// The files that change; none where only the restart is left.
    pub files: Vec<NewFile>,
}

/// A file that changes.
pub struct NewFile {
    /// Below the root.
    pub path: &'static str,
    /// As it was read.
    pub from: Zeroizing<Vec<u8>>,
    /// As it is to be.
    pub to: Zeroizing<Vec<u8>>,
    /// For people; without secrets.
    pub change: Change,
}

impl fmt::Debug for NewFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("NewFile");
        shown.field("change", &self.change).finish_non_exhaustive()
    }
}

/// What is left to do, with what is owed from before. An error is for a person, and names its file.
pub fn groups(root: &Root, owed: &BTreeSet<String>, ways: &Ways) -> Result<Vec<Group>, String> {
    let mut groups = Vec::new();
    for (restart, files) in GROUPS {
        let mut changed = Vec::new();
        for (path, reads) in files {
            changed.extend(file(root, path, *reads, ways)?);
        }
        if !changed.is_empty() || owed.contains(restart.as_str()) {
            let files = changed;
            groups.push(Group { restart, files });
        }
    }
    Ok(groups)
}

/// What is shown of them.
pub fn changes(groups: &[Group]) -> Vec<Change> {
    let mut changes = Vec::new();
    for group in groups {
        changes.extend(group.files.iter().map(|file| file.change.clone()));
        if group.files.is_empty() {
            changes.push(Change {
                place: group.restart.as_str().to_owned(),
                diff: "+restart: an earlier run has changed its files\n".to_owned(),
            });
        }
    }
    changes
}

fn file(
    root: &Root,
    path: &'static str,
    reads: Reads,
    ways: &Ways,
) -> Result<Option<NewFile>, String> {
    let Some(from) = read(root, path)? else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&from).map_err(|_| format!("{path} is no UTF-8 text"))?;
    let authority = match reads {
        // Without it, it is not known whether a cluster is this one.
        Reads::Ours => match read(root, AUTHORITY)? {
            Some(pem) => Some(STANDARD.encode(&*pem)),
            None => return Ok(None),
        },
        _ => None,
    };
    let server = match reads {
        Reads::Local => ways.local_url(),
        _ => ways.endpoint_url(),
    };
    let (to, change) = if let Reads::Flags = reads {
        let Some((to, value)) = without_node_ip(text, ways) else {
            return Ok(None);
        };
        let change = difference::of_values(path, [("--node-ip", value.as_str(), "")]);
        (Zeroizing::new(to.into_bytes()), change)
    } else {
        let mended = mended(text, &server, authority.as_deref(), ways);
        let Some(mended) = mended.map_err(|error| format!("{path} {error}"))? else {
            return Ok(None);
        };
        let change = shown(path, &mended);
        (Zeroizing::new(mended.text.as_bytes().to_vec()), change)
    };
    Ok(Some(NewFile {
        path,
        from,
        to,
        change,
    }))
}

fn read(root: &Root, path: &str) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
    let bytes = root.read(Path::new(path), LIMIT);
    let bytes = bytes.map_err(|error| format!("cannot read {path}: {error}"))?;
    Ok(bytes.map(Zeroizing::new))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubeadm::unpin::pins::sample;

    fn kubeconfig(server: &str) -> String {
        let authority = STANDARD.encode("the authority");
        format!(
            "clusters:\n- cluster:\n    certificate-authority-data: {authority}\n    server: {server}\nusers:\n- user:\n    client-key-data: U0VDUkVU\n"
        )
    }

    #[test]
    fn each_file_gets_its_server_and_no_secret_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(&path[1..]);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let pinned = kubeconfig("https://10.77.0.11:6443");
        for path in GROUPS.iter().flat_map(|(_, files)| files.iter()) {
            write(path.0, &pinned);
        }
        write(AUTHORITY, "the authority");
        write(
            KUBELET_FLAGS,
            "KUBELET_KUBEADM_ARGS=\"--node-ip=10.77.0.11\"\n",
        );
        let none = BTreeSet::new();
        let found = groups(&root, &none, &sample()).unwrap();
        let order: Vec<&str> = found.iter().map(|group| group.restart.as_str()).collect();
        assert_eq!(
            order,
            [
                "kube-controller-manager",
                "kube-scheduler",
                "kubelet",
                "nobody"
            ]
        );
        let changes = changes(&found);
        assert_eq!(changes.len(), 8);
        for change in &changes {
            assert!(!change.diff.contains("U0VDUkVU"), "{change:?}");
            let local = change.place.contains("manager") || change.place.contains("scheduler");
            let server = match change.place.as_str() {
                KUBELET_FLAGS => "-",
                _ if local => "https://127.0.0.1:6443",
                _ => "https://api.k8s.internal:8443",
            };
            assert!(change.diff.contains(server), "{change:?}");
        }
        // Afterwards nothing is left but what is owed.
        for file in found.iter().flat_map(|group| &group.files) {
            write(file.path, std::str::from_utf8(&file.to).unwrap());
        }
        assert!(groups(&root, &none, &sample()).unwrap().is_empty());
        let owed = groups(&root, &["kubelet".to_owned()].into(), &sample()).unwrap();
        assert_eq!(owed.len(), 1);
        assert_eq!(owed[0].restart, Restart::Kubelet);
        assert!(owed[0].files.is_empty());
    }
}
