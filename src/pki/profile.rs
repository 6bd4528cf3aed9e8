//! What a certificate says, apart from its key, its times and its serial number.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use x509_parser::asn1_rs::Oid;

use crate::name::Name;

/// The contents of a leaf.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// The subject's CN: to Kubernetes, the user.
    pub common_name: String,
    /// The subject's O, in order: to Kubernetes, the groups.
    pub organizations: Vec<String>,
    /// The extended key usages that Kubernetes looks at.
    pub usages: Usages,
    /// Other extended key usages of a certificate that somebody else made, in order.
    pub other_usages: Vec<Oid<'static>>,
    /// The subject alternative names.
    pub names: Names,
}

impl Profile {
    /// Whether both name the same user and groups; the order of the groups does not matter.
    pub fn same_subject(&self, other: &Self) -> bool {
        let groups = |profile: &Self| {
            let mut groups = profile.organizations.clone();
            groups.sort();
            groups
        };
        self.common_name == other.common_name && groups(self) == groups(other)
    }
}

/// Extended key usages (RFC 5280, 4.2.1.12).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usages {
    /// id-kp-serverAuth.
    pub server: bool,
    /// id-kp-clientAuth.
    pub client: bool,
}

/// Subject alternative names (RFC 5280, 4.2.1.6).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// DNS names, lower-case, sorted, without repeats; others' certificates may hold wildcards.
    pub dns: BTreeSet<String>,
    /// IP addresses in their order, without repeats.
    pub addresses: Vec<IpAddr>,
    /// Names of other kinds in others' certificates, in their order, without repeats: nothing in
    /// Kubernetes looks at them, whoever had them put in may.
    pub others: Vec<OtherName>,
}

/// A name that is neither a DNS name nor an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherName {
    /// For people: `URI:spiffe://example.com/api`, `email:ops@example.com`.
    pub text: String,
    /// The `GeneralName` (RFC 5280, 4.2.1.6) as DER.
    pub der: Vec<u8>,
}

impl Names {
    /// Addresses in their order and DNS names in lower case, each once. What is neither is left out: the
    /// bare name of a master called `1.prod.k8s.internal`, or a template that has become too long.
    pub fn of(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut names = Self::default();
        for text in texts {
            let text = text.as_ref();
            if let Ok(address) = text.parse::<IpAddr>() {
                let address = address.to_canonical();
                if !names.addresses.contains(&address) {
                    names.addresses.push(address);
                }
                continue;
            }
            let (star, bare) = match text.strip_prefix("*.") {
                Some(bare) => ("*.", bare),
                None => ("", text),
            };
            if let Ok(name) = Name::parse(bare) {
                names.dns.insert(format!("{star}{name}"));
            }
        }
        names
    }

    /// Names as a person writes them who reads them in a certificate. Nothing is put right: a
    /// stranger's certificate may have `*` among its DNS names.
    pub fn named(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut names = Self::default();
        for text in texts {
            let text = text.as_ref();
            match text.parse::<IpAddr>().map(|address| address.to_canonical()) {
                Err(_) => {
                    names.dns.insert(text.to_ascii_lowercase());
                }
                Ok(address) if !names.addresses.contains(&address) => names.addresses.push(address),
                Ok(_) => {}
            }
        }
        names
    }

    /// These names but for those that read like one of `left_out`: an address that was written as a
    /// DNS name by mistake reads like the address.
    #[must_use]
    pub fn without(&self, left_out: &Self) -> Self {
        let texts = left_out.list().into_iter();
        let texts: BTreeSet<String> = texts.map(|text| text.to_ascii_lowercase()).collect();
        let kept = |text: &str| !texts.contains(&text.to_ascii_lowercase());
        let mut rest = self.clone();
        rest.dns.retain(|name| kept(name));
        rest.addresses.retain(|address| kept(&address.to_string()));
        rest.others.retain(|other| kept(&other.text));
        rest
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.dns.is_empty() && self.addresses.is_empty() && self.others.is_empty()
    }

    /// These names and those of `other` behind them.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.dns.extend(other.dns.iter().cloned());
        let lacks = self.lacks(other);
        all.addresses.extend(lacks.addresses);
        all.others.extend(lacks.others);
        all
    }

    /// What of `wanted` is not among these.
    #[must_use]
    pub fn lacks(&self, wanted: &Self) -> Self {
        let mut missing = wanted.clone();
        missing.dns.retain(|name| !self.dns.contains(name));
        missing
            .addresses
            .retain(|address| !self.addresses.contains(address));
        missing.others.retain(|other| !self.others.contains(other));
        missing
    }

    /// All of them as texts: DNS names, then addresses, then others.
    pub fn list(&self) -> Vec<String> {
        let addresses = self.addresses.iter().map(ToString::to_string);
        let others = self.others.iter().map(|other| other.text.clone());
        let names = self.dns.iter().cloned().chain(addresses);
        names.chain(others).collect()
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.list().join(", "))
    }
}
