//! A real etcd takes the last of a flag that is given twice: the patches for etcd rest on it.

use std::net::TcpListener;
use std::process::Command;

use crate::machine::{MOVING, Machine};
use crate::support::{Process, eventually, here, run};

/// An address that no machine has (RFC 5737).
const NOWHERE: &str = "203.0.113.9";

#[test]
fn etcd_starts_by_the_patch_whatever_its_command_says() {
    if !here(false, &["etcd", "etcdctl"]) {
        return;
    }
    let machine = Machine::new(&format!("{MOVING}kubernetes: {{version: \"1.32.0\"}}\n"));
    machine.stayput(&["kubeadm", "patches"]).good();
    let patch = machine.read("/etc/stayput/patches/etcd+strategic.yaml");
    let lines = patch
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- --"));
    let free = || {
        TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
    };
    let (client, peer) = (free().to_string(), free().to_string());
    // The patch's own flags, without TLS, at ports that are free, by a name that this machine knows.
    let patched = lines.map(|flag| {
        let flag = flag
            .replace("https://", "http://")
            .replace("0.0.0.0", "127.0.0.1");
        let flag = flag.replace("master-1.prod.k8s.internal", "localhost");
        format!(
            "--{}",
            flag.replace(":2379", &format!(":{client}"))
                .replace(":2380", &format!(":{peer}"))
        )
    });
    let patched: Vec<String> = patched.collect();
    assert_eq!(patched.len(), 5, "{patch}");
    let mut command = Command::new("etcd");
    command
        .args(["--name", "master-1", "--data-dir"])
        .arg(machine.path("/etcd"));
    command.arg(format!(
        "--listen-client-urls=http://127.0.0.2:{client},http://{NOWHERE}:{client}"
    ));
    command.arg(format!("--advertise-client-urls=http://{NOWHERE}:{client}"));
    command.arg(format!("--listen-peer-urls=http://{NOWHERE}:{peer}"));
    command.arg(format!(
        "--initial-advertise-peer-urls=http://{NOWHERE}:{peer}"
    ));
    command.arg(format!(
        "--initial-cluster=master-1=http://{NOWHERE}:{peer}"
    ));
    let mut etcd = Process::start(command.args(&patched), &machine.path("/etcd.log"));
    let endpoint = format!("http://127.0.0.1:{client}");
    let members = eventually("etcd answers", || {
        etcd.must_run();
        let mut command = Command::new("etcdctl");
        let said =
            run(command
                .env("ETCDCTL_API", "3")
                .args(["--endpoints", &endpoint, "member", "list"]));
        if said.code == 0 {
            Ok(said.out)
        } else {
            Err(said.err)
        }
    });
    assert!(
        members.contains(&format!("http://localhost:{peer}")),
        "{members}"
    );
    assert!(
        members.contains(&format!("http://localhost:{client}")),
        "{members}"
    );
    assert!(!members.contains(NOWHERE), "{members}");
}
