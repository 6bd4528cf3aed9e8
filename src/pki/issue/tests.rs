use super::super::key::KeyType;
use super::super::profile::Usages;
use super::*;

const NOW: i64 = 1_800_000_000;
const VALIDITY: Validity = Validity {
    not_before: NOW - BACKDATED,
    not_after: NOW + 86_400,
};

fn key() -> PrivateKey {
    PrivateKey::generate(KeyType::EcdsaP256).unwrap()
}

fn profile(common_name: &str, organizations: &[&str]) -> Profile {
    Profile {
        common_name: common_name.into(),
        organizations: organizations.iter().map(ToString::to_string).collect(),
        ..Profile::default()
    }
}

fn authority_of(profile: &Profile) -> Authority {
    let key = key();
    let pem = authority(profile, &key, VALIDITY).unwrap();
    let bundle = Certificate::parse_pem(pem.as_bytes()).unwrap();
    Authority {
        certificate: bundle[0].clone(),
        bundle,
        pem: pem.into_bytes(),
        key: Some(key),
    }
}

/// The object identifiers of a certificate's extensions, in their order, and which are critical.
fn extensions(pem: &str) -> Vec<(String, bool)> {
    let der = Certificate::parse_pem(pem.as_bytes())
        .unwrap()
        .remove(0)
        .der;
    let (_, x509) = X509Certificate::from_der(&der).unwrap();
    x509.iter_extensions()
        .map(|extension| (extension.oid.to_id_string(), extension.critical))
        .collect()
}

fn listed(extensions: &[(&str, bool)]) -> Vec<(String, bool)> {
    let owned = |(oid, critical): &(&str, bool)| (oid.to_string(), *critical);
    extensions.iter().map(owned).collect()
}

#[test]
fn has_the_extensions_of_kubeadm_in_their_order() {
    let ca = authority_of(&Profile {
        names: names(&["kubernetes"], &[]),
        ..profile("kubernetes", &[])
    });
    let pem = String::from_utf8(ca.pem.clone()).unwrap();
    let want = [
        ("2.5.29.15", true),
        ("2.5.29.19", true),
        ("2.5.29.14", false),
        ("2.5.29.17", false),
    ];
    assert_eq!(extensions(&pem), listed(&want));
    let server = Profile {
        usages: Usages {
            server: true,
            client: true,
        },
        names: names(&["master-1"], &["127.0.0.1", "::1"]),
        ..profile("master-1", &[])
    };
    let pem = leaf(&ca, &server, None, &key(), VALIDITY, true).unwrap();
    let want = [
        ("2.5.29.15", true),
        ("2.5.29.37", false),
        ("2.5.29.19", true),
        ("2.5.29.35", false),
        ("2.5.29.17", false),
    ];
    assert_eq!(extensions(&pem), listed(&want));
    let client = profile("scheduler", &[]);
    let pem = leaf(&ca, &client, None, &key(), VALIDITY, false).unwrap();
    let want = [("2.5.29.15", true), ("2.5.29.35", false)];
    assert_eq!(extensions(&pem), listed(&want));
}

fn names(dns: &[&str], addresses: &[&str]) -> super::super::profile::Names {
    super::super::profile::Names {
        dns: dns.iter().map(ToString::to_string).collect(),
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        ..Default::default()
    }
}

#[test]
fn says_what_was_asked_for() {
    let ca = authority_of(&profile("kubernetes", &[]));
    let key = key();
    let asked = Profile {
        common_name: "system:node:m\u{fc}ller_1".into(),
        organizations: vec!["zeta".into(), "system:nodes".into(), "a*b".into()],
        usages: Usages {
            server: true,
            client: false,
        },
        names: names(
            &["*.example.com", "a.example.com"],
            &["192.0.2.9", "10.0.0.1"],
        ),
        ..Profile::default()
    };
    let pem = leaf(&ca, &asked, None, &key, VALIDITY, true).unwrap();
    let issued = Certificate::parse_pem(pem.as_bytes()).unwrap().remove(0);
    assert_eq!(issued.profile.common_name, asked.common_name);
    assert_eq!(issued.profile.names, asked.names);
    assert_eq!(issued.profile.usages, asked.usages);
    assert_eq!(issued.profile.organizations.len(), 3);
    assert_eq!(issued.issuer_der, ca.certificate.subject_der);
    assert_eq!(issued.public_key, key.public_key());
    assert_eq!(issued.not_after, VALIDITY.not_after);
    assert!(!issued.is_authority && ca.certificate.is_authority);
    let serial = u64::from_str_radix(&issued.serial, 16).unwrap();
    assert!(serial > 0 && serial < 1 << 63);
}

#[test]
fn refuses_what_it_cannot_issue() {
    let mut ca = authority_of(&profile("kubernetes", &[]));
    let good = profile("user", &["group"]);
    let long = |not_before, not_after| Validity {
        not_before,
        not_after,
    };
    let bad_name = Profile {
        names: names(&["b\u{fc}ro"], &[]),
        ..good.clone()
    };
    for (profile, validity, want) in [
        (profile("", &[]), VALIDITY, "no CN"),
        (profile("user", &[""]), VALIDITY, "empty"),
        (bad_name, VALIDITY, "no DNS name"),
        (good.clone(), long(10, 10), "before it begins"),
        (
            good.clone(),
            long(0, i64::MAX),
            "none that a certificate can hold",
        ),
        (
            good.clone(),
            long(i64::MIN, 0),
            "none that a certificate can hold",
        ),
    ] {
        let error = leaf(&ca, &profile, None, &key(), validity, true).unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
    }
    ca.key = Some(key());
    let error = leaf(&ca, &good, None, &key(), VALIDITY, true).unwrap_err();
    assert!(matches!(error, Error::ForeignKey { .. }), "{error}");
    ca.key = None;
    let error = leaf(&ca, &good, None, &key(), VALIDITY, true).unwrap_err();
    assert!(matches!(error, Error::NoKey), "{error}");
}
