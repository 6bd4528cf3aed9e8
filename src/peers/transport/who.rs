//! Who a certificate is: a master, a node, or nobody.
//!
//! Only certificates that the cluster's authority signed are asked about; see [`verifier`](super::verifier).

use std::fmt;

use serde::{Deserialize, Serialize};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use crate::name::Name;
use crate::peers::certificate::{Error, MasterCertificate};
use crate::pki::certificate::Certificate;

/// The O of a kubelet's certificate.
const NODES: &str = "system:nodes";
/// What precedes the node's name in its CN.
const NODE: &str = "system:node:";
/// The longest name of a node, in octets (RFC 1123 subdomain, as Kubernetes checks it).
const LONGEST: usize = 253;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Peer {
    /// A master, by its fully qualified name.
    Master(Name),
    /// A node, by the name of its Node object (an RFC 1123 subdomain of at most 253 octets, which may
    /// read like an address).
    Node(String),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master(name) => write!(f, "master {name}"),
            Self::Node(name) => write!(f, "node {name}"),
        }
    }
}

/// A certificate that is neither a master's nor a node's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{subject} is neither a node nor a master: {reason}")]
pub struct Nobody {
    /// The certificate's subject.
    pub subject: String,
    /// Which rule it breaks.
    pub reason: Error,
}

/// Who a certificate is in the cluster of this domain. Its signature and times are another matter.
///
/// A node has exactly one CN, `system:node:NAME`, and exactly one O, `system:nodes`: kubelet's client
/// certificate, as kubeadm and the signer `kubernetes.io/kube-apiserver-client-kubelet` issue it. What a
/// master's is, [`MasterCertificate`] says.
pub fn who(certificate: &Certificate, domain: &Name) -> Result<Peer, Nobody> {
    if let Some(name) = node(certificate) {
        return Ok(Peer::Node(name.to_owned()));
    }
    match MasterCertificate::read(&certificate.der, domain) {
        Ok(own) => Ok(Peer::Master(own.master)),
        Err(reason) => Err(Nobody {
            subject: certificate.subject.clone(),
            reason,
        }),
    }
}

fn node(certificate: &Certificate) -> Option<&str> {
    let (_, subject) = X509Name::from_der(&certificate.subject_der).ok()?;
    let only = subject.iter_common_name().count() == 1;
    if !only || certificate.profile.organizations != [NODES] {
        return None;
    }
    let name = certificate.profile.common_name.strip_prefix(NODE)?;
    let label = |label: &str| {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty()
            && label.bytes().all(known)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (name.len() <= LONGEST && name.split('.').all(label)).then_some(name)
}
