//! Whether what is there would be accepted by those who have to: everything that
//! [`health`](super::health) finds wrong, and webpki's word on each chain, usage and name. Pure.

use std::path::PathBuf;

use serde::Serialize;

use super::health::{Finding, State, findings};
use super::inventory::{Found, Inventory, Present};
use super::verify;
use super::wanted::{Item, Wanted};

/// What was found out about one item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// What commands call it.
    pub id: String,
    /// The file that people know it by.
    pub path: PathBuf,
    /// Whether nothing is wrong.
    pub holds: bool,
    /// What is, with what to do.
    pub problems: Vec<String>,
}

/// Judges everything that is wanted, in the catalogue's order, at a Unix time.
pub fn prove(wanted: &Wanted, inventory: &Inventory, now: i64) -> Vec<Proof> {
    let there =
        |item: &&Item| !(item.new_cluster_only && matches!(inventory.of(item), Found::Absent));
    let items = wanted.items.iter().filter(there);
    items
        .map(|item| proof(item, wanted, inventory, now))
        .collect()
}

fn proof(item: &Item, wanted: &Wanted, inventory: &Inventory, now: i64) -> Proof {
    // Time is a matter of `certs status`, until it is over.
    let wrong = |state| !matches!(state, State::Ok | State::Due | State::AuthorityEnds);
    let findings = findings(item, wanted, inventory, now);
    let told = |state| findings.iter().any(|finding| finding.state == state);
    let untold = !told(State::Expired) && !told(State::NotYetValid) && !told(State::Foreign);
    let refused = match inventory.of(item) {
        Found::Present(present) if untold => refusal(item, present, inventory, now),
        _ => None,
    };
    let problems = findings.into_iter().filter(|finding| wrong(finding.state));
    let mut problems: Vec<String> = problems.map(told_alone).collect();
    problems.extend(refused);
    Proof {
        id: item.id.clone(),
        path: item.path().to_owned(),
        holds: problems.is_empty(),
        problems,
    }
}

/// A finding's text where its state is not shown beside it.
fn told_alone(finding: Finding) -> String {
    match finding.state {
        State::Missing => format!("is missing: {}", finding.text),
        _ => finding.text,
    }
}

/// What webpki has against a leaf. A kubelet's own certificate is the kubelet's business, as far as its
/// names go.
fn refusal(item: &Item, present: &Present, inventory: &Inventory, now: i64) -> Option<String> {
    let authority = inventory.authorities.get(item.authority()?)?;
    let certificate = &present.certificate;
    // Names that are missing are told already.
    let mut names = item.profile.names.clone();
    let lacks = certificate.profile.names.lacks(&names);
    names.dns.retain(|name| !lacks.dns.contains(name));
    names
        .addresses
        .retain(|address| !lacks.addresses.contains(address));
    let usages = item.profile.usages;
    verify::chain(certificate, &present.chain, &authority.bundle, usages, now)
        .and_then(|()| verify::names(certificate, &names))
        .err()
        .map(|error| error.to_string())
}
