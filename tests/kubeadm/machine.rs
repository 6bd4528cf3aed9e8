//! A machine in a folder: master-1 of a cluster of two.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{STAYPUT, Said, run};

/// What `kubeadm` wrote by itself, and what it wrote for a cluster of names.
pub(crate) const STOCK: &str = "stock-1.20.2";
pub(crate) const NAMES: &str = "names-1.20.2";

/// The folder and what is asked of it.
pub(crate) struct Machine {
    folder: TempDir,
}

/// The two masters without stable addresses, and with them.
pub(crate) const MOVING: &str = "masters:
  - {name: master-1, address: 10.77.0.11}
  - {name: master-2, address: 10.77.0.12}
";
pub(crate) const STABLE: &str = "masters:
  - {name: master-1, address: 10.77.0.11, stable: 10.254.0.1}
  - {name: master-2, address: 10.77.0.12, stable: 10.254.0.2}
";

impl Machine {
    /// A machine with nothing but a cluster file; `more` are its lines behind domain and endpoint.
    pub(crate) fn new(more: &str) -> Self {
        let machine = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let head = "domain: prod.k8s.internal\nendpoint: {name: api}\n";
        machine.write("/etc/stayput/cluster.yaml", &format!("{head}{more}"));
        machine
    }

    /// The files of a golden folder, each in its place.
    pub(crate) fn with(self, golden: &str) -> Self {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/kubeadm/golden")
            .join(golden);
        copy(&golden, &self.path("/etc/kubernetes"));
        copy(&golden.join("kubelet"), &self.path("/var/lib/kubelet"));
        fs::remove_dir_all(self.path("/etc/kubernetes/kubelet")).unwrap();
        self
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// A path of the machine on the host.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Runs `stayput` on it, as master-1 unless the arguments name another node.
    pub(crate) fn stayput(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(STAYPUT);
        command.arg("--root").arg(self.folder.path());
        if !arguments.contains(&"--node") {
            command.args(["--node", "master-1", "--kubernetes-name", "master-1"]);
        }
        run(command.args(arguments))
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
