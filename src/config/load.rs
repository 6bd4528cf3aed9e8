//! Reads both files, and what else tells which node this is.

use std::io;
use std::path::{Path, PathBuf};

use super::cluster::Cluster;
use super::node::{APISERVER_MANIFEST, Node, NodeError};
use super::node_file::NodeSettings;
use super::problem::Problems;
use super::rescue;
use crate::root::Root;
use crate::yaml::Location;

/// How large a file of settings may be, in bytes.
const MAX_SIZE: u64 = 1 << 20;
/// hostname(5): one name, after comment lines.
const HOSTNAME: &str = "/etc/hostname";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster file is not there.
    #[error(
        "there is no cluster file {}{}; write it (see deploy/examples/cluster.yaml) or name it with --config",
        path.display(),
        where_looked_up(path)
    )]
    Missing {
        /// Where it was looked for, below the root.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file, below the root.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// One or both files are wrong; all of it, one line each.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// The file of a rescue is wrong.
    #[error("{0}\nput it right, or end the rescue: stayput kubeadm rescue --end")]
    Rescue(Problems),
    /// Both files are good, but it is not clear which node this is.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// What to say of a path that was given and is not there: a relative one is not of the current folder.
pub fn where_looked_up(path: &Path) -> &'static str {
    if path.is_absolute() {
        ""
    } else {
        " (a relative path is looked up below /, or --root; give an absolute path)"
    }
}

/// Reads and checks the cluster file and the node file, which may be missing.
///
/// `flags` go before the node file, and a rescue's file before what the cluster file says of routes.
/// Blocks on the disk.
pub fn load(
    root: &Root,
    cluster_path: &Path,
    node_path: &Path,
    flags: &NodeSettings,
) -> Result<(Cluster, Node), Error> {
    let missing = || Error::Missing {
        path: cluster_path.to_owned(),
    };
    let cluster_file = read(root, cluster_path)?.ok_or_else(missing)?;
    let node_file = read(root, node_path)?.unwrap_or_default();

    let cluster = text(&cluster_file, cluster_path)
        .and_then(|text| Cluster::parse(text, cluster_path, root.loopback()));
    let settings =
        text(&node_file, node_path).and_then(|text| NodeSettings::parse(text, node_path));
    let (mut cluster, settings) = match (cluster, settings) {
        (Ok(cluster), Ok(settings)) => (cluster, settings),
        (Err(problems), Ok(_)) | (Ok(_), Err(problems)) => return Err(problems.into()),
        (Err(cluster), Err(node)) => return Err(cluster.and(node).into()),
    };
    let rescue_path = Path::new(rescue::PATH);
    if let Some(file) = read(root, rescue_path)? {
        let read = text(&file, rescue_path)
            .and_then(|text| rescue::parse(text, &cluster, root.loopback()));
        let (rescue, stale) = read.map_err(Error::Rescue)?;
        (cluster.routes.rescue, cluster.routes.stale) = (rescue, stale);
    }
    let settings = flags.clone().or(settings);
    let manifest = Path::new(APISERVER_MANIFEST);
    let apiserver = root.exists(manifest).map_err(|source| Error::Read {
        path: manifest.to_owned(),
        source,
    })?;
    let hostname = hostname(root)?;
    let joining = settings.joining(&hostname, &cluster)?;
    cluster.add(&joining);
    let node = Node::determine(settings, &hostname, &cluster, apiserver)?;
    Ok((cluster, node))
}

fn read(root: &Root, path: &Path) -> Result<Option<Vec<u8>>, Error> {
    root.read(path, MAX_SIZE).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}

fn text<'a>(bytes: &'a [u8], file: &Path) -> Result<&'a str, Problems> {
    std::str::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let location = Location::behind(&good);
        Problems::of_file(file, Some(location), "is not UTF-8; save the file as UTF-8")
    })
}

/// The machine's host name; a sandbox may have one of its own.
fn hostname(root: &Root) -> Result<String, Error> {
    if !root.is_system()
        && let Some(bytes) = read(root, Path::new(HOSTNAME))?
    {
        let file = String::from_utf8_lossy(&bytes);
        let mut lines = file.lines().map(str::trim);
        let name = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
        return Ok(name.unwrap_or_default().to_owned());
    }
    let system = rustix::system::uname();
    Ok(system.nodename().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A master with this rescue in force.
    fn loaded(rescue: &str) -> Result<Cluster, Error> {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("etc/stayput");
        std::fs::create_dir_all(&folder).unwrap();
        let cluster = include_str!("../../deploy/examples/cluster.yaml");
        std::fs::write(folder.join("cluster.yaml"), cluster).unwrap();
        std::fs::write(folder.join("node.yaml"), "name: master-1\n").unwrap();
        std::fs::write(folder.join("rescue.yaml"), rescue).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let files = ["/etc/stayput/cluster.yaml", "/etc/stayput/node.yaml"].map(Path::new);
        let loaded = load(&root, files[0], files[1], &NodeSettings::default());
        loaded.map(|(cluster, _)| cluster)
    }

    #[test]
    fn a_rescue_of_a_master_that_is_gone_keeps_nobody_from_starting() {
        let routes = loaded("gone: 10.0.0.9\nmaster-1: 10.9.0.1\n")
            .unwrap()
            .routes;
        assert_eq!((routes.rescue.len(), routes.stale.len()), (1, 1));
        let error = loaded("master-1: here\n").unwrap_err().to_string();
        assert!(
            error.contains("/etc/stayput/rescue.yaml:1:11: master-1:"),
            "{error}"
        );
        assert!(error.ends_with("stayput kubeadm rescue --end"), "{error}");
    }
}
