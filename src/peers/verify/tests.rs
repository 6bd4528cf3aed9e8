use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use x509_parser::asn1_rs::oid;

use super::*;
use crate::address::Loopback;
use crate::peers::record::LIMIT;
use crate::peers::sample::{
    DAY, NOW, Pair, VALIDITY, at, authority, issued, issued_for, master, name, pair, profile,
    statement, trust,
};
use crate::pki::authority::Authority;
use crate::pki::issue::{self, Validity};
use crate::pki::key::{KeyType, PrivateKey};
use crate::pki::profile::{Names, Profile};

/// What becomes of a record by this trust: good, or why not.
fn judged(record: &Record, trust: &Trust) -> Result<Name, String> {
    let verified = verify(record, trust).map_err(|refused| refused.to_string())?;
    assert_eq!(verified.bytes(), record.encode().unwrap());
    assert_eq!(verified.digest(), Digest::of(verified.bytes()));
    Ok(verified.signer().clone())
}

fn refused(record: &Record, trust: &Trust, want: &str) {
    let reason = judged(record, trust).expect_err(want);
    assert!(reason.contains(want), "wanted {want:?}: {reason}");
}

#[test]
fn a_masters_own_word_is_accepted() {
    let ca = authority("kubernetes");
    let m1 = pair(&ca, "m1");
    for says in [
        at("m1", 7, "10.77.0.11"),
        at("m1", 7, "fd77::11"),
        statement("m1", 7, Says::Removed),
        // Of others, these two may be said.
        statement("m2", 7, Says::Removed),
        statement("m2", 7, Says::Replaced { not_before: NOW }),
    ] {
        assert_eq!(judged(&m1.say(&says), &trust(&[&ca])), Ok(master("m1")));
    }
    // One of several authorities, whichever it is.
    let next = authority("kubernetes");
    let record = m1.say(&at("m1", 7, "10.77.0.11"));
    assert!(judged(&record, &trust(&[&next, &ca])).is_ok());
    refused(&record, &trust(&[&next]), "not the authority's");
    refused(&record, &trust(&[]), "not signed by the authority");
}

#[test]
fn nobody_lifts_its_own_replacement() {
    let ca = authority("kubernetes");
    let (m1, trust) = (pair(&ca, "m1"), trust(&[&ca]));
    let lifted = statement("m1", 9, Says::Replaced { not_before: 0 });
    refused(&m1.say(&lifted), &trust, "another master has to say");
    // Neither when it was accepted by a version of before.
    refused(&m1.say(&lifted), &trust.at(Time::Any), "another master");
    assert!(judged(&pair(&ca, "m2").say(&lifted), &trust).is_ok());
}

#[test]
fn nobody_moves_a_master_but_itself() {
    let ca = authority("kubernetes");
    let (m1, m2) = (pair(&ca, "m1"), pair(&ca, "m2"));
    let trust = trust(&[&ca]);
    let word = at("m1", 7, "10.77.0.66");
    refused(&m2.say(&word), &trust, "only m1.k8s.internal itself");
    // Under the right certificate, but without its key.
    let mut forged = m2.say(&word);
    forged.certificate.clone_from(&m1.certificate.der);
    refused(&forged, &trust, "the signature is not by");
    // A good signature over something else.
    let mut changed = m1.say(&word);
    changed.statement = at("m1", 8, "10.77.0.66").encode(Loopback::Refused).unwrap();
    refused(&changed, &trust, "the signature is not by");
    // Over the statement alone, without the context: one that was made for another purpose.
    let mut bare = m1.say(&word);
    bare.signature = m1.signature(&bare.statement);
    refused(&bare, &trust, "the signature is not by");
    // A signature is 70 to 72 bytes: one for all.
    let whole = m1.say(&word);
    for at in 0..whole.signature.len() {
        let mut bent = whole.clone();
        bent.signature[at] ^= 1;
        refused(&bent, &trust, "the signature is not by");
    }
}

#[test]
fn only_a_masters_certificate_counts() {
    let ca = authority("kubernetes");
    let trust = trust(&[&ca]);
    let good = profile("m1");
    let with = |change: &dyn Fn(&mut Profile)| {
        let mut profile = good.clone();
        change(&mut profile);
        issued(&ca, &profile, VALIDITY)
    };
    let named = |names: &[&str]| {
        let names = Names::named(names);
        with(&|profile| profile.names = names.clone())
    };
    let own = "m1.stayput.k8s.internal";
    let (organization, one_name, usage) = (
        "organization is",
        "exactly one name",
        "not for servers and clients both",
    );
    for (pair, want) in [
        (
            with(&|profile| {
                profile.common_name = "system:node:worker-1".into();
                profile.organizations = vec!["system:nodes".into()];
                profile.names = Names::default();
                profile.usages.server = false;
            }),
            "organization is system:nodes",
        ),
        // What the signers behind the CSR API issue.
        (with(&|profile| profile.usages.server = false), usage),
        (with(&|profile| profile.usages.client = false), usage),
        (with(&|profile| profile.usages = Usages::default()), usage),
        (with(&|profile| profile.organizations.clear()), "is none"),
        (
            with(&|profile| profile.organizations.push("system:masters".into())),
            "system:masters and stayput:masters",
        ),
        (
            with(&|profile| profile.organizations[0] = "Stayput:Masters".into()),
            organization,
        ),
        (
            with(&|profile| profile.common_name = "m2.stayput.k8s.internal".into()),
            one_name,
        ),
        (
            with(&|profile| profile.common_name = "kube-apiserver".into()),
            one_name,
        ),
        (named(&[own, "m2.stayput.k8s.internal"]), one_name),
        (named(&[own, "m1.k8s.internal"]), one_name),
        (named(&[own, "10.77.0.11"]), one_name),
        (named(&["10.77.0.11"]), one_name),
        (named(&[]), one_name),
        (named(&["m2.stayput.k8s.internal"]), one_name),
        (
            with(&|profile| {
                profile.common_name = "*.stayput.k8s.internal".into();
                profile.names = Names::named(["*.stayput.k8s.internal"]);
            }),
            one_name,
        ),
        // An API server's, in every other respect right.
        (
            with(&|profile| {
                profile.common_name = "m1.k8s.internal".into();
                profile.names = Names::named(["m1.k8s.internal"]);
            }),
            one_name,
        ),
        (
            with(&|profile| {
                profile.common_name = "m1.stayput.other.internal".into();
                profile.names = Names::named(["m1.stayput.other.internal"]);
            }),
            one_name,
        ),
    ] {
        let record = pair.say(&at("m1", 7, "10.77.0.66"));
        refused(&record, &trust, want);
        // Neither does it remove anybody.
        let removal = pair.say(&statement("m1", 7, Says::Removed));
        refused(&removal, &trust, want);
    }
    // A further usage does no harm.
    let more = with(&|profile| profile.other_usages = vec![oid!(1.3.6.1.5.5.7.3.8)]);
    assert!(judged(&more.say(&at("m1", 7, "10.77.0.66")), &trust).is_ok());
}

/// A certificate as `change` wants it, by that authority's key.
fn special(by: &Authority, is_ca: IsCa, change: impl FnOnce(&mut CertificateParams)) -> Pair {
    let own = "m1.stayput.k8s.internal";
    let mut parameters = CertificateParams::new([own.to_owned()]).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, own);
    parameters
        .distinguished_name
        .push(DnType::OrganizationName, "stayput:masters");
    let time = |at| time::OffsetDateTime::from_unix_timestamp(at).unwrap();
    parameters.not_before = time(VALIDITY.not_before);
    parameters.not_after = time(VALIDITY.not_after);
    parameters.is_ca = is_ca;
    parameters.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    change(&mut parameters);
    let own_key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let pair = |key: &PrivateKey| KeyPair::from_pem(&key.to_pem().unwrap()).unwrap();
    let authority_pem = std::str::from_utf8(&by.pem).unwrap();
    let key = pair(by.key.as_ref().unwrap());
    let issuer = Issuer::from_ca_cert_pem(authority_pem, key).unwrap();
    let made = parameters.signed_by(&pair(&own_key), &issuer).unwrap();
    Pair {
        certificate: Certificate::parse_der(made.der()).unwrap(),
        key: own_key,
    }
}

#[test]
fn neither_do_authorities_nor_what_is_for_something_else() {
    let ca = authority("kubernetes");
    let trust = trust(&[&ca]);
    let record = |pair: &Pair| pair.say(&at("m1", 7, "10.77.0.11"));
    let good = special(&ca, IsCa::ExplicitNoCa, |_| ());
    assert!(judged(&record(&good), &trust).is_ok());
    let constraints = IsCa::Ca(BasicConstraints::Unconstrained);
    let intermediate = special(&ca, constraints, |parameters| {
        parameters.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
    });
    refused(&record(&intermediate), &trust, "an authority's");
    // Any usage is not both.
    let any = special(&ca, IsCa::ExplicitNoCa, |parameters| {
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
    });
    refused(&record(&any), &trust, "servers and clients both");
    let exchange = special(&ca, IsCa::ExplicitNoCa, |parameters| {
        parameters.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    });
    refused(&record(&exchange), &trust, "not for signatures");

    // What an authority below the cluster's has issued: nobody can know who else it serves.
    let below = Authority {
        pem: intermediate.certificate.to_pem().into_bytes(),
        bundle: vec![intermediate.certificate.clone()],
        certificate: intermediate.certificate,
        key: Some(intermediate.key),
    };
    let leaf = pair(&below, "m1");
    refused(&record(&leaf), &trust, "not signed by the authority");
    // Unless it is named as the cluster's own.
    let both = crate::peers::sample::trust(&[&ca, &below]);
    assert!(judged(&record(&leaf), &both).is_ok());
}

#[test]
fn keys_are_of_p_256() {
    let ca = authority("kubernetes");
    for kind in [KeyType::EcdsaP384, KeyType::Rsa2048] {
        let pair = issued_for(&ca, &profile("m1"), VALIDITY, kind);
        let record = pair.say(&at("m1", 7, "10.77.0.11"));
        refused(&record, &trust(&[&ca]), "not one of P-256");
    }
}

#[test]
fn another_cluster_is_another() {
    let (ca, theirs) = (authority("kubernetes"), authority("kubernetes"));
    let trust = trust(&[&ca]);
    // Same names, another authority.
    let stranger = pair(&theirs, "m1").say(&at("m1", 7, "10.77.0.66"));
    refused(&stranger, &trust, "is not the authority's");
    let record = pair(&ca, "m1").say(&at("m1", 7, "10.77.0.66"));
    assert!(judged(&record, &trust).is_ok());
    // Same authority, another name.
    let other = Trust {
        cluster: name("prod.internal"),
        ..trust.clone()
    };
    refused(
        &record,
        &other,
        "for the cluster k8s.internal, and this one is prod.internal",
    );
    // A domain that ends like this one.
    let ending = Trust {
        cluster: name("internal"),
        ..trust
    };
    refused(&record, &ending, "for the cluster k8s.internal");
}

#[test]
fn time_counts_at_first_sight_only() {
    let ca = authority("kubernetes");
    let validity = |from: i64, to: i64| Validity {
        not_before: NOW + from * DAY,
        not_after: NOW + to * DAY,
    };
    let signed = |validity| issued(&ca, &profile("m1"), validity).say(&at("m1", 7, "10.77.0.11"));
    let expired = signed(validity(-365, -1));
    let early = signed(validity(1, 365));
    let good = signed(VALIDITY);
    let by = |time| trust(&[&ca]).at(time);
    refused(&expired, &by(Time::At(NOW)), "expired on");
    refused(&early, &by(Time::At(NOW)), "not valid before");
    for record in [&expired, &early, &good] {
        assert!(judged(record, &by(Time::Any)).is_ok());
    }
    // A clock of 1970, and a bound from what was issued.
    refused(&good, &by(Time::At(0)), "not valid");
    for record in [&early, &good] {
        assert!(judged(record, &by(Time::AtLeast(NOW))).is_ok());
        assert!(judged(record, &by(Time::AtLeast(0))).is_ok());
    }
    refused(&expired, &by(Time::AtLeast(NOW)), "expired on");
    // An authority's own time is judged likewise.
    let ended = NOW + 2651 * DAY;
    let last = signed(validity(0, 4000));
    refused(
        &last,
        &by(Time::At(ended)),
        "its authority CN=kubernetes expired",
    );
    refused(
        &last,
        &by(Time::AtLeast(ended)),
        "its authority CN=kubernetes expired",
    );
    assert!(judged(&last, &by(Time::Any)).is_ok());
    // Without a time, a stranger is one all the same.
    let stranger = pair(&authority("kubernetes"), "m1").say(&at("m1", 7, "10.77.0.11"));
    for time in [Time::Any, Time::AtLeast(NOW)] {
        refused(&stranger, &by(time), "not the authority's");
    }
    let elsewhere = pair(&authority("elsewhere"), "m1").say(&at("m1", 7, "10.77.0.11"));
    refused(&elsewhere, &by(Time::Any), "not signed by the authority");
}

#[test]
fn a_word_about_a_master_can_be_undone() {
    let ca = authority("kubernetes");
    let thief = pair(&ca, "m2");
    let by = |time| trust(&[&ca]).at(time);
    let at_now = by(Time::At(NOW));
    let last = (NOW + AHEAD).unsigned_abs();
    let removed = |version| thief.say(&statement("m1", version, Says::Removed));
    let replaced =
        |version, not_before| thief.say(&statement("m1", version, Says::Replaced { not_before }));
    for record in [
        removed(7),
        removed(last),
        replaced(last, NOW + AHEAD),
        replaced(7, i64::MIN),
        // Of itself a master may say what it likes: a replacement takes it away.
        thief.say(&at("m2", u64::MAX, "10.77.0.12")),
    ] {
        assert_eq!(judged(&record, &at_now), Ok(master("m2")));
    }
    for (record, want) in [
        (removed(last + 1), "its version is more than a day ahead"),
        (removed(u64::MAX), "its version"),
        (removed(i64::MAX.unsigned_abs()), "its version"),
        (replaced(u64::MAX, NOW), "its version"),
        (
            replaced(7, NOW + AHEAD + 1),
            "its cutoff is more than a day",
        ),
        (replaced(7, i64::MAX), "its cutoff"),
        (replaced(u64::MAX, i64::MAX), "its version"),
    ] {
        refused(&record, &at_now, want);
        assert!(judged(&record, &by(Time::Any)).is_ok());
    }
    // A wrong clock does not tell a day from a year, but what is for ever.
    let wrong = by(Time::AtLeast(NOW));
    let end = (NOW + 2650 * DAY).unsigned_abs();
    for record in [
        removed(last + 1),
        removed(end),
        replaced(7, NOW + AHEAD + 1),
    ] {
        assert!(judged(&record, &wrong).is_ok());
    }
    for record in [removed(end + 1), removed(u64::MAX), replaced(7, i64::MAX)] {
        refused(&record, &wrong, "beyond the authority's end");
    }
    assert!(judged(&removed(last + 1), &by(Time::At(NOW + 1))).is_ok());
}

#[test]
fn what_is_no_record_is_refused_before_any_of_it_is_believed() {
    let ca = authority("kubernetes");
    let m1 = pair(&ca, "m1");
    let trust = trust(&[&ca]);
    let good = at("m1", 7, "10.77.0.11").encode(Loopback::Refused).unwrap();
    let (names, _) = good.split_at(good.len() - 8);
    let many: Vec<u8> = std::iter::repeat_n([0, 10, 0, 0, 1], 10_000)
        .flatten()
        .collect();
    let many = [names, &[7, 0, 0x90, 0x4e], &many].concat();
    for (statement, want) in [
        (Vec::new(), "cannot be read"),
        ([&good[..], b"x"].concat(), "1 bytes behind"),
        (many.clone(), "statement has 50"),
        (many[..1000].to_vec(), "cannot be read"),
        ([names, &[7, 0, 1, 0, 127, 0, 0, 1]].concat(), "loopback"),
    ] {
        refused(&m1.sign(&statement), &trust, want);
    }
    // In a sandbox masters live there.
    let sandbox = Trust {
        loopback: Loopback::Allowed,
        ..trust.clone()
    };
    let loopback = m1.sign(&[names, &[7, 0, 1, 0, 127, 0, 0, 1]].concat());
    assert!(judged(&loopback, &sandbox).is_ok());

    let record = m1.sign(&good);
    let with = |change: &dyn Fn(&mut Record)| {
        let mut record = record.clone();
        change(&mut record);
        record
    };
    refused(&with(&|r| r.certificate.clear()), &trust, "cannot be read");
    refused(&with(&|r| r.certificate.push(0)), &trust, "more behind it");
    refused(
        &with(&|r| r.certificate = vec![0x30; LIMIT]),
        &trust,
        "at most 4096",
    );
    refused(&with(&|r| r.signature.clear()), &trust, "signature is not");
    refused(&with(&|r| r.signature = vec![0; 73]), &trust, "at most 72");
}

#[test]
fn whoever_changes_a_bit_of_the_certificate_is_refused() {
    let ca = authority("kubernetes");
    let record = pair(&ca, "m1").say(&at("m1", 7, "10.77.0.11"));
    let trust = trust(&[&ca]);
    for bit in 0..record.certificate.len() * 8 {
        let mut bent = record.clone();
        bent.certificate[bit / 8] ^= 1 << (bit % 8);
        assert!(judged(&bent, &trust).is_err(), "bit {bit}");
    }
}

#[test]
fn a_subject_has_one_name() {
    // CN twice: of two, Go takes the last and others the first.
    let text = |oid: u8, value: &str| {
        let value = value.as_bytes();
        let length = u8::try_from(value.len()).unwrap();
        let inner = [&[0x06, 3, 0x55, 4, oid, 0x0c, length], value].concat();
        let pair = [&[0x30, length + 7][..], &inner].concat();
        [&[0x31, length + 9][..], &pair].concat()
    };
    let own = text(3, "m1.stayput.k8s.internal");
    let parts = [
        text(10, "stayput:masters"),
        text(3, "m2.stayput.k8s.internal"),
        own.clone(),
    ];
    let body = parts.concat();
    let subject = [&[0x30, u8::try_from(body.len()).unwrap()][..], &body].concat();
    let ca = authority("kubernetes");
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let issue = |subject: &[u8]| {
        let pem = issue::leaf(&ca, &profile("m1"), Some(subject), &key, VALIDITY, true).unwrap();
        Certificate::parse_pem(pem.as_bytes()).unwrap().remove(0)
    };
    let certificate = issue(&subject);
    let pair = Pair { certificate, key };
    let record = pair.say(&at("m1", 7, "10.77.0.11"));
    refused(
        &record,
        &trust(&[&ca]),
        "CN m2.stayput.k8s.internal and m1.stayput",
    );
}
