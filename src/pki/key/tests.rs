use super::*;

#[test]
fn what_is_made_is_read_again() {
    for (kind, label) in [
        (KeyType::Rsa2048, "RSA PRIVATE KEY"),
        (KeyType::EcdsaP256, "EC PRIVATE KEY"),
        (KeyType::EcdsaP384, "EC PRIVATE KEY"),
    ] {
        let key = PrivateKey::generate(kind).unwrap();
        let pem = key.to_pem().unwrap();
        assert!(pem.starts_with(&format!("-----BEGIN {label}-----\n")));
        assert!(pem.ends_with(&format!("-----END {label}-----\n")));
        assert!(pem.lines().all(|line| line.len() <= 64));
        let windows = pem.replace('\n', "\r\n");
        let surrounded = format!("a note\n{}\nanother\n", &*pem);
        for text in [&*pem, &windows, &surrounded] {
            let read = PrivateKey::from_pem(text.as_bytes()).unwrap();
            assert_eq!(read.public_key(), key.public_key());
            assert!(matches!(read.to_pem(), Err(Error::Loaded)));
        }
        assert_eq!(format!("{key:?}"), "PrivateKey");
    }
}

#[test]
fn p256_is_told_by_the_public_key() {
    for (kind, want) in [
        (KeyType::Rsa2048, false),
        (KeyType::EcdsaP256, true),
        (KeyType::EcdsaP384, false),
    ] {
        let key = PrivateKey::generate(kind).unwrap();
        assert_eq!(is_p256(key.public_key()), want, "{kind:?}");
        assert!(!is_p256(&key.public_key()[1..]));
    }
}

#[test]
fn pkcs1_under_another_label_is_read_as_go_reads_it() {
    let key = PrivateKey::generate(KeyType::Rsa2048).unwrap();
    let pem = key.to_pem().unwrap().replace("RSA PRIVATE", "PRIVATE");
    let read = PrivateKey::from_pem(pem.as_bytes()).unwrap();
    assert_eq!(read.public_key(), key.public_key());
}

#[test]
fn tells_what_is_wrong_and_nothing_of_the_key() {
    let pem = PrivateKey::generate(KeyType::EcdsaP256)
        .unwrap()
        .to_pem()
        .unwrap();
    let body: String = pem.lines().nth(1).unwrap().into();
    for (text, want) in [
        (String::new(), "no PRIVATE KEY block"),
        (pem[..100].to_owned(), "cut off"),
        (pem.replace(&body, &body[..60]), "damaged"),
        (
            pem.replace(&body, &format!("{}!", &body[1..])),
            "not base64",
        ),
        (
            pem.replace("-----BEGIN EC", "-----BEGIN ENCRYPTED"),
            "encrypted",
        ),
        (
            format!("Proc-Type: 4,ENCRYPTED\n{}", &*pem),
            "decrypt it with openssl pkey",
        ),
    ] {
        let error = PrivateKey::from_pem(text.as_bytes()).unwrap_err();
        let words = error.to_string();
        assert!(words.contains(want), "{want}: {words}");
        assert!(!words.contains(&body[..20]), "{words}");
    }
}

#[test]
fn many_are_made_in_order() {
    let kinds = [KeyType::EcdsaP384, KeyType::EcdsaP256, KeyType::EcdsaP384];
    let keys = generate_all(&kinds).unwrap();
    let made: Vec<_> = keys.iter().filter_map(|key| key.made).collect();
    assert_eq!(made, kinds);
    assert!(generate_all(&[]).unwrap().is_empty());
}
