//! Whether everything that answers for our names says what the book says.
//!
//! Gathering asks for real: the responder over DNS, the hosts file's bytes, HAProxy's Runtime API, the
//! system's resolver. Judging is pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::Serialize;

use crate::name::Name;
use crate::query;
use crate::root::Root;
use crate::surface::haproxy::{self, Observation};
use crate::surface::hosts;
use crate::view::View;

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

/// What a surface has to say for a name.
#[derive(Debug)]
struct Question {
    name: Name,
    book: Vec<IpAddr>,
    /// What HAProxy's server of that name has to point to, where it has one.
    server: Option<(String, IpAddr)>,
}

/// Asks everyone about every name of the cluster, or about one.
pub async fn ask(root: &Root, view: &View, only: Option<&Name>) -> Vec<Row> {
    let observation = haproxy::look(root, view).await;
    let hosts = hosts::read(root, view).map_err(|error| error.to_string());
    let mut rows = Vec::new();
    for question in questions(view) {
        if only.is_some_and(|only| *only != question.name) {
            continue;
        }
        let dns = ask_dns(view, &question.name).await;
        let system = ask_system(root, &question.name).await;
        let hosts = match &hosts {
            Ok(reading) => Said::Addresses(reading.addresses(&question.name)),
            Err(error) => Said::Error(error.clone()),
        };
        let haproxy = ask_haproxy(&observation, question.server.as_ref());
        rows.push(judge(question, dns, hosts, haproxy, system));
    }
    rows
}

fn questions(view: &View) -> Vec<Question> {
    let servers = haproxy::servers(view);
    let mut questions = Vec::new();
    for entry in view.entries() {
        let server = servers
            .iter()
            .find(|server| server.master == entry.name)
            .and_then(|server| Some((server.name.clone(), server.address?)));
        let aliases = entry.aliases.iter().map(|alias| (alias.clone(), None));
        for (name, server) in std::iter::once((entry.name.clone(), server)).chain(aliases) {
            questions.push(Question {
                name,
                book: entry.addresses.clone(),
                server,
            });
        }
    }
    questions
}

/// Compares as sets: the order of addresses means nothing to a resolver.
fn judge(question: Question, dns: Said, hosts: Said, haproxy: Said, system: Said) -> Row {
    let Question { name, book, server } = question;
    let wanted: BTreeSet<IpAddr> = book.iter().copied().collect();
    let server: BTreeSet<IpAddr> = server.into_iter().map(|(_, address)| address).collect();
    let mut disagreements = Vec::new();
    for (surface, said, wanted) in [
        ("dns", &dns, &wanted),
        ("hosts", &hosts, &wanted),
        ("haproxy", &haproxy, &server),
        ("system", &system, &wanted),
    ] {
        match said {
            Said::Addresses(list) if list.iter().copied().collect::<BTreeSet<_>>() != *wanted => {
                disagreements.push(format!("{surface} says {list:?} instead of {wanted:?}"));
            }
            Said::Error(error) => disagreements.push(format!("{surface}: {error}")),
            Said::Addresses(_) | Said::NotAsked(_) => {}
        }
    }
    Row {
        name,
        book,
        dns,
        hosts,
        haproxy,
        system,
        agrees: disagreements.is_empty(),
        disagreements,
    }
}

async fn ask_dns(view: &View, name: &Name) -> Said {
    if !name.is_below(&view.cluster.domain) {
        return Said::NotAsked("outside the domain".into());
    }
    let mut last = Said::NotAsked("no listen address".into());
    for server in &view.cluster.dns.listen {
        match query::addresses(*server, name).await {
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

fn ask_haproxy(observation: &Observation, server: Option<&(String, IpAddr)>) -> Said {
    let Some((server, _)) = server else {
        return Said::NotAsked("no server of that name".into());
    };
    if let Some(reason) = observation.not_running() {
        return Said::Error(reason);
    }
    let found = observation.servers.iter().find(|s| s.name == *server);
    match found {
        Some(found) => Said::Addresses(found.ip().into_iter().collect()),
        None => Said::Error(format!("the running HAProxy has no server {server}")),
    }
}
