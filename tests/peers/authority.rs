//! An authority of a cluster, and what it issues: rightly, or as nobody should.

use std::ops::Range;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;

/// The time in all of these tests, by the nodes' clocks.
pub(crate) const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

pub(crate) const DOMAIN: &str = "k8s.internal";
pub(crate) use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};

/// What stands in a certificate.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    pub(crate) names: Vec<String>,
    pub(crate) addresses: Vec<std::net::IpAddr>,
    pub(crate) subject: Vec<(DnType, String)>,
    pub(crate) usages: Vec<ExtendedKeyUsagePurpose>,
    pub(crate) valid: Range<i64>,
    pub(crate) is_ca: IsCa,
}

impl Leaf {
    /// By which the master of this label speaks.
    pub(crate) fn master(label: &str) -> Self {
        let name = format!("{label}.stayput.{DOMAIN}");
        Self {
            names: vec![name.clone()],
            addresses: Vec::new(),
            subject: vec![
                (DnType::OrganizationName, "stayput:masters".into()),
                (DnType::CommonName, name),
            ],
            usages: vec![ServerAuth, ClientAuth],
            valid: NOW - DAY..NOW + 365 * DAY,
            is_ca: IsCa::ExplicitNoCa,
        }
    }

    /// A kubelet's client certificate.
    pub(crate) fn node(name: &str) -> Self {
        Self {
            names: Vec::new(),
            subject: vec![
                (DnType::OrganizationName, "system:nodes".into()),
                (DnType::CommonName, format!("system:node:{name}")),
            ],
            usages: vec![ClientAuth],
            ..Self::master("unused")
        }
    }

    pub(crate) fn valid(mut self, valid: Range<i64>) -> Self {
        self.valid = valid;
        self
    }

    pub(crate) fn usages(mut self, usages: &[ExtendedKeyUsagePurpose]) -> Self {
        self.usages = usages.to_vec();
        self
    }

    pub(crate) fn subject(mut self, parts: &[(DnType, &str)]) -> Self {
        let owned = |(kind, text): &(DnType, &str)| (kind.clone(), (*text).to_owned());
        self.subject = parts.iter().map(owned).collect();
        self
    }

    pub(crate) fn names(mut self, names: &[&str]) -> Self {
        self.names = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::new(self.names.clone()).unwrap();
        let addresses = self.addresses.iter().copied().map(SanType::IpAddress);
        params.subject_alt_names.extend(addresses);
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, text) in &self.subject {
            params.distinguished_name.push(kind.clone(), text.clone());
        }
        params.is_ca = self.is_ca;
        params.extended_key_usages.clone_from(&self.usages);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = OffsetDateTime::from_unix_timestamp(self.valid.start).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp(self.valid.end).unwrap();
        params
    }
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

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// All authorities have the same name, as those of all kubeadm clusters have.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
        ];
        params.distinguished_name = rcgen::DistinguishedName::new();
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "kubernetes");
        let start = NOW - 30 * DAY;
        params.not_before = OffsetDateTime::from_unix_timestamp(start).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp(start + 3650 * DAY).unwrap();
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn issue(&self, leaf: &Leaf) -> Pair {
        signed(leaf, &self.0)
    }

    /// Issued by an authority below this one, with that one's certificate behind its own.
    pub(crate) fn issue_below(&self, leaf: &Leaf) -> Pair {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.not_before = OffsetDateTime::from_unix_timestamp(NOW - DAY).unwrap();
        params.not_after = OffsetDateTime::from_unix_timestamp(NOW + DAY).unwrap();
        let key = KeyPair::generate().unwrap();
        let below = CertifiedIssuer::signed_by(params, key, &*self.0).unwrap();
        let mut pair = signed(leaf, &below);
        pair.certificate.push_str(&below.pem());
        pair
    }
}

fn signed(leaf: &Leaf, issuer: &Issuer<'_, KeyPair>) -> Pair {
    let key = KeyPair::generate().unwrap();
    Pair {
        certificate: leaf.params().signed_by(&key, issuer).unwrap().pem(),
        key: key.serialize_pem(),
    }
}
