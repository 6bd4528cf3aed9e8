//! The files of deploy/, judged by those who will read them: shellcheck, sh, systemd, stayput itself.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use stayput::address::Loopback;
use stayput::config::{Cluster, NodeSettings};

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(deploy(path)).unwrap()
}

/// Whether a program is there. Where everything is required, a missing one is a failure.
fn have(program: &str, package: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !found {
        let required = ["CI", "STAYPUT_REQUIRE_ALL"].iter().any(|name| {
            std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0")
        });
        assert!(
            !required,
            "{program} is missing; install the package {package}"
        );
        eprintln!("SKIPPED: {program} is missing; install the package {package}");
    }
    found
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

// --- examples -----------------------------------------------------------------------------------

#[test]
fn the_example_files_are_good() {
    let file = Path::new("cluster.yaml");
    let cluster = Cluster::parse(&read("examples/cluster.yaml"), file, Loopback::Refused).unwrap();
    assert_eq!(cluster.master_names(), "master-1, master-2, master-3");
    let node = NodeSettings::parse(&read("examples/node.yaml"), Path::new("node.yaml")).unwrap();
    assert!(cluster.master_names().contains(node.name.unwrap().as_str()));
}

/// What the example shows behind a `#` as a default is the default.
#[test]
fn the_defaults_in_the_example_are_the_defaults() {
    let text = read("examples/cluster.yaml");
    let is_setting = |line: &str| {
        let line = line.trim_start().trim_start_matches("# ").trim_start();
        let key: String = line
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        !key.is_empty() && line[key.len()..].starts_with(':')
    };
    let uncommented: Vec<String> = text
        .lines()
        .map(|line| match line.trim_start().strip_prefix("# ") {
            Some(rest) if is_setting(line) && !line.starts_with("# /") => {
                let indent = line.len() - line.trim_start().len();
                format!("{}{rest}", " ".repeat(indent))
            }
            _ => line.to_owned(),
        })
        .collect();
    let parse = |text: &str| Cluster::parse(text, Path::new("F"), Loopback::Refused).unwrap();
    let spelled_out = uncommented.join("\n");
    for key in [
        "port: 8443",
        "ttl: 5",
        "mode: auto",
        "fallback: false",
        "apiPort: 6443",
        "renewBefore: 30d",
        "keyType: rsa-2048",
        "protocol: 145",
        "afterRenew: [staticPods]",
        "follow: [/usr/bin/systemctl, start, stayput-kubeadm.service]",
    ] {
        let active = spelled_out
            .lines()
            .any(|line| line.trim_start().starts_with(key));
        assert!(active, "'{key}' is not shown: {spelled_out}");
    }
    assert_eq!(parse(&spelled_out), parse(&text));
}

// --- hooks --------------------------------------------------------------------------------------

const HOOKS: [&str; 4] = [
    "interface-changed",
    "networkmanager",
    "networkd-dispatcher",
    "dhclient",
];

#[test]
fn shellcheck_has_nothing_to_say_about_the_hooks() {
    if !have("shellcheck", "shellcheck") {
        return;
    }
    for hook in HOOKS {
        let path = deploy("hooks").join(hook);
        let output = Command::new("shellcheck").arg(&path).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stdout));
    }
}

#[test]
fn hooks_that_are_run_can_be_run() {
    for hook in HOOKS {
        let mode = fs::metadata(deploy("hooks").join(hook))
            .unwrap()
            .permissions()
            .mode();
        let sourced = hook == "dhclient";
        assert_eq!(mode & 0o111 == 0, sourced, "{hook}: {mode:o}");
    }
}

/// A folder with a `stayput` that writes down how it was called.
struct Stage {
    dir: tempfile::TempDir,
}

impl Stage {
    fn new(behaviour: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let calls = dir.path().join("calls");
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$#\" \"$@\" >>{}\n{behaviour}\n",
            calls.display()
        );
        let program = dir.path().join("stayput");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.dir.path().display()),
            )
            .env("STAYPUT_HOOK", deploy("hooks/interface-changed"))
            .stdin(Stdio::null());
        command
    }

    /// One line per call: the number of arguments, then each of them.
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }
}

fn assert_quiet(output: &Output) {
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn a_hook_passes_the_interface_and_nothing_else() {
    for interface in [
        "eth0",
        "enp3s0f1np1",
        "bond0.100",
        "wlp2s0",
        "br-lan",
        "a@b_c",
    ] {
        let stage = Stage::new("echo noise");
        let output = stage
            .command(deploy("hooks/interface-changed"))
            .arg(interface)
            .output()
            .unwrap();
        assert_quiet(&output);
        assert_eq!(stage.calls(), ["3", "event", "--interface", interface]);
    }
}

#[test]
fn a_hostile_interface_name_reaches_nobody() {
    for interface in [
        "",
        "lo",
        "..",
        ".",
        "-v",
        "--root=/tmp",
        "eth0;reboot",
        "$(reboot)",
        "`reboot`",
        "eth0 eth1",
        "eth0\nevil",
        "eth0/../x",
        "*",
        "ü",
        "sixteen-letters-",
    ] {
        let stage = Stage::new("");
        let output = stage
            .command(deploy("hooks/interface-changed"))
            .arg(interface)
            .output()
            .unwrap();
        assert_quiet(&output);
        assert!(
            stage.calls().is_empty(),
            "{interface:?}: {:?}",
            stage.calls()
        );
        let message = text(&output.stderr);
        assert!(!message.contains("reboot"), "{message}");
    }
}

#[test]
fn a_failing_or_hanging_agent_never_fails_the_network() {
    let failing = Stage::new("exit 69");
    let output = failing
        .command(deploy("hooks/interface-changed"))
        .arg("eth0")
        .output()
        .unwrap();
    assert_quiet(&output);
    assert!(
        text(&output.stderr).contains("failed with status 69"),
        "{output:?}"
    );

    // It ignores the polite signal too, and would run for ever.
    let hanging = Stage::new("trap '' TERM; while :; do sleep 1; done");
    let output = hanging
        .command(deploy("hooks/interface-changed"))
        .arg("eth0")
        .output()
        .unwrap();
    assert_quiet(&output);
    assert!(
        text(&output.stderr).contains("failed with status 137"),
        "{output:?}"
    );

    let absent = tempfile::tempdir().unwrap();
    let output = Command::new(deploy("hooks/interface-changed"))
        .arg("eth0")
        .env("PATH", format!("{}:/usr/bin:/bin", absent.path().display()))
        .output()
        .unwrap();
    assert_quiet(&output);
}

#[test]
fn networkmanager_calls_for_changes_of_addresses() {
    for (action, wanted) in [
        ("up", true),
        ("down", true),
        ("dhcp4-change", true),
        ("dhcp6-change", true),
        ("reapply", true),
        ("hostname", false),
        ("connectivity-change", false),
        ("pre-up", false),
        ("", false),
    ] {
        let stage = Stage::new("");
        let mut hook = stage.command(deploy("hooks/networkmanager"));
        assert_quiet(
            &hook
                .args(["eth0", action])
                .env("IP4_ADDRESS_0", "evil")
                .output()
                .unwrap(),
        );
        let want: &[&str] = if wanted {
            &["3", "event", "--interface", "eth0"]
        } else {
            &[]
        };
        assert_eq!(stage.calls(), want, "{action}");
    }
}

#[test]
fn networkd_dispatcher_names_the_interface_in_its_environment() {
    let stage = Stage::new("");
    let mut hook = stage.command(deploy("hooks/networkd-dispatcher"));
    assert_quiet(
        &hook
            .env("IFACE", "eth0")
            .env("ADDR", "evil")
            .output()
            .unwrap(),
    );
    assert_eq!(stage.calls(), ["3", "event", "--interface", "eth0"]);
}

/// dhclient-script reads the hook into its own shell: afterwards that shell goes on, with the
/// variables that it had.
#[test]
fn dhclient_reads_the_hook_and_goes_on() {
    for (reason, wanted) in [
        ("BOUND", true),
        ("RENEW6", true),
        ("EXPIRE", true),
        ("MEDIUM", false),
        ("PREINIT", false),
    ] {
        let stage = Stage::new("exit 1");
        let script = "set -eu; . \"$0\"; echo \"$reason $interface went on\"";
        let output = stage
            .command("/bin/sh")
            .args(["-c", script])
            .arg(deploy("hooks/dhclient"))
            .env("reason", reason)
            .env("interface", "eth0")
            .env("new_ip_address", "10.0.0.1")
            .output()
            .unwrap();
        assert_eq!(
            text(&output.stdout),
            format!("{reason} eth0 went on\n"),
            "{output:?}"
        );
        let want: &[&str] = if wanted {
            &["3", "event", "--interface", "eth0"]
        } else {
            &[]
        };
        assert_eq!(stage.calls(), want, "{reason}");
    }
}

// --- systemd ------------------------------------------------------------------------------------

fn units() -> Vec<PathBuf> {
    let folder = fs::read_dir(deploy("systemd")).unwrap();
    let mut units: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    units.sort();
    units
}

/// The programs that a unit starts.
fn programs(unit: &str) -> BTreeSet<String> {
    unit.lines()
        .filter(|line| line.starts_with("Exec"))
        .filter_map(|line| line.split_once('='))
        .filter_map(|(_, command)| command.split_whitespace().next())
        .map(|word| {
            word.trim_start_matches(['-', '+', '!', '@', ':'])
                .to_owned()
        })
        .collect()
}

/// In a root of our own, because the programs are not installed where the tests run.
#[test]
fn systemd_takes_the_units() {
    if !have("systemd-analyze", "systemd") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("usr/lib/systemd/system");
    fs::create_dir_all(&folder).unwrap();
    for target in [
        "sysinit",
        "basic",
        "shutdown",
        "multi-user",
        "nss-lookup",
        "network",
        "network-online",
        "time-sync",
        "timers",
        "time-set",
    ] {
        let unit = format!("[Unit]\nDescription={target}\n");
        fs::write(folder.join(format!("{target}.target")), unit).unwrap();
    }
    for unit in units() {
        fs::copy(&unit, folder.join(unit.file_name().unwrap())).unwrap();
        for program in programs(&fs::read_to_string(&unit).unwrap()) {
            let program = root.path().join(program.trim_start_matches('/'));
            fs::create_dir_all(program.parent().unwrap()).unwrap();
            fs::copy("/bin/true", program).unwrap();
        }
    }
    for unit in units() {
        let output = Command::new("systemd-analyze")
            .arg("verify")
            .arg(format!("--root={}", root.path().display()))
            .arg("--man=no")
            .arg(unit.file_name().unwrap())
            .output()
            .unwrap();
        let said = text(&output.stderr);
        assert!(
            output.status.success() && said.is_empty(),
            "{}: {said}",
            unit.display()
        );
    }
}

#[test]
fn the_units_stay_locked_up() {
    if !have("systemd-analyze", "systemd") {
        return;
    }
    // In tenths; systemd's scale goes from 0 (locked up) to 100.
    for (unit, most) in [
        ("stayput.service", 26),
        ("stayput-renew.service", 27),
        ("stayput-kubeadm.service", 25),
        ("stayput-peers.service", 20),
    ] {
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(format!("--threshold={most}"))
            .arg(deploy("systemd").join(unit))
            .output()
            .unwrap();
        assert!(output.status.success(), "{unit}: {}", text(&output.stdout));
    }
}

/// The values of a unit's setting, over all of its lines.
fn values(unit: &str, key: &str) -> Vec<String> {
    unit.lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .flat_map(str::split_whitespace)
        .map(|value| value.trim_start_matches('-').to_owned())
        .collect()
}

/// A key that is not hidden by name would be hidden by nothing.
#[test]
fn no_key_is_open_to_the_agent() {
    let unit = read("systemd/stayput.service");
    let closed = values(&unit, "InaccessiblePaths");
    for secret in [
        "pki/ca.key",
        "pki/front-proxy-ca.key",
        "pki/etcd/ca.key",
        "pki/sa.key",
        "pki/stayput.key",
        "pki/apiserver.key",
        "pki/apiserver-kubelet-client.key",
        "pki/apiserver-etcd-client.key",
        "pki/front-proxy-client.key",
        "pki/etcd/server.key",
        "pki/etcd/peer.key",
        "pki/etcd/healthcheck-client.key",
        "admin.conf",
        "super-admin.conf",
        "kubelet.conf",
        "controller-manager.conf",
        "scheduler.conf",
    ] {
        let path = format!("/etc/kubernetes/{secret}");
        assert!(closed.contains(&path), "{path} is open to the agent");
    }
}

/// What a renewal needs and hardening is apt to take away.
#[test]
fn the_renewals_unit_leaves_what_a_renewal_needs() {
    let unit = read("systemd/stayput-renew.service");
    let writable = values(&unit, "ReadWritePaths");
    assert_eq!(writable, ["/etc/kubernetes"]);
    for (key, folder) in [
        ("StateDirectory", "stayput"),
        ("RuntimeDirectory", "stayput"),
    ] {
        assert_eq!(values(&unit, key), [folder]);
    }
    assert_eq!(values(&unit, "RuntimeDirectoryPreserve"), ["yes"]);
    // The clock's state is read, the pods' processes are seen, in the node's network.
    let calls = values(&unit, "SystemCallFilter");
    for call in ["adjtimex", "clock_adjtime"] {
        assert!(calls.contains(&call.to_owned()), "{call}");
    }
    let rights = values(&unit, "CapabilityBoundingSet");
    assert!(rights.contains(&"CAP_SYS_PTRACE".to_owned()));
    assert!(!rights.contains(&"CAP_SYS_TIME".to_owned()));
    for key in [
        "ProtectClock",
        "ProtectProc",
        "ProtectHostname",
        "PrivateNetwork",
        "PrivateUsers",
    ] {
        assert!(values(&unit, key).is_empty(), "{key}");
    }
    // A failed run is tried again for ever.
    assert_eq!(values(&unit, "Restart"), ["on-failure"]);
    assert_eq!(values(&unit, "StartLimitIntervalSec"), ["0"]);
    assert_eq!(values(&unit, "LimitCORE"), ["0"]);
}

/// What following an address needs, and what it does not.
#[test]
fn the_follower_s_unit_leaves_what_it_needs() {
    let unit = read("systemd/stayput-kubeadm.service");
    let values = |key| values(&unit, key);
    assert_eq!(values("Type"), ["oneshot"]);
    assert!(unit.contains("ExecStart=/usr/bin/stayput kubeadm follow\n"));
    assert_eq!(values("ReadWritePaths"), ["/etc/kubernetes"]);
    for key in ["StateDirectory", "RuntimeDirectory"] {
        assert_eq!(values(key), ["stayput"]);
    }
    assert_eq!(values("RuntimeDirectoryPreserve"), ["yes"]);
    let closed = values("InaccessiblePaths");
    for needed in [
        "/etc/kubernetes/manifests",
        "/etc/kubernetes/.stayput-restart",
        "/etc/kubernetes/kubelet.conf",
        "/etc/kubernetes/admin.conf",
        "/etc/kubernetes/pki/apiserver.crt",
        "/var/lib/kubelet/pki/kubelet.crt",
        "/root/.kube/config",
        "/var/lib/stayput/audit.json",
    ] {
        let hidden = closed
            .iter()
            .any(|path| Path::new(needed).starts_with(path));
        assert!(!hidden, "{needed} is hidden");
    }
    // A key that is in a file of its own is not.
    for key in [
        "ca",
        "apiserver",
        "sa",
        "etcd/ca",
        "etcd/server",
        "etcd/peer",
    ] {
        let path = format!("/etc/kubernetes/pki/{key}.key");
        assert!(closed.contains(&path), "{path}");
    }
    assert_eq!(values("ReadOnlyPaths"), ["/etc/kubernetes/pki"]);
    assert_eq!(values("ProtectHome"), ["read-only"]);
    // Whose network a process is in is seen; the agent and the kernel are asked.
    let rights = values("CapabilityBoundingSet");
    assert!(rights.contains(&"CAP_SYS_PTRACE".to_owned()));
    assert!(!rights.contains(&"CAP_KILL".to_owned()));
    assert_eq!(values("RestrictAddressFamilies"), ["AF_UNIX", "AF_NETLINK"]);
    for key in [
        "ProtectProc",
        "ProtectHostname",
        "PrivateNetwork",
        "PrivateUsers",
    ] {
        assert!(values(key).is_empty(), "{key}");
    }
    // What the agent starts by default is this very unit.
    let cluster = read("examples/cluster.yaml");
    let cluster = Cluster::parse(&cluster, Path::new("F"), Loopback::Refused).unwrap();
    let command = cluster.kubeadm.follow.join(" ");
    assert_eq!(command, "/usr/bin/systemctl start stayput-kubeadm.service");
}

/// What telling other nodes needs; all else, and every other key, is closed.
#[test]
fn the_peers_unit_leaves_what_they_need() {
    let unit = read("systemd/stayput-peers.service");
    let values = |key| values(&unit, key);
    assert_eq!(values("Type"), ["notify"]);
    assert!(unit.contains("ExecStart=/usr/bin/stayput peers run\n"));
    // No right at all, though it is root.
    assert!(unit.contains("\nCapabilityBoundingSet=\n"));
    assert!(values("CapabilityBoundingSet").is_empty() && values("AmbientCapabilities").is_empty());
    assert_eq!(values("StateDirectory"), ["stayput/peers"]);
    assert_eq!(values("RuntimeDirectory"), ["stayput"]);
    assert_eq!(values("RuntimeDirectoryPreserve"), ["yes"]);
    assert_eq!(values("ProtectSystem"), ["strict"]);
    assert!(values("ReadWritePaths").is_empty());
    assert_eq!(values("LimitCORE"), ["0"]);
    assert!(!values("MemoryMax").is_empty());
    let closed = values("InaccessiblePaths");
    let hidden = |path: &str| closed.iter().any(|it| Path::new(path).starts_with(it));
    for needed in [
        "/etc/stayput/cluster.yaml",
        "/etc/kubernetes/manifests/kube-apiserver.yaml",
        "/etc/kubernetes/pki/ca.crt",
        "/etc/kubernetes/pki/stayput.crt",
        "/etc/kubernetes/pki/stayput.key",
        "/var/lib/kubelet/pki/kubelet-client-current.pem",
        "/var/lib/stayput/certificates/newest-time",
        "/etc/resolv.conf",
    ] {
        assert!(!hidden(needed), "{needed} is hidden");
    }
    for key in [
        "pki/ca.key",
        "pki/front-proxy-ca.key",
        "pki/etcd/ca.key",
        "pki/etcd/peer.key",
        "pki/sa.key",
        "pki/apiserver.key",
        "admin.conf",
        "super-admin.conf",
        "kubelet.conf",
    ] {
        let path = format!("/etc/kubernetes/{key}");
        assert!(hidden(&path), "{path} is open");
    }
    for family in ["AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"] {
        assert!(values("RestrictAddressFamilies").contains(&family.to_owned()));
    }
    assert!(values("ProtectHostname").is_empty());
}

#[test]
fn the_timer_runs_daily_and_catches_up() {
    let timer = read("systemd/stayput-renew.timer");
    assert_eq!(values(&timer, "OnCalendar"), ["daily"]);
    assert_eq!(values(&timer, "Persistent"), ["true"]);
    assert_eq!(values(&timer, "WantedBy"), ["timers.target"]);
}

/// What the agent needs and hardening is apt to take away.
#[test]
fn the_agent_s_unit_leaves_what_the_agent_needs() {
    let unit = read("systemd/stayput.service");
    let values = |key| values(&unit, key);
    let writable = values("ReadWritePaths");
    // /etc as a whole: a mount point cannot be renamed over.
    assert!(writable.contains(&"/etc".to_owned()));
    assert!(writable.contains(&"/var/lib/kubelet".to_owned()));
    let closed = values("InaccessiblePaths");
    for needed in [
        "/etc/hosts",
        "/etc/kubernetes/pki/ca.crt",
        "/etc/kubernetes/pki/apiserver.crt",
        "/etc/kubernetes/.stayput-restart",
        "/var/lib/stayput/certificates.json",
        "/var/lib/stayput/audit.json",
        "/etc/kubernetes/manifests",
        "/etc/stayput",
        "/run/systemd",
    ] {
        let hidden = closed
            .iter()
            .any(|path| Path::new(needed).starts_with(path));
        assert!(!hidden, "{needed} is hidden from the agent");
    }
    let read_only = values("ReadOnlyPaths");
    assert!(
        !read_only
            .iter()
            .any(|path| Path::new("/etc/hosts").starts_with(path))
    );
    for family in ["AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"] {
        assert!(values("RestrictAddressFamilies").contains(&family.to_owned()));
    }
    assert_eq!(values("RuntimeDirectoryPreserve"), ["yes"]);
    assert!(values("ProtectHostname").is_empty());
}

#[test]
fn the_resolver_s_files_route_the_example_s_domain_to_the_default_address() {
    let cluster = read("examples/cluster.yaml");
    let cluster = Cluster::parse(&cluster, Path::new("F"), Loopback::Refused).unwrap();
    let listen = cluster.dns.listen[0];
    for (file, tilde) in [("stayput.conf", "~"), ("stayput.dns-delegate", "")] {
        let text = read(&format!("systemd-resolved/{file}"));
        for want in [
            format!("DNS={listen}"),
            format!("Domains={tilde}{}", cluster.domain),
        ] {
            assert!(
                text.lines().any(|line| line == want),
                "{file} has no {want}"
            );
        }
    }
}

/// Each right is used: without one, something that the agent does fails with a word about it.
#[test]
fn the_agent_has_the_rights_that_it_uses_and_no_others() {
    let unit = read("systemd/stayput.service");
    let rights: BTreeSet<String> = values(&unit, "CapabilityBoundingSet").into_iter().collect();
    let want = [
        "CAP_CHOWN",
        "CAP_FOWNER",
        "CAP_DAC_OVERRIDE",
        "CAP_NET_BIND_SERVICE",
        // Stable addresses and routes to them.
        "CAP_NET_ADMIN",
    ];
    assert_eq!(rights, want.map(str::to_owned).into());
    let families = values(&unit, "RestrictAddressFamilies");
    assert!(families.contains(&"AF_NETLINK".to_owned()));
    // rp_filter is read below it.
    assert!(values(&unit, "ProcSubset").is_empty());
}
