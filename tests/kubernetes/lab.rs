//! The machine's one lab: a bridge, and what was left of a lab that was killed.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::FlockOperation;

use crate::cgroup;
use crate::kit::Kit;
use crate::measure::within;
use crate::node::Node;
use crate::support::run;

/// Everything of a lab is here: long file names of a checkout would break sockets.
const FOLDER: &str = "/var/tmp/stayput-kubernetes";
/// How the network namespaces are called.
const PREFIX: &str = "stayput-kubernetes-";
/// The router's address, on the bridge.
const ROUTER: &str = "10.77.0.1";

/// One lab at a time: nodes share the machine's two processors, and its control groups. Dropped after
/// its nodes, which have no processes then.
pub(crate) struct Lab {
    kit: Kit,
    _only: File,
}

impl Lab {
    /// A bridge without nodes, or nothing where this machine cannot have a control plane.
    pub(crate) fn start() -> Option<Self> {
        let kit = Kit::find()?;
        let made = std::fs::DirBuilder::new().mode(0o700).create(FOLDER);
        let metadata = std::fs::symlink_metadata(FOLDER).unwrap();
        let own = metadata.is_dir() && metadata.uid() == 0 && metadata.mode() & 0o777 == 0o700;
        assert!(made.is_ok() || own, "{FOLDER} belongs to somebody else");
        let only = File::create(Path::new(FOLDER).join("lock")).unwrap();
        rustix::fs::flock(&only, FlockOperation::LockExclusive).unwrap();
        clear();
        let lab = Self { kit, _only: only };
        let bridge = format!("{PREFIX}bridge");
        run(Command::new("ip").args(["netns", "add", &bridge])).good();
        for command in [
            "link set lo up",
            "link add bridge type bridge",
            &format!("addr add {ROUTER}/24 dev bridge"),
            "link set bridge up",
        ] {
            ip(&bridge, command);
        }
        Some(lab)
    }

    /// A node on the bridge, with containerd, the images and this cluster file; nothing else runs.
    pub(crate) fn node(&self, name: &str, address: &str, cluster: &str) -> Node {
        let namespace = format!("{PREFIX}{name}");
        run(Command::new("ip").args(["netns", "add", &namespace])).good();
        let bridge = format!("{PREFIX}bridge");
        ip(
            &bridge,
            &format!("link add {name} type veth peer name eth0 netns {namespace}"),
        );
        ip(&bridge, &format!("link set {name} master bridge up"));
        ip(&namespace, "link set lo up");
        ip(&namespace, "link set eth0 up");
        readdress(&namespace, address);
        let folder = Path::new(FOLDER).join(name);
        Node::start(&self.kit, folder, name, &namespace, cluster)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        clear();
    }
}

/// Takes all addresses from a node's `eth0` and gives it this one, as a new lease does.
pub(crate) fn readdress(namespace: &str, address: &str) {
    ip(namespace, "addr flush dev eth0 scope global");
    ip(namespace, &format!("addr add {address}/24 dev eth0"));
    ip(
        namespace,
        &format!("route add default via {ROUTER} dev eth0"),
    );
}

fn ip(namespace: &str, command: &str) {
    let words = ["-n", namespace].into_iter().chain(command.split(' '));
    run(Command::new("ip").args(words)).good();
}

/// Removes what no process holds: nodes end with the thread that started them, whatever ended that.
fn clear() {
    let list = run(Command::new("ip").args(["netns", "list"])).good();
    let names = list.lines().filter_map(|line| line.split(' ').next());
    for name in names.filter(|name| name.starts_with(PREFIX)) {
        run(Command::new("ip").args(["netns", "del", name])).good();
    }
    if std::thread::panicking() {
        cgroup::remove();
        return;
    }
    within(
        "the control groups are empty",
        Duration::from_mins(1),
        || {
            let left = cgroup::remove();
            left.is_empty()
                .then_some(())
                .ok_or_else(|| format!("{left:?} are left"))
        },
    );
    let entries = std::fs::read_dir(FOLDER).unwrap().flatten();
    let folders = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    folders.for_each(remove);
}

fn remove(folder: PathBuf) {
    std::fs::remove_dir_all(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
}
