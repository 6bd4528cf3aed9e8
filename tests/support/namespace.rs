//! Network namespaces on a bridge, which is in a namespace too: nothing of the machine is touched.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::run;

/// The router's address, on the bridge.
const ROUTER: &str = "10.77.0.1";

/// A network namespace, deleted when dropped.
#[derive(Debug)]
pub(crate) struct Namespace(String);

impl Namespace {
    fn add(name: String) -> Self {
        run(Command::new("ip").args(["netns", "add", &name])).good();
        let namespace = Self(name);
        namespace.ip(&["link set lo up"]);
        namespace
    }

    /// A namespace with a bridge for nodes.
    pub(crate) fn bridge() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        remove_leftovers();
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = Self::add(format!("stayput-{}-{next}-bridge", std::process::id()));
        namespace.ip(&[
            "link add bridge type bridge",
            &format!("addr add {ROUTER}/24 dev bridge"),
            "link set bridge up",
        ]);
        namespace
    }

    /// A node's namespace, whose `eth0` leads to this bridge.
    pub(crate) fn node(&self, name: &str, address: &str) -> Self {
        let node = Self::add(format!("{}-{name}", self.0));
        self.ip(&[
            &format!("link add {name} type veth peer name eth0 netns {}", node.0),
            &format!("link set {name} master bridge up"),
        ]);
        node.ip(&["link set eth0 up"]);
        node.readdress(address);
        node
    }

    /// Takes all addresses from `eth0` and gives it this one, as a new lease does.
    pub(crate) fn readdress(&self, address: &str) {
        self.ip(&[
            "addr flush dev eth0 scope global",
            &format!("addr add {address}/24 dev eth0"),
            &format!("route add default via {ROUTER} dev eth0"),
        ]);
    }

    /// Everything that the kernel keeps of addresses and routes is lost, as in a power failure.
    pub(crate) fn power_off(&self) {
        self.ip(&[
            "addr flush dev eth0",
            "addr flush dev lo",
            "route flush table main",
            "link set lo down",
            "link set lo up",
        ]);
    }

    /// Takes the cable out of `eth0`.
    pub(crate) fn unplug(&self) {
        self.ip(&["link set eth0 down"]);
    }

    /// Puts it in again; addresses of IPv4 are still there, routes are not.
    pub(crate) fn plug_in(&self) {
        self.ip(&["link set eth0 up"]);
    }

    /// Forgets whose hardware has which address, as a gratuitous ARP of the new holder does.
    pub(crate) fn forget_neighbours(&self) {
        self.ip(&["neigh flush all"]);
    }

    /// Where the kernel shows it.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.0)
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    fn ip(&self, commands: &[&str]) {
        for command in commands {
            let arguments = ["-n", &self.0].into_iter().chain(command.split(' '));
            run(Command::new("ip").args(arguments)).good();
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let deleted = Command::new("ip").args(["netns", "del", &self.0]).status();
        if !deleted.is_ok_and(|status| status.success()) {
            eprintln!("the network namespace {} is left", self.0);
        }
    }
}

/// Deletes what test processes have left that were killed: no guard runs then.
fn remove_leftovers() {
    let list = run(Command::new("ip").args(["netns", "list"])).good();
    for name in list.lines().filter_map(|line| line.split(' ').next()) {
        let Some((pid, rest)) = name
            .strip_prefix("stayput-")
            .and_then(|rest| rest.split_once('-'))
        else {
            continue;
        };
        if rest.contains("-bridge") && !Path::new("/proc").join(pid).exists() {
            // Another test may have been faster.
            let _ = run(Command::new("ip").args(["netns", "del", name]));
        }
    }
}
