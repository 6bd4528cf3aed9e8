//! Sets in every form are read, and what is odd about them is seen.

use std::fs;
use std::os::unix::fs::symlink;

use stayput::pki::inventory::{Found, KeyState, Signer};
use stayput::pki::key::PrivateKey;

use crate::openssl::{AUTHORITY, CA, LEAF, LEAF_PATH, Set};

#[test]
fn keys_of_every_form_match_their_certificates() {
    let Some(set) = Set::new() else { return };
    set.key(CA, "ecparam -name prime256v1 -genkey");
    set.authority(CA, "/CN=kubernetes", "1", AUTHORITY);
    for (command, label) in [
        ("genrsa -traditional 2048", "RSA PRIVATE KEY"),
        ("genrsa 2048", "PRIVATE KEY"),
        ("ecparam -name prime256v1 -genkey", "EC PARAMETERS"),
        ("ecparam -name secp384r1 -genkey -noout", "EC PRIVATE KEY"),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
            "PRIVATE KEY",
        ),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521",
            "PRIVATE KEY",
        ),
    ] {
        set.key(LEAF_PATH, command);
        let first = format!("-----BEGIN {label}-----");
        assert!(
            set.text("pki/apiserver.key").starts_with(&first),
            "{command}"
        );
        set.signed(LEAF_PATH, CA, "/O=b/O=a/CN=first/CN=kube-apiserver", LEAF);
        let present = set.present("apiserver");
        assert_eq!(present.key, KeyState::Matches, "{command}");
        assert_eq!(present.signer, Signer::Ours, "{command}");
        let profile = present.certificate.profile;
        assert_eq!(profile.common_name, "kube-apiserver");
        assert_eq!(profile.organizations, ["b", "a"]);
        assert!(profile.usages.server && profile.usages.client);
        let names = "*.example.com, master-1, 127.0.0.1, ::1";
        assert_eq!(profile.names.to_string(), names);
        assert_eq!(present.certificate.serial, "4d");
    }
}

#[test]
fn keys_that_kubernetes_does_not_take_are_refused() {
    let Some(set) = Set::new() else { return };
    set.plain();
    set.key("pki/rsa", "genrsa -traditional 2048");
    for (command, want) in [
        (
            "genpkey -algorithm ED25519",
            "an Ed25519 key; Kubernetes takes",
        ),
        ("genpkey -algorithm X25519", "Kubernetes takes"),
        ("genrsa -traditional 1024", "shorter than 2048"),
        ("ecparam -name secp256k1 -genkey", "its curve"),
        (
            "ecparam -name prime256v1 -genkey -param_enc explicit",
            "does not name its curve",
        ),
        (
            "rsa -in pki/rsa.key -traditional -aes128 -passout pass:secret",
            "decrypt it",
        ),
        (
            "pkey -in pki/rsa.key -aes256 -passout pass:secret",
            "decrypt it",
        ),
    ] {
        set.key(LEAF_PATH, command);
        let reason = set.unusable("apiserver");
        assert!(
            reason.starts_with("apiserver.key holds no usable"),
            "{reason}"
        );
        assert!(reason.contains(want), "{command}: {reason}");
    }
}

#[test]
fn authorities_of_every_kind_are_read() {
    let Some(set) = Set::new() else { return };
    let without_identifier = AUTHORITY.replace("=hash", "=none");
    for (subject, serial, extensions) in [
        ("/CN=kubernetes", "0", AUTHORITY),
        ("/CN=kubernetes", "7", without_identifier.as_str()),
        ("/DC=com/DC=corp/OU=a/OU=b/CN=corp", "-5", AUTHORITY),
        (
            "/O=a+OU=b/CN=two in one",
            "0x8000000000000000000000000000000000000001",
            AUTHORITY,
        ),
    ] {
        set.key(CA, "genrsa -traditional 2048");
        set.authority(CA, subject, serial, extensions);
        set.key(LEAF_PATH, "ecparam -name prime256v1 -genkey");
        set.signed(LEAF_PATH, CA, "/CN=kube-apiserver", LEAF);
        let authority = set.present("ca");
        assert_eq!(authority.key, KeyState::Matches, "{subject}");
        assert_eq!(authority.signer, Signer::Ours);
        if serial == "0" {
            assert_eq!(authority.certificate.serial, "0");
        }
        assert_eq!(set.present("apiserver").signer, Signer::Ours, "{subject}");
    }
}

#[test]
fn of_a_bundle_the_one_signs_whose_key_is_here() {
    let Some(set) = Set::new() else { return };
    set.plain();
    let first = set.text("pki/ca.crt");
    set.key("pki/next", "ecparam -name prime256v1 -genkey");
    set.authority("pki/next", "/CN=kubernetes next", "2", AUTHORITY);
    let bundle = format!("# old\n{first}\n# new\n{}", set.text("pki/next.crt"));
    set.write("pki/ca.crt", bundle.replace('\n', "\r\n"));
    set.write("pki/ca.key", set.text("pki/next.key"));
    let inventory = set.take();
    let authority = &inventory.authorities["ca"];
    assert_eq!(authority.bundle.len(), 2);
    assert_eq!(authority.certificate.profile.common_name, "kubernetes next");
    assert!(authority.key.is_some());
    // The first one had signed it.
    assert_eq!(set.present("apiserver").signer, Signer::Ours);

    fs::remove_file(set.path("pki/ca.key")).unwrap();
    let inventory = set.take();
    let authority = &inventory.authorities["ca"];
    assert_eq!(authority.certificate.profile.common_name, "kubernetes");
    assert!(authority.key.is_none());
    assert_eq!(set.present("ca").key, KeyState::Absent);

    set.write("pki/ca.key", set.text("pki/apiserver.key"));
    assert_eq!(set.present("ca").key, KeyState::Mismatch);
    assert!(set.take().authorities["ca"].key.is_none());
}

#[test]
fn a_chain_leads_over_its_intermediate() {
    let Some(set) = Set::new() else { return };
    set.plain();
    set.key("pki/middle", "ecparam -name prime256v1 -genkey");
    set.signed("pki/middle", CA, "/CN=middle", AUTHORITY);
    set.signed(LEAF_PATH, "pki/middle", "/CN=kube-apiserver", LEAF);
    let alone = set.text("pki/apiserver.crt");
    let present = set.present("apiserver");
    assert_eq!(present.signer, Signer::Foreign("CN=middle".into()));
    set.write("pki/apiserver.crt", alone + &set.text("pki/middle.crt"));
    let present = set.present("apiserver");
    assert_eq!(present.signer, Signer::Ours);
    assert_eq!(present.certificate.subject, "CN=kube-apiserver");
}

#[test]
fn a_stranger_of_the_same_name_is_foreign() {
    let Some(set) = Set::new() else { return };
    set.plain();
    set.key(CA, "ecparam -name prime256v1 -genkey");
    set.authority(CA, "/CN=kubernetes", "1", AUTHORITY);
    let present = set.present("apiserver");
    assert_eq!(present.signer, Signer::Foreign("CN=kubernetes".into()));
    set.key(LEAF_PATH, "ecparam -name prime256v1 -genkey");
    assert_eq!(set.present("apiserver").key, KeyState::Mismatch);
    fs::remove_file(set.path("pki/ca.crt")).unwrap();
    assert_eq!(set.present("apiserver").signer, Signer::Unknown);
    assert!(matches!(set.found("ca"), Found::Half { missing, .. } if missing.ends_with("ca.crt")));
}

#[test]
fn a_certificate_without_the_authority_flag_signs_nothing() {
    let Some(set) = Set::new() else { return };
    set.plain();
    set.authority(CA, "/CN=kubernetes", "1", "basicConstraints=CA:FALSE\n");
    let reason = set.unusable("ca");
    assert!(
        reason.contains("ca.crt is not the certificate of an authority"),
        "{reason}"
    );
    assert!(set.take().authorities.is_empty());
}

#[test]
fn what_is_missing_or_open_is_said() {
    let Some(set) = Set::new() else { return };
    assert_eq!(set.found("ca"), Found::Absent);
    assert_eq!(set.found("apiserver"), Found::Absent);
    assert_eq!(set.found("kubelet.conf"), Found::Absent);
    assert_eq!(set.found("sa"), Found::Absent);
    set.plain();
    assert_eq!(set.present("apiserver").exposed, []);
    for (name, mode, want) in [
        ("pki/apiserver.key", 0o640, None),
        ("pki/apiserver.key", 0o400, None),
        ("pki/apiserver.key", 0o660, Some(0o600)),
        ("pki/apiserver.key", 0o604, Some(0o600)),
        ("pki/apiserver.crt", 0o600, None),
        ("pki/apiserver.crt", 0o664, Some(0o644)),
        ("pki/apiserver.crt", 0o646, Some(0o644)),
    ] {
        set.set_mode("pki/apiserver.key", 0o600);
        set.set_mode("pki/apiserver.crt", 0o644);
        set.set_mode(name, mode);
        let exposed = set.present("apiserver").exposed;
        let seen = exposed.first().map(|exposed| {
            assert!(exposed.path.ends_with(name));
            assert_eq!(exposed.mode, mode);
            exposed.want
        });
        assert_eq!(seen, want, "{name} {mode:o}");
    }
    let key = set.path("pki/apiserver.key");
    fs::rename(&key, set.path("moved.key")).unwrap();
    assert!(
        matches!(set.found("apiserver"), Found::Half { missing, .. } if missing.ends_with("apiserver.key"))
    );
    symlink("/etc/kubernetes/moved.key", &key).unwrap();
    assert_eq!(set.present("apiserver").key, KeyState::Matches);
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    assert!(
        set.unusable("apiserver")
            .contains("apiserver.key cannot be read")
    );
    fs::remove_dir(&key).unwrap();
    set.write("pki/apiserver.key", vec![b'a'; 2 << 20]);
    assert!(set.unusable("apiserver").contains("larger than"));
}

#[test]
fn the_kubelets_own_file_is_read_and_its_key_left_alone() {
    let Some(set) = Set::new() else { return };
    set.plain();
    fs::create_dir(set.path("kubelet")).unwrap();
    let pem = set.text("pki/apiserver.crt") + &set.text("pki/apiserver.key");
    set.write("kubelet/current.pem", &pem);
    let frame = |user: &str, authority: &str| {
        format!(
            "current-context: default-context\ncontexts:\n- context: {{cluster: default-cluster, user: default-auth}}\n  name: default-context\n\
             clusters:\n- cluster: {{server: 'https://api:8443', {authority}}}\n  name: default-cluster\n\
             users:\n- name: default-auth\n  user: {user}\n"
        )
    };
    let files = "{client-certificate: /etc/kubernetes/kubelet/current.pem, client-key: kubelet/current.pem}";
    let file = "certificate-authority: pki/ca.crt";
    set.write("kubelet.conf", frame(files, file));
    let present = set.present("kubelet.conf");
    assert_eq!(present.key, KeyState::Elsewhere);
    assert_eq!(present.signer, Signer::Ours);
    let state = present.kubeconfig.unwrap();
    assert_eq!(state.server, "https://api:8443");
    assert!(state.trusts_authority);

    set.key("pki/next", "ecparam -name prime256v1 -genkey");
    set.authority("pki/next", "/CN=kubernetes", "2", AUTHORITY);
    set.write(
        "kubelet.conf",
        frame(files, "certificate-authority: pki/next.crt"),
    );
    assert!(
        !set.present("kubelet.conf")
            .kubeconfig
            .unwrap()
            .trusts_authority
    );
    set.write("kubelet.conf", frame("{token: abc}", file));
    assert!(
        set.unusable("kubelet.conf")
            .contains("no certificate (a token")
    );
    fs::remove_file(set.path("kubelet/current.pem")).unwrap();
    set.write("kubelet.conf", frame(files, file));
    assert!(
        set.unusable("kubelet.conf")
            .contains("current.pem is not there")
    );
}

#[test]
fn a_service_account_key_belongs_to_its_public_key() {
    let Some(set) = Set::new() else { return };
    for command in [
        "genrsa -traditional 2048",
        "ecparam -name prime256v1 -genkey",
    ] {
        set.key("pki/sa", command);
        let public = set
            .openssl(&["pkey", "-in", "pki/sa.key", "-pubout"])
            .good();
        set.write("pki/sa.pub", &public);
        assert_eq!(set.found("sa"), Found::KeyPair { exposed: vec![] });
        let key = PrivateKey::from_pem(set.text("pki/sa.key").as_bytes()).unwrap();
        assert_eq!(key.public_pem(), public);
    }
    set.key("pki/sa", "ecparam -name prime256v1 -genkey");
    let reason = set.unusable("sa");
    assert!(
        reason.starts_with("sa.pub is not the public key of /etc"),
        "{reason}"
    );
    // Several public keys, while tokens of an old one are still valid.
    let old = set.text("pki/sa.pub");
    let public = set
        .openssl(&["pkey", "-in", "pki/sa.key", "-pubout"])
        .good();
    set.write("pki/sa.pub", old + &public);
    assert!(matches!(set.found("sa"), Found::KeyPair { .. }));
    fs::remove_file(set.path("pki/sa.pub")).unwrap();
    assert!(matches!(set.found("sa"), Found::Half { missing, .. } if missing.ends_with("sa.pub")));
}
