//! Control groups (version 1) of the nodes: `/stayput-kubernetes/NODE` in every hierarchy. The kubelet
//! puts its pods below it, the node's other processes are in `node` there.

use std::path::{Path, PathBuf};

const MOUNTED: &str = "/sys/fs/cgroup";
const OURS: &str = "stayput-kubernetes";

/// A node's control group, as the kubelet's `cgroupRoot`.
pub(crate) fn root(node: &str) -> String {
    format!("/{OURS}/{node}")
}

/// Makes a node's control groups.
pub(crate) fn make(node: &str) {
    for hierarchy in hierarchies() {
        let folders = [OURS, node, "node"];
        let mut folder = hierarchy;
        for below in folders {
            let above = folder.clone();
            folder.push(below);
            std::fs::create_dir_all(&folder).unwrap();
            // A new cpuset is empty, and takes no process then.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(text) = std::fs::read(above.join(file)) {
                    let _ = std::fs::write(folder.join(file), text);
                }
            }
        }
    }
}

/// A shell's words by which it puts itself into the node's control groups.
pub(crate) fn join(node: &str) -> String {
    format!("for group in {MOUNTED}/*/{OURS}/{node}/node/cgroup.procs; do echo 0 > $group; done")
}

/// Removes what is empty, which is all of it once the processes have ended; says what is left.
pub(crate) fn remove() -> Vec<PathBuf> {
    let mut left = Vec::new();
    for hierarchy in hierarchies() {
        remove_below(&hierarchy.join(OURS), &mut left);
    }
    left
}

fn remove_below(folder: &Path, left: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path(), left);
        }
    }
    if std::fs::remove_dir(folder).is_err() {
        left.push(folder.to_owned());
    }
}

fn hierarchies() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(MOUNTED).unwrap().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let paths = folders.map(|entry| entry.path());
    paths
        .filter(|path| path.join("cgroup.procs").exists())
        .collect()
}
