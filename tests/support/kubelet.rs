//! A worker that has joined, as `kubeadm join` leaves it.

use std::time::Duration;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};

use crate::node::Node;

/// What `kubeadm join` leaves on a worker that matters here: the authority, and the kubelet's certificate.
pub(crate) fn join(worker: &Node, authority: &str, key: &str) {
    let key = KeyPair::from_pem(key).unwrap();
    let issuer = Issuer::from_ca_cert_pem(authority, key).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let name = &mut params.distinguished_name;
    name.push(DnType::OrganizationName, "system:nodes");
    name.push(DnType::CommonName, format!("system:node:{}", worker.name));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = time::OffsetDateTime::now_utc() - Duration::from_mins(1);
    params.not_after = time::OffsetDateTime::now_utc() + Duration::from_hours(1000);
    let own = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&own, &issuer).unwrap();
    let folder = worker.path("var/lib/kubelet/pki");
    std::fs::create_dir_all(&folder).unwrap();
    let both = format!("{}{}", certificate.pem(), own.serialize_pem());
    std::fs::write(folder.join("kubelet-client-1.pem"), both).unwrap();
    let current = folder.join("kubelet-client-current.pem");
    std::os::unix::fs::symlink("kubelet-client-1.pem", current).unwrap();
    worker.write("etc/kubernetes/pki/ca.crt", authority);
}
