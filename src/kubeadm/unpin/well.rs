//! Waiting until what was changed is well again.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::agent;
use super::error::Error;
use super::look::{internal_addresses, not_served};
use super::objects::Map;
use super::rollout::{DAEMON_SET, PODS, Rollout, rollout};
use super::site::Site;
use crate::api::etcd::Etcd;
use crate::static_pod;

/// How long something may take: a kubelet's back-off is five minutes at most.
const LIMIT: Duration = Duration::from_mins(7);
/// How often is looked.
const PAUSE: Duration = Duration::from_millis(500);

/// Ends when this process is told to end.
pub(super) type Stop = Shared<BoxFuture<'static, ()>>;

/// Who waits, and hears what for.
#[derive(Clone)]
pub(super) struct Watch {
    /// Ends a wait at once.
    pub stop: Stop,
    /// Hears what is waited for, whenever that is another thing.
    pub say: fn(&str),
}

impl Watch {
    /// SIGTERM, SIGINT and SIGHUP are taken from here on.
    pub(super) fn new(say: fn(&str)) -> Self {
        let mut told = static_pod::stop::Stop::listen();
        let stop = async move { told.asked().await };
        Self {
            stop: stop.boxed().shared(),
            say,
        }
    }

    /// Whether this process was told to end.
    pub(super) fn is_over(&self) -> bool {
        self.stop.clone().now_or_never().is_some()
    }

    /// Looks again and again until `look` finds nothing wrong.
    pub(super) async fn until<F: Future<Output = Result<(), String>>>(
        &self,
        what: &str,
        look: impl FnMut() -> F,
    ) -> Result<Duration, Error> {
        tokio::select! {
            // What is well already is not left undone.
            biased;
            done = self.wait(what, look) => done,
            () = self.stop.clone() => Err(Error::StoppedWaiting(what.to_owned())),
        }
    }

    async fn wait<F: Future<Output = Result<(), String>>>(
        &self,
        what: &str,
        mut look: impl FnMut() -> F,
    ) -> Result<Duration, Error> {
        let begun = Instant::now();
        let mut told = String::new();
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
            if last != told {
                (self.say)(&format!("waiting for {what}: {last}"));
                told = last;
            }
            sleep(PAUSE).await;
        }
    }
}

/// kube-apiserver answers, with what etcd holds.
pub(super) async fn api(watch: &Watch, site: &Site) -> Result<Duration, Error> {
    watch
        .until("kube-apiserver", || async {
            let node = site.api.get(&site.here.node_path()).await;
            node.map(|_| ()).map_err(|error| error.to_string())
        })
        .await
}

/// The endpoint leads to a kube-apiserver.
pub(super) async fn endpoint(watch: &Watch, site: &Site) -> Result<Duration, Error> {
    watch
        .until("the endpoint", || agent::answers(&site.here))
        .await
}

/// kube-apiserver serves the certificate that lies on disk; it looks at it each minute, or at once.
pub(super) async fn served(watch: &Watch, site: &Site) -> Result<Duration, Error> {
    watch
        .until("kube-apiserver's certificate", || async {
            not_served(&site.here).await.map_or(Ok(()), Err)
        })
        .await
}

/// etcd's members answer, this one and all that were healthy before.
pub(super) async fn etcd(
    watch: &Watch,
    site: &Site,
    healthy: &[String],
) -> Result<Duration, Error> {
    watch
        .until("etcd", || async {
            let local = Etcd::local(&site.here.root).map_err(|error| error.to_string())?;
            local.healthy().await.map_err(|error| error.to_string())?;
            for name in healthy {
                let Some(master) = site.here.ways.members.get(name) else {
                    continue;
                };
                let other = Etcd::of_master(&site.here.root, master, &site.here.directory);
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
pub(super) async fn pod(
    watch: &Watch,
    site: &Site,
    pod: &str,
    before: Option<&str>,
) -> Result<Duration, Error> {
    watch
        .until(pod, || async {
            let found = site.api.get(&mirror(site, pod)).await;
            let found = found.map_err(|error| error.to_string())?;
            let found = found.ok_or_else(|| "the kubelet has not told of it yet".to_owned())?;
            is_ready(&found, before)
        })
        .await
}

fn mirror(site: &Site, pod: &str) -> String {
    let node = &site.here.node.kubernetes_name;
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
pub(super) async fn kubelet(
    watch: &Watch,
    site: &Site,
    before: Option<&str>,
) -> Result<Duration, Error> {
    watch
        .until("kubelet", || async {
            let error = |error: crate::api::kubernetes::Error| error.to_string();
            let found = site.api.get(&lease_path(site)).await.map_err(error)?;
            let now = found
                .as_ref()
                .and_then(|it| it["spec"]["renewTime"].as_str());
            if now.is_none() || now == before {
                return Err("it has not renewed its lease since".to_owned());
            }
            let node = site.api.get(&site.here.node_path()).await.map_err(error)?;
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

/// When the kubelet last told of its node's condition: at least each time that it starts.
pub(super) async fn heartbeat(site: &Site) -> Option<String> {
    let node = site.api.get(&site.here.node_path()).await.ok()??;
    told_at(&node).map(str::to_owned)
}

fn told_at(node: &Value) -> Option<&str> {
    let conditions = node["status"]["conditions"].as_array()?;
    let ready = conditions.iter().find(|it| it["type"] == "Ready")?;
    ready["lastHeartbeatTime"].as_str()
}

/// The node's addresses, as the kubelet has told them since `before`.
pub(super) async fn addresses(
    watch: &Watch,
    site: &Site,
    before: Option<&str>,
) -> Result<Vec<IpAddr>, Error> {
    let found = Mutex::new(Vec::new());
    let found = &found;
    watch
        .until("the node's addresses", || async move {
            let node = site.api.get(&site.here.node_path()).await;
            let node = node.map_err(|error| error.to_string())?.unwrap_or_default();
            if told_at(&node).is_none() || told_at(&node) == before {
                return Err("the kubelet has not told of them since it was restarted".to_owned());
            }
            *found.lock().unwrap_or_else(PoisonError::into_inner) = internal_addresses(&node);
            Ok(())
        })
        .await?;
    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut found))
}

fn lease_path(site: &Site) -> String {
    let node = &site.here.node.kubernetes_name;
    format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}")
}

/// kube-proxy's pods have all been replaced.
pub(super) async fn proxies(watch: &Watch, site: &Site) -> Result<Duration, Error> {
    watch
        .until("kube-proxy", || async {
            let error = |error: crate::api::kubernetes::Error| error.to_string();
            let map = site.api.get(&Map::KubeProxy.path()).await.map_err(error)?;
            let set = site.api.get(DAEMON_SET).await.map_err(error)?;
            let pods = site.api.list(PODS).await.map_err(error)?;
            match rollout(map.as_ref(), set.as_ref(), &pods, &site.here.without) {
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

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_when_it_is_told_to_and_says_what_for() {
        static HEARD: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let hear = |line: &str| HEARD.lock().unwrap().push(line.to_owned());
        let watch = |stop: Stop| Watch { stop, say: hear };
        let never = std::future::pending().boxed().shared();
        let later = sleep(Duration::from_secs(3)).boxed().shared();
        let sick = |_: &mut u32| async { Err("still sick".to_owned()) };
        let mut count = 0;
        let ended = watch(later).until("it", || sick(&mut count)).await;
        assert!(matches!(ended, Err(Error::StoppedWaiting(_))), "{ended:?}");
        assert_eq!(*HEARD.lock().unwrap(), ["waiting for it: still sick"]);
        let ended = watch(never).until("it", || sick(&mut count)).await;
        assert!(matches!(ended, Err(Error::Sick { .. })), "{ended:?}");
        let over = std::future::ready(()).boxed().shared();
        let done = watch(over).until("it", || async { Ok(()) }).await;
        assert!(done.is_ok(), "{done:?}");
    }

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
