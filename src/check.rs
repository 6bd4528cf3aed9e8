//! Whether everything that answers for our names says what the book says.
//!
//! Gathering asks for real: the responder over DNS, the hosts file's bytes, HAProxy's Runtime API, the
//! system's resolver. Judging is pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Serialize;

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
    /// The responder, over DNS.
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

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks everyone about every name of the cluster, or about one. `writer` reads HAProxy's files.
pub async fn ask(root: &Root, writer: &Writer, view: &View, only: Option<&Name>) -> Vec<Row> {
    let haproxy = Haproxy::new(root.clone(), writer.clone());
    let observation = haproxy
        .observe(view)
        .await
        .map_err(|error| error.to_string());
    let reading = hosts::read(root, view).map_err(|error| error.to_string());
    let mut rows = Vec::new();
    for entry in view.entries() {
        let names = std::iter::once(&entry.name).chain(&entry.aliases);
        for name in names.filter(|name| only.is_none_or(|only| only == *name)) {
            let said = Answers {
                dns: ask_dns(view, name).await,
                hosts: ask_hosts(&reading, name),
                haproxy: ask_haproxy(view, &observation, name),
                system: ask_system(root, name).await,
            };
            rows.push(judge(name.clone(), entry.addresses.clone(), said));
        }
    }
    rows
}

struct Answers {
    dns: Said,
    hosts: Said,
    haproxy: (Said, Vec<IpAddr>),
    system: Said,
}

/// Compares as sets: the order of addresses means nothing to a resolver. HAProxy has one address
/// for a master, and loopback for this node itself.
fn judge(name: Name, book: Vec<IpAddr>, said: Answers) -> Row {
    let (haproxy, server) = said.haproxy;
    let mut disagreements = Vec::new();
    for (surface, said, wanted) in [
        ("dns", &said.dns, &book),
        ("hosts", &said.hosts, &book),
        ("haproxy", &haproxy, &server),
        ("system", &said.system, &book),
    ] {
        match said {
            Said::Addresses(list) if set(list) != set(wanted) => {
                disagreements.push(format!(
                    "{surface} says {}, not {}",
                    words(list),
                    words(wanted)
                ));
            }
            Said::Error(error) => disagreements.push(format!("{surface}: {error}")),
            Said::Addresses(_) | Said::NotAsked(_) => {}
        }
    }
    Row {
        name,
        book,
        dns: said.dns,
        hosts: said.hosts,
        haproxy,
        system: said.system,
        agrees: disagreements.is_empty(),
        disagreements,
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

async fn ask_dns(view: &View, name: &Name) -> Said {
    if !name.is_below(&view.cluster.domain) {
        return Said::NotAsked("outside the domain".into());
    }
    let mut last = Said::NotAsked("no listen address".into());
    for server in &view.cluster.dns.listen {
        match query::addresses(*server, name.as_str(), PATIENCE).await {
            Ok(addresses) => last = Said::Addresses(addresses),
            Err(error) => return Said::Error(format!("{server}: {error}")),
        }
    }
    last
}

async fn ask_system(root: &Root, name: &Name) -> Said {
    if !root.is_system() {
        return Said::NotAsked("a sandbox".into());
    }
    // The final dot keeps search lists out of it; hosts files are found without it.
    match tokio::net::lookup_host((name.as_str(), 0)).await {
        Ok(found) => {
            let mut addresses: Vec<IpAddr> = found.map(|socket| socket.ip()).collect();
            addresses.dedup();
            Said::Addresses(addresses)
        }
        Err(error) => Said::Error(error.to_string()),
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
