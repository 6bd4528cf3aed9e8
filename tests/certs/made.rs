//! Authorities and pairs as the program itself makes them.

use std::path::Path;

use stayput::clock::unix_now;
use stayput::pki::authority::Authority;
use stayput::pki::certificate::Certificate;
use stayput::pki::issue::{self, Validity};
use stayput::pki::key::{KeyType, PrivateKey};
use stayput::pki::profile::{Names, Profile, Usages};

/// A certificate and its key, as PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Pair {
    pub(crate) fn write(&self, folder: &Path, stem: &str) {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join(format!("{stem}.crt")), &self.certificate).unwrap();
        std::fs::write(folder.join(format!("{stem}.key")), &self.key).unwrap();
    }

    /// What is said of it.
    pub(crate) fn parsed(&self) -> Certificate {
        let all = Certificate::parse_pem(self.certificate.as_bytes()).unwrap();
        all.into_iter().next().unwrap()
    }
}

/// Now, in Unix time.
pub(crate) fn now() -> i64 {
    unix_now().try_into().unwrap()
}

/// From an hour ago for a year.
pub(crate) fn year() -> Validity {
    Validity {
        not_before: now() - 3600,
        not_after: now() + 365 * 86_400,
    }
}

pub(crate) fn key() -> PrivateKey {
    PrivateKey::generate(KeyType::EcdsaP256).unwrap()
}

pub(crate) fn authority(name: &str, validity: Validity) -> Pair {
    let key = key();
    let profile = Profile {
        common_name: name.to_owned(),
        ..Profile::default()
    };
    Pair {
        certificate: issue::authority(&profile, &key, validity).unwrap(),
        key: key.to_pem().unwrap().to_string(),
    }
}

/// A leaf for both usages.
pub(crate) fn leaf(authority: &Pair, name: &str, dns: &[&str], addresses: &[&str]) -> Pair {
    let pem = authority.certificate.as_bytes().to_vec();
    let bundle = Certificate::parse_pem(&pem).unwrap();
    let authority = Authority {
        certificate: bundle[0].clone(),
        bundle,
        pem,
        key: Some(PrivateKey::from_pem(authority.key.as_bytes()).unwrap()),
    };
    let profile = Profile {
        common_name: name.to_owned(),
        organizations: Vec::new(),
        usages: Usages {
            server: true,
            client: true,
        },
        names: Names {
            dns: dns.iter().map(ToString::to_string).collect(),
            addresses: crate::sample::ips(addresses),
            ..Names::default()
        },
        ..Profile::default()
    };
    let key = key();
    Pair {
        certificate: issue::leaf(&authority, &profile, None, &key, year(), true).unwrap(),
        key: key.to_pem().unwrap().to_string(),
    }
}
