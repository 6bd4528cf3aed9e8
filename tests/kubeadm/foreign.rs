//! A real kubeadm takes what is written for its release, and what it writes then pins nothing.

use std::path::PathBuf;
use std::process::Command;

use crate::machine::{MOVING, Machine, STABLE};
use crate::support::{Said, here, run};

/// Which kubeadm; of any release from 1.20 on.
const PROGRAM: &str = "STAYPUT_KUBEADM";

/// The program and its release, or why not.
fn kubeadm() -> Option<(PathBuf, String)> {
    let Some(path) = std::env::var_os(PROGRAM).map(PathBuf::from) else {
        eprintln!("SKIPPED: {PROGRAM} names no kubeadm");
        return None;
    };
    let said = run(Command::new(&path).args(["version", "-o", "short"]));
    let version = said.good().trim().trim_start_matches('v').to_owned();
    here(true, &[]).then_some((path, version))
}

fn minor(version: &str) -> u32 {
    version.split('.').nth(1).unwrap().parse().unwrap()
}

/// Makes a machine's files by `init`'s phases, in the order of the configuration's own commands.
fn made(masters: &str) -> Option<Machine> {
    let (program, version) = kubeadm()?;
    let names = masters == MOVING;
    let version = match minor(&version) {
        33.. if names => {
            eprintln!("SKIPPED: kubeadm {version} needs stable addresses");
            return None;
        }
        _ => version,
    };
    let machine = Machine::new(&format!(
        "{masters}kubernetes: {{version: \"{version}\"}}\nkubeadm: {{follow: [/usr/bin/stayput]}}\n"
    ));
    for folder in ["/etc/kubernetes", "/tmp", "/var/lib/kubelet"] {
        std::fs::create_dir_all(machine.path(folder)).unwrap();
    }
    machine.stayput(&["certs", "init", "--new-cluster"]).good();
    machine.stayput(&["kubeadm", "patches"]).good();
    let text = machine.stayput(&["kubeadm", "config"]).good();
    machine.write("/kubeadm.yaml", &text);
    let patches: &[&str] = match minor(&version) {
        ..=21 if names => &["--experimental-patches", "/etc/stayput/patches"],
        _ => &[],
    };
    for (phase, flags) in [
        (["certs", "all"], &[][..]),
        (["kubeconfig", "all"], &[]),
        (["control-plane", "all"], patches),
        (["etcd", "local"], patches),
    ] {
        let mut command = Command::new(&program);
        command.args(["init", "phase"]).args(phase);
        command
            .args(["--config", "/kubeadm.yaml", "--rootfs"])
            .arg(machine.root());
        run(command.args(flags)).good();
    }
    Some(machine)
}

fn validated(program: &PathBuf, machine: &Machine, file: &str) -> Said {
    let mut command = Command::new(program);
    run(command
        .args(["config", "validate", "--config"])
        .arg(machine.path(file)))
}

#[test]
fn by_names_nothing_pins() {
    let Some(machine) = made(MOVING) else { return };
    let manifest = machine.read("/etc/kubernetes/manifests/etcd.yaml");
    assert!(manifest.contains("--advertise-client-urls=https://master-1.prod.k8s.internal:2379"));
    let said = machine.stayput(&["kubeadm", "audit", "--this-node"]);
    assert_eq!(said.good(), "nothing pins an address that can change\n");
    machine.stayput(&["certs", "verify"]).good();
}

#[test]
fn by_stable_addresses_nothing_pins() {
    let Some(machine) = made(STABLE) else { return };
    let manifest = machine.read("/etc/kubernetes/manifests/etcd.yaml");
    assert!(manifest.contains("--advertise-client-urls=https://10.254.0.1:2379"));
    let said = machine.stayput(&["kubeadm", "audit", "--this-node"]);
    assert_eq!(said.good(), "nothing pins an address that can change\n");
    machine.stayput(&["certs", "verify"]).good();
}

#[test]
fn kubeadm_validates_both_configurations() {
    let Some((program, version)) = kubeadm() else {
        return;
    };
    // `kubeadm config validate` is there from 1.26 on; before, reading the files is the check.
    if minor(&version) < 26 {
        eprintln!("SKIPPED: kubeadm {version} has no `config validate`");
        return;
    }
    let masters = if minor(&version) < 33 { MOVING } else { STABLE };
    let machine = Machine::new(&format!(
        "{masters}kubernetes: {{version: \"{version}\"}}\n"
    ));
    let text = machine.stayput(&["kubeadm", "config"]).good();
    machine.write("/init.yaml", &text);
    validated(&program, &machine, "/init.yaml").good();
    let hash = format!("sha256:{}", "0a".repeat(32));
    let token = "abcdef.0123456789abcdef";
    let join = [
        "kubeadm",
        "config",
        "--join",
        "--token",
        token,
        "--ca-cert-hash",
        &hash,
    ];
    let text = machine.stayput(&join).good();
    machine.write("/join.yaml", &text);
    validated(&program, &machine, "/join.yaml").good();
    // It would refuse what it does not know.
    machine.write(
        "/join.yaml",
        &text.replace("localAPIEndpoint", "localApiEndpoint"),
    );
    assert_ne!(validated(&program, &machine, "/join.yaml").code, 0);
}
