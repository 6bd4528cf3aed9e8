//! What is done about kubeadm's files.

use super::parse::command;
use super::read::Fields;
use super::report::Report;
use crate::address::Loopback;

const FOLLOW: [&str; 3] = ["/usr/bin/systemctl", "start", "stayput-kubeadm.service"];

/// What is done about kubeadm's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubeadm {
    /// Program and arguments that run `stayput kubeadm follow`: the agent starts it when this master's
    /// address has changed, or a file of kubeadm's has; empty: never.
    pub follow: Vec<String>,
}

/// Reads the section.
pub(super) fn read(file: &Fields<'_>, rules: Loopback, report: &mut Report) -> Option<Kubeadm> {
    let section = file.section("kubeadm", &["follow"], report)?;
    let follow = match section.get("follow") {
        Some(value) => command(value, report),
        // A sandbox never starts the machine's own units.
        None if rules == Loopback::Allowed => Some(Vec::new()),
        None => Some(FOLLOW.map(str::to_owned).to_vec()),
    };
    Some(Kubeadm { follow: follow? })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Cluster;

    fn follow(more: &str, rules: Loopback) -> Result<Vec<String>, String> {
        let text = format!(
            "domain: prod.k8s.internal\nendpoint: {{name: api}}\nmasters: [{{name: m1, address: 10.0.0.1}}]\n{more}"
        );
        let cluster = Cluster::parse(&text, Path::new("F"), rules);
        let cluster = cluster.map_err(|problems| problems.to_string())?;
        Ok(cluster.kubeadm.follow)
    }

    #[test]
    fn a_node_starts_the_unit_and_a_sandbox_nothing() {
        let node = |more| follow(more, Loopback::Refused);
        assert_eq!(node("").unwrap(), FOLLOW);
        assert_eq!(node("kubeadm: {}").unwrap(), FOLLOW);
        assert_eq!(node("kubeadm: {follow: []}").unwrap(), [""; 0]);
        assert_eq!(
            node("kubeadm: {follow: [/bin/a, b]}").unwrap(),
            ["/bin/a", "b"]
        );
        assert_eq!(follow("", Loopback::Allowed).unwrap(), [""; 0]);
    }

    #[test]
    fn mistakes_are_told() {
        for (more, told) in [
            ("kubeadm: {folow: []}", "folow"),
            ("kubeadm: {follow: [stayput]}", "kubeadm.follow[0]"),
            ("kubeadm: {follow: yes}", "a program and its arguments"),
        ] {
            let error = follow(more, Loopback::Refused).unwrap_err();
            assert!(error.contains(told), "{more}: {error}");
        }
    }
}
