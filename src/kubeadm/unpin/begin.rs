//! Why a run cannot begin, and what to do about each reason. Pure.

use super::error::Error;
use crate::api::kubernetes;
use crate::config::{Cluster, Node};

/// The cluster cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    /// This node has no way to ask.
    #[error("{source}; nothing has changed; {remedy}")]
    NoKubeconfig {
        /// What is missing.
        source: kubernetes::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// Nobody answers, so that nothing is known of the others.
    #[error(
        "{0}; nothing has changed. What is mended needs a cluster that works: if it starts just now, run this again when `kubectl get nodes` answers; if it is dead because masters have moved, `stayput kubeadm rescue` gives them their old addresses back"
    )]
    Dead(#[source] kubernetes::Error),
    /// Nobody answers, although the masters have their old addresses.
    #[error(
        "{source}; nothing has changed. A rescue is in force here already: give `stayput kubeadm rescue {rescue}` on every other node too, see with `stayput status` whether it holds there, and run this again when `kubectl get nodes` answers; a kube-apiserver that does not start then has another reason, which its container's log tells (crictl logs)"
    )]
    Rescued {
        /// Why nobody answers.
        source: kubernetes::Error,
        /// `NAME=OLD` of each master that is rescued.
        rescue: String,
    },
}

/// What an API that cannot be asked means on a node. Whatever else it says is no obstacle of ours.
pub fn obstacle(error: kubernetes::Error, cluster: &Cluster, node: &Node) -> Error {
    Error::Obstacle(Box::new(match error {
        kubernetes::Error::Kubeconfig { .. } | kubernetes::Error::Identity(_) => {
            Obstacle::NoKubeconfig {
                source: error,
                remedy: remedy(node.master().is_some()),
            }
        }
        error if !error.is_absent() => return Error::Api(error),
        error if cluster.routes.rescue.is_empty() => Obstacle::Dead(error),
        error => Obstacle::Rescued {
            source: error,
            rescue: orders(cluster),
        },
    }))
}

/// Where its kubeconfig comes from.
fn remedy(is_master: bool) -> &'static str {
    if is_master {
        "a master asks the API by it: run this where kubeadm has made a master; where it was lost, `kubeadm init phase kubeconfig admin` makes it anew"
    } else {
        "a worker asks the API by it: run this where kubeadm has joined a node; a master has to be told as one (--node)"
    }
}

/// The rescue in force, as it was ordered.
fn orders(cluster: &Cluster) -> String {
    let orders = cluster.routes.rescue.iter();
    let orders = orders.map(|(name, old)| {
        let name = name.relative_to(&cluster.domain);
        format!("{}={old}", name.unwrap_or_default())
    });
    orders.collect::<Vec<String>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::api::{https, identity};
    use crate::config::node::Role;
    use crate::sample;

    type Cause<'a> = &'a dyn Fn() -> kubernetes::Error;

    #[test]
    fn each_cause_has_its_own_remedy() {
        let view = sample::three([11, 12, 13]);
        let missing = || identity::Error::Missing(PathBuf::from("/etc/kubernetes/admin.conf"));
        let unusable = || kubernetes::Error::Kubeconfig {
            path: "/etc/kubernetes/admin.conf".into(),
            reason: "its user has no client certificate".into(),
        };
        let silent = || {
            kubernetes::Error::from(https::Error::Unreachable {
                whom: "kube-apiserver".into(),
                reasons: "connection refused".into(),
            })
        };
        let unwell = || kubernetes::Error::Unwell {
            whom: "kube-apiserver".into(),
            asked: "GET /".into(),
            status: 503,
            reason: "etcd".into(),
        };
        let denied = || kubernetes::Error::Refused {
            whom: "kube-apiserver".into(),
            asked: "GET /".into(),
            status: 400,
            reason: "no".into(),
        };
        let causes: [(Cause<'_>, [&str; 2]); 5] = [
            (
                &|| missing().into(),
                ["kubeconfig admin", "kubeconfig admin"],
            ),
            (&unusable, ["kubeconfig admin", "kubeconfig admin"]),
            (
                &silent,
                ["`stayput kubeadm rescue` gives", "A rescue is in force"],
            ),
            (
                &unwell,
                ["`stayput kubeadm rescue` gives", "A rescue is in force"],
            ),
            (&denied, ["refuses GET /", "refuses GET /"]),
        ];
        for (cause, words) in causes {
            for (rescued, word) in [false, true].into_iter().zip(words) {
                let mut cluster = (*view.cluster).clone();
                if rescued {
                    for (master, old) in cluster.masters.iter().zip(1..) {
                        let old = [10, 77, 0, old].into();
                        cluster.routes.rescue.insert(master.name.clone(), old);
                    }
                }
                let node = Node {
                    role: Role::Master(cluster.masters[0].name.clone()),
                    ..(*view.node).clone()
                };
                let error = obstacle(cause(), &cluster, &node);
                let is_obstacle = matches!(error, Error::Obstacle(_));
                assert_eq!(is_obstacle, !word.starts_with("refuses"), "{error}");
                let error = error.to_string();
                assert!(error.contains(word), "{word}: {error}");
                assert!(error.starts_with(&cause().to_string()), "{error}");
                // One remedy each.
                let ways = [
                    "kubeconfig admin",
                    "`stayput kubeadm rescue` gives",
                    "A rescue is",
                ];
                let told = ways.iter().filter(|way| error.contains(*way)).count();
                assert_eq!(told, usize::from(is_obstacle), "{error}");
                if word.starts_with("A rescue") {
                    let orders = "rescue master-1=10.77.0.1 master-2=10.77.0.2 master-3=10.77.0.3`";
                    assert!(error.contains(orders), "{error}");
                }
            }
        }
        let worker = Node {
            role: Role::Worker,
            ..(*view.node).clone()
        };
        let error = obstacle(missing().into(), &view.cluster, &worker).to_string();
        assert!(error.contains("kubeadm has joined a node"), "{error}");
    }
}
