//! A cluster for the tests of the hosts file, and ways to run them as they need it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use stayput::book::{Book, Origin, Record};
use stayput::config::cluster::{
    Cluster, Dns, Endpoint, Haproxy, Hosts, HostsMode, Kubernetes, Master,
};
use stayput::config::node::{Node, Role, Selection};
use stayput::name::Name;
use stayput::view::View;

/// `master-1` to `master-3` of `k8s.internal` at these addresses.
pub(crate) fn three(mode: HostsMode, addresses: [&str; 3]) -> View {
    view(mode, &addresses.map(|address| address.parse().unwrap()))
}

/// `master-1` and so on of `k8s.internal` at these addresses.
pub(crate) fn view(mode: HostsMode, addresses: &[IpAddr]) -> View {
    let domain: Name = "k8s.internal".parse().unwrap();
    let full = |short: &str| short.parse::<Name>().unwrap().below(&domain).unwrap();
    let masters: Vec<Name> = (1..=addresses.len())
        .map(|i| full(&format!("master-{i}")))
        .collect();
    let records = masters.iter().zip(addresses).map(|(name, address)| {
        let record = Record {
            addresses: vec![*address],
            version: 1,
            origin: Origin::Event,
        };
        (name.clone(), record)
    });
    let book = Book {
        generation: 1,
        records: records.collect(),
        said: BTreeMap::new(),
    };
    let masters = masters.iter().map(|name| Master {
        name: name.clone(),
        addresses: Vec::new(),
        follow: None,
    });
    let cluster = Cluster {
        endpoint: Endpoint {
            name: full("api"),
            port: 8443,
        },
        masters: masters.collect(),
        aliases: BTreeMap::new(),
        kubernetes: Kubernetes {
            minor: 34,
            service_subnet: "10.96.0.0/12".parse().unwrap(),
            dns_domain: "cluster.local".parse().unwrap(),
            api_port: 6443,
        },
        dns: Dns {
            listen: Vec::new(),
            ttl: 5,
            upstream: Vec::new(),
        },
        hosts: Hosts {
            path: "/etc/hosts".into(),
            mode,
        },
        haproxy: Haproxy {
            config: "/var/lib/stayput/haproxy.cfg".into(),
            socket: "/run/stayput/haproxy.sock".into(),
            reload: Vec::new(),
            binary: "/usr/sbin/haproxy".into(),
            user: None,
            fallback: false,
            stats: "127.0.0.1:8405".parse().unwrap(),
        },
        domain,
    };
    let node = Node {
        role: Role::Worker,
        kubernetes_name: "worker".parse().unwrap(),
        selection: Selection::DefaultRoute,
    };
    View {
        cluster: Arc::new(cluster),
        node: Arc::new(node),
        book: Arc::new(book),
        provisioned: false,
    }
}

/// Whether something a test needs is there. Where everything is required, its absence fails.
pub(crate) fn have(what: &str, there: bool) -> bool {
    let required = ["CI", "STAYPUT_REQUIRE_ALL"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| value != "0"));
    assert!(
        there || !required,
        "{what} is missing, and everything is required here"
    );
    if !there {
        eprintln!("SKIPPED: {what} is missing");
    }
    there
}

/// Runs a shell script in a mount namespace of its own; `$DIR` is the folder. Within the script,
/// `inner NAME` runs an ignored test of this file there. `false`: skipped, no right to mount.
pub(crate) fn in_mount_namespace(dir: &Path, script: &str) -> bool {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        command
    };
    let allowed = unshare().arg("true").status().is_ok_and(|s| s.success());
    if !have("the right to unshare mounts (root)", allowed) {
        return false;
    }
    let prelude = "set -eu\n\
        inner() { \"$EXE\" --exact \"$1\" --ignored --nocapture --test-threads=1 2>&1 \\\n\
          | tee /dev/stderr | grep -q '1 passed'; }\n";
    let output = unshare()
        .args(["sh", "-c", &format!("{prelude}{script}")])
        .env("EXE", std::env::current_exe().unwrap())
        .env("DIR", dir)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    // Shown with --nocapture: what inner tests measured.
    println!("{}", text(&output.stderr));
    true
}

/// The folder of [`in_mount_namespace`], for inner tests.
pub(crate) fn inner_dir() -> std::path::PathBuf {
    std::env::var_os("DIR").expect("run by another test").into()
}
