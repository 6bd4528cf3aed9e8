//! What status shows of kubeadm's files: kube-apiserver's manifest as it is, and what the last run of
//! `stayput kubeadm follow` has left. No file that the agent must not open is looked at.

use std::net::IpAddr;

pub use super::advertise::Kept;
use super::advertise::{self, Addresses, Decision, Keep};
use super::follow::manifest;
use super::pin::Severity;
use super::record::{self, Record};
use crate::clock;
use crate::config::{Cluster, Node};
use crate::root::Root;
use crate::status::{FollowRuns, KubeadmStatus, Loudness};
use crate::view::View;

/// This master's addresses as far as the settings and the book know; empty on a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// By the book.
    pub addresses: Vec<IpAddr>,
    /// The one that never changes, or that a rescue keeps.
    pub stable: Option<Kept>,
}

impl Own {
    /// This node's.
    pub fn of(view: &View) -> Self {
        let master = view.node.master();
        Self {
            addresses: master.map_or_else(Vec::new, |name| view.book.addresses(name).to_vec()),
            stable: kept(&view.cluster, &view.node),
        }
    }

    /// Whether it is another node's by now.
    pub fn differs(&self, view: &View) -> bool {
        let master = view.node.master();
        let addresses = master.map_or(&[][..], |name| view.book.addresses(name));
        self.addresses != addresses || self.stable != kept(&view.cluster, &view.node)
    }
}

/// This master's address that never changes: kept by a rescue in force, which goes first since it is
/// what is pinned, else by the cluster file.
pub fn kept(cluster: &Cluster, node: &Node) -> Option<Kept> {
    let master = cluster.master(node.master()?)?;
    let address = cluster.routes.kept(master).next()?;
    Some(if cluster.routes.rescue.contains_key(&master.name) {
        Kept::Rescue(address)
    } else {
        Kept::Stable(address)
    })
}

/// What a look has found.
#[derive(Debug, Clone, Default)]
pub struct Known {
    advertises: Option<IpAddr>,
    /// What would be done, were the book's addresses on this machine; `None` without a manifest.
    decision: Option<Result<Decision, String>>,
    record: Option<Result<Record, String>>,
}

/// Looks at the manifest and the record.
pub fn look(root: &Root, own: &Own) -> Known {
    let (advertises, decision) = match manifest(root) {
        Ok(None) => (None, None),
        Ok(Some((_, manifest))) => {
            let addresses = Addresses {
                own: &own.addresses,
                here: &own.addresses,
                stable: own.stable,
            };
            let decision = advertise::decide(&manifest, addresses);
            (advertise::advertised(&manifest), Some(Ok(decision)))
        }
        Err(error) => (None, Some(Err(error.to_string()))),
    };
    Known {
        advertises,
        decision,
        record: record::read(root)
            .map_err(|error| error.to_string())
            .transpose(),
    }
}

impl Known {
    /// What the manifest tells kube-apiserver to advertise, if it is there and that is an address.
    pub fn advertises(&self) -> Option<IpAddr> {
        self.advertises
    }

    /// Whether kube-apiserver advertises an address that is not this master's any more.
    pub fn is_behind(&self) -> bool {
        matches!(self.decision, Some(Ok(Decision::Set { .. })))
    }

    /// What status shows, with the agent's runs if it starts any.
    pub fn status(&self, runs: Option<FollowRuns>) -> Option<KubeadmStatus> {
        if self.decision.is_none() && self.record.is_none() && runs.is_none() {
            return None;
        }
        let mut remarks = Vec::new();
        let (mut record, mut loudness) = (None, Loudness::Info);
        match &self.record {
            None => {}
            Some(Ok(found)) => record = Some(found),
            Some(Err(error)) => remarks.push(error.clone()),
        }
        match (&self.decision, self.advertises) {
            (Some(Err(error)), _) => remarks.push(error.clone()),
            (Some(Ok(Decision::Keep(Keep::Family))), Some(address)) => remarks.push(format!(
                "kube-apiserver goes on advertising {address}, which is not this master's: {}",
                Keep::Family
            )),
            _ => {}
        }
        if let Some(record) = record {
            remarks.extend(record.failure.iter().cloned());
            remarks.extend(record.unread.iter().cloned());
        }
        let worst = record.and_then(Record::worst);
        let fails = runs.as_ref().is_some_and(|runs| runs.failures > 0);
        if !remarks.is_empty() || fails || worst == Some(Severity::Fatal) {
            loudness = Loudness::Warning;
        }
        let advertise = match &self.decision {
            None => "none",
            Some(Err(_)) => "unreadable",
            Some(Ok(Decision::Set { .. })) => "behind",
            Some(Ok(Decision::Keep(keep))) => keep.as_str(),
        };
        Some(KubeadmStatus {
            loudness,
            advertises: self.advertises,
            advertise: advertise.to_owned(),
            audited: record.map(|record| clock::rfc3339(record.at)),
            pins: record.map_or(0, |record| record.pins.len()),
            worst,
            remarks,
            runs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::node::APISERVER_MANIFEST;

    #[test]
    fn status_says_what_is_advertised_and_pinned() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let own = Own {
            addresses: vec!["10.0.0.2".parse().unwrap()],
            stable: None,
        };
        assert_eq!(look(&root, &own).status(None), None);
        let path = dir.path().join(&APISERVER_MANIFEST[1..]);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        for (text, advertise, behind, loudness) in [
            (
                "--advertise-address=10.0.0.1",
                "behind",
                true,
                Loudness::Info,
            ),
            (
                "--advertise-address=10.0.0.2",
                "current",
                false,
                Loudness::Info,
            ),
            (
                "--advertise-address=fd00::1",
                "family",
                false,
                Loudness::Warning,
            ),
            ("]", "unreadable", false, Loudness::Warning),
        ] {
            std::fs::write(
                &path,
                format!("spec: {{containers: [{{command: [a, {text}]}}]}}"),
            )
            .unwrap();
            let known = look(&root, &own);
            let status = known.status(None).unwrap();
            assert_eq!(status.advertise, advertise);
            assert_eq!(
                (known.is_behind(), status.loudness),
                (behind, loudness),
                "{text}"
            );
        }
        std::fs::remove_file(&path).unwrap();
        for (failure, loudness) in [(None, Loudness::Info), (Some("broken"), Loudness::Warning)] {
            let record = Record {
                at: 0,
                failure: failure.map(str::to_owned),
                ..Record::default()
            };
            record::write(&root, &record).unwrap();
            let status = look(&root, &own).status(None).unwrap();
            assert_eq!(
                (status.advertise.as_str(), status.loudness),
                ("none", loudness)
            );
            assert_eq!(status.audited.unwrap(), "1970-01-01T00:00:00Z");
            assert_eq!(status.remarks, failure.into_iter().collect::<Vec<_>>());
        }
        std::fs::write(dir.path().join(&record::PATH[1..]), "{").unwrap();
        let status = look(&root, &own).status(None).unwrap();
        assert_eq!(status.loudness, Loudness::Warning);
        assert!(status.remarks[0].contains("damaged"), "{status:?}");
    }
}
