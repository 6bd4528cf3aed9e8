//! Masters that the cluster file does not name: added by their signed record, or on their own node by the
//! node file's `role: master`.

use super::cluster::{Cluster, Master};
use super::node::{NodeError, called, named};
use super::node_file::NodeSettings;
use super::reserved;
use super::routes::Mode;
use crate::name::Name;

impl Cluster {
    /// Why a name that the cluster file does not list cannot be a master's.
    pub(crate) fn refuses(&self, name: &Name) -> Option<String> {
        if !name.is_below(&self.domain) {
            return Some(format!("'{name}' is not below {}", self.domain));
        }
        if *name == self.endpoint.name {
            return Some(format!("'{name}' is the endpoint's name"));
        }
        if let Some(target) = self.aliases.get(name) {
            return Some(format!(
                "the cluster file has '{name}' as an alias of {target}"
            ));
        }
        reserved::check(name, Some(&self.domain)).err()
    }

    /// Adds masters behind those of the file; where they are is not known from it.
    pub(crate) fn add<'a>(&mut self, names: impl IntoIterator<Item = &'a Name>) {
        self.masters.extend(names.into_iter().map(|name| Master {
            name: name.clone(),
            addresses: Vec::new(),
            follow: None,
            stable: None,
        }));
    }
}

impl NodeSettings {
    /// The master that this node is by `role: master` alone: the cluster file does not name it.
    pub(super) fn joining(
        &self,
        hostname: &str,
        cluster: &Cluster,
    ) -> Result<Option<Name>, NodeError> {
        if !self.joins {
            return Ok(None);
        }
        let refused = |reason: String| NodeError::CannotJoin { reason };
        let given = match &self.name {
            Some(name) => name.clone(),
            None => Name::parse(hostname).map_err(|source| NodeError::HostName { source })?,
        };
        let listed = match self.name {
            Some(_) => named(cluster, &given),
            None => called(cluster, &given),
        };
        if listed.is_some() {
            return Ok(None);
        }
        // A host name may lie in a domain of its own.
        let is_label = given.is_single_label() || self.name.is_none();
        let name = if is_label && !given.is_below(&cluster.domain) {
            let label = Name::parse(given.label()).and_then(|it| it.below(&cluster.domain));
            label.map_err(|error| refused(error.to_string()))?
        } else {
            given
        };
        if let Some(reason) = cluster.refuses(&name) {
            let remedy = "choose another 'name' in the node file";
            return Err(refused(format!("{reason}; {remedy}")));
        }
        if cluster.routes.mode == Mode::Direct {
            return Err(refused(format!(
                "with 'routes.mode: direct' a master needs an address that never changes; add {name} with 'stable' to every node's cluster file"
            )));
        }
        Ok(Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::node::Node;
    use crate::config::node::tests::{cluster, given};

    #[test]
    fn a_master_joins_by_its_own_node_file() {
        for (explicit, hostname, want) in [
            ("", "m3", "m3.prod.k8s.internal"),
            ("", "m3.prod.k8s.internal", "m3.prod.k8s.internal"),
            ("", "m3.corp.example.com", "m3.prod.k8s.internal"),
            ("m3", "box-7", "m3.prod.k8s.internal"),
            (
                "m3.zone-a.prod.k8s.internal",
                "box-7",
                "m3.zone-a.prod.k8s.internal",
            ),
            // The cluster file names it: nothing is added.
            ("", "m1", "-"),
            ("m1", "box-7", "-"),
            ("", "m1.corp.example.com", "-"),
        ] {
            let settings = NodeSettings {
                joins: true,
                ..given(explicit)
            };
            let mut cluster = cluster();
            let joining = settings.joining(hostname, &cluster).unwrap();
            assert_eq!(
                joining.as_ref().map_or("-", Name::as_str),
                want,
                "{explicit:?} {hostname}"
            );
            cluster.add(&joining);
            let node = Node::determine(settings, hostname, &cluster, true).unwrap();
            assert!(node.master().is_some(), "{explicit:?} {hostname}");
        }
        assert_eq!(given("m3").joining("m3", &cluster()), Ok(None));
    }

    #[test]
    fn what_cannot_join_is_told_why() {
        let joining = |explicit: &str, hostname: &str, cluster: &Cluster| {
            let settings = NodeSettings {
                joins: true,
                ..given(explicit)
            };
            settings.joining(hostname, cluster).unwrap_err().to_string()
        };
        for (explicit, hostname, why) in [
            ("api", "m3", "is the endpoint's name"),
            ("m3.example.com", "m3", "is not below prod.k8s.internal"),
            ("", "ns", "is the responder's own name"),
            ("", "localhost", "has its own meaning in every hosts file"),
            ("", "a_b", "the host name cannot be the node's name"),
        ] {
            let error = joining(explicit, hostname, &cluster());
            assert!(error.contains(why), "{error}");
        }
        let mut direct = cluster();
        direct.routes.mode = Mode::Direct;
        let error = joining("", "m3", &direct);
        assert!(
            error.contains("add m3.prod.k8s.internal with 'stable'"),
            "{error}"
        );
    }
}
