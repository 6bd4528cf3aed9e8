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
use crate::address::{self, Loopback};
use crate::name::Name;

/// Where it lies while a rescue is in force.
pub const PATH: &str = "/etc/stayput/rescue.yaml";

/// Old addresses by master, and what is left out: entries of names that are no masters any more.
pub(super) type Read = (BTreeMap<Name, IpAddr>, Vec<String>);

/// What the file says, checked against the cluster file. A master that has been taken out of that one
/// is no reason for the others to lose their addresses.
pub(super) fn parse(text: &str, cluster: &Cluster, rules: Loopback) -> Result<Read, Problems> {
    read::file(text, Path::new(PATH), |tree, report| {
        let (mut rescue, mut stale) = (BTreeMap::new(), Vec::new());
        let of = "masters and their old addresses, such as master-1: 10.77.0.11";
        if tree.is_null() {
            report.add(&tree.place, format!("the file is empty; it needs {of}"));
            return None;
        }
        for (key, value) in tree.entries(of, report)? {
            let place = value.place.key_itself();
            let name = Name::parse(key).map_err(|error| error.to_string());
            let Some(name) = report.take(&place, name) else {
                continue;
            };
            let Some(master) = cluster.master_called(&name) else {
                stale.push(left_out(cluster, key));
                continue;
            };
            let parse = |text: &str| address::parse(text, rules);
            let Some(old) = value.parsed_by(parse, report) else {
                continue;
            };
            let holds = |it: &&Master| cluster.routes.stable(it) == Some(old);
            if let Some(holder) = cluster.masters.iter().find(holds) {
                let holder = holder.name.label();
                report.add(
                    &value.place,
                    format!("{old} is {holder}'s `stable` address; which it has all the time"),
                );
            }
            if rescue.values().any(|other| *other == old) {
                report.add(
                    &value.place,
                    format!("{old} is given twice; a rescue gives each address once"),
                );
            }
            if rescue.insert(master.name.clone(), old).is_some() {
                report.add(&place, "is given twice; keep one");
            }
        }
        report.is_empty().then_some((rescue, stale))
    })
}

fn left_out(cluster: &Cluster, name: &str) -> String {
    format!(
        "{PATH} gives {} its old address back, which is no master of the cluster file (the masters are {}): that is left out; `stayput kubeadm rescue --end` ends the whole rescue",
        name.escape_debug(),
        cluster.master_names()
    )
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

    fn parse_here(text: &str) -> Result<Read, String> {
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
        assert_eq!(parse_here(&text), Ok((rescue, Vec::new())));
    }

    #[test]
    fn a_master_that_is_gone_is_left_out_and_the_others_are_not() {
        let (rescue, stale) = parse_here("master-9: 10.0.0.9\nmaster-1: 10.77.0.11\n").unwrap();
        let told: Vec<String> = rescue
            .iter()
            .map(|(name, old)| format!("{name}={old}"))
            .collect();
        assert_eq!(told, ["master-1.k8s.internal=10.77.0.11"]);
        assert_eq!(stale.len(), 1);
        for word in [
            "rescue.yaml",
            "master-9",
            "master-1, master-2",
            "stayput kubeadm rescue --end",
        ] {
            assert!(stale[0].contains(word), "{word}: {stale:?}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, want) in [
            ("", "the file is empty"),
            ("-: 10.0.0.1", "1:1: -: "),
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
