//! A node in a folder, and the program on it.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Three masters; this is the first.
pub(crate) const CLUSTER: &str = "
domain: k8s.internal
endpoint: {name: api}
masters:
  - {name: master-1, address: 192.0.2.11}
  - {name: master-2, address: 192.0.2.12}
  - {name: master-3, address: 192.0.2.13}
";

/// The same with keys that are made in no time.
pub(crate) fn quick() -> String {
    format!("{CLUSTER}certificates: {{keyType: ecdsa-p256}}\n")
}

/// Where everything lies that is issued.
pub(crate) const KUBERNETES: &str = "etc/kubernetes";

/// A file, folder or link as it lies there: inode, type and mode, owner, and what it holds.
pub(crate) type Lying = (u64, u32, (u32, u32), Vec<u8>);
/// Paths with mode and contents; a folder's are empty.
pub(crate) type Files = BTreeMap<PathBuf, (u32, Vec<u8>)>;

/// A node.
pub(crate) struct Sandbox {
    dir: tempfile::TempDir,
    node: String,
}

impl Sandbox {
    /// A master with this cluster file.
    pub(crate) fn new(node: &str, cluster: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Self {
            dir,
            node: node.to_owned(),
        };
        sandbox.write("etc/stayput/cluster.yaml", cluster.as_bytes());
        sandbox
    }

    /// The same node again.
    pub(crate) fn copy(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let from = format!("{}/.", self.dir.path().display());
        let copied = Command::new("cp")
            .args(["-a", &from])
            .arg(dir.path())
            .status();
        assert!(copied.unwrap().success());
        let node = self.node.clone();
        Self { dir, node }
    }

    /// Everything below a folder of the node, hidden things too; nothing where there is no folder.
    pub(crate) fn files(&self, below: &str) -> Files {
        let mut files = Files::new();
        let folder = self.path(below);
        if folder.exists() {
            collect(&folder, &folder, &mut files);
        }
        files
    }

    /// A path below the root.
    pub(crate) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(below)
    }

    pub(crate) fn write(&self, below: &str, bytes: &[u8]) {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// The program with the node's options, ready to run.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stayput"));
        command.arg("--root").arg(self.dir.path());
        command.args(["--node", &self.node, "--kubernetes-name", &self.node]);
        command.args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs it; it must succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs it for machines, with its exit code.
    pub(crate) fn json(&self, arguments: &[&str]) -> (Value, i32) {
        let output = self
            .command(arguments)
            .args(["-o", "json"])
            .output()
            .unwrap();
        let value = serde_json::from_slice(&output.stdout);
        let value = value.unwrap_or_else(|error| panic!("{arguments:?}: {error}: {output:?}"));
        (value, output.status.code().unwrap())
    }

    /// Runs it; it must end with this exit code. What it says, standard output first.
    pub(crate) fn fails(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8(said).unwrap()
    }

    /// The text of a file below `etc/kubernetes`.
    pub(crate) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(KUBERNETES).join(name)).unwrap()
    }

    /// Everything below `etc/kubernetes`, hidden things too, by its path.
    pub(crate) fn everything(&self) -> BTreeMap<PathBuf, Lying> {
        let mut all = BTreeMap::new();
        lying(&self.path(KUBERNETES), Path::new(""), &mut all);
        all
    }
}

fn lying(folder: &Path, below: &Path, all: &mut BTreeMap<PathBuf, Lying>) {
    let Ok(entries) = std::fs::read_dir(folder.join(below)) else {
        return;
    };
    for entry in entries.map(Result::unwrap) {
        let path = below.join(entry.file_name());
        let about = entry.metadata().unwrap();
        let holds = if about.is_symlink() {
            let to = std::fs::read_link(entry.path()).unwrap();
            to.into_os_string().into_encoded_bytes()
        } else if about.is_dir() {
            lying(folder, &path, all);
            Vec::new()
        } else {
            std::fs::read(entry.path()).unwrap()
        };
        let owner = (about.uid(), about.gid());
        all.insert(path, (about.ino(), about.mode(), owner, holds));
    }
}

/// What differs between two looks at everything.
pub(crate) fn changed(
    before: &BTreeMap<PathBuf, Lying>,
    after: &BTreeMap<PathBuf, Lying>,
) -> Vec<String> {
    let paths = before.keys().chain(after.keys());
    let mut paths: Vec<&PathBuf> = paths
        .filter(|path| before.get(*path) != after.get(*path))
        .collect();
    paths.sort();
    paths.dedup();
    paths
        .iter()
        .map(|path| path.display().to_string())
        .collect()
}

/// `ssh FIRST stayput certs bundle | stayput certs unbundle`; what the second machine says.
pub(crate) fn carry(first: &Sandbox, second: &Sandbox) -> String {
    let output = first.run(&["certs", "bundle"]);
    assert!(output.status.success(), "{output:?}");
    let said = second.feed(&["certs", "unbundle"], &output.stdout);
    assert!(said.status.success(), "{said:?}");
    String::from_utf8(said.stdout).unwrap()
}

impl Sandbox {
    /// Runs it with this on standard input.
    pub(crate) fn feed(&self, arguments: &[&str], bytes: &[u8]) -> Output {
        // A file: a pipe that nobody reads to its end would hold up the test.
        let file = self.path("input");
        std::fs::write(&file, bytes).unwrap();
        let file = std::fs::File::open(file).unwrap();
        self.command(arguments).stdin(file).output().unwrap()
    }
}

fn collect(folder: &Path, at: &Path, files: &mut Files) {
    for entry in std::fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        let contents = if metadata.is_file() {
            std::fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        let name = path.strip_prefix(folder).unwrap().to_owned();
        files.insert(name, (metadata.permissions().mode(), contents));
        if metadata.is_dir() {
            collect(folder, &path, files);
        }
    }
}
