//! Other programs that make a control plane's certificates.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::Result;
use super::process::find;

/// The files of one master: authorities, leaves below each, and kubeconfigs (by their leaf).
const AUTHORITIES: [(&str, &[&str]); 3] = [
    (
        "ca",
        &[
            "apiserver",
            "apiserver-kubelet-client",
            "admin",
            "kubelet",
            "controller-manager",
            "scheduler",
        ],
    ),
    ("front-proxy-ca", &["front-proxy-client"]),
    (
        "etcd-ca",
        &[
            "etcd-server",
            "etcd-peer",
            "etcd-healthcheck-client",
            "apiserver-etcd-client",
        ],
    ),
];

/// How long `kubeadm init phase certs all` and `kubeconfig all` take in a fresh folder; `None` without
/// a kubeadm.
pub(crate) fn kubeadm(folder: &Path) -> Result<Option<Duration>> {
    let Some(program) = find("kubeadm") else {
        return Ok(None);
    };
    let pki = folder.join("pki");
    let config = folder.join("kubeadm.yaml");
    std::fs::write(&config, kubeadm_config(&program, &pki)?)?;
    let started = Instant::now();
    for phase in ["certs", "kubeconfig"] {
        let mut command = Command::new(&program);
        command
            .args(["init", "phase", phase, "all", "--config"])
            .arg(&config);
        if phase == "kubeconfig" {
            command.arg("--kubeconfig-dir").arg(folder);
        }
        succeed(command)?;
    }
    Ok(Some(started.elapsed()))
}

/// With the version of the program, so that it asks nobody for the newest one.
fn kubeadm_config(program: &Path, pki: &Path) -> Result<String> {
    let output = Command::new(program)
        .args(["version", "-o", "short"])
        .output()?;
    let version = String::from_utf8(output.stdout)?.trim().to_owned();
    let minor: u32 = version
        .split('.')
        .nth(1)
        .and_then(|minor| minor.parse().ok())
        .ok_or("kubeadm's version is not understood")?;
    // kubeadm reads the API of its own time and of some releases before.
    let api = match minor {
        0..22 => "v1beta2",
        22..31 => "v1beta3",
        _ => "v1beta4",
    };
    Ok(format!(
        "apiVersion: kubeadm.k8s.io/{api}
kind: InitConfiguration
localAPIEndpoint: {{advertiseAddress: 192.0.2.11}}
nodeRegistration: {{name: master-1}}
---
apiVersion: kubeadm.k8s.io/{api}
kind: ClusterConfiguration
kubernetesVersion: {version}
controlPlaneEndpoint: api.prod.k8s.internal:8443
certificatesDir: {}
",
        pki.display()
    ))
}

/// How long OpenSSL takes for as many RSA keys and their certificates, one command after the other.
pub(crate) fn openssl(folder: &Path) -> Result<Duration> {
    let mut script = String::from("set -e\nopenssl genrsa -out sa.key 2048\n");
    for (authority, leaves) in AUTHORITIES {
        writeln!(
            script,
            "openssl req -x509 -newkey rsa:2048 -nodes -keyout {authority}.key -out {authority}.crt -days 3650 -subj /CN={authority}"
        )?;
        for leaf in leaves {
            writeln!(
                script,
                "openssl req -newkey rsa:2048 -nodes -keyout {leaf}.key -out {leaf}.csr -subj /CN={leaf}
openssl x509 -req -in {leaf}.csr -CA {authority}.crt -CAkey {authority}.key -out {leaf}.crt -days 365"
            )?;
        }
    }
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).current_dir(folder);
    let started = Instant::now();
    succeed(command)?;
    Ok(started.elapsed())
}

fn succeed(mut command: Command) -> Result {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}\n{said}", output.status).into())
}
