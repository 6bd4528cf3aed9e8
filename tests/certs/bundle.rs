//! Bundles travel between machines, and what is no bundle changes nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use stayput::pki::bundle::{Bundle, LIMIT};
use stayput::pki::issue::Validity;
use stayput::pki::store::Set;
use stayput::root::Root;
use tar::{Builder, EntryType, Header};

use crate::made::{Pair, authority, key, leaf, now, year};
use crate::sample::shared;
use crate::support::{here, run};

const NAMES: [&str; 8] = [
    "pki/ca.crt",
    "pki/ca.key",
    "pki/etcd/ca.crt",
    "pki/etcd/ca.key",
    "pki/front-proxy-ca.crt",
    "pki/front-proxy-ca.key",
    "pki/sa.pub",
    "pki/sa.key",
];

/// A machine with the files of `/etc/kubernetes`.
struct Machine(tempfile::TempDir);

impl Machine {
    fn empty() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(machine.path("pki/etcd")).unwrap();
        machine
    }

    /// The first master of a cluster.
    fn first() -> Self {
        let machine = Self::empty();
        for (name, folder, stem) in [
            ("kubernetes", "pki", "ca"),
            ("front-proxy-ca", "pki", "front-proxy-ca"),
            ("etcd-ca", "pki/etcd", "ca"),
        ] {
            authority(name, year()).write(&machine.path(folder), stem);
        }
        machine.put_sa();
        // None of these leaves the machine.
        machine.put("pki/apiserver.key", "secret");
        machine.put("admin.conf", "secret");
        machine
    }

    fn put_sa(&self) {
        let sa = key();
        self.put("pki/sa.key", &sa.to_pem().unwrap());
        self.put("pki/sa.pub", &sa.public_pem());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("etc/kubernetes").join(name)
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn get(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn lose(&self, name: &str) {
        std::fs::remove_file(self.path(name)).unwrap();
    }

    fn root(&self) -> Root {
        Root::open(self.0.path()).unwrap()
    }

    fn collect(&self) -> Bundle {
        Bundle::collect(&self.root(), shared()).unwrap()
    }

    fn archive(&self) -> Vec<u8> {
        let mut archive = Vec::new();
        self.collect().write(&mut archive).unwrap();
        archive
    }

    /// What would be written here, by id; or why nothing.
    fn take(&self, archive: &[u8]) -> Result<Vec<Set>, String> {
        let bundle = Bundle::read(archive, shared()).map_err(|e| e.to_string())?;
        bundle.check(now()).map_err(|e| e.to_string())?;
        bundle.sets(&self.root()).map_err(|e| e.to_string())
    }

    fn refuses(&self, archive: &[u8]) -> String {
        self.take(archive)
            .map(|sets| format!("{sets:?}"))
            .unwrap_err()
    }

    fn write(&self, sets: Vec<Set>) {
        for file in sets.into_iter().flat_map(|set| set.files) {
            let path = file.path.strip_prefix("/").unwrap();
            std::fs::write(self.0.path().join(path), &*file.bytes).unwrap();
        }
    }
}

fn ids(sets: &[Set]) -> Vec<&str> {
    sets.iter().map(|set| set.id.as_str()).collect()
}

#[test]
fn a_second_master_gets_exactly_what_it_needs() {
    let (first, second) = (Machine::first(), Machine::empty());
    let archive = first.archive();
    assert_eq!(
        archive,
        first.archive(),
        "the same files make the same bundle"
    );
    let sets = second.take(&archive).unwrap();
    assert_eq!(ids(&sets), ["ca", "etcd-ca", "front-proxy-ca", "sa"]);
    let files: Vec<(&str, u32)> = sets
        .iter()
        .flat_map(|set| &set.files)
        .map(|file| (file.path.to_str().unwrap(), file.mode))
        .collect();
    let want = [
        ("/etc/kubernetes/pki/ca.key", 0o600),
        ("/etc/kubernetes/pki/ca.crt", 0o644),
        ("/etc/kubernetes/pki/etcd/ca.key", 0o600),
        ("/etc/kubernetes/pki/etcd/ca.crt", 0o644),
        ("/etc/kubernetes/pki/front-proxy-ca.key", 0o600),
        ("/etc/kubernetes/pki/front-proxy-ca.crt", 0o644),
        ("/etc/kubernetes/pki/sa.key", 0o600),
        ("/etc/kubernetes/pki/sa.pub", 0o600),
    ];
    assert_eq!(files, want);
    second.write(sets);
    for name in NAMES {
        assert_eq!(first.get(name), second.get(name), "{name}");
    }
    // Again: nothing to do, and both have the same to give.
    assert_eq!(ids(&second.take(&archive).unwrap()), [""; 0]);
    assert_eq!(second.archive(), archive);
}

#[test]
fn tar_reads_a_bundle_and_makes_one() {
    if !here(false, &["tar"]) {
        return;
    }
    let (first, second) = (Machine::first(), Machine::empty());
    let file = first.path("bundle.tar");
    std::fs::write(&file, first.archive()).unwrap();
    let list = run(Command::new("tar")
        .arg("-tvf")
        .arg(&file)
        .args(["--utc", "--full-time"]));
    let list = list.good();
    let lines: Vec<&str> = list.lines().collect();
    for (line, name) in lines.iter().zip(NAMES) {
        assert!(
            line.ends_with(&format!(" 1970-01-01 00:00:00 {name}")),
            "{line}"
        );
        let mode = if Path::new(name).extension().unwrap() == "crt" {
            "-rw-r--r-- 0/0"
        } else {
            "-rw------- 0/0"
        };
        assert!(line.starts_with(mode), "{line}");
    }
    assert_eq!(lines.len(), NAMES.len(), "{list}");
    let into = second.path("");
    run(Command::new("tar")
        .arg("-xf")
        .arg(&file)
        .arg("-C")
        .arg(&into))
    .good();
    assert_eq!(first.archive(), second.archive());

    // tar's own, in its own formats, with the folders.
    second.lose("pki/ca.key");
    for format in ["gnu", "pax", "ustar", "v7"] {
        let mut command = Command::new("tar");
        command
            .arg("-C")
            .arg(first.path(""))
            .arg(format!("--format={format}"));
        command.args(["--no-recursion", "-cf"]).arg(&file);
        run(command.args(["pki", "pki/etcd"]).args(NAMES)).good();
        let sets = second.take(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(ids(&sets), ["ca"], "{format}");
    }
}

#[test]
fn nothing_shows_what_is_in_a_bundle() {
    let first = Machine::first();
    let shown = format!(
        "{:?} {:?}",
        first.collect(),
        Machine::empty().take(&first.archive())
    );
    assert!(
        shown.contains("pki/ca.key") && !shown.contains("PRIVATE"),
        "{shown}"
    );
}

#[test]
fn an_authority_that_is_kept_elsewhere() {
    let (first, second) = (Machine::first(), Machine::empty());
    let key_of_ca = first.get("pki/ca.key");
    first.lose("pki/ca.key");
    let bundle = first.collect();
    assert_eq!(bundle.keyless(), ["ca"]);
    let archive = first.archive();
    let sets = second.take(&archive).unwrap();
    assert_eq!(sets[0].files.len(), 1, "{sets:?}");
    // A machine that has the key already keeps it; one that has another is told.
    second.put("pki/ca.key", &key_of_ca);
    second.take(&archive).unwrap();
    second.put("pki/ca.key", &key().to_pem().unwrap());
    assert!(
        second
            .refuses(&archive)
            .contains("/etc/kubernetes/pki/ca.key")
    );
    // It cannot be missing whole.
    first.lose("pki/ca.crt");
    assert!(
        second
            .refuses(&first.archive())
            .contains("there is no pki/ca.crt")
    );
}

#[test]
fn what_is_there_is_never_replaced() {
    let first = Machine::first();
    let archive = first.archive();
    let other = Machine::first();
    let message = other.refuses(&archive);
    for name in NAMES {
        assert!(
            message.contains(&format!("/etc/kubernetes/{name}")),
            "{name}: {message}"
        );
    }
    assert!(message.contains("nothing was changed"), "{message}");
    // One difference is enough to write nothing at all.
    for name in NAMES {
        let machine = Machine::empty();
        machine.put(name, &other.get(name));
        let message = machine.refuses(&archive);
        assert!(
            message.contains(name) && !message.contains("ca.crt, "),
            "{message}"
        );
        machine.put(name, "damaged");
        assert!(machine.refuses(&archive).contains(name));
    }
    // The same authority, renewed with its key, is another certificate.
    let machine = Machine::empty();
    let both = other.get("pki/ca.crt") + &first.get("pki/ca.crt");
    machine.put("pki/ca.crt", &both);
    assert!(machine.refuses(&archive).contains("pki/ca.crt"));
}

#[test]
fn the_same_in_another_form_stays_as_it_is() {
    if !here(false, &["openssl"]) {
        return;
    }
    let (first, second) = (Machine::first(), Machine::empty());
    for name in NAMES {
        second.put(name, &first.get(name));
    }
    let text = "a remark\r\n".to_owned() + &first.get("pki/ca.crt").replace('\n', "\r\n");
    second.put("pki/ca.crt", &text);
    let mut command = Command::new("openssl");
    command.args(["pkcs8", "-topk8", "-nocrypt", "-in"]);
    let pkcs8 = run(command.arg(first.path("pki/ca.key"))).good();
    assert_ne!(pkcs8, first.get("pki/ca.key"));
    second.put("pki/ca.key", &pkcs8);
    assert_eq!(ids(&second.take(&first.archive()).unwrap()), [""; 0]);
    assert_eq!(ids(&first.take(&second.archive()).unwrap()), [""; 0]);
}

type Spoil<'a> = &'a dyn Fn(&Machine);

#[test]
fn what_does_not_belong_together_does_not_leave_and_does_not_arrive() {
    let other = Machine::first();
    let leaf_pair = {
        let ca = Pair {
            certificate: other.get("pki/ca.crt"),
            key: other.get("pki/ca.key"),
        };
        leaf(&ca, "kube-apiserver", &["localhost"], &[])
    };
    let day = 86_400;
    let ended = Validity {
        not_before: now() - 2 * day,
        not_after: now() - day,
    };
    let to_come = Validity {
        not_before: now() + day,
        not_after: now() + 2 * day,
    };
    let table: [(Spoil<'_>, &str); 12] = [
        (
            &|m| m.put("pki/ca.key", &other.get("pki/ca.key")),
            "pki/ca.key is not the key of pki/ca.crt",
        ),
        (
            &|m| m.put("pki/etcd/ca.crt", &other.get("pki/etcd/ca.crt")),
            "pki/etcd/ca.key is not the key of",
        ),
        (
            &|m| m.put("pki/sa.pub", &other.get("pki/sa.pub")),
            "pki/sa.pub is not the public key of pki/sa.key",
        ),
        (
            &|m| leaf_pair.write(&m.path("pki"), "front-proxy-ca"),
            "pki/front-proxy-ca.crt is not an authority's certificate",
        ),
        (
            &|m| authority("x", ended).write(&m.path("pki"), "ca"),
            "pki/ca.crt is of no use any more: it ended at",
        ),
        (
            &|m| authority("x", to_come).write(&m.path("pki"), "ca"),
            "pki/ca.crt is not valid before",
        ),
        (
            &|m| m.put("pki/ca.crt", "hello"),
            "pki/ca.crt holds no certificate",
        ),
        (
            &|m| m.put("pki/sa.pub", "hello"),
            "pki/sa.pub holds no public key",
        ),
        (
            &|m| m.put("pki/sa.key", "hello"),
            "pki/sa.key holds no usable private key",
        ),
        (&|m| m.lose("pki/sa.key"), "there is no pki/sa.key"),
        (
            &|m| m.lose("pki/sa.pub"),
            "there is no pki/sa.pub; `stayput certs init`",
        ),
        (
            &|m| m.lose("pki/etcd/ca.crt"),
            "there is no pki/etcd/ca.crt",
        ),
    ];
    for (spoil, want) in table {
        let machine = Machine::first();
        spoil(&machine);
        let message = machine.collect().check(now()).unwrap_err().to_string();
        assert!(message.contains(want), "{want}: {message}");
        assert_eq!(Machine::empty().refuses(&machine.archive()), message);
    }
}

#[test]
fn a_bundle_of_authorities_is_known_by_its_key() {
    let (first, second) = (Machine::first(), Machine::empty());
    let all = authority("new", year()).certificate + &first.get("pki/ca.crt");
    first.put("pki/ca.crt", &all);
    let more = first.get("pki/sa.pub");
    first.put("pki/sa.pub", &(key().public_pem() + &more));
    assert_eq!(second.take(&first.archive()).unwrap().len(), 4);
}

/// An archive of these entries.
fn tar(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for (name, kind, bytes) in entries {
        let mut header = Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_mode(0o600);
        header.set_size(bytes.len() as u64);
        // Names that the library would refuse to write.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        if matches!(kind, EntryType::Symlink | EntryType::Link) {
            header.set_link_name("/etc/shadow").unwrap();
        }
        header.set_cksum();
        archive.append(&header, *bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn what_is_no_bundle_is_refused() {
    let first = Machine::first();
    let good = first.archive();
    let files: Vec<(&str, EntryType, Vec<u8>)> = NAMES
        .iter()
        .map(|name| (*name, EntryType::Regular, first.get(name).into_bytes()))
        .collect();
    let with = |more: &[(&'static str, EntryType)]| {
        let more = more.iter().map(|(name, kind)| (*name, *kind, &b""[..]));
        let files = files
            .iter()
            .map(|(name, kind, bytes)| (*name, *kind, bytes.as_slice()));
        tar(&files.chain(more).collect::<Vec<_>>())
    };
    let as_link = |kind| {
        let files = files.iter().map(|(name, file, bytes)| match *name {
            "pki/ca.key" => (*name, kind, &b""[..]),
            _ => (*name, *file, bytes.as_slice()),
        });
        tar(&files.collect::<Vec<_>>())
    };
    let foreign = "which does not belong there";
    let table = [
        ("nothing", Vec::new(), "empty, cut off"),
        (
            "text",
            b"-bash: stayput: command not found\n".to_vec(),
            "empty, cut off",
        ),
        ("zeros", vec![0; 10_240], "there is no pki/ca.crt"),
        ("short", good[..good.len() - 512].to_vec(), "empty, cut off"),
        (
            "large",
            [good.clone(), vec![0; usize::try_from(LIMIT).unwrap()]].concat(),
            "larger than",
        ),
        (
            "a leaf",
            with(&[("pki/apiserver.key", EntryType::Regular)]),
            foreign,
        ),
        (
            "upwards",
            with(&[("pki/../../shadow", EntryType::Regular)]),
            foreign,
        ),
        (
            "roundabout",
            with(&[("pki/./ca.key", EntryType::Regular)]),
            foreign,
        ),
        (
            "absolute",
            with(&[("/etc/kubernetes/pki/ca.key", EntryType::Regular)]),
            foreign,
        ),
        (
            "an escape",
            with(&[("pki/\u{1b}[2J", EntryType::Regular)]),
            "'pki/\\u{1b}[2J', which",
        ),
        (
            "a folder",
            with(&[("pki/etcd/member", EntryType::Directory)]),
            foreign,
        ),
        (
            "twice",
            with(&[("pki/ca.key", EntryType::Regular)]),
            "'pki/ca.key', twice",
        ),
        (
            "symlink",
            as_link(EntryType::Symlink),
            "'pki/ca.key', which is no regular file",
        ),
        (
            "hard link",
            as_link(EntryType::Link),
            "'pki/ca.key', which is no regular file",
        ),
        (
            "device",
            as_link(EntryType::Char),
            "'pki/ca.key', which is no regular file",
        ),
        (
            "fifo",
            as_link(EntryType::Fifo),
            "'pki/ca.key', which is no regular file",
        ),
        (
            "sparse",
            as_link(EntryType::GNUSparse),
            "cannot read the bundle",
        ),
    ];
    for (what, archive, want) in table {
        let message = Machine::empty().refuses(&archive);
        assert!(message.contains(want), "{what}: {message}");
    }
}

#[test]
fn a_bundle_that_is_cut_off_is_never_taken() {
    let good = Machine::first().archive();
    for end in (0..good.len()).step_by(512) {
        Machine::empty().refuses(&good[..end]);
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let first = Machine::first();
    first.lose("pki/ca.key");
    std::fs::create_dir(first.path("pki/ca.key")).unwrap();
    let message = Bundle::collect(&first.root(), shared())
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("cannot read /etc/kubernetes/pki/ca.key: "),
        "{message}"
    );
}

proptest! {
    /// Whatever a bundle is changed into, it is read or refused, never a crash; and what is taken of
    /// one that passed the checks lies below the folder.
    #[test]
    fn damage_is_survived(spots in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        static GOOD: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| Machine::first().archive());
        let mut archive = GOOD.clone();
        for (spot, byte) in spots {
            let spot = spot.index(archive.len());
            archive[spot] = byte;
        }
        if let Ok(sets) = Machine::empty().take(&archive) {
            let mut seen = BTreeSet::new();
            for file in sets.iter().flat_map(|set| &set.files) {
                let name = file.path.strip_prefix(Path::new("/etc/kubernetes")).unwrap();
                prop_assert!(NAMES.contains(&name.to_str().unwrap()));
                prop_assert!(seen.insert(name.to_owned()));
            }
        }
    }
}
