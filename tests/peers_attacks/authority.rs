//! Certificates of the cluster's authority and of another one, issued rightly or as nobody should.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::OffsetDateTime;

use crate::masters::DOMAIN;
use crate::sandbox::Sandbox;

pub(crate) use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};

pub(crate) const DAY: i64 = 86_400;

/// By the machine's clock, as all nodes have it.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs().try_into().unwrap()
}

/// A certificate and its key, as PEM.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Pair {
    /// As the kubelet keeps it.
    pub(crate) fn together(&self) -> String {
        format!("{}{}", self.certificate, self.key)
    }
}

/// What stands in a certificate.
pub(crate) struct Leaf {
    name: String,
    organization: &'static str,
    is_master: bool,
    usages: Vec<ExtendedKeyUsagePurpose>,
    valid: Range<i64>,
}

impl Leaf {
    /// By which the master of this label speaks.
    pub(crate) fn master(label: &str) -> Self {
        Self {
            name: format!("{label}.stayput.{DOMAIN}"),
            organization: "stayput:masters",
            is_master: true,
            usages: vec![ServerAuth, ClientAuth],
            valid: now() - 60..now() + DAY,
        }
    }

    /// A kubelet's client certificate.
    pub(crate) fn node(name: &str) -> Self {
        Self {
            name: format!("system:node:{name}"),
            organization: "system:nodes",
            is_master: false,
            usages: vec![ClientAuth],
            ..Self::master("unused")
        }
    }

    pub(crate) fn usages(mut self, usages: &[ExtendedKeyUsagePurpose]) -> Self {
        self.usages = usages.to_vec();
        self
    }

    pub(crate) fn valid(mut self, valid: Range<i64>) -> Self {
        self.valid = valid;
        self
    }

    fn params(&self) -> CertificateParams {
        let names = if self.is_master {
            vec![self.name.clone()]
        } else {
            Vec::new()
        };
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let subject = &mut params.distinguished_name;
        subject.push(DnType::OrganizationName, self.organization);
        subject.push(DnType::CommonName, self.name.clone());
        params.is_ca = IsCa::ExplicitNoCa;
        params.extended_key_usages.clone_from(&self.usages);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = OffsetDateTime::from_unix_timestamp(self.valid.start).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp(self.valid.end).unwrap();
        params
    }
}

/// Who signs certificates.
pub(crate) struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    /// The cluster's, whose key the masters have.
    pub(crate) fn of(master: &Sandbox) -> Self {
        let read = |file: &str| master.read(&format!("etc/kubernetes/pki/{file}"));
        let key = KeyPair::from_pem(&read("ca.key")).unwrap();
        Self(Issuer::from_ca_cert_pem(&read("ca.crt"), key).unwrap())
    }

    /// Another cluster's: of the same name, as those of all kubeadm clusters are.
    pub(crate) fn stranger() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name = rcgen::DistinguishedName::new();
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "kubernetes");
        let key = KeyPair::generate().unwrap();
        Self(Issuer::new(params, key))
    }

    pub(crate) fn issue(&self, leaf: &Leaf) -> Pair {
        let key = KeyPair::generate().unwrap();
        Pair {
            certificate: leaf.params().signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}
