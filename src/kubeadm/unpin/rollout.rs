//! kube-proxy's pods, which read their `ConfigMap` only when they start.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// kube-proxy's pods.
pub const DAEMON_SET: &str = "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy";
/// Its pods, as kubeadm labels them.
pub const PODS: &str = "/api/v1/namespaces/kube-system/pods?labelSelector=k8s-app%3Dkube-proxy";

/// On kube-proxy's `ConfigMap`, when it was changed here: which contents its pods have to have started
/// with. On the pods' template: which they do. As `kubectl rollout restart` does, a new value in the
/// template replaces the pods one by one.
pub const ROLLED: &str = "stayput/kube-proxy-config";

/// Marks a `ConfigMap` that was changed here by what it holds.
pub fn mark(map: &mut Value) {
    let digest = format!("{:016x}", digest(&map["data"]));
    map["metadata"]["annotations"][ROLLED] = digest.into();
}

fn digest(data: &Value) -> u64 {
    let digest = Sha256::digest(data.to_string().as_bytes());
    let short = digest.iter().take(8);
    short.fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
}

/// How far kube-proxy's pods are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rollout {
    /// All have read what their `ConfigMap` holds, as far as it was changed here.
    Done,
    /// The template has to be changed like this (RFC 7396).
    Patch(Value),
    /// These nodes' pods are still to be replaced.
    Waits(Vec<String>),
}

/// What is left to do, by the `ConfigMap`, the `DaemonSet` and its pods; not on nodes that are left out.
pub fn rollout(
    map: Option<&Value>,
    set: Option<&Value>,
    pods: &[Value],
    without: &BTreeSet<String>,
) -> Rollout {
    let wanted = map.and_then(annotation);
    let (Some(wanted), Some(set)) = (wanted, set) else {
        return Rollout::Done;
    };
    if annotation(&set["spec"]["template"]) != Some(wanted) {
        return Rollout::Patch(json!({
            "spec": {"template": {"metadata": {"annotations": {ROLLED: wanted}}}}
        }));
    }
    let is_ready = |pod: &&Value| {
        let conditions = pod["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        let ready = conditions.any(|it| it["type"] == "Ready" && it["status"] == "True");
        ready && annotation(pod) == Some(wanted) && pod["metadata"]["deletionTimestamp"].is_null()
    };
    let node = |pod: &Value| pod["spec"]["nodeName"].as_str().unwrap_or("?").to_owned();
    let counts = |name: &String| !without.contains(name);
    let all: BTreeSet<String> = pods.iter().map(node).filter(counts).collect();
    let ready: BTreeSet<String> = pods
        .iter()
        .filter(is_ready)
        .map(node)
        .filter(counts)
        .collect();
    let mut waits: Vec<String> = all.difference(&ready).cloned().collect();
    let count = |field: &Value| {
        field
            .as_u64()
            .and_then(|it| usize::try_from(it).ok())
            .unwrap_or(0)
    };
    let desired = count(&set["status"]["desiredNumberScheduled"]);
    let seen =
        set["status"]["observedGeneration"].as_u64() >= set["metadata"]["generation"].as_u64();
    if waits.is_empty() && (!seen || ready.len() + without.len() < desired) {
        waits.push("some".to_owned());
    }
    if waits.is_empty() {
        Rollout::Done
    } else {
        Rollout::Waits(waits)
    }
}

fn annotation(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][ROLLED].as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kube_proxy_is_rolled_out_once_after_its_map_was_changed() {
        let before = json!({"metadata": {"name": "kube-proxy"}, "data": {"a": "b"}});
        let mut changed = before.clone();
        mark(&mut changed);
        let mark_of = |map: &Value| annotation(map).map(str::to_owned);
        let mut other = json!({"data": {"a": "c"}});
        mark(&mut other);
        assert!(mark_of(&changed).is_some() && mark_of(&changed) != mark_of(&other));
        let none = BTreeSet::new();
        let mut set = json!({
            "metadata": {"generation": 1},
            "spec": {"template": {"metadata": {}}},
            "status": {"observedGeneration": 1, "desiredNumberScheduled": 2},
        });
        // What was never changed here restarts nothing.
        assert_eq!(
            rollout(Some(&before), Some(&set), &[], &none),
            Rollout::Done
        );
        assert_eq!(rollout(Some(&changed), None, &[], &none), Rollout::Done);
        let Rollout::Patch(patch) = rollout(Some(&changed), Some(&set), &[], &none) else {
            panic!("no patch");
        };
        set["spec"]["template"]["metadata"] = patch["spec"]["template"]["metadata"].clone();
        set["metadata"]["generation"] = 2.into();
        let pod = |node: &str, new: bool, ready: &str| {
            let annotation = if new {
                &changed["metadata"]["annotations"][ROLLED]
            } else {
                &Value::Null
            };
            json!({
                "metadata": {"annotations": {ROLLED: annotation}},
                "spec": {"nodeName": node},
                "status": {"conditions": [{"type": "Ready", "status": ready}]},
            })
        };
        let look = |set: &Value, pods: &[Value], without: &BTreeSet<String>| match rollout(
            Some(&changed),
            Some(set),
            pods,
            without,
        ) {
            Rollout::Waits(nodes) => nodes.join(" "),
            Rollout::Done => "done".to_owned(),
            Rollout::Patch(_) => "patch".to_owned(),
        };
        let both = [pod("a", true, "True"), pod("b", true, "True")];
        // The controller has not seen the change yet.
        assert_eq!(look(&set, &both, &none), "some");
        set["status"]["observedGeneration"] = 2.into();
        assert_eq!(look(&set, &both, &none), "done");
        assert_eq!(look(&set, &both[..1], &none), "some");
        let old = [pod("a", true, "True"), pod("b", false, "True")];
        assert_eq!(look(&set, &old, &none), "b");
        let starting = [pod("a", true, "False"), pod("b", true, "True")];
        assert_eq!(look(&set, &starting, &none), "a");
        assert_eq!(look(&set, &old, &["b".to_owned()].into()), "done");
    }
}
