//! Nothing that is damaged makes the reader panic, hang, or take it for whole.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::sample::Index;
use stayput::pki::certificate::Certificate;
use stayput::pki::issue::{self, Validity};
use stayput::pki::key::{KeyType, PrivateKey};
use stayput::pki::kubeconfig::{self, New};
use stayput::pki::profile::{Names, Profile, Usages};
use stayput::pki::verify;

/// Texts that are whole.
struct Whole {
    certificate: String,
    der: Vec<u8>,
    keys: Vec<String>,
    kubeconfig: String,
}

fn whole() -> &'static Whole {
    static WHOLE: OnceLock<Whole> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let rsa = PrivateKey::generate(KeyType::Rsa2048).unwrap();
        let profile = Profile {
            common_name: "admin".into(),
            organizations: vec!["a".into(), "b".into()],
            usages: Usages {
                server: true,
                client: true,
            },
            names: Names {
                dns: ["kubernetes".to_owned()].into(),
                addresses: vec!["::1".parse().unwrap()],
                ..Names::default()
            },
            ..Profile::default()
        };
        let validity = Validity {
            not_before: 1_800_000_000,
            not_after: 2_600_000_000,
        };
        let certificate = issue::authority(&profile, &key, validity).unwrap();
        let pem = key.to_pem().unwrap();
        let kubeconfig = New {
            server: "https://api:8443",
            authority: certificate.as_bytes(),
            user: "admin",
            certificate: &certificate,
            key: &pem,
        };
        Whole {
            der: Certificate::parse_pem(certificate.as_bytes())
                .unwrap()
                .remove(0)
                .der,
            keys: vec![pem.to_string(), rsa.to_pem().unwrap().to_string()],
            kubeconfig: kubeconfig.render().to_string(),
            certificate,
        }
    })
}

/// Cuts, repeats, and changes bytes.
fn damage() -> impl Strategy<Value = Vec<(Index, u8, u8)>> {
    prop::collection::vec((any::<Index>(), any::<u8>(), 0..5_u8), 1..6)
}

fn damaged(whole: &[u8], damage: &[(Index, u8, u8)]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for (index, byte, kind) in damage {
        if bytes.is_empty() {
            break;
        }
        let at = index.index(bytes.len());
        match kind {
            0 => bytes[at] = *byte,
            1 => bytes[at] ^= 1 << (byte % 8),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, *byte),
            _ => drop(bytes.remove(at)),
        }
    }
    bytes
}

/// Whatever can be done with a certificate that was read.
fn use_certificate(certificate: &Certificate) {
    let own = std::slice::from_ref(certificate);
    let _ = certificate.is_signed_by(certificate);
    let _ = verify::chain(
        certificate,
        own,
        own,
        certificate.profile.usages,
        1_900_000_000,
    );
    let _ = verify::names(certificate, &certificate.profile.names);
    assert!(!certificate.subject.contains(char::is_control));
    let again = Certificate::parse_pem(certificate.to_pem().as_bytes()).unwrap();
    assert_eq!(&again[0], certificate);
}

proptest! {
    #[test]
    fn certificates(damage in damage()) {
        let whole = whole();
        if let Ok(certificate) = Certificate::parse_der(&damaged(&whole.der, &damage)) {
            use_certificate(&certificate);
        }
        let pem = damaged(whole.certificate.as_bytes(), &damage);
        if let Ok(certificates) = Certificate::parse_pem(&pem) {
            certificates.iter().for_each(use_certificate);
        }
    }

    #[test]
    fn keys(damage in damage(), which in any::<Index>()) {
        let pem = which.get(&whole().keys);
        let _ = PrivateKey::from_pem(&damaged(pem.as_bytes(), &damage));
        // Damage within the DER, which PEM alone would mostly catch.
        let (first, rest) = pem.split_once('\n').unwrap();
        let (body, _) = rest.split_once("-----END").unwrap();
        let der = STANDARD.decode(body.replace('\n', "")).unwrap();
        let body = STANDARD.encode(damaged(&der, &damage));
        let last = first.replace("BEGIN", "END");
        if let Err(error) = PrivateKey::from_pem(format!("{first}\n{body}\n{last}\n").as_bytes()) {
            let words = error.to_string();
            prop_assert!(body.len() < 20 || !words.contains(&body[..20]), "{words}");
        }
    }

    #[test]
    fn kubeconfigs(damage in damage()) {
        let whole = whole();
        let bytes = damaged(whole.kubeconfig.as_bytes(), &damage);
        let _ = kubeconfig::parse(&bytes);
        if let Ok(text) = String::from_utf8(bytes) {
            let renewed = kubeconfig::renewed(&text, &whole.certificate, &whole.keys[0]);
            if let Ok(renewed) = renewed {
                prop_assert!(kubeconfig::parse(renewed.as_bytes()).is_ok());
            }
        }
    }

    #[test]
    fn noise(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Certificate::parse_der(&bytes);
        let _ = Certificate::parse_pem(&bytes);
        let _ = PrivateKey::from_pem(&bytes);
        let _ = kubeconfig::parse(&bytes);
    }
}

#[test]
fn whatever_is_cut_off_is_refused() {
    let whole = whole();
    for end in 0..whole.certificate.len() - 1 {
        let cut = Certificate::parse_pem(&whole.certificate.as_bytes()[..end]);
        let is_end_line = whole.certificate[..end].ends_with("-----END CERTIFICATE-----");
        assert_eq!(cut.is_ok(), is_end_line, "{end}");
    }
    for end in 0..whole.der.len() {
        assert!(Certificate::parse_der(&whole.der[..end]).is_err(), "{end}");
    }
    let longer = [&whole.der[..], &[0]].concat();
    let error = Certificate::parse_der(&longer).unwrap_err().to_string();
    assert!(error.contains("more behind it"), "{error}");
    let ecdsa = &whole.keys[0];
    for end in 0..ecdsa.len() - 1 {
        let cut = PrivateKey::from_pem(&ecdsa.as_bytes()[..end]);
        let is_end_line = ecdsa[..end].ends_with("-----END EC PRIVATE KEY-----");
        assert_eq!(cut.is_ok(), is_end_line, "{end}");
    }
}
