//! Authorities, masters and their records, for the tests beside the code.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
};

use super::record::Record;
use super::statement::{Says, Statement};
use super::trust::{Time, Trust};
use super::verify::{Verified, verify};
use crate::address::Loopback;
use crate::name::Name;
use crate::pki::authority::Authority;
use crate::pki::certificate::Certificate;
use crate::pki::issue::{self, Validity};
use crate::pki::key::{KeyType, PrivateKey};
use crate::pki::profile::{Names, Profile, Usages};

pub(super) const NOW: i64 = 1_800_000_000;
pub(super) const DAY: i64 = 86_400;
pub(super) const DOMAIN: &str = "k8s.internal";

/// Of a master's certificate, unless a test says otherwise.
pub(super) const VALIDITY: Validity = Validity {
    not_before: NOW - 10 * DAY,
    not_after: NOW + 355 * DAY,
};

pub(super) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// `m1` becomes `m1.k8s.internal`.
pub(super) fn master(label: &str) -> Name {
    name(&format!("{label}.{DOMAIN}"))
}

pub(super) fn authority(common_name: &str) -> Authority {
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let profile = Profile {
        common_name: common_name.into(),
        ..Profile::default()
    };
    let validity = Validity {
        not_before: NOW - 1000 * DAY,
        not_after: NOW + 2650 * DAY,
    };
    let pem = issue::authority(&profile, &key, validity).unwrap();
    let bundle = Certificate::parse_pem(pem.as_bytes()).unwrap();
    Authority {
        certificate: bundle[0].clone(),
        bundle,
        pem: pem.into_bytes(),
        key: Some(key),
    }
}

/// What a master's certificate says.
pub(super) fn profile(label: &str) -> Profile {
    let own = format!("{label}.stayput.{DOMAIN}");
    Profile {
        names: Names::named([&own]),
        common_name: own,
        organizations: vec!["stayput:masters".into()],
        usages: Usages {
            server: true,
            client: true,
        },
        other_usages: Vec::new(),
    }
}

/// A certificate and its key.
pub(super) struct Pair {
    pub(super) certificate: Certificate,
    pub(super) key: PrivateKey,
}

pub(super) fn issued(by: &Authority, profile: &Profile, validity: Validity) -> Pair {
    issued_for(by, profile, validity, KeyType::EcdsaP256)
}

pub(super) fn issued_for(
    by: &Authority,
    profile: &Profile,
    validity: Validity,
    kind: KeyType,
) -> Pair {
    let key = PrivateKey::generate(kind).unwrap();
    let pem = issue::leaf(by, profile, None, &key, validity, true).unwrap();
    let certificate = Certificate::parse_pem(pem.as_bytes()).unwrap().remove(0);
    Pair { certificate, key }
}

/// A good master of that label.
pub(super) fn pair(by: &Authority, label: &str) -> Pair {
    issued(by, &profile(label), VALIDITY)
}

impl Pair {
    /// A record, whatever the statement; nothing is checked.
    pub(super) fn sign(&self, statement: &[u8]) -> Record {
        Record {
            statement: statement.to_vec(),
            certificate: self.certificate.der.clone(),
            signature: self.signature(&Record::signed(statement)),
        }
    }

    /// By the key of whatever kind; of RSA some bytes.
    pub(super) fn signature(&self, message: &[u8]) -> Vec<u8> {
        let der = self.key.for_handshakes().unwrap();
        let pair = [
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            &ECDSA_P384_SHA384_ASN1_SIGNING,
        ]
        .into_iter()
        .find_map(|kind| EcdsaKeyPair::from_private_key_der(kind, der.secret_der()).ok());
        match pair {
            Some(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).unwrap();
                let mut signature = signature.as_ref().to_vec();
                // One of P-384 is too long for a record, and refused for that; here it is the key's kind.
                signature.truncate(72);
                signature
            }
            None => vec![0x30; 70],
        }
    }

    pub(super) fn say(&self, statement: &Statement) -> Record {
        self.sign(&statement.encode(Loopback::Refused).unwrap())
    }

    /// As one that was accepted before: whatever its version.
    pub(super) fn verified(&self, by: &Authority, statement: &Statement) -> Verified {
        verify(&self.say(statement), &trust(&[by]).at(Time::Any)).unwrap()
    }
}

/// At [`NOW`].
pub(super) fn trust(authorities: &[&Authority]) -> Trust {
    let certificates = authorities.iter().map(|one| one.certificate.clone());
    Trust {
        authorities: certificates.collect(),
        cluster: name(DOMAIN),
        loopback: Loopback::Refused,
        time: Time::At(NOW),
    }
}

pub(super) fn statement(label: &str, version: u64, says: Says) -> Statement {
    Statement {
        cluster: name(DOMAIN),
        master: master(label),
        version,
        says,
    }
}

pub(super) fn at(label: &str, version: u64, address: &str) -> Statement {
    statement(label, version, Says::At(vec![address.parse().unwrap()]))
}
