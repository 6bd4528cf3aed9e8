//! What a real cluster of kubeadm 1.20.2 says, as it is and with addresses in it.

use serde_json::{Value, json};

use super::*;
use crate::kubeadm::pin::Severity;
use crate::sample;

/// Of a master `master-1` at 10.77.0.11, whose endpoint is a name.
const STOCK: &str = include_str!("../../../../tests/kubeadm/golden/stock-1.20.2/cluster.json");
/// The endpoint in it.
const ENDPOINT: &str = "k8s-api.example";

fn stock(endpoint: &str) -> Value {
    serde_json::from_str(&STOCK.replace(ENDPOINT, endpoint)).unwrap()
}

/// Three masters of which the first has this address now.
fn view(octet: u8) -> View {
    sample::three([octet, 12, 13])
}

fn told(pins: &[Pin]) -> Vec<String> {
    let line = |pin: &Pin| {
        format!(
            "{} {}: {} = {}",
            pin.severity.as_str(),
            pin.place,
            pin.what,
            pin.value
        )
    };
    pins.iter().map(line).collect()
}

fn listed(value: &Value) -> Vec<Member> {
    let list = value["members"].as_array().unwrap().iter();
    let texts = |value: &Value| serde_json::from_value::<Vec<String>>(value.clone()).unwrap();
    list.map(|member| Member {
        id: member["ID"].as_str().unwrap().parse().unwrap(),
        name: member["name"].as_str().unwrap().to_owned(),
        peer_urls: texts(&member["peerURLs"]),
        client_urls: texts(&member["clientURLs"]),
        is_learner: false,
    })
    .collect()
}

#[test]
fn a_stock_cluster_with_a_named_endpoint_pins_in_etcd() {
    let (stock, view) = (stock(ENDPOINT), view(11));
    assert!(cluster_info(&stock["clusterInfo"], &view).is_empty());
    assert!(kube_proxy(&stock["kubeProxy"], &view).is_empty());
    assert!(endpoints(&stock["endpoints"], &view).is_empty());
    assert!(endpoint_slice(&stock["endpointSlices"][0], &view).is_empty());
    assert!(node(&stock["nodes"][0], &view).is_empty());
    assert!(kubeadm_config(&stock["kubeadmConfig"], &view).is_empty());
    let moved = self::view(31);
    assert_eq!(
        told(&kubeadm_config(&stock["kubeadmConfig"], &moved)),
        [
            "misleading ConfigMap kube-system/kubeadm-config: ClusterStatus: apiEndpoints.master-1.advertiseAddress = 10.77.0.11"
        ]
    );
    let pins = members(&listed(&stock["members"]), &view);
    assert_eq!(
        told(&pins),
        [
            "fatal etcd member master-1: peer URL = https://10.77.0.11:2380",
            "misleading etcd member master-1: client URL = https://10.77.0.11:2379"
        ]
    );
    assert_eq!(pins[0].instead, "https://master-1.k8s.internal:2380");
    assert_eq!(pins[0].addresses, sample::ips(&["10.77.0.11"]));
}

#[test]
fn an_endpoint_by_address_is_told_wherever_it_stands() {
    let (stock, view) = (stock("10.77.0.11"), view(11));
    let pins = kubeadm_config(&stock["kubeadmConfig"], &view);
    let want = "degraded ConfigMap kube-system/kubeadm-config: ClusterConfiguration: controlPlaneEndpoint = 10.77.0.11:6443";
    assert_eq!(told(&pins)[0], want);
    assert!(pins[0].instead.starts_with("api.k8s.internal:"), "{pins:?}");
    for (pins, want) in [
        (
            cluster_info(&stock["clusterInfo"], &view),
            "degraded ConfigMap kube-public/cluster-info: kubeconfig: server = https://10.77.0.11:6443",
        ),
        (
            kube_proxy(&stock["kubeProxy"], &view),
            "fatal ConfigMap kube-system/kube-proxy: kubeconfig.conf: server = https://10.77.0.11:6443",
        ),
    ] {
        assert_eq!(told(&pins), [want]);
    }
}

#[test]
fn after_a_move_the_old_address_is_stale() {
    let (stock, view) = (stock(ENDPOINT), view(31));
    for (pins, want) in [
        (
            endpoints(&stock["endpoints"], &view),
            "degraded Endpoints default/kubernetes: address = 10.77.0.11",
        ),
        (
            endpoint_slice(&stock["endpointSlices"][0], &view),
            "degraded EndpointSlice default/kubernetes: address = 10.77.0.11",
        ),
        (
            node(&stock["nodes"][0], &view),
            "degraded Node master-1: InternalIP = 10.77.0.11",
        ),
    ] {
        assert_eq!(told(&pins), [want]);
    }
    assert!(
        node(&stock["nodes"][0], &view)[0]
            .instead
            .starts_with("10.77.0.31;")
    );
}

#[test]
fn what_network_plugins_remember_is_compared_with_where_the_node_is() {
    let view = view(31);
    let object = |name: &str, reported: &str, annotations: Value| {
        json!({
            "metadata": {"name": name, "annotations": annotations},
            "status": {"addresses": [{"type": "InternalIP", "address": reported},
                                     {"type": "Hostname", "address": name}]},
        })
    };
    let both = |calico: &str, flannel: &str| json!({"projectcalico.org/IPv4Address": calico, "flannel.alpha.coreos.com/public-ip": flannel});
    for (object, want) in [
        (
            object(
                "master-1",
                "10.77.0.31",
                both("10.77.0.31/24", "10.77.0.31"),
            ),
            &[][..],
        ),
        (
            object(
                "master-1",
                "10.77.0.31",
                both("10.77.0.11/24", "10.77.0.31"),
            ),
            &["degraded Node master-1: annotation projectcalico.org/IPv4Address = 10.77.0.11/24"],
        ),
        (
            object(
                "master-1.k8s.internal",
                "10.77.0.31",
                both("10.77.0.31/24", "10.77.0.11"),
            ),
            &[
                "degraded Node master-1.k8s.internal: annotation flannel.alpha.coreos.com/public-ip = 10.77.0.11",
            ],
        ),
        // Of a worker only its own kubelet's word is known.
        (
            object("worker-7", "10.0.0.7", both("10.0.0.7/24", "10.0.0.7")),
            &[],
        ),
        (
            object("worker-7", "10.0.0.8", both("10.0.0.7/24", "10.0.0.8")),
            &["degraded Node worker-7: annotation projectcalico.org/IPv4Address = 10.0.0.7/24"],
        ),
        (
            object(
                "worker-7",
                "10.0.0.7",
                json!({"alpha.kubernetes.io/provided-node-ip": "10.0.0.7, ::"}),
            ),
            &["degraded Node worker-7: annotation alpha.kubernetes.io/provided-node-ip = 10.0.0.7"],
        ),
        // Nothing is said where nothing is known.
        (
            json!({"metadata": {"name": "worker-7", "annotations": both("10.0.0.7", "10.0.0.7")}}),
            &[],
        ),
    ] {
        assert_eq!(told(&node(&object, &view)), want, "{object}");
    }
}

#[test]
fn flags_and_names_for_all_masters_are_looked_into() {
    let view = view(11);
    let map = |text: &str| json!({"data": {"ClusterConfiguration": text}});
    let old = "apiServer:\n  certSANs: [api.example, 10.77.0.11, 127.0.0.1]\n  extraArgs:\n    etcd-servers: https://127.0.0.1:2379,https://10.77.0.12:2379\n\
               etcd:\n  local:\n    peerCertSANs: [10.77.0.13]\n    extraArgs: {initial-cluster: 'a=https://10.77.0.11:2380,b=https://b:2380'}\n";
    let new = "apiServer:\n  extraArgs:\n  - {name: advertise-address, value: 10.77.0.11}\n  - {name: bind-address, value: 0.0.0.0}\n\
               etcd: {external: {endpoints: ['https://192.0.2.1:2379', 'https://etcd.example:2379']}}\n";
    let what = |text| -> Vec<String> {
        let pins = kubeadm_config(&map(text), &view);
        pins.iter()
            .map(|pin| format!("{} = {}", pin.what, pin.value))
            .collect()
    };
    assert_eq!(
        what(old),
        [
            "ClusterConfiguration: apiServer.certSANs = 10.77.0.11",
            "ClusterConfiguration: etcd.local.peerCertSANs = 10.77.0.13",
            "ClusterConfiguration: apiServer.extraArgs.etcd-servers = https://10.77.0.12:2379",
            "ClusterConfiguration: etcd.local.extraArgs.initial-cluster = https://10.77.0.11:2380",
        ]
    );
    assert_eq!(
        what(new),
        [
            "ClusterConfiguration: etcd.external.endpoints = https://192.0.2.1:2379",
            "ClusterConfiguration: apiServer.extraArgs.advertise-address = 10.77.0.11",
        ]
    );
    assert!(what("[").is_empty());
}

#[test]
fn members_by_name_pin_nothing() {
    let by_name = Member {
        id: 1,
        name: "m".into(),
        peer_urls: vec!["https://master-1.k8s.internal:2380".into()],
        client_urls: vec!["https://127.0.0.1:2379".into()],
        is_learner: false,
    };
    assert!(members(std::slice::from_ref(&by_name), &view(11)).is_empty());
    let master = master_of(&view(11), &by_name).map(ToString::to_string);
    assert_eq!(master.as_deref(), Some("master-1.k8s.internal"));
    let unnamed = Member {
        name: String::new(),
        peer_urls: vec!["https://10.9.9.9:2380".into()],
        ..by_name
    };
    let pins = members(&[unnamed], &view(11));
    assert_eq!(
        told(&pins),
        ["fatal etcd member 1: peer URL = https://10.9.9.9:2380"]
    );
    assert_eq!(pins[0].severity, Severity::Fatal);
}

/// Everything is absent in an empty folder: nothing is found, and nothing is passed over in silence.
#[tokio::test]
async fn what_does_not_answer_is_not_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::open(folder.path()).unwrap();
    let mut view = view(11);
    let master = view.cluster.masters[0].name.clone();
    view.node = crate::config::Node {
        role: Role::Master(master),
        ..(*view.node).clone()
    }
    .into();
    let mut found = look(&root, &view).await;
    // This machine may have a kubelet.
    found
        .pins
        .retain(|pin| !pin.place.starts_with("kubelet of "));
    assert!(found.pins.is_empty(), "{found:?}");
    let lines: Vec<String> = found
        .not_looked_at
        .iter()
        .map(ToString::to_string)
        .collect();
    let text = lines.join("\n");
    for place in ["etcd's members: ", "ConfigMaps, Endpoints and Nodes: "] {
        assert!(text.contains(&format!("not looked at: {place}")), "{text}");
    }
    assert!(
        text.contains("/etc/kubernetes/admin.conf is not there"),
        "{text}"
    );
}
