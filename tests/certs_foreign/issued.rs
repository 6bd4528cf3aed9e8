//! What is issued below authorities of openssl, and by authorities of our own, is accepted by openssl
//! and webpki for every use and name.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use stayput::pki::authority::Authority;
use stayput::pki::certificate::Certificate;
use stayput::pki::issue::{self, BACKDATED, Validity};
use stayput::pki::key::{KeyType, PrivateKey};
use stayput::pki::profile::{Names, Profile, Usages};
use stayput::pki::verify;

use crate::openssl::{AUTHORITY, CA, Set};

const YEAR: i64 = 365 * 86_400;

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

pub(crate) fn validity() -> Validity {
    Validity {
        not_before: now() - BACKDATED,
        not_after: now() + YEAR,
    }
}

fn server() -> Profile {
    let dns = [
        "*.wild.example",
        "kubernetes",
        "kubernetes.default.svc",
        "master-1",
        "under_score.x",
    ];
    Profile {
        common_name: "kube-apiserver".into(),
        organizations: vec!["system:nodes".into(), "a".into()],
        usages: Usages {
            server: true,
            client: true,
        },
        names: Names {
            dns: dns.map(str::to_owned).into(),
            addresses: vec![
                "192.0.2.9".parse().unwrap(),
                "127.0.0.1".parse().unwrap(),
                "::1".parse().unwrap(),
            ],
            ..Names::default()
        },
        ..Profile::default()
    }
}

/// Issues a leaf and has it judged by openssl and webpki; gives openssl's text of it.
fn accepted(set: &Set, kind: KeyType) -> String {
    let inventory = set.take();
    let authority = &inventory.authorities["ca"];
    let key = PrivateKey::generate(kind).unwrap();
    let profile = server();
    let pem = issue::leaf(authority, &profile, None, &key, validity(), true).unwrap();
    set.write("new.crt", &pem);
    set.write("new.key", key.to_pem().unwrap().as_bytes());
    let verify = [
        "verify",
        "-CAfile",
        "pki/ca.crt",
        "-no-CApath",
        "-no-CAstore",
    ];
    let openssl = |more: &[&str]| {
        let arguments = [&verify[..], more, &["new.crt"]].concat();
        set.openssl(&arguments)
    };
    for purpose in ["sslserver", "sslclient"] {
        openssl(&["-purpose", purpose]).good();
    }
    for name in &profile.names.dns {
        openssl(&["-verify_hostname", &name.replace('*', "any")]).good();
    }
    for address in &profile.names.addresses {
        openssl(&["-verify_ip", &address.to_string()]).good();
    }
    openssl(&["-verify_hostname", "stranger"]).refused(2);
    let its = set.openssl(&["pkey", "-in", "new.key", "-pubout"]).good();
    let certified = set.openssl(&["x509", "-in", "new.crt", "-noout", "-pubkey"]);
    assert_eq!(its, certified.good());
    set.openssl(&["pkey", "-in", "new.key", "-check", "-noout"])
        .good();

    let issued = Certificate::parse_pem(pem.as_bytes()).unwrap().remove(0);
    let bundle = &authority.bundle;
    verify::chain(&issued, &[], bundle, profile.usages, now()).unwrap();
    verify::names(&issued, &profile.names).unwrap();
    set.openssl(&["x509", "-in", "new.crt", "-noout", "-text"])
        .good()
}

#[test]
fn below_authorities_of_others() {
    let Some(set) = Set::new() else { return };
    let without_identifier = AUTHORITY.replace("=hash", "=none");
    let rsa = "genrsa -traditional 2048";
    let ecdsa = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384";
    for (command, subject, serial, extensions, want) in [
        (
            rsa,
            "/CN=kubernetes",
            "0",
            AUTHORITY,
            "sha256WithRSAEncryption",
        ),
        (
            ecdsa,
            "/CN=kubernetes",
            "1",
            &without_identifier,
            "ecdsa-with-SHA384",
        ),
        (
            rsa,
            "/DC=com/DC=corp/OU=a/OU=b/CN=corp",
            "2",
            AUTHORITY,
            "Issuer: DC = com, DC = corp, OU = a, OU = b, CN = corp",
        ),
        (
            ecdsa,
            "/O=a+OU=b/CN=two in one",
            "3",
            AUTHORITY,
            "Issuer: O = a + OU = b, CN = two in one",
        ),
    ] {
        set.key(CA, command);
        set.authority(CA, subject, serial, extensions);
        let text = accepted(&set, KeyType::EcdsaP256);
        assert!(text.contains(want), "{want}: {text}");
        let identifies = text.contains("X509v3 Authority Key Identifier");
        assert_eq!(identifies, extensions == AUTHORITY, "{text}");
        assert!(!text.contains("Subject Key Identifier"), "{text}");
    }
}

#[test]
fn every_kind_of_key() {
    let Some(set) = Set::new() else { return };
    for (kind, public, signature) in [
        (
            KeyType::Rsa2048,
            "Public-Key: (2048 bit)",
            "sha256WithRSAEncryption",
        ),
        (
            KeyType::Rsa3072,
            "Public-Key: (3072 bit)",
            "sha256WithRSAEncryption",
        ),
        (KeyType::EcdsaP256, "NIST CURVE: P-256", "ecdsa-with-SHA256"),
        (KeyType::EcdsaP384, "NIST CURVE: P-384", "ecdsa-with-SHA384"),
    ] {
        own_authority(&set, kind, validity());
        let text = accepted(&set, kind);
        for want in [
            public,
            signature,
            "Version: 3",
            "X509v3 Key Usage: critical\n                Digital Signature, Key Encipherment\n",
            "X509v3 Extended Key Usage: \n                TLS Web Server Authentication, TLS Web Client Authentication\n",
            "X509v3 Basic Constraints: critical\n                CA:FALSE\n",
            "DNS:*.wild.example, DNS:kubernetes, DNS:kubernetes.default.svc, DNS:master-1, DNS:under_score.x, IP Address:192.0.2.9, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1",
            "Subject: O = a + O = system:nodes, CN = kube-apiserver",
        ] {
            assert!(text.contains(want), "{want}: {text}");
        }
        let text = set
            .openssl(&["x509", "-in", "pki/ca.crt", "-noout", "-text"])
            .good();
        for want in [
            "X509v3 Key Usage: critical\n                Digital Signature, Key Encipherment, Certificate Sign\n",
            "X509v3 Basic Constraints: critical\n                CA:TRUE\n",
            "X509v3 Subject Key Identifier",
            "DNS:kubernetes",
        ] {
            assert!(text.contains(want), "{want}: {text}");
        }
        assert!(!text.contains("Authority Key Identifier"), "{text}");
        let own = "verify -check_ss_sig -CAfile pki/ca.crt pki/ca.crt";
        let own: Vec<&str> = own.split(' ').collect();
        set.openssl(&own).good();
    }
}

/// An authority of our own in the set.
fn own_authority(set: &Set, kind: KeyType, validity: Validity) {
    let key = PrivateKey::generate(kind).unwrap();
    let profile = Profile {
        common_name: "kubernetes".into(),
        names: Names {
            dns: ["kubernetes".to_owned()].into(),
            ..Names::default()
        },
        ..Profile::default()
    };
    let pem = issue::authority(&profile, &key, validity).unwrap();
    set.write("pki/ca.crt", pem);
    set.write("pki/ca.key", key.to_pem().unwrap().as_bytes());
}

fn issued(authority: &Authority, profile: &Profile, validity: Validity) -> Certificate {
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let pem = issue::leaf(authority, profile, None, &key, validity, true).unwrap();
    Certificate::parse_pem(pem.as_bytes()).unwrap().remove(0)
}

#[test]
fn verification_says_what_is_wrong() {
    let Some(set) = Set::new() else { return };
    own_authority(&set, KeyType::EcdsaP256, validity());
    let mut inventory = set.take();
    let authority = inventory.authorities.remove("ca").unwrap();
    let profile = server();
    let leaf = issued(&authority, &profile, validity());
    let both = profile.usages;
    let client_only = Profile {
        usages: Usages {
            server: false,
            client: true,
        },
        ..profile.clone()
    };
    let client = issued(&authority, &client_only, validity());
    own_authority(&set, KeyType::EcdsaP256, validity());
    let stranger = set.take().authorities.remove("ca").unwrap();
    let end = validity().not_after;
    let long = Validity {
        not_after: end + YEAR,
        ..validity()
    };
    let outlives = issued(&authority, &profile, long);
    let bundle = &authority.bundle;
    let cases = [
        (&leaf, bundle, both, end + 10, "expired on 20"),
        (&leaf, bundle, both, now() - YEAR, "not valid before 20"),
        (&leaf, &stranger.bundle, both, now(), "the signature is not"),
        (
            &leaf,
            &Vec::new(),
            both,
            now(),
            "not signed by the authority (its issuer: CN=kubernetes)",
        ),
        (&client, bundle, both, now(), "not meant for this use"),
        (
            &outlives,
            bundle,
            both,
            end + 10,
            "its authority CN=kubernetes expired on 20",
        ),
        (
            &authority.certificate,
            bundle,
            both,
            now(),
            "it says that it is an authority",
        ),
        (&leaf, bundle, both, -1, "before 1970"),
    ];
    for (leaf, authorities, usages, at, want) in cases {
        let error = verify::chain(leaf, &[], authorities, usages, at).unwrap_err();
        assert!(error.to_string().contains(want), "{want}: {error}");
    }
    verify::chain(&client, &[], bundle, client_only.usages, now()).unwrap();
    verify::chain(&client, &[], bundle, Usages::default(), now()).unwrap();
    let other = Names {
        dns: ["master-1".to_owned(), "master-2".to_owned()].into(),
        ..Names::default()
    };
    let error = verify::names(&leaf, &other).unwrap_err().to_string();
    assert!(error.contains("not valid for the name master-2"), "{error}");
    let other = Names {
        addresses: vec!["192.0.2.10".parse().unwrap()],
        ..Names::default()
    };
    assert!(verify::names(&leaf, &other).is_err());
    assert!(verify::names(&leaf, &Names::default()).is_ok());
}

fn own() -> &'static Authority {
    static OWN: OnceLock<Authority> = OnceLock::new();
    OWN.get_or_init(|| {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let profile = Profile {
            common_name: "kubernetes".into(),
            ..Profile::default()
        };
        let pem = issue::authority(&profile, &key, validity()).unwrap();
        let bundle = Certificate::parse_pem(pem.as_bytes()).unwrap();
        Authority {
            certificate: bundle[0].clone(),
            bundle,
            pem: pem.into_bytes(),
            key: Some(key),
        }
    })
}

prop_compose! {
    fn profile()(
        common_name in "\\PC{1,30}",
        organizations in prop::collection::vec("\\PC{1,20}", 0..4),
        server: bool,
        client: bool,
        dns in prop::collection::btree_set("[a-z][a-z0-9]{0,9}(\\.[a-z][a-z0-9]{0,9}){0,3}", 0..6),
        addresses in prop::collection::hash_set(any::<IpAddr>(), 0..6),
    ) -> Profile {
        Profile {
            common_name,
            organizations,
            usages: Usages { server, client },
            names: Names { dns, addresses: addresses.into_iter().collect(), ..Names::default() },
            ..Profile::default()
        }
    }
}

proptest! {
    #[test]
    fn what_is_issued_says_what_was_asked_for(mut profile in profile(), lifetime in 1..YEAR) {
        let validity = Validity { not_before: now(), not_after: now() + lifetime };
        let issued = issued(own(), &profile, validity);
        verify::chain(&issued, &[], &own().bundle, profile.usages, now()).unwrap();
        verify::names(&issued, &profile.names).unwrap();
        prop_assert_eq!(issued.is_signed_by(&own().certificate), Some(true));
        prop_assert_eq!(issued.not_after - issued.not_before, lifetime);
        let mut said = issued.profile;
        said.organizations.sort();
        profile.organizations.sort();
        prop_assert_eq!(said, profile);
    }
}

#[test]
fn over_an_intermediate() {
    let Some(set) = Set::new() else { return };
    set.plain();
    set.key("pki/middle", "ecparam -name prime256v1 -genkey");
    set.signed("pki/middle", CA, "/CN=middle", AUTHORITY);
    let bundle = Certificate::parse_pem(set.text("pki/ca.crt").as_bytes()).unwrap();
    let middle = Certificate::parse_pem(set.text("pki/middle.crt").as_bytes()).unwrap();
    let authority = Authority {
        certificate: middle[0].clone(),
        bundle: middle.clone(),
        pem: Vec::new(),
        key: Some(PrivateKey::from_pem(set.text("pki/middle.key").as_bytes()).unwrap()),
    };
    let leaf = issued(&authority, &server(), validity());
    verify::chain(&leaf, &middle, &bundle, server().usages, now()).unwrap();
    let error = verify::chain(&leaf, &[], &bundle, server().usages, now()).unwrap_err();
    assert!(
        error.to_string().contains("its issuer: CN=middle"),
        "{error}"
    );
}
