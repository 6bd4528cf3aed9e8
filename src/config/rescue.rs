//! The file of a rescue: the old address of each master that is to have it back.
//!
//! ```yaml
//! master-1: 10.77.0.11
//! master-2: 10.77.0.12
//! ```
//!
//! It is written by `stayput kubeadm rescue` and lies beside the cluster file, which stays as it is.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use super::cluster::{Cluster, Master};
use super::problem::Problems;
use super::read;
use super::report::Report;
use crate::address::{self, Loopback};
use crate::name::Name;

/// Where it lies while a rescue is in force.
pub const PATH: &str = "/etc/stayput/rescue.yaml";

/// Old addresses by master, checked against the cluster file.
pub(super) fn parse(
    text: &str,
    cluster: &Cluster,
    rules: Loopback,
) -> Result<BTreeMap<Name, IpAddr>, Problems> {
    read::file(text, Path::new(PATH), |tree, report| {
        let mut rescue = BTreeMap::new();
        let of = "masters and their old addresses, such as master-1: 10.77.0.11";
        if tree.is_null() {
            report.add(&tree.place, format!("the file is empty; it needs {of}"));
            return None;
        }
        for (key, value) in tree.entries(of, report)? {
            let place = value.place.key_itself();
            let Some(name) = report.take(&place, master(cluster, key)) else {
                continue;
            };
            let parse = |text: &str| address::parse(text, rules);
            let Some(old) = value.parsed_by(parse, report) else {
                continue;
            };
            let stable = |it: &&Master| it.name != name && cluster.routes.stable(it) == Some(old);
            if let Some(holder) = cluster.masters.iter().find(stable) {
                let holder = holder.name.label();
                report.add(
                    &value.place,
                    format!(
                        "{old} is {holder}'s `stable` address; a rescue cannot give it to another"
                    ),
                );
            }
            if rescue.values().any(|other| *other == old) {
                report.add(
                    &value.place,
                    format!("{old} is given twice; a rescue gives each address once"),
                );
            }
            if rescue.insert(name, old).is_some() {
                report.add(&place, "is given twice; keep one");
            }
        }
        is_good(report).then_some(rescue)
    })
}

fn is_good(report: &Report) -> bool {
    report.is_empty()
}

fn master(cluster: &Cluster, text: &str) -> Result<Name, String> {
    let name = Name::parse(text).map_err(|error| error.to_string())?;
    match cluster.master_called(&name) {
        Some(master) => Ok(master.name.clone()),
        None => Err(format!(
            "is no master of the cluster file; the masters are {}",
            cluster.master_names()
        )),
    }
}

/// The file's text.
pub fn render(cluster: &Cluster, rescue: &BTreeMap<Name, IpAddr>) -> String {
    let mut text = "# A rescue: `stayput kubeadm rescue --end` ends it.\n".to_owned();
    for (name, old) in rescue {
        let label = name.relative_to(&cluster.domain).unwrap_or(name.as_str());
        let _ = writeln!(text, "{label}: \"{old}\"");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn cluster() -> std::sync::Arc<Cluster> {
        sample::cluster(sample::DOMAIN, ["master-1", "master-2"], &[])
    }

    fn parse_here(text: &str) -> Result<BTreeMap<Name, IpAddr>, String> {
        parse(text, &cluster(), Loopback::Refused).map_err(|problems| problems.to_string())
    }

    #[test]
    fn what_is_written_is_read() {
        let name = |text: &str| Name::parse(text).unwrap();
        let rescue = BTreeMap::from([
            (name("master-1.k8s.internal"), "10.77.0.11".parse().unwrap()),
            (name("master-2.k8s.internal"), "fd77::12".parse().unwrap()),
        ]);
        let text = render(&cluster(), &rescue);
        assert_eq!(parse_here(&text), Ok(rescue));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, want) in [
            ("", "the file is empty"),
            (
                "master-9: 10.0.0.1",
                "1:1: master-9: is no master of the cluster file; the masters are master-1, master-2",
            ),
            ("master-1: 127.0.0.1", "is a loopback address"),
            (
                "master-1: 10.0.0.1\nmaster-2: 10.0.0.1",
                "2:11: master-2: 10.0.0.1 is given twice",
            ),
            (
                "master-1: 10.0.0.1\nmaster-1.k8s.internal: 10.0.0.2",
                "2:1: master-1.k8s.internal: is given twice",
            ),
            ("[master-1]", "write a mapping of"),
        ] {
            let said = parse_here(text).unwrap_err();
            assert!(said.contains(want), "{text}: {said}");
        }
    }
}
