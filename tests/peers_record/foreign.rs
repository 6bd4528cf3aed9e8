//! The signature, the certificate and the encoding, each as docs/protocol.md has them.

use std::fs;
use std::net::IpAddr;

use stayput::address::Loopback;
use stayput::clock;
use stayput::name::Name;
use stayput::peers::record::Record;
use stayput::peers::sign::{self, Signer};
use stayput::peers::statement::{Says, Statement};
use stayput::peers::trust::{Time, Trust};
use stayput::peers::verify::verify;

use crate::openssl::{AUTHORITY, CA, Set};

const DOMAIN: &str = "k8s.internal";
const PAIR: &str = "pki/stayput";
const SUBJECT: &str = "/O=stayput:masters/CN=m1.stayput.k8s.internal";
const EXTENSIONS: &str = "basicConstraints=critical,CA:FALSE\n\
    keyUsage=critical,digitalSignature,keyEncipherment\n\
    extendedKeyUsage=serverAuth,clientAuth\n\
    subjectAltName=DNS:m1.stayput.k8s.internal\n";

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// A master's pair under a kubeadm's authority (RSA-2048), all by openssl; the key in this form.
fn master(key: &str) -> Option<Set> {
    let set = Set::new()?;
    set.key(CA, "genrsa -traditional 2048");
    set.authority(CA, "/CN=kubernetes", "0", AUTHORITY);
    set.key(PAIR, key);
    set.signed(PAIR, CA, SUBJECT, EXTENSIONS);
    Some(set)
}

const SEC1: &str = "ecparam -name prime256v1 -genkey -noout";
const PKCS8: &str = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256";

fn statement(addresses: &[&str]) -> Statement {
    Statement {
        cluster: name(DOMAIN),
        master: name("m1.k8s.internal"),
        version: 300,
        says: Says::At(addresses.iter().map(|a| a.parse().unwrap()).collect()),
    }
}

/// By the clock of this machine, which openssl has issued by.
fn trust(set: &Set) -> Trust {
    let trust = Trust::load(&set.root(), &name(DOMAIN)).unwrap();
    let now = i64::try_from(clock::unix_now()).unwrap();
    trust.at(Time::At(now))
}

/// One field of bytes and what follows it: a varint, and so many bytes.
fn field(bytes: &[u8]) -> (&[u8], &[u8]) {
    let digits = bytes.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
    let (length, rest) = bytes.split_at(digits);
    let value = length
        .iter()
        .rev()
        .fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f));
    rest.split_at(value)
}

#[test]
fn openssl_verifies_what_is_signed() {
    for key in [SEC1, PKCS8] {
        let Some(set) = master(key) else { return };
        let signer = Signer::load(&set.root(), &name(DOMAIN)).unwrap();
        assert_eq!(signer.master().as_str(), "m1.k8s.internal");
        assert!(!format!("{signer:?}").contains("key"));
        let said = statement(&["10.77.0.11", "fd77::11"]);
        let record = signer.sign(&said).unwrap();
        let bytes = record.encode().unwrap();

        // Taken apart by the document.
        let (said_bytes, rest) = field(&bytes);
        let (certificate, rest) = field(rest);
        let (signature, rest) = field(rest);
        assert!(rest.is_empty());
        let in_the_document: &[u8] = b"\x0ck8s.internal\x0fm1.k8s.internal\xac\x02\x00\x02\
            \x00\x0a\x4d\x00\x0b\x01\xfd\x77\0\0\0\0\0\0\0\0\0\0\0\0\0\x11";
        assert_eq!(said_bytes, in_the_document);
        set.write("signed", [b"stayput record 1\n", said_bytes].concat());
        set.write("certificate", certificate);
        set.write("signature", signature);
        let pem = set.openssl(&[
            "x509",
            "-inform",
            "DER",
            "-in",
            "certificate",
            "-noout",
            "-pubkey",
        ]);
        set.write("key.pem", pem.good());
        let check = || {
            let arguments = "dgst -sha256 -verify key.pem -signature signature signed";
            let arguments: Vec<&str> = arguments.split(' ').collect();
            set.openssl(&arguments)
        };
        assert_eq!(check().good().trim(), "Verified OK");
        set.write("signed", said_bytes);
        assert_eq!(check().code, 1, "without the context");

        let verified = verify(&Record::decode(&bytes).unwrap(), &trust(&set)).unwrap();
        assert_eq!(verified.statement(), &said);
    }
}

#[test]
fn what_openssl_signs_is_verified() {
    let Some(set) = master(SEC1) else { return };
    // Every byte by hand.
    let said = b"\x0ck8s.internal\x0fm1.k8s.internal\x07\x00\x01\x00\x0a\x4d\x00\x0b";
    set.write("signed", [b"stayput record 1\n", &said[..]].concat());
    let (key, pem) = (format!("{PAIR}.key"), format!("{PAIR}.crt"));
    let arguments = [
        "dgst",
        "-sha256",
        "-sign",
        &key,
        "-out",
        "signature",
        "signed",
    ];
    set.openssl(&arguments).good();
    let arguments = [
        "x509",
        "-in",
        &pem,
        "-outform",
        "DER",
        "-out",
        "certificate",
    ];
    set.openssl(&arguments).good();
    let mut bytes = Vec::new();
    for part in [
        said.to_vec(),
        fs::read(set.path("certificate")).unwrap(),
        fs::read(set.path("signature")).unwrap(),
    ] {
        let length = part.len();
        match u8::try_from(length) {
            Ok(short) if short < 0x80 => bytes.push(short),
            _ => {
                let low = u8::try_from(length & 0x7f).unwrap();
                bytes.extend([low | 0x80, u8::try_from(length >> 7).unwrap()]);
            }
        }
        bytes.extend(part);
    }
    let record = Record::decode(&bytes).unwrap();
    let verified = verify(&record, &trust(&set)).unwrap();
    let address: IpAddr = "10.77.0.11".parse().unwrap();
    assert_eq!(verified.statement().says, Says::At(vec![address]));
    assert_eq!(verified.statement().version, 7);
    assert_eq!(verified.signer().as_str(), "m1.k8s.internal");
}

#[test]
fn a_pair_that_cannot_speak_is_told() {
    let Some(set) = master(SEC1) else { return };
    let load = || Signer::load(&set.root(), &name(DOMAIN));
    let refused = |want: &str| {
        let reason = load().unwrap_err().to_string();
        assert!(reason.contains(want), "wanted {want:?}: {reason}");
    };
    let other_cluster = Signer::load(&set.root(), &name("prod.internal")).unwrap_err();
    assert!(
        other_cluster
            .to_string()
            .contains("exactly one name LABEL.stayput.prod.internal")
    );
    // What may not be said is not signed.
    let signer = load().unwrap();
    let with = |change: &dyn Fn(&mut Statement)| {
        let mut said = statement(&["10.77.0.11"]);
        change(&mut said);
        signer.sign(&said).map_err(|error| error.to_string())
    };
    assert!(with(&|_| ()).is_ok());
    assert!(with(&|said| said.says = Says::Removed).is_ok());
    for (change, want) in [
        (
            (&|said: &mut Statement| said.master = name("m2.k8s.internal")) as &dyn Fn(&mut _),
            "m1.k8s.internal cannot say in k8s.internal where m2.k8s.internal is",
        ),
        (
            &|said: &mut Statement| {
                said.cluster = name("prod.internal");
                said.master = name("m1.prod.internal");
            },
            "in prod.internal",
        ),
        (&|said| said.says = Says::At(Vec::new()), "0 addresses"),
        (
            &|said| {
                said.says = Says::Removed;
                said.master = name("m1.elsewhere");
            },
            "not below",
        ),
    ] {
        let reason = with(change).unwrap_err();
        assert!(reason.contains(want), "wanted {want:?}: {reason}");
    }
    // In a sandbox masters are on loopback.
    assert_eq!(set.root().loopback(), Loopback::Allowed);
    assert!(signer.sign(&statement(&["127.77.0.11"])).is_ok());

    // Half of another pair, which is what two renames leave if a power failure comes between them.
    let key = set.text("pki/stayput.key");
    set.key(PAIR, SEC1);
    refused("/etc/kubernetes/pki/stayput.key does not belong to");
    set.write("pki/stayput.key", &key[..key.len() / 2]);
    refused("stayput.key holds no usable private key");
    set.write("pki/stayput.key", key);
    assert!(load().is_ok());
    set.signed(PAIR, CA, "/O=system:nodes/CN=system:node:m1", EXTENSIONS);
    refused("organization is system:nodes");
    set.key(PAIR, "genrsa 2048");
    set.signed(PAIR, CA, SUBJECT, EXTENSIONS);
    refused("is not a key of P-256");
    fs::remove_file(set.path("pki/stayput.crt")).unwrap();
    refused("/etc/kubernetes/pki/stayput.crt is not there");
    assert_eq!(sign::CERTIFICATE, "/etc/kubernetes/pki/stayput.crt");
}
