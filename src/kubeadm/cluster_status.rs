//! kubeadm's `ClusterStatus`: at which address each master's kube-apiserver is.
//!
//! Up to 1.21 kubeadm keeps it beside `ClusterConfiguration`, writes a master's entry when it makes, joins
//! or upgrades it, and asks etcd and kube-apiserver there where a static pod has no annotation that tells
//! (kubeadm 1.20, `util/etcd/etcd.go` and `util/config/cluster.go`): in `join --control-plane`, `upgrade`
//! and `reset`. A master that has moved since is not found by it. Later releases have none.

mod write;

use std::collections::BTreeMap;
use std::net::IpAddr;

pub use self::write::{Failure, Outcome, bring_up};
use crate::config::Cluster;
use crate::config::cluster::Master;
use crate::view::View;
use crate::yaml::{self, At, Tree};

/// Its key in the `ConfigMap` `kube-system/kubeadm-config`.
pub const KEY: &str = "ClusterStatus";

/// Masters' addresses by the name of their Node, those that are to be written first. Any of them is right.
pub type Places = BTreeMap<String, Vec<IpAddr>>;

/// Why it cannot be changed. Nothing of its text is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not YAML.
    #[error("is no YAML that can be read{}", line.map_or(String::new(), |line| format!(" (line {line})")))]
    Yaml {
        /// Where, if that is known.
        line: Option<usize>,
    },
    /// It is written in a way that cannot be changed safely.
    #[error(
        "line {0}: the address cannot be changed there without changing more; change it by hand"
    )]
    Unchangeable(usize),
}

/// Where a master is: at its stable address first, else by the book. What a rescue gives back is right, too,
/// as long as it lasts.
pub fn addresses(cluster: &Cluster, master: &Master, by_the_book: &[IpAddr]) -> Vec<IpAddr> {
    let stable = cluster.routes.stable(master).into_iter();
    let rescued = cluster.routes.rescued(master);
    let all = stable.chain(by_the_book.iter().copied()).chain(rescued);
    all.map(|address| address.to_canonical()).collect()
}

/// This node's own, where it is a master and something is known of it. What it `advertises` goes first, if
/// that is one of its addresses.
pub fn own(view: &View, advertises: Option<IpAddr>) -> Option<Places> {
    let master = view.cluster.master(view.node.master()?)?;
    let mut all = addresses(&view.cluster, master, view.book.addresses(&master.name));
    all.sort_by_key(|address| Some(*address) != advertises);
    let name = view.node.kubernetes_name.to_string();
    (!all.is_empty()).then(|| [(name, all)].into())
}

/// The text with the current addresses of the masters that are known; `None` where it has them already, or
/// has no entry of theirs. Every other byte is kept.
pub fn current(text: &str, places: &Places) -> Result<Option<String>, Error> {
    let mut text = text.to_owned();
    let mut changed = false;
    // One at a time: what is behind a change has moved.
    while let Some(next) = next(&text, places)? {
        text = next;
        changed = true;
    }
    Ok(changed.then_some(text))
}

fn next(text: &str, places: &Places) -> Result<Option<String>, Error> {
    let tree = parse(text)?;
    let endpoints = At::top(&tree).field("apiEndpoints");
    let entries = endpoints.iter().flat_map(At::entries);
    let mut stale = entries.filter_map(|(node, entry)| {
        let at = entry.field("advertiseAddress")?;
        let to = instead(at.text()?, places.get(node)?)?;
        Some((at.spot, to))
    });
    let Some((spot, to)) = stale.next() else {
        return Ok(None);
    };
    let line = || yaml::locate(text, &spot).map_or(1, |place| place.line);
    let new = yaml::replaced(text, &tree, &spot, &to.to_string());
    let (new, _) = new.ok_or_else(|| Error::Unchangeable(line()))?;
    Ok(Some(new))
}

/// What takes an address's place, where it is none of these: one of its family, if there is one.
fn instead(old: &str, all: &[IpAddr]) -> Option<IpAddr> {
    let old: Option<IpAddr> = old.parse().ok();
    let old = old.map(|address| address.to_canonical());
    if old.is_some_and(|old| all.contains(&old)) {
        return None;
    }
    let family = |address: &&IpAddr| old.is_none_or(|old| old.is_ipv6() == address.is_ipv6());
    all.iter().find(family).or(all.first()).copied()
}

fn parse(text: &str) -> Result<Tree, Error> {
    // The message may quote the text: only its place is told.
    yaml::parse(text).map_err(|error| Error::Yaml {
        line: error.location.map(|place| place.line),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Node;
    use crate::config::node::Role;
    use crate::config::routes::Mode;
    use crate::sample;

    /// As kubeadm 1.20 writes it.
    const STATUS: &str = "apiEndpoints:\n  master-1:\n    advertiseAddress: 10.77.0.11\n    bindPort: 6443\n  master-2:\n    advertiseAddress: 10.77.0.12\n    bindPort: 6443\napiVersion: kubeadm.k8s.io/v1beta2\nkind: ClusterStatus\n";

    fn places(all: &[(&str, &str)]) -> Places {
        let ips = |text: &str| {
            text.split_whitespace()
                .map(|it| it.parse().unwrap())
                .collect()
        };
        let all = all.iter();
        all.map(|(node, addresses)| (node.to_string(), ips(addresses)))
            .collect()
    }

    #[test]
    fn stale_addresses_change_and_no_other_byte() {
        for (known, from, to) in [
            // Nobody has moved, or nobody is known.
            (&[("master-1", "10.77.0.11")][..], "", ""),
            (&[("master-1", "10.77.0.99 10.77.0.11")], "", ""),
            (&[("master-1", "")], "", ""),
            (&[("elsewhere", "10.77.0.31")], "", ""),
            (&[], "", ""),
            (&[("master-1", "10.77.0.31")], "10.77.0.11", "10.77.0.31"),
            (
                &[
                    ("master-1", "10.77.0.31 10.77.0.32"),
                    ("master-2", "10.77.0.12"),
                ],
                "10.77.0.11",
                "10.77.0.31",
            ),
            // One of the same family, where there is one.
            (
                &[("master-1", "fd77::1 10.77.0.31")],
                "10.77.0.11",
                "10.77.0.31",
            ),
            (&[("master-1", "fd77::1")], "10.77.0.11", "fd77::1"),
            (&[("master-1", "fd77::")], "10.77.0.11", "\"fd77::\""),
        ] {
            let known = places(known);
            let new = current(STATUS, &known).unwrap();
            let want = (!from.is_empty()).then(|| STATUS.replace(from, to));
            assert_eq!(new, want, "{known:?}");
            if let Some(new) = new {
                assert_eq!(current(&new, &known).unwrap(), None, "a second time");
            }
        }
    }

    #[test]
    fn two_that_swap_are_told_apart() {
        let swapped = places(&[("master-1", "10.77.0.12"), ("master-2", "10.77.0.11")]);
        let new = current(STATUS, &swapped).unwrap().unwrap();
        let want = STATUS
            .replace("10.77.0.11", "x")
            .replace("10.77.0.12", "10.77.0.11")
            .replace('x', "10.77.0.12");
        assert_eq!(new, want);
    }

    #[test]
    fn how_it_is_written_stays() {
        let known = places(&[("m", "10.77.0.31")]);
        for (old, want) in [
            (
                "{\"apiEndpoints\":{\"m\":{\"advertiseAddress\":\"10.77.0.11\",\"bindPort\":6443}}}",
                "{\"apiEndpoints\":{\"m\":{\"advertiseAddress\":\"10.77.0.31\",\"bindPort\":6443}}}",
            ),
            (
                "# ours\r\napiEndpoints:\r\n  m: {bindPort: 1, advertiseAddress: '10.77.0.11'} # x\r\n",
                "# ours\r\napiEndpoints:\r\n  m: {bindPort: 1, advertiseAddress: '10.77.0.31'} # x\r\n",
            ),
            (
                "apiEndpoints:\n  m:\n    advertiseAddress: \"\"\n",
                "apiEndpoints:\n  m:\n    advertiseAddress: \"10.77.0.31\"\n",
            ),
        ] {
            assert_eq!(current(old, &known).unwrap().as_deref(), Some(want));
        }
        for nothing in [
            "",
            "apiEndpoints: {}\n",
            "apiEndpoints:\n",
            "apiEndpoints: [m]\n",
            "apiEndpoints: {m: {bindPort: 6443}}\n",
            "apiEndpoints: {m: {advertiseAddress: 7}}\n",
        ] {
            assert_eq!(current(nothing, &known).unwrap(), None, "{nothing}");
        }
        let anchor = "a: &a 10.77.0.11\napiEndpoints: {m: {advertiseAddress: *a}}\n";
        assert!(matches!(
            current(anchor, &known),
            Err(Error::Unchangeable(_))
        ));
        let error = current("a: [SECRET", &known).unwrap_err().to_string();
        assert!(!error.contains("SECRET"), "{error}");
    }

    #[test]
    fn a_master_is_where_it_stays_or_where_the_book_has_it() {
        let mut view = sample::three([11, 12, 13]);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut cluster = (*view.cluster).clone();
        let name = cluster.masters[1].name.clone();
        let node = Node {
            role: Role::Master(name.clone()),
            ..(*view.node).clone()
        };
        view.node = node.into();
        let own_of = |view: &View, advertises| {
            let own = own(view, advertises)?;
            assert_eq!(own.len(), 1);
            own.get(view.node.kubernetes_name.as_str()).cloned()
        };
        let at = |cluster: &Cluster, view: &View| {
            let view = View {
                cluster: cluster.clone().into(),
                ..view.clone()
            };
            own_of(&view, None).unwrap()
        };
        cluster.masters[1].stable = None;
        assert_eq!(at(&cluster, &view), [ip("10.77.0.12")]);
        cluster.routes.rescue.insert(name, ip("10.77.0.2"));
        assert_eq!(at(&cluster, &view), [ip("10.77.0.12"), ip("10.77.0.2")]);
        cluster.masters[1].stable = Some(ip("10.254.0.2"));
        cluster.routes.mode = Mode::Off;
        assert_eq!(at(&cluster, &view)[0], ip("10.77.0.12"));
        cluster.routes.mode = Mode::Direct;
        let all = ["10.254.0.2", "10.77.0.12", "10.77.0.2"].map(ip);
        assert_eq!(at(&cluster, &view), all);
        // What is advertised goes first, if it is this master's.
        view.cluster = cluster.into();
        let book = ip("10.77.0.12");
        assert_eq!(own_of(&view, Some(book)).unwrap()[0], book);
        assert_eq!(own_of(&view, Some(ip("192.0.2.1"))).unwrap(), all);
        let worker = Node {
            role: Role::Worker,
            ..(*view.node).clone()
        };
        view.node = worker.into();
        assert_eq!(own(&view, None), None);
    }
}
