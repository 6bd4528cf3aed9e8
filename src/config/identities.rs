//! Only a master's own certificate says that it speaks for that master.
//!
//! The built-in catalogue gives `LABEL.stayput.DOMAIN` and the group `stayput:masters` to one row. What
//! the operator adds is checked here as it comes out on each master: words in it stand for names.

use super::cluster::Cluster;
use super::report::{Located, Report};
use crate::name::Name;
use crate::pki::identity;
use crate::pki::template::Words;

/// What certificates say by the operator's choice, as templates.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// DNS names and CNs.
    pub(super) names: Vec<Located<String>>,
    /// Groups.
    pub(super) organizations: Vec<Located<String>>,
}

/// Complains about each that would come out as a master's, on a node of any name.
pub(super) fn check(cluster: &Cluster, said: &Said, report: &mut Report) {
    if said.names.is_empty() && said.organizations.is_empty() {
        return;
    }
    let masters = cluster.masters.iter();
    // What the node is called is judged on the node.
    let words: Vec<Words> = masters
        .map(|master| Words::of(cluster, &master.name, &cluster.endpoint.name))
        .collect();
    for Located { value, place } in &said.names {
        if let Some(name) = words.iter().find_map(|words| name(value, words, cluster)) {
            report.add(place, reserved(&name));
        }
    }
    for Located { value, place } in &said.organizations {
        if let Some(group) = words.iter().find_map(|words| organization(value, words)) {
            let message = format!(
                "'{group}' is a group of stayput's own, which masters prove themselves by; choose another one"
            );
            report.add(place, message);
        }
    }
}

/// What is wrong with a node's name in Kubernetes, which certificates name too, if anything.
pub(super) fn of_node(cluster: &Cluster, master: Option<&Name>, node: &Name) -> Option<String> {
    if identity::is_reserved(node.as_str(), &cluster.domain) {
        return Some(reserved(node.as_str()));
    }
    let words = Words::of(cluster, master?, node);
    let certificates = &cluster.certificates;
    let names = certificates.extra_names.values().flatten();
    let rows = certificates.extra.iter();
    let names = names.chain(
        rows.clone()
            .flat_map(|row| row.names.iter().chain([&row.common_name])),
    );
    let name = names
        .into_iter()
        .find_map(|text| name(text, &words, cluster));
    let mut groups = rows.flat_map(|row| &row.organizations);
    name.map(|name| reserved(&name)).or_else(|| {
        let group = groups.find_map(|text| organization(text, &words))?;
        Some(format!(
            "a certificate of the cluster file would be in '{group}', a group of stayput's own"
        ))
    })
}

/// A reserved name that a template comes out as.
fn name(template: &str, words: &Words, cluster: &Cluster) -> Option<String> {
    let mut names = words.fill(template).into_iter();
    names.find(|name| identity::is_reserved(name, &cluster.domain))
}

/// A group of stayput's own that a template comes out as.
fn organization(template: &str, words: &Words) -> Option<String> {
    let mut groups = words.fill(template).into_iter();
    groups.find(|group| group.trim_start().starts_with(identity::ORGANIZATIONS))
}

/// The words about a name that is a master's to speak by.
pub(super) fn reserved(name: &str) -> String {
    format!("'{name}' is among the names by which masters speak to nodes; choose another one")
}
