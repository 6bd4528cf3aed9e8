//! What kubeconfigs pin: places 8 to 10.

use super::Facts;
use super::files::File;
use crate::kubeadm::pin::{Pin, Severity};
use crate::pki::certificate::Certificate;
use crate::pki::kubeconfig::{self, Server};

/// Who uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// kube-controller-manager.
    ControllerManager,
    /// kube-scheduler.
    Scheduler,
    /// The kubelet.
    Kubelet,
    /// The kubelet that has no certificate yet.
    Bootstrap,
    /// kubeadm, and an administrator.
    Admin,
    /// An administrator, who may know other clusters.
    Person,
}

/// What a kubeconfig pins; `authority` is the PEM of this cluster's.
pub fn pins(
    user: User,
    file: &File,
    authority: Option<&[u8]>,
    facts: &Facts<'_>,
) -> Result<Vec<Pin>, String> {
    let servers = kubeconfig::servers(file.text()?).map_err(|error| error.to_string())?;
    let (severity, breaks) = match user {
        User::ControllerManager => (
            Severity::Fatal,
            "kube-controller-manager loses kube-apiserver",
        ),
        User::Scheduler => (Severity::Fatal, "kube-scheduler loses kube-apiserver"),
        User::Kubelet => (
            Severity::Fatal,
            "the kubelet loses kube-apiserver: the node becomes NotReady, and its pods are evicted",
        ),
        User::Bootstrap => (
            Severity::Degraded,
            "a kubelet whose certificate has ended gets no new one",
        ),
        User::Admin | User::Person => (Severity::Degraded, "kubectl and kubeadm reach nobody"),
    };
    let instead = match user {
        User::ControllerManager | User::Scheduler => facts.local(),
        _ => facts.endpoint(),
    };
    let own = |server: &Server| user != User::Person || is_ours(server, authority);
    let pin = |server: Server| {
        let addresses = facts.stable.changing(&server.url);
        (!addresses.is_empty()).then(|| Pin {
            severity,
            place: file.path.display().to_string(),
            line: server.line,
            what: "server".into(),
            value: server.url,
            addresses,
            breaks: breaks.into(),
            instead: instead.clone(),
        })
    };
    Ok(servers.into_iter().filter(own).filter_map(pin).collect())
}

/// Whether a server is of the cluster with that authority. One that names no authority within the file
/// may be.
fn is_ours(server: &Server, authority: Option<&[u8]>) -> bool {
    let (Some(theirs), Some(ours)) = (&server.authority, authority) else {
        return true;
    };
    match (Certificate::parse_pem(theirs), Certificate::parse_pem(ours)) {
        (Ok(theirs), Ok(ours)) => ours.iter().any(|ours| theirs.contains(ours)),
        _ => true,
    }
}
