//! A master's entry in kubeadm's `ClusterStatus`, brought to where its kube-apiserver is.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use stayput::api::kubernetes::{ADMIN, Kubernetes};
use stayput::config::{self, Cluster};
use stayput::kubeadm::cluster_status::{Failure, Outcome, Places, bring_up};
use stayput::root::Root;

use crate::sandbox::{KUBEADM, Sandbox, settings};

const STATUS: &str = "apiEndpoints:\n  master-1:\n    advertiseAddress: 10.77.0.11\n    bindPort: 6443\n  master-2:\n    advertiseAddress: 10.77.0.12\n    bindPort: 6443\nkind: ClusterStatus\n";

fn map(status: &str) -> Value {
    json!({
        "metadata": {"name": "kubeadm-config", "resourceVersion": "7"},
        "data": {"ClusterConfiguration": "a: b\n", "ClusterStatus": status},
    })
}

fn cluster(root: &Root) -> Cluster {
    let file = Path::new("/etc/stayput/cluster.yaml");
    let none = Path::new("/etc/stayput/node.yaml");
    let loaded = config::load(root, file, none, &settings("master-1"));
    loaded.unwrap().0
}

fn moved() -> Places {
    [("master-1".to_owned(), vec!["10.77.0.31".parse().unwrap()])].into()
}

#[tokio::test]
async fn the_entry_is_written_once_and_whatever_comes_between_is_borne() {
    let (sandbox, api) = Sandbox::master_with_api();
    let root = Root::open(&sandbox.path("")).unwrap();
    let local = Kubernetes::local_apiserver(&root, Path::new(ADMIN), &cluster(&root));
    let local = local.unwrap();
    let long = Duration::from_mins(1);
    let (get, put) = (format!("GET {KUBEADM}"), format!("PUT {KUBEADM}"));

    // From 1.22 on there is none.
    assert_eq!(
        bring_up(&local, &moved(), long).await.unwrap(),
        Outcome::Absent
    );
    api.put(
        KUBEADM,
        json!({"metadata": {}, "data": {"ClusterConfiguration": "a: b\n"}}),
    );
    assert_eq!(
        bring_up(&local, &moved(), long).await.unwrap(),
        Outcome::Absent
    );
    api.asked();

    // It starts, and somebody else writes at the same time.
    api.put(KUBEADM, map(STATUS));
    api.answer_next(&[503, 500, 0, 409]);
    let brought = bring_up(&local, &moved(), long).await.unwrap();
    assert_eq!(brought, Outcome::Changed);
    assert_eq!(
        api.asked(),
        [&get, &get, &get, &put, &get, &put].map(String::clone)
    );
    let mut want = map(&STATUS.replace("10.77.0.11", "10.77.0.31"));
    want["metadata"]["resourceVersion"] = "71".into();
    assert_eq!(api.object(KUBEADM), want);

    let brought = bring_up(&local, &moved(), long).await.unwrap();
    assert_eq!(brought, Outcome::Current);
    assert_eq!(api.asked().join(" "), get);

    // Without patience one try is all; what cannot pass is not tried again.
    api.put(KUBEADM, map(STATUS));
    for (status, patience) in [(503, Duration::ZERO), (403, long)] {
        api.answer_next(&[status]);
        let failure = bring_up(&local, &moved(), patience).await.unwrap_err();
        assert!(matches!(failure, Failure::Api(_)), "{failure}");
        assert_eq!(api.asked().join(" "), get);
    }
    api.put(KUBEADM, map("a: [SECRET"));
    let failure = bring_up(&local, &moved(), long).await.unwrap_err();
    let failure = failure.to_string();
    let place = "ClusterStatus in ConfigMap kube-system/kubeadm-config is no YAML";
    assert!(failure.starts_with(place), "{failure}");
    assert_eq!(api.asked(), [get]);
}
