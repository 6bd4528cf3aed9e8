//! A cluster for the tests of the hosts file, and ways to run them as they need it.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use stayput::config::cluster::HostsMode;
use stayput::view::View;

use crate::sample;

/// `master-1` to `master-3` of `k8s.internal` at these addresses.
pub(crate) fn three(mode: HostsMode, addresses: [&str; 3]) -> View {
    view(mode, &addresses.map(|address| address.parse().unwrap()))
}

/// `master-1` and so on of `k8s.internal` at these addresses.
pub(crate) fn view(mode: HostsMode, addresses: &[IpAddr]) -> View {
    let names: Vec<String> = (1..=addresses.len())
        .map(|i| format!("master-{i}"))
        .collect();
    let names = names.iter().map(String::as_str);
    let cluster = sample::cluster(sample::DOMAIN, names.clone(), &[]);
    let known = names.zip(addresses.iter().map(|address| vec![*address]));
    let mut view = sample::worker(cluster, known);
    Arc::make_mut(&mut view.cluster).hosts.mode = mode;
    view
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
