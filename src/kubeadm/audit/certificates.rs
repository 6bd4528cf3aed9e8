//! Addresses that can change in the names of servers' certificates: place 7.
//!
//! As long as the certificate has the master's name too, nobody who goes by names is hurt: the address
//! only says what is not true any more, and a machine that gets it next could be taken for this one.

use std::path::Path;

use super::Facts;
use super::files::File;
use crate::kubeadm::pin::{Pin, Severity};
use crate::pki::certificate::Certificate;

/// Whose certificate it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// kube-apiserver's.
    Apiserver,
    /// etcd's, to clients or to peers.
    Etcd,
    /// The one that the kubelet made for itself.
    Kubelet,
}

/// What a certificate pins.
pub fn pins(server: Server, file: &File, facts: &Facts<'_>) -> Result<Vec<Pin>, String> {
    let certificates = Certificate::parse_pem(&file.bytes).map_err(|error| error.to_string())?;
    let names = &certificates[0].profile.names;
    let mut addresses = names.addresses.clone();
    addresses.retain(|address| facts.stable.can_change(*address));
    if addresses.is_empty() {
        return Ok(Vec::new());
    }
    let id = id(&file.path);
    let by_name = names.dns.contains(facts.own_name());
    let (severity, breaks, instead) = match server {
        Server::Kubelet => (
            Severity::Misleading,
            "nobody verifies it; the kubelet makes a new one where the file is missing",
            "remove it and its key, and restart the kubelet".to_owned(),
        ),
        _ if by_name => (
            Severity::Misleading,
            "whoever has that address next could be taken for this master",
            format!(
                "names; `stayput certs renew {id} --force --drop-name ADDRESS` once nothing else pins it"
            ),
        ),
        Server::Apiserver => (
            Severity::Degraded,
            "it has no name of this master: whoever verifies it at the new address refuses it",
            add(id),
        ),
        Server::Etcd => (
            Severity::Fatal,
            "it has no name of this master: the other members refuse it from the new address",
            add(id),
        ),
    };
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    Ok(vec![Pin {
        severity,
        place: file.path.display().to_string(),
        line: None,
        what: "subjectAltName".into(),
        value: texts.join(", "),
        addresses,
        breaks: breaks.into(),
        instead,
    }])
}

fn add(id: &str) -> String {
    format!(
        "names; `stayput certs renew {id} --force` adds them, and with --drop-name ADDRESS takes the address out"
    )
}

/// What `stayput certs` calls the certificate in a file.
fn id(path: &Path) -> &'static str {
    match path.to_str() {
        Some("/etc/kubernetes/pki/etcd/server.crt") => "etcd-server",
        Some("/etc/kubernetes/pki/etcd/peer.crt") => "etcd-peer",
        _ => "apiserver",
    }
}
