//! Masters of one cluster, each in a folder, and what they sign.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use stayput::address::Loopback;
use stayput::name::Name;
use stayput::peers::ledger::Ledger;
use stayput::peers::record::Record;
use stayput::peers::sign::Signer;
use stayput::peers::statement::{Says, Statement};
use stayput::peers::store;
use stayput::peers::trust::Trust;
use stayput::peers::verify::verify;
use stayput::root::Root;

use crate::sandbox::Sandbox;
use crate::support::Said;

pub(crate) const DOMAIN: &str = "prod.k8s.internal";
/// Keys that are made in no time.
const QUICK: &str = "certificates: {keyType: ecdsa-p256}\n";

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn master(number: usize) -> Name {
    name(&format!("master-{number}.{DOMAIN}"))
}

/// Where this test's masters are: nobody else's addresses.
pub(crate) fn addresses() -> [String; 3] {
    let own = std::process::id() % 250;
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0_u8) % 250;
    [11, 12, 13].map(|last| format!("127.{}.{random}.{last}", own.max(1)))
}

/// A node of the cluster with these masters, without certificates.
pub(crate) fn node(hostname: &str, addresses: &[String; 3]) -> Sandbox {
    let sandbox = Sandbox::new(hostname);
    let masters = [0, 1, 2].map(|at| addresses[at].as_str());
    sandbox.write_cluster(&sandbox.cluster(&masters, QUICK));
    sandbox
}

/// The first makes the cluster's authorities, the others get them.
pub(crate) fn cluster(count: usize) -> Vec<Sandbox> {
    cluster_at(count, &addresses())
}

/// The same at these addresses.
pub(crate) fn cluster_at(count: usize, addresses: &[String; 3]) -> Vec<Sandbox> {
    let masters: Vec<Sandbox> = (1..=count)
        .map(|number| node(&format!("master-{number}"), addresses))
        .collect();
    let (first, others) = masters.split_first().unwrap();
    first.stayput(&["certs", "init", "--new-cluster"]).good();
    for other in others {
        hand_over(first, other);
    }
    masters
}

/// Another master gets the authorities and issues its own certificates.
pub(crate) fn hand_over(first: &Sandbox, other: &Sandbox) {
    let bundle = other.path("bundle.tar");
    let out = File::create(&bundle).unwrap();
    let bundled = first.command(&["certs", "bundle"]).stdout(out).status();
    assert!(bundled.unwrap().success());
    fed(other, &["certs", "unbundle"], &bundle).good();
    other.stayput(&["certs", "init"]).good();
}

/// Runs it with a file as its standard input.
pub(crate) fn fed(node: &Sandbox, arguments: &[&str], file: &Path) -> Said {
    let output = node
        .command(arguments)
        .stdin(Stdio::from(File::open(file).unwrap()))
        .output()
        .unwrap();
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs it for machines, with its exit code.
pub(crate) fn json(node: &Sandbox, arguments: &[&str]) -> (Value, i32) {
    let said = node.stayput(&[arguments, &["--output", "json"]].concat());
    let value = serde_json::from_str(&said.out);
    let value = value.unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said:?}"));
    (value, said.code)
}

pub(crate) fn root(node: &Sandbox) -> Root {
    Root::open(node.folder()).unwrap()
}

pub(crate) fn trust(node: &Sandbox) -> Trust {
    Trust::load(&root(node), &name(DOMAIN)).unwrap()
}

/// What a master says with its own key.
pub(crate) fn say(node: &Sandbox, whom: &Name, version: u64, says: Says) -> Record {
    let signer = Signer::load(&root(node), &name(DOMAIN)).unwrap();
    let statement = Statement {
        cluster: name(DOMAIN),
        master: whom.clone(),
        version,
        says,
    };
    statement.encode(Loopback::Allowed).unwrap();
    signer.sign(&statement).unwrap()
}

/// A master says where it is.
pub(crate) fn at(node: &Sandbox, number: usize, version: u64, address: &str) -> Record {
    let addresses = vec![address.parse().unwrap()];
    say(node, &master(number), version, Says::At(addresses))
}

/// Puts records into a node's file.
pub(crate) fn keep(node: &Sandbox, records: &[Record]) {
    let (root, trust) = (root(node), trust(node));
    let mut ledger = Ledger::default();
    for record in records {
        let verified = verify(record, &trust).unwrap();
        assert!(ledger.offer(verified, 1_700_000_000).is_taken());
    }
    store::save(&root, &ledger).unwrap();
}

/// The file of a node's records, if there is one.
pub(crate) fn stored(node: &Sandbox) -> Option<Vec<u8>> {
    std::fs::read(node.path(store::PATH.trim_start_matches('/'))).ok()
}

/// A master's first address and its origin in the book.
pub(crate) fn shown(node: &Sandbox, number: usize) -> Option<(String, String)> {
    let status = node.status();
    let masters = status["masters"].as_array().unwrap();
    let whole = master(number);
    let entry = masters.iter().find(|it| it["name"] == whole.as_str())?;
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    Some((text(&entry["addresses"][0]), text(&entry["origin"])))
}
