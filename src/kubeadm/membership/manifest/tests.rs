//! Beside what a real kubeadm 1.20.2 has written.

use super::*;
use crate::kubeadm::manifest::Manifest;

const STOCK: &str =
    include_str!("../../../../tests/kubeadm/golden/stock-1.20.2/manifests/etcd.yaml");

fn own() -> Own {
    Own {
        me: Me {
            name: "master-3".into(),
            peer_url: "https://master-3.k8s.internal:2380".into(),
        },
        host: "master-3.k8s.internal".into(),
        initial_cluster: "master-1=https://master-1.k8s.internal:2380,master-3=https://master-3.k8s.internal:2380"
            .into(),
    }
}

/// What differs from the stock manifest, line by line.
fn differences(text: &str) -> Vec<String> {
    let lines =
        |text: &str| -> Vec<String> { text.lines().map(|line| line.trim().to_owned()).collect() };
    let (old, new) = (lines(STOCK), lines(text));
    let gone = old
        .iter()
        .filter(|line| !new.contains(line))
        .map(|line| format!("-{line}"));
    let come = new
        .iter()
        .filter(|line| !old.contains(line))
        .map(|line| format!("+{line}"));
    gone.chain(come).collect()
}

#[test]
fn it_is_kubeadms_but_for_names() {
    let text = manifest(&own(), "k8s.gcr.io/etcd:3.4.13-0", None).unwrap();
    assert_eq!(
        differences(&text),
        [
            "-kubeadm.kubernetes.io/etcd.advertise-client-urls: https://10.77.0.11:2379",
            "-creationTimestamp: null",
            "-- --advertise-client-urls=https://10.77.0.11:2379",
            "-- --initial-advertise-peer-urls=https://10.77.0.11:2380",
            "-- --initial-cluster=master-1=https://10.77.0.11:2380",
            "-- --listen-client-urls=https://127.0.0.1:2379,https://10.77.0.11:2379",
            "-- --listen-peer-urls=https://10.77.0.11:2380",
            "-- --name=master-1",
            "-status: {}",
            "+kubeadm.kubernetes.io/etcd.advertise-client-urls: https://master-3.k8s.internal:2379",
            "+- --advertise-client-urls=https://master-3.k8s.internal:2379",
            "+- --initial-advertise-peer-urls=https://master-3.k8s.internal:2380",
            "+- --initial-cluster=master-1=https://master-1.k8s.internal:2380,master-3=https://master-3.k8s.internal:2380",
            "+- --initial-cluster-state=existing",
            "+- --listen-client-urls=https://0.0.0.0:2379",
            "+- --listen-peer-urls=https://0.0.0.0:2380",
            "+- --name=master-3",
        ],
        "{text}"
    );
}

#[test]
fn what_the_others_run_is_taken_over() {
    let pod = json!({"spec": {
        "priorityClassName": "mine",
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "command": ["etcd", "--name=master-1", "--quota-backend-bytes=1", "--data-dir=/data/etcd",
                        "--force-new-cluster", "--experimental-initial-corrupt-check",
                        "--listen-client-urls=https://10.77.0.11:2379", "--initial-cluster-state=new",
                        "--quota-backend-bytes=8589934592"],
            "image": "registry/etcd:3.5.16-0",
            "resources": {"requests": {"cpu": "50m"}},
            "readinessProbe": {"httpGet": {"host": "10.77.0.11", "path": "/readyz", "port": 2381}},
        }],
    }});
    assert_eq!(image(&pod), Some("registry/etcd:3.5.16-0"));
    let text = manifest(&own(), image(&pod).unwrap(), Some(&pod)).unwrap();
    let read = Manifest::parse(&text).unwrap();
    let flag = |name| read.flag(name).map(|flag| flag.value);
    for (name, want) in [
        ("quota-backend-bytes", Some("8589934592")),
        ("data-dir", Some("/data/etcd")),
        ("experimental-initial-corrupt-check", Some("true")),
        ("name", Some("master-3")),
        ("listen-client-urls", Some("https://0.0.0.0:2379")),
        ("initial-cluster-state", Some("existing")),
        ("force-new-cluster", None),
    ] {
        assert_eq!(flag(name).as_deref(), want, "{name}");
    }
    let hosts = read.probe_hosts();
    assert_eq!(hosts.len(), 1, "no probe is made up: {text}");
    assert_eq!(
        (hosts[0].probe, hosts[0].host.as_str()),
        ("readinessProbe", "127.0.0.1")
    );
    for line in [
        "cpu: 50m",
        "priorityClassName: mine",
        "type: RuntimeDefault",
        "mountPath: /data/etcd",
        "path: /data/etcd",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("10.77.0.11"), "{text}");
}
