//! A folder in the shape of /etc/kubernetes that openssl fills.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use stayput::pki::inventory::{self, Found, Inventory, Present};
use stayput::pki::key::KeyType;
use stayput::pki::profile::Profile;
use stayput::pki::wanted::{Item, Kind, Wanted};
use stayput::root::Root;

use crate::support::{Said, here, run};

/// Extensions as kubeadm's authorities have them.
pub(crate) const AUTHORITY: &str = "basicConstraints=critical,CA:TRUE\n\
    keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign\n\
    subjectKeyIdentifier=hash\n";

/// Extensions of a leaf that both sides may present.
pub(crate) const LEAF: &str = "keyUsage=critical,digitalSignature,keyEncipherment\n\
    extendedKeyUsage=serverAuth,clientAuth\n\
    subjectAltName=DNS:master-1,DNS:*.example.com,IP:127.0.0.1,IP:::1\n";

pub(crate) const CA: &str = "pki/ca";
pub(crate) const LEAF_PATH: &str = "pki/apiserver";

/// The folder.
pub(crate) struct Set {
    dir: tempfile::TempDir,
}

impl Set {
    /// An empty one; `None` where there is no openssl.
    pub(crate) fn new() -> Option<Self> {
        if !here(false, &["openssl"]) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("etc/kubernetes/pki")).unwrap();
        Some(Self { dir })
    }

    /// A file of the set, by its path below /etc/kubernetes.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("etc/kubernetes").join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
        let suffix = name.rsplit('.').next();
        let mode = if matches!(suffix, Some("key" | "conf")) {
            0o600
        } else {
            0o644
        };
        self.set_mode(name, mode);
    }

    pub(crate) fn set_mode(&self, name: &str, mode: u32) {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(self.path(name), permissions).unwrap();
    }

    /// Runs openssl in the folder.
    pub(crate) fn openssl(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new("openssl");
        command.args(arguments).current_dir(self.path(""));
        run(&mut command)
    }

    /// Makes a key with an openssl command, and writes what that says.
    pub(crate) fn key(&self, name: &str, command: &str) {
        let arguments: Vec<&str> = command.split(' ').collect();
        let text = self.openssl(&arguments).good();
        self.write(&format!("{name}.key"), text);
    }

    /// A self-signed authority for a key that is there.
    pub(crate) fn authority(&self, name: &str, subject: &str, serial: &str, extensions: &str) {
        let config = format!(
            "[req]\ndistinguished_name=name\nx509_extensions=extensions\n[name]\n[extensions]\n{extensions}"
        );
        self.write("openssl.cnf", config);
        let (key, crt) = (format!("{name}.key"), format!("{name}.crt"));
        let arguments = "req -new -x509 -config openssl.cnf -sha256 -days 3650 -multivalue-rdn";
        let mut arguments: Vec<&str> = arguments.split(' ').collect();
        arguments.extend([
            "-key",
            &key,
            "-out",
            &crt,
            "-subj",
            subject,
            "-set_serial",
            serial,
        ]);
        self.openssl(&arguments).good();
        self.set_mode(&crt, 0o644);
    }

    /// A certificate for a key that is there, signed by an authority.
    pub(crate) fn signed(&self, name: &str, authority: &str, subject: &str, extensions: &str) {
        self.write("openssl.cnf", "[req]\ndistinguished_name=name\n[name]\n");
        self.write("extensions.cnf", extensions);
        let file = |name: &str, suffix: &str| format!("{name}.{suffix}");
        let (key, csr, crt) = (file(name, "key"), file(name, "csr"), file(name, "crt"));
        let arguments = ["req", "-new", "-config", "openssl.cnf", "-key", &key];
        let arguments = [&arguments[..], &["-out", &csr, "-subj", subject]].concat();
        self.openssl(&arguments).good();
        let (ca, ca_key) = (file(authority, "crt"), file(authority, "key"));
        let arguments = "x509 -req -sha256 -days 30 -set_serial 77 -extfile extensions.cnf";
        let mut arguments: Vec<&str> = arguments.split(' ').collect();
        arguments.extend(["-in", &csr, "-CA", &ca, "-CAkey", &ca_key, "-out", &crt]);
        self.openssl(&arguments).good();
        self.set_mode(&crt, 0o644);
    }

    /// An authority and a leaf of ECDSA keys.
    pub(crate) fn plain(&self) {
        self.key(CA, "ecparam -name prime256v1 -genkey");
        self.authority(CA, "/CN=kubernetes", "1", AUTHORITY);
        self.key(LEAF_PATH, "ecparam -name prime256v1 -genkey");
        self.signed(LEAF_PATH, CA, "/CN=kube-apiserver", LEAF);
    }

    pub(crate) fn root(&self) -> Root {
        Root::open(self.dir.path()).unwrap()
    }

    /// What is there of an authority, a leaf, a kubeconfig and a service-account key.
    pub(crate) fn take(&self) -> Inventory {
        let below = |name: &str| Path::new("/etc/kubernetes").join(name);
        let pair = |name: &str| (below(&format!("{name}.crt")), below(&format!("{name}.key")));
        let ((ca, ca_key), (certificate, key)) = (pair(CA), pair(LEAF_PATH));
        let authority = || "ca".to_owned();
        let items = [
            (
                "ca",
                Kind::Authority {
                    certificate: ca,
                    key: ca_key,
                },
            ),
            (
                "apiserver",
                Kind::Leaf {
                    certificate,
                    key,
                    authority: authority(),
                },
            ),
            (
                "kubelet.conf",
                Kind::Kubeconfig {
                    path: below("kubelet.conf"),
                    authority: authority(),
                    server: String::new(),
                },
            ),
            (
                "sa",
                Kind::KeyPair {
                    key: below("pki/sa.key"),
                    public: below("pki/sa.pub"),
                },
            ),
        ];
        let item = |(id, kind): (&str, Kind)| Item {
            id: id.into(),
            kind,
            profile: Profile::default(),
            key_type: KeyType::default(),
            validity: 0,
            new_cluster_only: false,
            users: Vec::new(),
        };
        let wanted = Wanted {
            items: items.map(item).into(),
            renew_before: 0,
            leaf_constraints: true,
        };
        inventory::take(&self.root(), &wanted)
    }

    pub(crate) fn found(&self, id: &str) -> Found {
        self.take().found.remove(id).unwrap()
    }

    /// What must be a certificate.
    pub(crate) fn present(&self, id: &str) -> Present {
        match self.found(id) {
            Found::Present(present) => *present,
            other => panic!("{id}: {other:?}"),
        }
    }

    /// Why something cannot be used, with the file's name.
    pub(crate) fn unusable(&self, id: &str) -> String {
        match self.found(id) {
            Found::Unusable { path, reason } => {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                format!("{name} {reason}")
            }
            other => panic!("{id}: {other:?}"),
        }
    }
}
