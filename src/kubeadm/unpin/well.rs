//! Waiting until what was changed is well again.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::agent;
use super::error::Error;
use super::look::not_served;
use super::objects::{DAEMON_SET, Map, PODS, Rollout, rollout};
use super::site::Site;
use crate::api::etcd::Etcd;

/// How long something may take: a kubelet's back-off is five minutes at most.
const LIMIT: Duration = Duration::from_mins(7);
/// How often is looked.
const PAUSE: Duration = Duration::from_millis(500);

/// Looks again and again until `look` finds nothing wrong.
pub(super) async fn until<F: Future<Output = Result<(), String>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> Result<Duration, Error> {
    let begun = Instant::now();
    loop {
        let last = match look().await {
            Ok(()) => return Ok(begun.elapsed()),
            Err(last) => last,
        };
        if begun.elapsed() > LIMIT {
            return Err(Error::Sick {
                what: what.to_owned(),
                limit: LIMIT,
                last,
            });
        }
        sleep(PAUSE).await;
    }
}

/// kube-apiserver answers, with what etcd holds.
pub(super) async fn api(site: &Site) -> Result<Duration, Error> {
    until("kube-apiserver", || async {
        let node = site.api.get(&site.node_path()).await;
        node.map(|_| ()).map_err(|error| error.to_string())
    })
    .await
}

/// The endpoint leads to a kube-apiserver.
pub(super) async fn endpoint(site: &Site) -> Result<Duration, Error> {
    until("the endpoint", || agent::answers(site)).await
}

/// kube-apiserver serves the certificate that lies on disk; it looks at it each minute, or at once.
pub(super) async fn served(site: &Site) -> Result<Duration, Error> {
    until("kube-apiserver's certificate", || async {
        not_served(site).await.map_or(Ok(()), Err)
    })
    .await
}

/// etcd's members answer, this one and all that were healthy before.
pub(super) async fn etcd(site: &Site, healthy: &[String]) -> Result<Duration, Error> {
    until("etcd", || async {
        let local = Etcd::local(&site.root).map_err(|error| error.to_string())?;
        local.healthy().await.map_err(|error| error.to_string())?;
        for name in healthy {
            let Some(master) = site.ways.members.get(name) else {
                continue;
            };
            let other = Etcd::of_master(&site.root, master, &site.directory);
            let other = other.map_err(|error| error.to_string())?;
            other.healthy().await.map_err(|error| error.to_string())?;
        }
        Ok(())
    })
    .await
}

/// The container of a static pod, as its mirror in the API tells it; none where there is no such pod.
pub(super) async fn container(site: &Site, pod: &str) -> Option<String> {
    let found = site.api.get(&mirror(site, pod)).await.ok()??;
    let id = found["status"]["containerStatuses"][0]["containerID"].as_str();
    id.map(str::to_owned)
}

/// A static pod is ready, with another container than `before`.
pub(super) async fn pod(site: &Site, pod: &str, before: Option<&str>) -> Result<Duration, Error> {
    until(pod, || async {
        let found = site.api.get(&mirror(site, pod)).await;
        let found = found.map_err(|error| error.to_string())?;
        let found = found.ok_or_else(|| "the kubelet has not told of it yet".to_owned())?;
        is_ready(&found, before)
    })
    .await
}

fn mirror(site: &Site, pod: &str) -> String {
    let node = &site.node.kubernetes_name;
    format!("/api/v1/namespaces/kube-system/pods/{pod}-{node}")
}

/// Whether a pod is ready with a new container; else what it is.
fn is_ready(pod: &Value, before: Option<&str>) -> Result<(), String> {
    let status = &pod["status"];
    let container = &status["containerStatuses"][0];
    if container["containerID"].as_str() == before {
        return Err("the kubelet still tells of the old container".to_owned());
    }
    let conditions = status["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    if conditions.any(|it| it["type"] == "Ready" && it["status"] == "True") {
        return Ok(());
    }
    let waiting = container["state"]["waiting"]["message"].as_str();
    let phase = status["phase"].as_str().unwrap_or("in no known phase");
    Err(waiting.map_or_else(|| format!("it is {phase}, not ready"), str::to_owned))
}

/// What the kubelet renews every ten seconds.
pub(super) async fn lease(site: &Site) -> Option<String> {
    let found = site.api.get(&lease_path(site)).await.ok()??;
    found["spec"]["renewTime"].as_str().map(str::to_owned)
}

/// The kubelet has told of itself since `before`, and its node is ready.
pub(super) async fn kubelet(site: &Site, before: Option<&str>) -> Result<Duration, Error> {
    until("kubelet", || async {
        let error = |error: crate::api::kubernetes::Error| error.to_string();
        let found = site.api.get(&lease_path(site)).await.map_err(error)?;
        let now = found
            .as_ref()
            .and_then(|it| it["spec"]["renewTime"].as_str());
        if now.is_none() || now == before {
            return Err("it has not renewed its lease since".to_owned());
        }
        let node = site.api.get(&site.node_path()).await.map_err(error)?;
        let conditions = node
            .as_ref()
            .and_then(|it| it["status"]["conditions"].as_array());
        let ready = conditions
            .into_iter()
            .flatten()
            .find(|it| it["type"] == "Ready");
        match ready {
            // `False` is of pods' networks too, which the kubelet cannot help.
            Some(ready) if ready["status"] != "Unknown" => Ok(()),
            _ => Err("its node's condition is not known".to_owned()),
        }
    })
    .await
}

fn lease_path(site: &Site) -> String {
    let node = &site.node.kubernetes_name;
    format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}")
}

/// kube-proxy's pods have all been replaced.
pub(super) async fn proxies(site: &Site) -> Result<Duration, Error> {
    until("kube-proxy", || async {
        let error = |error: crate::api::kubernetes::Error| error.to_string();
        let map = site.api.get(&Map::KubeProxy.path()).await.map_err(error)?;
        let set = site.api.get(DAEMON_SET).await.map_err(error)?;
        let pods = site.api.list(PODS).await.map_err(error)?;
        match rollout(map.as_ref(), set.as_ref(), &pods, &site.without) {
            Rollout::Done => Ok(()),
            Rollout::Patch(_) => Err("its pods' template was changed back".to_owned()),
            Rollout::Waits(nodes) => Err(format!("not ready yet on {}", nodes.join(", "))),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_well_when_a_new_container_is_ready() {
        let pod = |id: &str, ready: &str| {
            json!({"status": {
                "phase": "Running",
                "containerStatuses": [{"containerID": id, "state": {"waiting": {"message": "back-off"}}}],
                "conditions": [{"type": "Ready", "status": ready}],
            }})
        };
        assert_eq!(is_ready(&pod("a", "True"), None), Ok(()));
        assert_eq!(is_ready(&pod("b", "True"), Some("a")), Ok(()));
        assert!(is_ready(&pod("a", "True"), Some("a")).is_err());
        assert_eq!(
            is_ready(&pod("b", "False"), Some("a")),
            Err("back-off".into())
        );
        assert!(is_ready(&json!({}), Some("a")).is_err());
    }
}
