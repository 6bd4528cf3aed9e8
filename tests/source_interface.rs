//! A node's own addresses change in a network namespace of the test's own; what is announced follows.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use stayput::config::node::Selection;
use stayput::source::interface::select;
use stayput::source::netlink::{Watch, snapshot};
use tokio::time::timeout;

/// Below the 30 s after which the tables are read unasked.
const DEADLINE: Duration = Duration::from_secs(20);

/// Runs a test on a thread in a fresh network namespace.
fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce(Node) -> F + Send + 'static) {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let required = std::env::var_os("CI").is_some()
        || std::env::var_os("STAYPUT_REQUIRE_ALL").is_some_and(|v| v == "1");
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("stayput-{}-{next}", std::process::id());
    let made = Command::new("ip").args(["netns", "add", &name]).output();
    if !made.as_ref().is_ok_and(|output| output.status.success()) {
        assert!(
            !required,
            "root and ip (Debian package iproute2) are needed: {made:?}"
        );
        eprintln!("SKIPPED: root or ip (Debian package iproute2) is missing");
        return;
    }
    let namespace = Namespace(name);
    let file = std::fs::File::open(format!("/run/netns/{}", namespace.0)).unwrap();
    let thread = std::thread::spawn(move || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime
            .unwrap()
            .block_on(async { test(Node::start()).await });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

struct Namespace(String);

impl Drop for Namespace {
    fn drop(&mut self) {
        let deleted = Command::new("ip").args(["netns", "del", &self.0]).status();
        if !deleted.is_ok_and(|status| status.success()) {
            eprintln!("the network namespace {} is left", self.0);
        }
    }
}

/// What the agent does: look at each report, announce what differs.
struct Node {
    watch: Watch,
    selection: Selection,
    known: Vec<IpAddr>,
}

impl Node {
    /// Two interfaces, `eth0` and `eth1`, each with the other end of its cable.
    fn start() -> Self {
        ip("link set lo up");
        for link in ["eth0", "eth1"] {
            ip(&format!("link add {link} type veth peer name {link}-peer"));
            ip(&format!("link set {link}-peer up"));
            ip(&format!("link set {link} up"));
        }
        Self {
            watch: Watch::start(),
            selection: Selection::DefaultRoute,
            known: Vec::new(),
        }
    }

    /// Waits until exactly this is announced; nothing else may be announced before.
    async fn announces(&mut self, want: &str) {
        let want: Vec<IpAddr> = want.split(' ').map(|a| a.parse().unwrap()).collect();
        let looking = async {
            while self.known != want {
                let snapshot = self.watch.next().await.unwrap();
                let now = select(&snapshot, &self.selection, &self.known);
                let news = !now.is_empty() && now != self.known;
                assert!(
                    !news || now == want,
                    "{now:?} instead of {want:?}: {snapshot:?}"
                );
                if news {
                    self.known = now;
                }
            }
        };
        let announced = timeout(DEADLINE, looking).await.is_ok();
        let now = snapshot().await;
        assert!(announced, "{want:?} was never announced: {now:#?}");
    }
}

/// Runs ip(8) in the namespace.
fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

#[test]
fn a_lease_is_replaced() {
    in_namespace(|mut node| async move {
        ip("addr add 10.77.0.11/24 dev eth0 valid_lft 3600 preferred_lft 3600");
        ip("route add default via 10.77.0.1 dev eth0");
        node.announces("10.77.0.11").await;
        // As dhclient does: the old one goes, the new one comes, the route comes again.
        ip("addr flush dev eth0");
        ip("addr add 10.77.0.99/24 dev eth0 valid_lft 3600 preferred_lft 3600");
        ip("route add default via 10.77.0.1 dev eth0");
        node.announces("10.77.0.99").await;
        // As networkd does: both for a while.
        ip("addr add 10.77.5.7/24 dev eth0 valid_lft 3600 preferred_lft 3600");
        ip("route replace default via 10.77.5.1 dev eth0 src 10.77.5.7");
        ip("addr del 10.77.0.99/24 dev eth0");
        node.announces("10.77.5.7").await;
    });
}

#[test]
fn vips_come_and_go() {
    in_namespace(|mut node| async move {
        ip("addr add 10.77.0.11/24 dev eth0");
        ip("route add default via 10.77.0.1 dev eth0");
        node.announces("10.77.0.11").await;
        ip("addr add 10.77.0.5/32 dev eth0");
        ip("addr add 10.77.0.6/24 dev eth0");
        ip("addr add 10.77.0.7/32 dev lo");
        // The lease is replaced while the VIPs are there; /24 VIPs go with their primary address.
        ip("addr del 10.77.0.11/24 dev eth0");
        ip("addr add 10.77.0.99/24 dev eth0");
        node.announces("10.77.0.99").await;
        ip("addr del 10.77.0.5/32 dev eth0");
        ip("addr add 10.77.0.4/32 dev eth0");
        ip("addr del 10.77.0.99/24 dev eth0");
        ip("addr add 10.77.0.98/24 dev eth0");
        node.announces("10.77.0.98").await;
    });
}

#[test]
fn ipv6_only_when_it_is_usable() {
    in_namespace(|mut node| async move {
        ip("addr add 10.77.0.11/24 dev eth0");
        ip("addr add fd77::11/64 dev eth0 nodad");
        ip("route add default via 10.77.0.1 dev eth0");
        node.known = vec!["10.77.0.11".parse().unwrap(), "fd77::1".parse().unwrap()];
        node.announces("10.77.0.11 fd77::11").await;
        // The other end has this one already: duplicate detection fails.
        ip("addr add fd77::5/64 dev eth0-peer nodad");
        ip("addr add fd77::5/64 dev eth0");
        // No longer preferred.
        ip("addr add fd77::4/64 dev eth0 nodad preferred_lft 0 valid_lft 3600");
        // Detection takes a second or more: tentative at first, usable then.
        ip("addr add fd77::99/64 dev eth0");
        ip("addr del fd77::11/64 dev eth0");
        node.announces("10.77.0.11 fd77::99").await;
    });
}

#[test]
fn temporary_addresses_are_not_announced() {
    in_namespace(|mut node| async move {
        node.selection = Selection::Interface("eth0".into());
        sysctl("net/ipv6/conf/eth0/use_tempaddr", "2");
        ip(
            "addr add fd77::1234:5678:9abc:def0/64 dev eth0 mngtmpaddr nodad valid_lft 3600 preferred_lft 3600",
        );
        node.announces("fd77::1234:5678:9abc:def0").await;
        let snapshot = snapshot().await.unwrap();
        // IFA_F_TEMPORARY is IFA_F_SECONDARY's bit.
        let mut flags = snapshot.addresses.iter().map(|a| a.flags.bits());
        let is_temporary = flags.any(|flags| flags & 0x01 != 0);
        assert!(
            is_temporary,
            "the kernel made a temporary one: {snapshot:?}"
        );
    });
}

/// Writes a setting of the namespace that this thread is in.
fn sysctl(name: &str, value: &str) {
    let script = format!("echo {value} > /proc/sys/{name}");
    let status = Command::new("sh").args(["-ec", &script]).status().unwrap();
    assert!(status.success(), "{name}");
}

#[test]
fn the_default_route_moves() {
    in_namespace(|mut node| async move {
        ip("addr add 10.77.0.11/24 dev eth0");
        ip("addr add 10.78.0.11/24 dev eth1");
        ip("route add default via 10.77.0.1 dev eth0 metric 100");
        ip("route add default via 10.78.0.1 dev eth1 metric 200");
        node.announces("10.77.0.11").await;
        ip("link set eth0 down");
        node.announces("10.78.0.11").await;
        // The first one returns and is preferred again; the second one's address is still good.
        ip("link set eth0 up");
        ip("route add default via 10.77.0.1 dev eth0 metric 100");
        ip("addr add 10.78.0.12/24 dev eth1");
        ip("addr del 10.78.0.11/24 dev eth1");
        node.announces("10.77.0.11").await;
    });
}

#[test]
fn several_next_hops_and_other_tables() {
    in_namespace(|mut node| async move {
        ip("addr add 10.77.0.11/24 dev eth0");
        ip("addr add 10.78.0.11/24 dev eth1");
        ip("route add default via 10.78.0.1 dev eth1 table 100");
        ip("route add default nexthop via 10.78.0.1 dev eth1 nexthop via 10.77.0.1 dev eth0");
        node.announces("10.77.0.11").await;
        ip("addr del 10.77.0.11/24 dev eth0");
        node.announces("10.78.0.11").await;
    });
}

#[test]
fn a_range_on_any_interface() {
    in_namespace(|mut node| async move {
        node.selection = Selection::Within("10.77.0.0/16".parse().unwrap());
        ip("link add cni0 type bridge");
        ip("link set cni0 up");
        ip("link add node0 type bridge");
        ip("link set node0 up");
        ip("addr add 10.77.1.1/24 dev cni0");
        ip("addr add 203.0.113.9/24 dev eth0");
        ip("route add default via 203.0.113.1 dev eth0");
        ip("addr add 10.77.2.11/24 dev node0");
        node.announces("10.77.2.11").await;
    });
}

/// The other end of a tunnel is not the node's own address.
#[test]
fn a_point_to_point_link() {
    in_namespace(|mut node| async move {
        ip("addr add 10.77.0.11 peer 10.77.0.1/32 dev eth0");
        ip("route add default dev eth0");
        node.announces("10.77.0.11").await;
    });
}

/// While nobody reads, more messages come than the socket holds, and the one that counts is lost.
#[test]
fn lost_messages_are_made_up_for() {
    in_namespace(|mut node| async move {
        // No late end of duplicate detection either.
        sysctl("net/ipv6/conf/all/disable_ipv6", "1");
        ip("addr add 10.77.0.11/24 dev eth0");
        ip("route add default via 10.77.0.1 dev eth0");
        node.announces("10.77.0.11").await;
        let folder = tempfile::tempdir().unwrap();
        let batch = folder.path().join("batch");
        // Routes of others mean nothing: only the loss itself can tell that there was more.
        let noise = "route add 10.88.0.0/24 dev eth1\nroute del 10.88.0.0/24 dev eth1\n";
        let news = "addr del 10.77.0.11/24 dev eth0\naddr add 10.77.0.99/24 dev eth0\n\
                    route add default via 10.77.0.1 dev eth0\n";
        std::fs::write(&batch, noise.repeat(2_000) + news).unwrap();
        let status = Command::new("ip").arg("-batch").arg(&batch).status();
        assert!(status.unwrap().success());
        let sockets = std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
        let drops = sockets
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().nth(8));
        let lost: u32 = drops.map(|drops| drops.parse::<u32>().unwrap()).sum();
        assert!(lost > 0, "nothing was lost: {sockets}");
        node.announces("10.77.0.99").await;
    });
}
