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

/// As kubeadm 1.33 writes it, and more.
fn newer(command: &[&str], more: Value) -> Value {
    let first = [
        "etcd",
        "--advertise-client-urls=https://10.77.0.11:2379",
        "--initial-cluster=master-1=https://10.77.0.11:2380,master-2=https://[fd77::12]:2380",
    ];
    let words = [&first[..], command].concat();
    let mut container = json!({
        "command": words,
        "image": "registry/etcd:3.5.21-0",
        "ports": [{"containerPort": 2381, "name": "probe-port", "protocol": "TCP", "hostIP": "10.77.0.11"}],
        "livenessProbe": {"httpGet": {"host": "127.0.0.1", "path": "/livez", "port": "probe-port"}},
    });
    for (key, value) in more.as_object().unwrap() {
        container[key] = value.clone();
    }
    json!({"spec": {"containers": [container]}, "status": {"hostIP": "10.77.0.21"}})
}

fn made(command: &[&str], more: Value) -> Result<Value, Error> {
    let pod = newer(command, more);
    value(&own(), image(&pod).unwrap(), Some(&pod)).map(|made| container(&made).unwrap().clone())
}

#[test]
fn what_probes_refer_to_comes_with_them() {
    let env = json!([
        {"name": "GOGC", "value": "50"},
        {"name": "ETCD_NAME", "value": "master-1"},
        {"name": "ETCD_INITIAL_CLUSTER_TOKEN", "value": "old"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ]);
    let container = made(
        &["--listen-metrics-urls=http://127.0.0.1:2381"],
        json!({"env": env}),
    )
    .unwrap();
    assert_eq!(
        container["ports"],
        json!([{"containerPort": 2381, "name": "probe-port", "protocol": "TCP"}])
    );
    assert_eq!(container["livenessProbe"]["httpGet"]["port"], "probe-port");
    assert_eq!(container["env"], json!([env[0], env[3]]));
    let plain = made(&[], json!({"ports": null, "livenessProbe": null})).unwrap();
    assert_eq!((plain.get("ports"), plain.get("env")), (None, None));
}

#[test]
fn probes_ask_where_this_member_listens() {
    let get =
        |port: Value| json!({"livenessProbe": {"httpGet": {"host": "10.77.0.11", "port": port}}});
    for (metrics, port, want) in [
        ("http://127.0.0.1:2381", json!(2381), Ok("127.0.0.1")),
        ("http://[::1]:2381", json!("probe-port"), Ok("::1")),
        ("http://10.77.0.11:2390", json!(2390), Ok("127.0.0.1")),
        (
            "http://10.77.0.11:2390",
            json!("probe-port"),
            Err("probe-port"),
        ),
        ("http://127.0.0.1:2381", json!(2390), Err("2390")),
        ("http://127.0.0.1:2381", json!("health"), Err("health")),
    ] {
        let flag = format!("--listen-metrics-urls={metrics}");
        match (made(&[&flag], get(port)), want) {
            (Ok(made), Ok(host)) => assert_eq!(made["livenessProbe"]["httpGet"]["host"], host),
            (Err(Error::Probe { port, .. }), Err(want)) => assert_eq!(port, want),
            (got, want) => panic!("{metrics}: {got:?}, not {want:?}"),
        }
    }
}

#[test]
fn no_address_of_another_master_is_left() {
    let container = made(
        &["--listen-client-http-urls=http://10.77.0.11:2382"],
        json!({}),
    )
    .unwrap();
    let command: Vec<&str> = container["command"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        command.contains(&"--listen-client-http-urls=http://0.0.0.0:2382"),
        "{command:?}"
    );
    let probe = json!({"exec": {"command": ["sh", "-c", "etcdctl --endpoints=https://10.77.0.11:2379 get x"]}});
    for (flag, more, place) in [
        ("--cors=https://10.77.0.11:80", json!({}), "--cors"),
        ("--trace=[fd77::12]:4317", json!({}), "--trace"),
        ("--trace=10.77.0.21", json!({}), "--trace"),
        (
            "--v=1",
            json!({"env": [{"name": "A", "value": "x,10.77.0.11"}]}),
            "the variable A",
        ),
        (
            "--v=1",
            json!({"livenessProbe": probe}),
            "its livenessProbe",
        ),
    ] {
        match made(&[flag], more) {
            Err(Error::Address { place: at, .. }) => assert_eq!(at, place),
            got => panic!("{flag}: {got:?}"),
        }
    }
    // Others than masters may be named.
    made(&["--trace=10.77.0.110:4317", "--cors=*"], json!({})).unwrap();
}
