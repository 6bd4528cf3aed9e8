//! Who a certificate is: a master, a node, or nobody.
//!
//! Only certificates that the cluster's authority signed are asked about; see [`verifier`](super::verifier).
//! What Kubernetes' own signers issue to whoever may create a `CertificateSigningRequest` must not pass
//! for a master: they give out the usages server and client never together.

use std::fmt;

use serde::{Deserialize, Serialize};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use crate::name::Name;
use crate::pki::certificate::Certificate;
use crate::pki::profile::Names;

/// The O of a certificate by which a master speaks.
pub const MASTERS: &str = "stayput:masters";
/// The label between a master's own and the domain in that certificate.
pub const LABEL: &str = "stayput";
/// The O of a kubelet's certificate.
const NODES: &str = "system:nodes";
/// What precedes the node's name in its CN.
const NODE: &str = "system:node:";

/// Who is at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Peer {
    /// A master, by its fully qualified name.
    Master(Name),
    /// A node, by the name of its Node object (RFC 1123 subdomain, at most 253 octets; it may read like
    /// an address).
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

/// A certificate of the cluster's authority that is neither a master's nor a node's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{subject} is neither a master nor a node: {reason}")]
pub struct Nobody {
    /// The certificate's subject.
    pub subject: String,
    /// Which rule it breaks.
    pub reason: &'static str,
}

/// Who a certificate is in the cluster of this domain. Its signature and times are another matter.
///
/// A master: exactly one CN, and as its only name the same DNS name, `LABEL.stayput.DOMAIN`; exactly one
/// O, [`MASTERS`]; the usages server and client and no others. A node: exactly one CN,
/// `system:node:NAME`, and exactly one O, `system:nodes` (kubelet's client certificate, as the signer
/// `kubernetes.io/kube-apiserver-client-kubelet` and kubeadm issue it).
pub fn who(certificate: &Certificate, domain: &Name) -> Result<Peer, Nobody> {
    let decided = match the_one_organization(certificate) {
        Ok(MASTERS) => master(certificate, domain).map(Peer::Master),
        Ok(NODES) => node(certificate).map(Peer::Node),
        Ok(_) => Err("its O is another"),
        Err(reason) => Err(reason),
    };
    decided.map_err(|reason| Nobody {
        subject: certificate.subject.clone(),
        reason,
    })
}

/// The O of a subject that has exactly one CN and one O.
fn the_one_organization(certificate: &Certificate) -> Result<&str, &'static str> {
    let (_, subject) =
        X509Name::from_der(&certificate.subject_der).map_err(|_| "its subject cannot be read")?;
    if subject.iter_common_name().count() != 1 {
        return Err("its subject has not exactly one CN");
    }
    match &certificate.profile.organizations[..] {
        [one] => Ok(one),
        _ => Err("its subject has not exactly one O"),
    }
}

fn master(certificate: &Certificate, domain: &Name) -> Result<Name, &'static str> {
    let profile = &certificate.profile;
    if !(profile.usages.server && profile.usages.client && profile.other_usages.is_empty()) {
        return Err("a master's has the usages server and client, and no others");
    }
    if profile.names != Names::named([&profile.common_name]) || profile.names.dns.len() != 1 {
        return Err("a master's has its CN as its only DNS name, and no other names");
    }
    const FORM: &str = "a master's CN is LABEL.stayput.DOMAIN of this cluster";
    let name = Name::parse(&profile.common_name).map_err(|_| FORM)?;
    if name.as_str() != profile.common_name {
        return Err(FORM);
    }
    let parent = Name::parse(LABEL).and_then(|label| label.below(domain));
    let parent = parent.map_err(|_| FORM)?;
    let label = name.relative_to(&parent).ok_or(FORM)?;
    let label = Name::parse(label).map_err(|_| FORM)?;
    if !label.is_single_label() {
        return Err(FORM);
    }
    label.below(domain).map_err(|_| FORM)
}

fn node(certificate: &Certificate) -> Result<String, &'static str> {
    const FORM: &str = "a node's CN is system:node:NAME";
    let name = certificate.profile.common_name.strip_prefix(NODE);
    let name = name.ok_or(FORM)?;
    let part = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty()
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(part) {
        return Err(FORM);
    }
    Ok(name.to_owned())
}
