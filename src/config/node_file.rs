//! The node file: what is to be said of one node. All of it is optional.

use std::path::Path;

use super::node::Selection;
use super::problem::Problems;
use super::read::{self, Value};
use super::report::Report;
use super::scalar;
use crate::name::Name;

/// What a node file says, or what flags say in its place. All of it is optional.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeSettings {
    /// The node's name in the cluster file: a label, or a whole name.
    pub name: Option<Name>,
    /// Whether it is a master although the cluster file may not name it: one that joins.
    pub joins: bool,
    /// The name of its Kubernetes Node object.
    pub kubernetes_name: Option<Name>,
    /// Where its own addresses are looked for.
    pub selection: Option<Selection>,
}

impl NodeSettings {
    /// Parses and checks a node file; everything that is wrong with it is told at once. An empty
    /// file is a good one. `file` is only named in the problems.
    pub fn parse(text: &str, file: &Path) -> Result<Self, Problems> {
        read::file(text, file, settings)
    }

    /// These settings, and for what they leave open, those of `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            name: self.name.or(other.name),
            joins: self.joins || other.joins,
            kubernetes_name: self.kubernetes_name.or(other.kubernetes_name),
            selection: self.selection.or(other.selection),
        }
    }
}

fn settings(tree: &Value<'_>, report: &mut Report) -> Option<NodeSettings> {
    if tree.is_null() {
        return Some(NodeSettings::default());
    }
    let fields = tree.fields(
        &["name", "role", "kubernetesName", "interface", "cidr"],
        report,
    )?;
    let mut settings = NodeSettings::default();
    if let Some(value) = fields.get("name") {
        settings.name = value.parsed_by(Name::parse, report);
    }
    if let Some(value) = fields.get("role") {
        settings.joins = value.parsed_by(role, report).is_some();
    }
    if let Some(value) = fields.get("kubernetesName") {
        settings.kubernetes_name = value.parsed_by(Name::parse, report);
    }
    if let Some(value) = fields.get("interface") {
        let interface = value.parsed_by(scalar::interface, report);
        settings.selection = interface.map(Selection::Interface);
    }
    if let Some(value) = fields.get("cidr") {
        let range = value.parsed_by(scalar::range, report);
        if fields.get("interface").is_some() {
            let message = "is given beside 'interface'; give one of them";
            report.add(&value.place.key_itself(), message);
        }
        settings.selection = range.map(Selection::Within);
    }
    Some(settings)
}

/// A worker is what every node is that is no master.
fn role(text: &str) -> Result<(), String> {
    match text {
        "master" => Ok(()),
        other => Err(format!(
            "'{other}' is not known; use master, or leave it out on a node that is none"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn a_node_file_is_read_and_flags_go_before_it() {
        let text = "name: m1\nkubernetesName: box-7.corp.example.com\ninterface: eth0.100\n";
        let file = NodeSettings::parse(text, Path::new("F")).unwrap();
        assert_eq!(
            file.selection,
            Some(Selection::Interface("eth0.100".into()))
        );
        let flags = NodeSettings {
            name: Some(name("m2")),
            ..NodeSettings::default()
        };
        let both = flags.or(file);
        assert_eq!(both.name, Some(name("m2")));
        assert_eq!(both.kubernetes_name, Some(name("box-7.corp.example.com")));
        for empty in ["", "# all by default\n"] {
            let settings = NodeSettings::parse(empty, Path::new("F")).unwrap();
            assert_eq!(settings, NodeSettings::default());
        }
    }

    #[test]
    fn mistakes_in_a_node_file_are_told_with_their_place() {
        for (text, want) in [
            (
                "name: a_b",
                "1:7: name: 'a_b' is not a host name; use letters, digits and inner hyphens (RFC 1123)",
            ),
            (
                "nodeName: a",
                "1:1: nodeName: is not a known key; known here: name, role, kubernetesName, interface, cidr",
            ),
            (
                "role: worker",
                "1:7: role: 'worker' is not known; use master, or leave it out on a node that is none",
            ),
            (
                "kubernetesname: a",
                "1:1: kubernetesname: is not a known key; did you mean 'kubernetesName'?",
            ),
            (
                "interface: a/b",
                "1:12: interface: 'a/b' is not an interface; write its name as `ip link` shows it, such as eth0",
            ),
            (
                "interface: sixteen-letters-",
                "1:12: interface: 'sixteen-letters-' is not an interface; write its name as `ip link` shows it, such as eth0",
            ),
            (
                "cidr: 10.0.0.1/24",
                "1:7: cidr: 10.0.0.1/24 is an address within a range; write 10.0.0.0/24",
            ),
            (
                "cidr: eth0",
                "1:7: cidr: 'eth0' is not a range; write one such as 10.77.0.0/24",
            ),
            (
                "interface: eth0\ncidr: 10.0.0.0/24",
                "2:1: cidr: is given beside 'interface'; give one of them",
            ),
        ] {
            let problems = NodeSettings::parse(text, Path::new("F")).unwrap_err();
            assert_eq!(problems.to_string(), format!("F:{want}"), "{text}");
        }
    }
}
