//! What is broken, forbidden or in the way: a clear message, the right exit code, and nothing changed.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::sandbox::{KUBERNETES, Sandbox, carry, changed, quick};
use crate::support::{STAYPUT, here, run};

const NEWEST: &str = "var/lib/stayput/certificates/newest-time";

/// A first master with everything.
pub(crate) fn good() -> Sandbox {
    let sandbox = Sandbox::new("master-1", &quick());
    sandbox.ok(&["certs", "init", "--new-cluster"]);
    sandbox
}

/// The same for another cluster.
fn stranger() -> Sandbox {
    good()
}

impl Sandbox {
    fn at(&self, name: &str) -> PathBuf {
        self.path(KUBERNETES).join(name)
    }

    fn cut(&self, name: &str) {
        let text = self.text(name);
        std::fs::write(self.at(name), &text[..text.len() / 2]).unwrap();
    }

    fn take(&self, other: &Self, name: &str) {
        std::fs::write(self.at(name), other.text(name)).unwrap();
    }

    /// The command ends with this code, says all of that, and changes nothing of Kubernetes.
    #[track_caller]
    fn refuses(&self, arguments: &[&str], code: i32, parts: &[&str]) -> String {
        let before = self.everything();
        let said = self.fails(arguments, code);
        for part in parts {
            assert!(said.contains(part), "{arguments:?}: no '{part}' in: {said}");
        }
        assert!(!said.contains("-----BEGIN"), "{said}");
        let after = self.everything();
        assert_eq!(changed(&before, &after), [""; 0], "{arguments:?}: {said}");
        said
    }
}

type Damage = fn(&Sandbox);

/// What is done to a good set; what a command says of it then; and what status calls it.
struct Case {
    damage: Damage,
    arguments: &'static [&'static str],
    says: &'static [&'static str],
    /// Item, state, and what is said of it.
    status: (&'static str, &'static str, &'static [&'static str]),
}

const APISERVER: &[&str] = &["certs", "renew", "apiserver"];
const FORCED: &[&str] = &["certs", "renew", "apiserver", "--force"];
const ALL: &[&str] = &["certs", "renew"];
const BY_FORCE: &str = "`stayput certs renew apiserver --force` make a new one";

const CASES: &[(&str, Case)] = &[
    (
        "a key that is cut off",
        Case {
            damage: |sandbox| sandbox.cut("pki/apiserver.key"),
            arguments: APISERVER,
            says: &[
                "/etc/kubernetes/pki/apiserver.key cannot be used",
                "cut off",
                BY_FORCE,
            ],
            status: (
                "apiserver",
                "unusable",
                &["/etc/kubernetes/pki/apiserver.key", "cut off"],
            ),
        },
    ),
    (
        "a certificate that is cut off",
        Case {
            damage: |sandbox| sandbox.cut("pki/apiserver.crt"),
            arguments: ALL,
            says: &["/etc/kubernetes/pki/apiserver.crt cannot be used", BY_FORCE],
            status: (
                "apiserver",
                "unusable",
                &["/etc/kubernetes/pki/apiserver.crt"],
            ),
        },
    ),
    (
        "an empty key",
        Case {
            damage: |sandbox| std::fs::write(sandbox.at("pki/apiserver.key"), "").unwrap(),
            arguments: APISERVER,
            says: &["/etc/kubernetes/pki/apiserver.key cannot be used", BY_FORCE],
            status: (
                "apiserver",
                "unusable",
                &["/etc/kubernetes/pki/apiserver.key"],
            ),
        },
    ),
    (
        "a kubeconfig that is cut off",
        Case {
            damage: |sandbox| sandbox.cut("admin.conf"),
            arguments: &["certs", "renew", "admin.conf"],
            says: &[
                "/etc/kubernetes/admin.conf cannot be used",
                "`stayput certs renew admin.conf --force`",
            ],
            status: ("admin.conf", "unusable", &["/etc/kubernetes/admin.conf"]),
        },
    ),
    (
        "an authority's key that is cut off",
        Case {
            damage: |sandbox| sandbox.cut("pki/ca.key"),
            arguments: FORCED,
            says: &[
                "its authority ca cannot be used",
                "`stayput certs status` says why",
                "copy it from another master",
            ],
            status: ("ca", "unusable", &["/etc/kubernetes/pki/ca.key", "cut off"]),
        },
    ),
    (
        "an authority's key that is cut off, and something is missing",
        Case {
            damage: |sandbox| {
                sandbox.cut("pki/ca.key");
                std::fs::remove_file(sandbox.at("scheduler.conf")).unwrap();
            },
            arguments: &["certs", "init"],
            says: &["/etc/kubernetes/pki/ca.key cannot be used", "from a backup"],
            status: (
                "scheduler.conf",
                "missing",
                &["`stayput certs init` issues it"],
            ),
        },
    ),
    (
        "a pair of another authority",
        Case {
            damage: |sandbox| {
                let stranger = stranger();
                sandbox.take(&stranger, "pki/apiserver.crt");
                sandbox.take(&stranger, "pki/apiserver.key");
            },
            arguments: APISERVER,
            says: &["was signed by", "not by its authority", BY_FORCE],
            status: ("apiserver", "foreign", &["not by ca"]),
        },
    ),
    (
        "another authority's certificate in the place of ours",
        Case {
            damage: |sandbox| sandbox.take(&stranger(), "pki/ca.crt"),
            arguments: FORCED,
            says: &[
                "its authority ca cannot be used",
                "copy it from another master",
            ],
            status: (
                "ca",
                "brokenPair",
                &["its key does not belong to its certificate"],
            ),
        },
    ),
    (
        "a key of something else",
        Case {
            damage: |sandbox| {
                std::fs::copy(
                    sandbox.at("pki/front-proxy-client.key"),
                    sandbox.at("pki/apiserver.key"),
                )
                .unwrap();
            },
            arguments: ALL,
            says: &["its key does not belong to its certificate", BY_FORCE],
            status: (
                "apiserver",
                "brokenPair",
                &["its key does not belong to its certificate"],
            ),
        },
    ),
    (
        "half a pair",
        Case {
            damage: |sandbox| std::fs::remove_file(sandbox.at("pki/etcd/peer.key")).unwrap(),
            arguments: ALL,
            says: &[
                "/etc/kubernetes/pki/etcd/peer.crt is there without /etc/kubernetes/pki/etcd/peer.key",
                "`stayput certs renew etcd-peer --force`",
            ],
            status: (
                "etcd-peer",
                "brokenPair",
                &["is there without /etc/kubernetes/pki/etcd/peer.key"],
            ),
        },
    ),
    (
        "an authority's key that everybody can read",
        Case {
            damage: |sandbox| {
                std::fs::set_permissions(sandbox.at("pki/ca.key"), Permissions::from_mode(0o644))
                    .unwrap();
            },
            arguments: FORCED,
            says: &[
                "its authority ca has a key that others may have",
                "`chmod 0600 /etc/kubernetes/pki/ca.key`",
            ],
            status: ("ca", "wrongMode", &["/etc/kubernetes/pki/ca.key"]),
        },
    ),
    (
        "a key that everybody can read",
        Case {
            damage: |sandbox| {
                std::fs::set_permissions(
                    sandbox.at("pki/apiserver.key"),
                    Permissions::from_mode(0o644),
                )
                .unwrap();
            },
            arguments: APISERVER,
            says: &[
                "/etc/kubernetes/pki/apiserver.key has mode 0644",
                "`chmod 0600 /etc/kubernetes/pki/apiserver.key`",
                "`stayput certs renew apiserver --force` makes a new one",
            ],
            status: (
                "apiserver",
                "wrongMode",
                &["`chmod 0600 /etc/kubernetes/pki/apiserver.key`"],
            ),
        },
    ),
    (
        "a kubeconfig that everybody can read",
        Case {
            damage: |sandbox| {
                std::fs::set_permissions(sandbox.at("admin.conf"), Permissions::from_mode(0o604))
                    .unwrap();
            },
            arguments: ALL,
            says: &[
                "/etc/kubernetes/admin.conf has mode 0604",
                "`chmod 0600 /etc/kubernetes/admin.conf`",
            ],
            status: (
                "admin.conf",
                "wrongMode",
                &["`chmod 0600 /etc/kubernetes/admin.conf`"],
            ),
        },
    ),
];

#[test]
fn a_damaged_set() {
    for (what, case) in CASES {
        eprintln!("{what}");
        let sandbox = good();
        (case.damage)(&sandbox);
        sandbox.refuses(case.arguments, 1, case.says);
        let (item, state, parts) = case.status;
        for (command, shows) in [("status", "state"), ("verify", "holds")] {
            let before = sandbox.everything();
            let (seen, code) = sandbox.json(&["certs", command]);
            assert_eq!(code, 1, "{what}: {seen}");
            assert_eq!(changed(&before, &sandbox.everything()), [""; 0]);
            let rows = seen["certificates"].as_array().unwrap();
            let row = rows.iter().find(|row| row["id"] == item).unwrap();
            let want = if command == "status" {
                Value::from(state)
            } else {
                Value::from(false)
            };
            assert_eq!(row[shows], want, "{what}: {row}");
            for part in parts {
                assert!(row.to_string().contains(part), "{what}: no {part} in {row}");
            }
        }
    }
}

#[test]
fn a_symlink_in_the_place_of_a_certificate() {
    let sandbox = good();
    let crt = sandbox.at("pki/apiserver.crt");
    std::fs::rename(&crt, sandbox.at("pki/elsewhere.crt")).unwrap();
    symlink("elsewhere.crt", &crt).unwrap();
    let says = [
        "/etc/kubernetes/pki/apiserver.crt is a symbolic link",
        "put the file that it leads to in its place",
    ];
    sandbox.refuses(FORCED, 1, &says);
    let plan = ["certs", "renew", "apiserver", "--force", "--dry-run"];
    sandbox.refuses(&plan, 1, &says);
    // It is told before the day on which it would be renewed.
    sandbox.refuses(&["certs", "renew"], 0, &["not due"]);
    let says = ["/etc/kubernetes/pki/apiserver.crt is a symbolic link, which no renewal replaces"];
    for command in ["status", "verify"] {
        sandbox.refuses(&["certs", command], 1, &says);
    }
    // What is never replaced may be one.
    std::fs::remove_file(&crt).unwrap();
    std::fs::rename(sandbox.at("pki/elsewhere.crt"), &crt).unwrap();
    std::fs::rename(sandbox.at("pki/ca.crt"), sandbox.at("pki/ours.crt")).unwrap();
    symlink("ours.crt", sandbox.at("pki/ca.crt")).unwrap();
    sandbox.ok(&["certs", "status"]);
    sandbox.ok(FORCED);
}

#[test]
fn wrong_orders() {
    let sandbox = good();
    let table: [(&[&str], i32, &[&str]); 9] = [
        (
            &["certs", "renew", "apiservr", "--force"],
            65,
            &[
                "there is no certificate 'apiservr'",
                "the names are ca, ",
                "apiserver, ",
            ],
        ),
        (&["certs", "renew", "--force"], 2, &["<NAME>..."]),
        (
            &["certs", "renew", "--drop-name", "192.0.2.11"],
            2,
            &["<NAME>..."],
        ),
        (
            &["certs", "renew", "--unattended", "--trust-clock"],
            2,
            &["--trust-clock"],
        ),
        (
            &[
                "certs",
                "renew",
                "apiserver",
                "--force",
                "--drop-name",
                "kubernetes",
            ],
            1,
            &["cannot leave out kubernetes", "cluster file asks for it"],
        ),
        (
            &[
                "certs",
                "renew",
                "apiserver",
                "--force",
                "--drop-name",
                "192.0.2.11",
            ],
            65,
            &["none of these certificates has 192.0.2.11"],
        ),
        (
            &[
                "certs",
                "renew",
                "apiserver",
                "--force",
                "--drop-name",
                "a b",
            ],
            65,
            &["none of these certificates has a b"],
        ),
        (
            &["certs", "renew", "ca", "--force"],
            1,
            &["renews neither authorities nor service-account keys"],
        ),
        (
            &["certs", "renew", "sa", "--force"],
            1,
            &["renews neither authorities nor service-account keys"],
        ),
    ];
    for (arguments, code, says) in table {
        sandbox.refuses(arguments, code, says);
    }
}

#[test]
fn a_worker() {
    let sandbox = Sandbox::new("worker-1", &quick());
    let says = [
        "this node, worker-1, is none of the masters of the cluster file (master-1, master-2, master-3)",
        "a worker's kubelet renews its own",
    ];
    for command in ["init", "renew", "status", "verify"] {
        sandbox.refuses(&["certs", command], 65, &says);
    }
    assert!(sandbox.everything().is_empty());
}

#[test]
fn a_second_master_mints_no_second_authority() {
    let sandbox = Sandbox::new("master-2", &quick());
    let says = [
        "/etc/kubernetes/pki/ca.crt is missing",
        "/etc/kubernetes/pki/etcd/ca.crt is missing",
        "/etc/kubernetes/pki/front-proxy-ca.crt is missing",
        "/etc/kubernetes/pki/sa.key is missing",
        "copy it from another master with `stayput certs bundle`",
        "--new-cluster",
    ];
    sandbox.refuses(&["certs", "init"], 1, &says);
    assert!(sandbox.everything().is_empty());

    // One of them is enough to stop all of it.
    carry(&good(), &sandbox);
    std::fs::remove_file(sandbox.at("pki/sa.key")).unwrap();
    std::fs::remove_file(sandbox.at("pki/sa.pub")).unwrap();
    let said = sandbox.refuses(
        &["certs", "init"],
        1,
        &["/etc/kubernetes/pki/sa.key is missing"],
    );
    assert!(
        said.contains("not issued while another one is refused"),
        "{said}"
    );

    // A certificate without its authority: a new authority would not fit it.
    let left = Sandbox::new("master-1", &quick());
    left.ok(&["certs", "init", "--new-cluster"]);
    for file in ["pki/ca.crt", "pki/ca.key"] {
        std::fs::remove_file(left.at(file)).unwrap();
    }
    let says = [
        "/etc/kubernetes/pki/ca.crt is missing",
        "/etc/kubernetes/pki/apiserver.crt",
    ];
    left.refuses(&["certs", "init", "--new-cluster"], 1, &says);
}

#[test]
fn bundles_that_are_none_and_bundles_of_others() {
    if !here(false, &["tar"]) {
        return;
    }
    let (first, other) = (good(), stranger());
    let bundle = |sandbox: &Sandbox| sandbox.run(&["certs", "bundle"]).stdout;
    let own = bundle(&first);
    let unpacked = tempfile::tempdir().unwrap();
    let path = unpacked.path();
    std::fs::write(path.join("own.tar"), &own).unwrap();
    let tar = |arguments: &str| {
        let mut command = Command::new("tar");
        run(command.current_dir(path).args(arguments.split(' '))).good();
    };
    tar("xf own.tar");
    std::fs::write(path.join("pki/apiserver.key"), "secret").unwrap();
    tar("cf extra.tar pki");
    std::fs::remove_file(path.join("pki/apiserver.key")).unwrap();
    tar("cf outside.tar --transform s,pki/sa.pub,../../evil, pki");
    std::fs::write(path.join("pki/ca.key"), other.text("pki/ca.key")).unwrap();
    tar("cf mixed.tar pki");
    let packed = |name: &str| std::fs::read(path.join(name)).unwrap();

    let table: [(&str, Vec<u8>, &[&str]); 7] = [
        (
            "nothing",
            Vec::new(),
            &["empty, cut off, or no tar", "`stayput certs bundle`"],
        ),
        ("cut off", own[..own.len() / 2].to_vec(), &["cut off"]),
        ("noise", vec![0x5a; 20_000], &["no tar"]),
        (
            "another file",
            packed("extra.tar"),
            &["'pki/apiserver.key'", "does not belong there"],
        ),
        ("a way out", packed("outside.tar"), &["evil"]),
        ("a key of another", packed("mixed.tar"), &["pki/ca"]),
        (
            "another cluster's",
            bundle(&other),
            &[
                "this machine has other files of that name: /etc/kubernetes/pki/ca.crt",
                "nothing was changed",
            ],
        ),
    ];
    for (what, archive, says) in table {
        // A master that has authorities, and, but for the last, one that has nothing.
        let empty = Sandbox::new("master-2", &quick());
        let machines = [&first, &empty];
        for sandbox in &machines[..if what == "another cluster's" { 1 } else { 2 }] {
            let before = sandbox.everything();
            let output = sandbox.feed(&["certs", "unbundle"], &archive);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(65), "{what}: {said}");
            for part in says {
                assert!(said.contains(part), "{what}: {said}");
            }
            assert!(output.stdout.is_empty());
            assert_eq!(changed(&before, &sandbox.everything()), [""; 0], "{what}");
        }
    }
    assert!(!path.join("../evil").exists());
    // The own one is no change either.
    let output = first.feed(&["certs", "unbundle"], &own);
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("nothing to do")
    );
}

#[test]
fn a_clock_that_went_back() {
    let sandbox = good();
    let noted = std::fs::read_to_string(sandbox.path(NEWEST)).unwrap();
    let ahead = noted.trim().parse::<i64>().unwrap() + 86_400;
    let says = [
        "the clock says",
        "but this node has already seen",
        "timedatectl",
        "--trust-clock",
    ];
    for newest in [ahead, ahead + 365 * 86_400] {
        sandbox.write(NEWEST, format!("{newest}\n").as_bytes());
        sandbox.refuses(FORCED, 1, &says);
        // Nobody is there to vouch for it.
        sandbox.refuses(
            &["certs", "renew", "apiserver", "--force", "--unattended"],
            1,
            &says,
        );
        sandbox.refuses(&["certs", "status"], 1, &says);
        std::fs::remove_file(sandbox.at("scheduler.conf")).unwrap();
        sandbox.refuses(&["certs", "init"], 69, &says);
        let kept = std::fs::read_to_string(sandbox.path(NEWEST)).unwrap();
        assert_eq!(kept, format!("{newest}\n"));
        sandbox.ok(&["certs", "init", "--trust-clock"]);
    }
    sandbox.write(NEWEST, b"yesterday\n");
    let says = [
        "/var/lib/stayput/certificates/newest-time is damaged",
        "--trust-clock",
    ];
    sandbox.refuses(FORCED, 71, &says);
    sandbox.refuses(&["certs", "status"], 1, &says[..1]);
    sandbox.ok(&["certs", "renew", "apiserver", "--force", "--trust-clock"]);
    sandbox.ok(FORCED);
}

/// A kernel that does not say how good its clock is, as in many containers.
#[test]
fn a_clock_that_nobody_vouches_for() {
    if !here(false, &["strace"]) {
        return;
    }
    let sandbox = good();
    let under = |arguments: &[&str]| {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null"]);
        command.args(["-e", "inject=adjtimex,clock_adjtime:error=EPERM", STAYPUT]);
        command.args(sandbox.command(arguments).get_args());
        run(&mut command)
    };
    let before = sandbox.everything();
    let said = under(&["certs", "renew", "apiserver", "--force", "--unattended"]);
    assert_eq!(said.code, 1);
    let said = said.out;
    assert!(
        said.contains("adjtimex(2) is forbidden here") && said.contains("by hand"),
        "{said}"
    );
    // Where nothing is due there is nothing to refuse.
    under(&["certs", "renew", "--unattended"]).good();
    assert_eq!(changed(&before, &sandbox.everything()), [""; 0]);
    under(FORCED).good();
}

/// The program with mounts of its own: `before` makes them, below `$K` and `$V`. What it says is told
/// with its exit code; and nothing below `$K` may have changed, seen from within.
fn mounted(sandbox: &Sandbox, before: &str, arguments: &[&str], code: i32) -> String {
    const LOOK: &str = "look() { find . -printf '%p %M %U %l\\n' | sort; \
        find . -type f -print0 | sort -z | xargs -0r sha256sum; }";
    let script = format!(
        "{LOOK}\nset -e\n{before}\ncd \"$K\"\nseen=$(look)\nset +e\n\"$@\"\nended=$?\nset -e\n\
         [ \"$seen\" = \"$(look)\" ] || {{ look; exit 99; }}\nexit $ended\n"
    );
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        &script,
        "sh",
    ]);
    command.env("K", sandbox.path(KUBERNETES));
    command.env("V", sandbox.path("var/lib/stayput"));
    command.arg(STAYPUT);
    command.args(sandbox.command(arguments).get_args());
    let said = run(&mut command);
    assert_eq!(said.code, code, "{arguments:?}: {said:#?}");
    said.out + &said.err
}

/// Puts a small file system in the place of a folder, with what is in the folder, and fills it but
/// for some pages.
fn full(folder: &str, pages: u32) -> String {
    format!(
        "copy=$(mktemp -d)\ncp -a \"{folder}/.\" \"$copy\"\n\
         mount -t tmpfs -o size=512k,mode=0755 none \"{folder}\"\ncp -a \"$copy/.\" \"{folder}\"\n\
         rm -r \"$copy\"\nhead -c 1M /dev/zero > \"{folder}/fill\" 2>/dev/null || true\n\
         truncate -s -{} \"{folder}/fill\"\n",
        pages * 4096
    )
}

#[test]
fn a_full_disk() {
    if !here(true, &["unshare"]) {
        return;
    }
    let sandbox = good();
    // Of two files none, one, or both can be staged; a folder takes no page on tmpfs.
    for pages in [0, 1] {
        let script = full("$K", pages);
        let said = mounted(&sandbox, &script, FORCED, 1);
        assert!(said.contains("/etc/kubernetes/pki/"), "{pages}: {said}");
        assert!(said.contains("No space left on device"), "{pages}: {said}");
    }
    for file in [
        "pki/etcd/server.crt",
        "pki/etcd/server.key",
        "admin.conf",
        "scheduler.conf",
    ] {
        std::fs::remove_file(sandbox.at(file)).unwrap();
    }
    for pages in [0, 1, 2, 3] {
        let said = mounted(&sandbox, &full("$K", pages), &["certs", "init"], 71);
        assert!(said.contains("No space left on device"), "{pages}: {said}");
    }
    sandbox.ok(&["certs", "init"]);
    // Where the journal lies.
    let said = mounted(&sandbox, &full("$V", 0), FORCED, 1);
    assert!(
        said.contains("/var/lib/stayput") && said.contains("No space left on device"),
        "{said}"
    );
    sandbox.ok(FORCED);
    sandbox.ok(&["certs", "verify"]);
}

#[test]
fn a_folder_that_cannot_be_written() {
    if !here(true, &["unshare"]) {
        return;
    }
    let sandbox = good();
    let read_only = |folder: &str| {
        format!("mount --bind \"{folder}\" \"{folder}\"\nmount -o remount,bind,ro \"{folder}\"\n")
    };
    let said = mounted(&sandbox, &read_only("$K"), FORCED, 1);
    assert!(
        said.contains("/etc/kubernetes/pki") && said.contains("its file system is read-only"),
        "{said}"
    );
    let said = mounted(&sandbox, &read_only("$V"), FORCED, 1);
    assert!(
        said.contains("/var/lib/stayput") && said.contains("its file system is read-only"),
        "{said}"
    );
    // One file that cannot be replaced: the other half of the pair goes back.
    let pinned = "mount --bind \"$K/pki/apiserver.crt\" \"$K/pki/apiserver.crt\"\n";
    let said = mounted(&sandbox, pinned, FORCED, 1);
    assert!(said.contains("/etc/kubernetes/pki/apiserver.crt"), "{said}");
    sandbox.ok(&["certs", "verify"]);
    std::fs::remove_file(sandbox.at("scheduler.conf")).unwrap();
    let said = mounted(&sandbox, &read_only("$K"), &["certs", "init"], 71);
    assert!(
        said.contains("/etc/kubernetes") && said.contains("its file system is read-only"),
        "{said}"
    );
    // Looking needs no right to write.
    let both = read_only("$K") + &read_only("$V");
    mounted(&sandbox, &both, &["certs", "status"], 1);
    mounted(&sandbox, &both, &["certs", "verify"], 1);
    mounted(&sandbox, &both, &["certs", "renew", "--dry-run"], 1);
}
