//! Go's verifier and key reader through etcd, and client-go's reader of kubeconfigs through kubectl.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use stayput::pki::authority::Authority;
use stayput::pki::inventory::{KeyState, Signer};
use stayput::pki::issue;
use stayput::pki::key::{KeyType, PrivateKey};
use stayput::pki::kubeconfig::{self, New};
use stayput::pki::profile::{Names, Profile, Usages};

use crate::issued::validity;
use crate::openssl::{AUTHORITY, CA, Set};
use crate::support::{Process, Said, eventually, here, run};

/// Writes a pair below the set's authority.
fn issue(set: &Set, name: &str, authority: &Authority, kind: KeyType, server: bool) {
    let names = Names {
        dns: ["localhost".to_owned()].into(),
        addresses: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
        ..Names::default()
    };
    let profile = Profile {
        common_name: name.into(),
        organizations: vec!["system:masters".into()],
        // etcd is a client of its own server too.
        usages: Usages {
            server,
            client: true,
        },
        names: if server { names } else { Names::default() },
        ..Profile::default()
    };
    let key = PrivateKey::generate(kind).unwrap();
    let pem = issue::leaf(authority, &profile, None, &key, validity(), true).unwrap();
    set.write(&format!("{name}.crt"), pem);
    set.write(&format!("{name}.key"), key.to_pem().unwrap().as_bytes());
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("[::]:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn etcd(set: &Set, port: u16) -> Process {
    let mut command = Command::new("etcd");
    let peer = format!("http://127.0.0.1:{}", free_port());
    command.current_dir(set.path("")).args([
        "--data-dir=etcd".to_owned(),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        format!("--listen-client-urls=https://127.0.0.1:{port},https://[::1]:{port}"),
        format!("--advertise-client-urls=https://localhost:{port}"),
        "--client-cert-auth".to_owned(),
        "--trusted-ca-file=pki/ca.crt".to_owned(),
        "--cert-file=server.crt".to_owned(),
        "--key-file=server.key".to_owned(),
    ]);
    Process::start(&mut command, &set.path("etcd.log"))
}

fn etcdctl(set: &Set, endpoint: &str, client: &str) -> Said {
    let mut command = Command::new("etcdctl");
    command
        .current_dir(set.path(""))
        .env("ETCDCTL_API", "3")
        .args([
            &format!("--endpoints={endpoint}"),
            "--cacert=pki/ca.crt",
            &format!("--cert={client}.crt"),
            &format!("--key={client}.key"),
            "--dial-timeout=2s",
            "--command-timeout=3s",
            "get",
            "nothing",
        ]);
    run(&mut command)
}

#[test]
fn etcd_takes_every_kind_of_key_below_every_kind_of_authority() {
    let Some(set) = Set::new().filter(|_| here(false, &["etcd", "etcdctl"])) else {
        return;
    };
    let without_identifier = AUTHORITY.replace("=hash", "=none");
    for (command, subject, serial, extensions, kind) in [
        (
            "genrsa -traditional 2048",
            "/CN=etcd-ca",
            "0",
            AUTHORITY,
            KeyType::Rsa2048,
        ),
        (
            "ecparam -name prime256v1 -genkey",
            "/DC=com/DC=corp/OU=a/OU=b/CN=corp",
            "1",
            without_identifier.as_str(),
            KeyType::EcdsaP256,
        ),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384",
            "/O=a+OU=b/CN=two in one",
            "2",
            AUTHORITY,
            KeyType::EcdsaP384,
        ),
    ] {
        set.key(CA, command);
        set.authority(CA, subject, serial, extensions);
        let authority = set.take().authorities.remove("ca").unwrap();
        issue(&set, "server", &authority, kind, true);
        issue(&set, "client", &authority, kind, false);
        let port = free_port();
        let mut member = etcd(&set, port);
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            eventually("etcd answers", || {
                member.must_run();
                let said = etcdctl(&set, &format!("https://{host}:{port}"), "client");
                if said.code == 0 {
                    Ok(())
                } else {
                    Err(format!("{subject} {host}: {said:?}"))
                }
            });
        }
        // The same names and another key: who is refused proves that the others were looked at.
        set.key(CA, command);
        set.authority(CA, subject, serial, extensions);
        let stranger = set.take().authorities.remove("ca").unwrap();
        issue(&set, "stranger", &stranger, kind, false);
        let trusted = authority.pem.as_slice();
        set.write("pki/ca.crt", trusted);
        let said = etcdctl(&set, &format!("https://localhost:{port}"), "stranger");
        assert_ne!(said.code, 0, "{said:?}");
        drop(member);
        std::fs::remove_dir_all(set.path("etcd")).unwrap();
    }
}

/// What kubectl reads of the current context, as JSON.
fn kubectl(path: &Path) -> serde_json::Value {
    let mut command = Command::new("kubectl");
    command.arg("--kubeconfig").arg(path);
    command.args(["config", "view", "--minify", "--raw", "--output=json"]);
    serde_json::from_str(&run(&mut command).good()).unwrap()
}

#[test]
fn kubectl_reads_new_and_renewed_kubeconfigs() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let Some(set) = Set::new().filter(|_| here(false, &["kubectl"])) else {
        return;
    };
    set.plain();
    let authority = set.take().authorities.remove("ca").unwrap();
    let mut pairs = ["one", "two"].map(|name| {
        issue(&set, name, &authority, KeyType::EcdsaP256, false);
        let text = |suffix: &str| set.text(&format!("{name}.{suffix}"));
        (text("crt"), text("key"))
    });
    let [first, second] = &mut pairs;
    let new = New {
        server: "https://api.k8s.internal:8443",
        authority: &authority.pem,
        user: "system:node:master-1",
        certificate: &first.0,
        key: &first.1,
    };
    let text = new.render();
    let renewed = kubeconfig::renewed(&text, &second.0, &second.1).unwrap();
    for (text, (certificate, key)) in [(&text, first), (&renewed, second)] {
        set.write("kubelet.conf", text.as_bytes());
        let read = kubectl(&set.path("kubelet.conf"));
        let context = "system:node:master-1@kubernetes";
        assert_eq!(read["current-context"], context);
        let cluster = &read["clusters"][0]["cluster"];
        assert_eq!(cluster["server"], "https://api.k8s.internal:8443");
        let encoded = STANDARD.encode(&authority.pem);
        assert_eq!(cluster["certificate-authority-data"], encoded);
        let user = &read["users"][0]["user"];
        let encoded = STANDARD.encode(certificate);
        assert_eq!(user["client-certificate-data"], encoded);
        assert_eq!(user["client-key-data"], STANDARD.encode(key));
        let present = set.present("kubelet.conf");
        assert_eq!(present.key, KeyState::Matches);
        assert_eq!(present.signer, Signer::Ours);
        assert!(present.kubeconfig.unwrap().trusts_authority);
    }
}
