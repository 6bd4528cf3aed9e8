//! Whether everything that answers for our names says what the book says.
//!
//! Gathering asks for real: the responder over DNS, the hosts file's bytes, HAProxy's Runtime API, the
//! system's resolver. Judging is pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use serde::Serialize;
use tokio::time::timeout;

use crate::name::Name;
use crate::query;
use crate::root::Root;
use crate::surface::haproxy::{Haproxy, Observation};
use crate::surface::hosts::{self, Reading};
use crate::view::View;
use crate::writer::Writer;

/// What one surface says for a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Said {
    /// These addresses, in its order.
    Addresses(Vec<IpAddr>),
    /// It was not asked, for this reason; no disagreement.
    NotAsked(String),
    /// It did not answer, or with an error.
    Error(String),
}

/// One name and what everyone says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Fully qualified; an alias stands for itself.
    pub name: Name,
    /// What the book says.
    pub book: Vec<IpAddr>,
    /// The responder, over DNS; of several listeners the first that does not say what the book says.
    pub dns: Said,
    /// The hosts file.
    pub hosts: Said,
    /// HAProxy's server for that master.
    pub haproxy: Said,
    /// The system's resolver (getaddrinfo(3)).
    pub system: Said,
    /// Whether all of them agree.
    pub agrees: bool,
    /// What disagrees, one line each.
    pub disagreements: Vec<String>,
}

/// How long one question to the responder may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same for the system's resolver, which has several servers to try (resolv.conf(5): 5 s each).
const SYSTEM_PATIENCE: Duration = Duration::from_secs(10);
/// How many names are asked about at a time; each takes a thread of the system's resolver.
const AT_A_TIME: usize = 16;

/// Asks everyone about every name of the cluster, or about one. `writer` reads HAProxy's files.
pub async fn ask(root: &Root, writer: &Writer, view: &View, only: Option<&Name>) -> Vec<Row> {
    let haproxy = Haproxy::new(root.clone(), writer.clone());
    let observation = haproxy
        .observe(view)
        .await
        .map_err(|error| error.to_string());
    let reading = hosts::read(root, view).map_err(|error| error.to_string());
    let entries = view.entries();
    let names = entries.iter().flat_map(|entry| {
        let names = std::iter::once(&entry.name).chain(&entry.aliases);
        names.map(|name| (name, &entry.addresses))
    });
    let asked = names.filter(|(name, _)| only.is_none_or(|only| only == *name));
    let rows = asked.map(async |(name, book)| {
        let (dns, system) = tokio::join!(ask_dns(view, name), ask_system(root, name));
        let said = Answers {
            dns,
            hosts: ask_hosts(&reading, name),
            haproxy: ask_haproxy(view, &observation, name),
            system,
        };
        judge(name.clone(), book.clone(), said)
    });
    // Collected first: the names are borrowed by each of them.
    let rows: Vec<_> = rows.collect();
    stream::iter(rows).buffered(AT_A_TIME).collect().await
}

struct Answers {
    /// One for each listener.
    dns: Vec<(SocketAddr, Said)>,
    hosts: Said,
    haproxy: (Said, Vec<IpAddr>),
    system: Said,
}

/// HAProxy has one address for a master, and loopback for this node itself.
fn judge(name: Name, book: Vec<IpAddr>, said: Answers) -> Row {
    let (haproxy, server) = said.haproxy;
    let mut disagreements = Vec::new();
    let mut dns: Option<Said> = None;
    for (listener, answer) in said.dns {
        let disagreement = disagreement(&format!("dns at {listener}"), &answer, &book);
        if dns.is_none() || (disagreement.is_some() && disagreements.is_empty()) {
            dns = Some(answer);
        }
        disagreements.extend(disagreement);
    }
    disagreements.extend(disagreement("hosts", &said.hosts, &book));
    disagreements.extend(disagreement("haproxy", &haproxy, &server));
    // The system's resolver has no other word than an error for a name that nobody knows.
    let unknown = book.is_empty() && matches!(said.system, Said::Error(_));
    if !unknown {
        disagreements.extend(disagreement("system", &said.system, &book));
    }
    Row {
        name,
        book,
        dns: dns.unwrap_or_else(|| Said::NotAsked("no listen address".into())),
        hosts: said.hosts,
        haproxy,
        system: said.system,
        agrees: disagreements.is_empty(),
        disagreements,
    }
}

/// What is wrong with what someone says. Compares as sets: the order of addresses means nothing to
/// a resolver.
fn disagreement(who: &str, said: &Said, wanted: &[IpAddr]) -> Option<String> {
    match said {
        Said::Addresses(list) if set(list) != set(wanted) => {
            Some(format!("{who} says {}, not {}", words(list), words(wanted)))
        }
        Said::Error(error) => Some(format!("{who}: {error}")),
        Said::Addresses(_) | Said::NotAsked(_) => None,
    }
}

fn set(addresses: &[IpAddr]) -> BTreeSet<IpAddr> {
    addresses.iter().copied().collect()
}

fn words(addresses: &[IpAddr]) -> String {
    if addresses.is_empty() {
        return "nothing".to_owned();
    }
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(" ")
}

fn ask_hosts(reading: &Result<Reading, String>, name: &Name) -> Said {
    match reading {
        Ok(reading) => Said::Addresses(reading.addresses.get(name).cloned().unwrap_or_default()),
        Err(error) => Said::Error(error.clone()),
    }
}

/// Asks every listener: each has a socket of its own, which somebody else may have taken.
async fn ask_dns(view: &View, name: &Name) -> Vec<(SocketAddr, Said)> {
    let outside = !name.is_below(&view.cluster.domain);
    let ask = async |listener: &SocketAddr| {
        if outside {
            return (*listener, Said::NotAsked("outside the domain".into()));
        }
        let answer = query::addresses(*listener, name.as_str(), PATIENCE).await;
        let said = answer.map_or_else(|error| Said::Error(error.to_string()), Said::Addresses);
        (*listener, said)
    };
    join_all(view.cluster.dns.listen.iter().map(ask)).await
}

async fn ask_system(root: &Root, name: &Name) -> Said {
    if !root.is_system() {
        return Said::NotAsked("a sandbox".into());
    }
    // Without a final dot, as programs ask: hosts files know no name that ends in one.
    match timeout(SYSTEM_PATIENCE, tokio::net::lookup_host((name.as_str(), 0))).await {
        Ok(Ok(found)) => {
            let mut addresses: Vec<IpAddr> = found.map(|socket| socket.ip()).collect();
            addresses.dedup();
            Said::Addresses(addresses)
        }
        Ok(Err(error)) => Said::Error(error.to_string()),
        Err(_) => {
            let seconds = SYSTEM_PATIENCE.as_secs();
            Said::Error(format!(
                "the system's resolver takes longer than {seconds} s"
            ))
        }
    }
}

/// What HAProxy's server of that master points to, and what it should.
/// That it does not run at all is said once, of the endpoint, which does not work then.
fn ask_haproxy(
    view: &View,
    observation: &Result<Observation, String>,
    name: &Name,
) -> (Said, Vec<IpAddr>) {
    let is_endpoint = *name == view.cluster.endpoint.name;
    let observation = match observation {
        Ok(observation) => observation,
        Err(error) => return (Said::Error(error.clone()), Vec::new()),
    };
    if observation.running.is_none() {
        let installed = view.cluster.haproxy.binary.exists();
        let said = match (is_endpoint, installed) {
            (true, true) => Said::Error(observation.notices.join("; ")),
            (true, false) => Said::NotAsked("HAProxy is not on this machine".into()),
            (false, _) => Said::NotAsked("not running".into()),
        };
        return (said, Vec::new());
    }
    let Some(server) = observation.servers.iter().find(|s| s.name == *name) else {
        return (Said::NotAsked("no server of that name".into()), Vec::new());
    };
    let expected: Vec<IpAddr> = server.expected.iter().map(SocketAddr::ip).collect();
    let status = server.status.as_ref();
    let said = match status.map(|status| status.address.parse::<SocketAddr>()) {
        Some(Ok(_)) if server.expected.is_none() => Said::Addresses(Vec::new()),
        Some(Ok(address)) => Said::Addresses(vec![address.ip()]),
        Some(Err(_)) => Said::Addresses(Vec::new()),
        None => Said::Error("the running HAProxy has no such server".into()),
    };
    (said, expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn says(texts: &[&str]) -> Said {
        Said::Addresses(at(texts))
    }

    fn error() -> Said {
        Said::Error("failed to lookup address".into())
    }

    /// Everyone says what the book says but for those given.
    fn row(book: &[&str], dns: Vec<Said>, system: Said) -> Row {
        let listener = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let said = Answers {
            dns: (1000..).map(listener).zip(dns).collect(),
            hosts: says(book),
            haproxy: (says(book), at(book)),
            system,
        };
        judge(
            Name::parse("master-1.k8s.internal").unwrap(),
            at(book),
            said,
        )
    }

    #[test]
    fn each_listener_that_differs_is_named() {
        let (new, old) = (["10.77.0.21"], ["10.77.0.11"]);
        for (dns, shown, named) in [
            (vec![says(&new), says(&new)], says(&new), vec![]),
            (vec![says(&old), says(&new)], says(&old), vec![1000]),
            (vec![says(&new), says(&old)], says(&old), vec![1001]),
            (
                vec![says(&new), error(), says(&old)],
                error(),
                vec![1001, 1002],
            ),
            (
                vec![Said::NotAsked("outside".into())],
                Said::NotAsked("outside".into()),
                vec![],
            ),
        ] {
            let row = row(&new, dns, says(&new));
            assert_eq!(row.dns, shown);
            assert_eq!(row.agrees, named.is_empty());
            let lines: Vec<bool> = row
                .disagreements
                .iter()
                .zip(&named)
                .map(|(line, port)| line.starts_with(&format!("dns at 127.0.0.1:{port}")))
                .collect();
            assert_eq!(lines, vec![true; named.len()], "{:?}", row.disagreements);
            assert_eq!(row.disagreements.len(), named.len());
        }
    }

    #[test]
    fn a_master_that_nobody_knows_yet_is_no_disagreement() {
        let nobody = || vec![says(&[])];
        assert!(row(&[], nobody(), error()).agrees);
        assert!(row(&[], nobody(), says(&[])).agrees);
        let row_of_known = row(&["10.77.0.11"], vec![says(&["10.77.0.11"])], error());
        assert!(!row_of_known.agrees);
        let stale = row(&[], nobody(), says(&["10.77.0.11"]));
        assert_eq!(stale.disagreements, ["system says 10.77.0.11, not nothing"]);
        assert!(
            !row(&[], vec![error()], error()).agrees,
            "a silent responder"
        );
    }

    #[test]
    fn the_order_of_addresses_means_nothing() {
        let row = row(
            &["10.77.0.11", "fd77::11"],
            vec![says(&["fd77::11", "10.77.0.11"])],
            says(&["fd77::11", "10.77.0.11", "10.77.0.11"]),
        );
        assert!(row.agrees, "{:?}", row.disagreements);
    }
}
