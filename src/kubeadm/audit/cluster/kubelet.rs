//! The certificate that a kubelet serves.

use super::addresses::Saying;
use crate::kubeadm::pin::{Pin, Severity};
use crate::kubeadm::stable::Stable;
use crate::pki::certificate::Certificate;
use crate::view::View;

/// Addresses in it. One that a kubelet has signed itself carries its host name alone; one of the cluster's
/// (`serverTLSBootstrap`) carries the node's addresses, and kube-apiserver reaches nodes by address.
pub fn kubelet(certificate: &Certificate, view: &View) -> Vec<Pin> {
    let addresses = certificate.profile.names.addresses.iter();
    let stable = Stable::of(&view.cluster);
    let changing = addresses.filter(|address| stable.can_change(**address));
    changing
        .map(|address| {
            let saying = Saying {
                severity: Severity::Degraded,
                place: format!("kubelet of {}", view.node.kubernetes_name),
                what: "address in its serving certificate".to_owned(),
                breaks: "a kube-apiserver that verifies kubelets (--kubelet-certificate-authority) refuses this \
                         one for logs and exec, until its request for a new certificate is approved",
                instead: "let the new request be approved: kubectl get csr".to_owned(),
            };
            saying.with(&address.to_string(), *address)
        })
        .collect()
}
