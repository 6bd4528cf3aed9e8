//! The catalogue as a whole: its text, and its rows against each other.

use std::collections::BTreeMap;
use std::path::Path;

use super::problem::Problems;
use super::read;
use super::report::Report;
use super::row::{self, Entry};
use super::scalar;
use crate::pki::catalogue::{Catalogue, Row};

/// Reads a whole catalogue; `file` is only named in the problems.
pub(crate) fn parse(text: &str, file: &Path) -> Result<Catalogue, Problems> {
    read::file(text, file, |tree, report| {
        let fields = tree.fields(&["leafConstraints", "rows"], report)?;
        let section = fields.section("leafConstraints", &["since"], report)?;
        let since = section.required("since", "write a release such as \"1.21\"", report);
        let since = since.and_then(|value| scalar::minor(value, report));
        let list = fields.required("rows", "list what is issued", report)?;
        let entries = row::entries(list, report)?;
        check(&[], &entries, report);
        Some(Catalogue {
            rows: entries.into_iter().map(|entry| entry.row).collect(),
            leaf_constraints_since: since?,
        })
    })
}

/// Checks rows against each other and against the built-in ones: one row of an id and a release, one
/// id of a path, and an authority wherever one is named. Built-in ids are taken in every release.
pub(super) fn check(built_in: &[Row], entries: &[Entry], report: &mut Report) {
    let all: Vec<&Row> = built_in
        .iter()
        .chain(entries.iter().map(|entry| &entry.row))
        .collect();
    let mut paths: BTreeMap<&Path, &str> = built_in
        .iter()
        .map(|row| (row.path.as_path(), row.id.as_str()))
        .collect();
    for (index, entry) in entries.iter().enumerate() {
        let row = &entry.row;
        let mut before = entries[..index].iter().map(|entry| &entry.row);
        if built_in.iter().any(|other| other.id == row.id) {
            let message = format!("'{}' is built in; choose another id", row.id);
            report.add(&entry.id, message);
        } else if before.any(|other| other.id == row.id && other.overlaps(row)) {
            let message = format!(
                "'{}' is given twice for one release; choose another id, or since and until that do not overlap",
                row.id
            );
            report.add(&entry.id, message);
        }
        let owner = paths.entry(&row.path).or_insert(&row.id);
        if *owner != row.id {
            let message = format!(
                "{} belongs to '{owner}'; choose another path",
                row.path.display()
            );
            report.add(&entry.path, message);
        }
        if let Some(message) = lacks_authority(row, &all) {
            report.add(&entry.authority, message);
        }
    }
}

/// What is wrong with a row's authority, if anything: each release that has the row needs it.
fn lacks_authority(row: &Row, all: &[&Row]) -> Option<String> {
    let wanted = row.authority()?;
    let authorities = || all.iter().filter(|row| row.is_authority());
    let its = || authorities().filter(|row| row.id == wanted);
    if its().next().is_none() {
        let known = listed(authorities().map(|row| row.id.as_str()));
        return Some(format!("'{wanted}' is not an authority; known: {known}"));
    }
    // Whether it is there changes nowhere else.
    let first = row.since.unwrap_or(scalar::MIN_MINOR);
    let ends = its().filter_map(|authority| Some(authority.until? + 1));
    let missing = ends
        .chain([first])
        .filter(|minor| row.applies(*minor))
        .find(|minor| !its().any(|authority| authority.applies(*minor)))?;
    Some(format!(
        "'{wanted}' is not there in Kubernetes 1.{missing}, and this row is; change since or until"
    ))
}

/// Ids for a message, each once.
pub(super) fn listed<'a>(ids: impl IntoIterator<Item = &'a str>) -> String {
    let mut all: Vec<&str> = Vec::new();
    for id in ids {
        if !all.contains(&id) {
            all.push(id);
        }
    }
    all.join(", ")
}
