//! The sample cluster of all tests, those beside the code and the fuzz target included. It is read
//! from a cluster file, so it holds what a real one would, defaults and all.
//!
//! Its masters follow upstream names: the file says where none of them is, a test's book says where
//! each is. Whatever includes this names it `sample`, at the root of its crate.
#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(clippy::unwrap_used, clippy::allow_attributes, reason = "tests")]

use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use stayput::address::Loopback;
use stayput::book::{Book, Event, reduce};
use stayput::config::cluster::Cluster;
use stayput::config::node::{Node, Role, Selection};
use stayput::name::Name;
use stayput::pki::bundle::Pair;
use stayput::pki::catalogue::Catalogue;
use stayput::pki::wanted::wanted;
use stayput::view::View;

/// The domain of [`view`].
pub(crate) const DOMAIN: &str = "k8s.internal";

/// When the masters were told, in Unix time; the first book's generation.
pub(crate) const TOLD: u64 = 1_764_000_000;

/// A cluster file by a sandbox's rules. Properties ask for the same one thousands of times, so each
/// is parsed once.
pub(crate) fn parse(text: &str) -> Arc<Cluster> {
    static PARSED: LazyLock<Mutex<HashMap<String, Arc<Cluster>>>> = LazyLock::new(Mutex::default);
    if let Some(cluster) = PARSED.lock().unwrap().get(text) {
        return cluster.clone();
    }
    let cluster = Cluster::parse(text, Path::new("sample"), Loopback::Allowed);
    let cluster = Arc::new(cluster.unwrap());
    let mut parsed = PARSED.lock().unwrap();
    parsed.insert(text.to_owned(), cluster.clone());
    cluster
}

/// Masters by relative name, and aliases by full name with relative targets; the endpoint is `api`.
pub(crate) fn cluster<'a>(
    domain: &str,
    masters: impl IntoIterator<Item = &'a str>,
    aliases: &[(&str, &str)],
) -> Arc<Cluster> {
    let mut file = format!("domain: {domain}\nendpoint: {{name: api}}\nmasters:\n");
    for (index, name) in masters.into_iter().enumerate() {
        let upstream = format!("m{index}.upstream.example");
        writeln!(file, "- {{name: {name}.{domain}, follow: {upstream}}}").unwrap();
    }
    file.push_str("aliases:\n");
    for (alias, target) in aliases {
        writeln!(file, "  {alias}: {target}.{domain}").unwrap();
    }
    parse(&file)
}

/// A worker's view of the cluster, with the masters' addresses by relative name; a master that is
/// not listed, or has none, is not known yet.
pub(crate) fn worker<'a>(
    cluster: Arc<Cluster>,
    addresses: impl IntoIterator<Item = (&'a str, Vec<IpAddr>)>,
) -> View {
    let told = addresses.into_iter().map(|(relative, addresses)| {
        let name = Name::parse(relative).unwrap().below(&cluster.domain);
        (name.unwrap(), addresses)
    });
    let masters = cluster.masters.iter().map(|m| (m.name.clone(), Vec::new()));
    let declared = Event::Declared(masters.chain(told).collect());
    let book = reduce(&Book::default(), &declared, TOLD).unwrap();
    let node = Node {
        role: Role::Worker,
        kubernetes_name: Name::parse("worker").unwrap(),
        selection: Selection::DefaultRoute,
    };
    View {
        cluster,
        node: Arc::new(node),
        book: Arc::new(book),
        provisioned: false,
    }
}

/// Masters of [`DOMAIN`] by relative name with their addresses; aliases as in [`cluster`].
pub(crate) fn view(masters: &[(&str, &[&str])], aliases: &[(&str, &str)]) -> View {
    let cluster = cluster(DOMAIN, masters.iter().map(|(name, _)| *name), aliases);
    worker(
        cluster,
        masters.iter().map(|(name, list)| (*name, ips(list))),
    )
}

/// Three masters at these last octets of 10.77.0.0/24, and an alias on either side of the domain.
pub(crate) fn three(octets: [u8; 3]) -> View {
    let [a, b, c] = octets.map(|octet| format!("10.77.0.{octet}"));
    view(
        &[
            ("master-1", &[&a]),
            ("master-2", &[&b]),
            ("master-3", &[&c]),
        ],
        &[("k8s.example.com", "api"), ("old.k8s.internal", "master-1")],
    )
}

/// Addresses from their texts.
pub(crate) fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// What the masters of a cluster share.
pub(crate) fn shared() -> Vec<Pair> {
    let cluster = cluster(DOMAIN, ["master-1"], &[]);
    let master = Name::parse(&format!("master-1.{DOMAIN}")).unwrap();
    let node = Node {
        role: Role::Master(master),
        kubernetes_name: Name::parse("master-1").unwrap(),
        selection: Selection::DefaultRoute,
    };
    Pair::shared(&wanted(&Catalogue::builtin().unwrap(), &cluster, &node))
}
