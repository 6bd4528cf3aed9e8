//! A stock cluster, pinned to addresses by kubeadm as it is, is mended; then its address changes.

use std::path::Path;
use std::time::Instant;

use crate::control_plane::{
    DOMAIN, KUBELET, PATIENCE, Way, cluster, endpoints, holders, json, members, pods_know,
    processes, takes_writes,
};
use crate::kit::VERSION;
use crate::lab::Lab;
use crate::measure::{measured, within};
use crate::node::Node;
use crate::support::Said;

const BEFORE: &str = "10.77.0.11";
const AFTER: &str = "10.77.0.31";
/// The node starts it again at once.
pub(crate) const RESTART: &str = "/usr/bin/pkill -x kubelet";

/// The kubelet tells of a pod's readiness when it looks at the pod again: by default after a minute or more,
/// and here each pod is waited for.
const OFTEN: &str = "syncFrequency: 5s\n";

pub(crate) fn stock(lab: &Lab) -> Node {
    stock_of(lab, &[("master-1", BEFORE)])
}

/// The first of these masters: kubeadm with nothing but its address, as most clusters were made. Others can
/// join where it is. Its addons' images are not here.
pub(crate) fn stock_of(lab: &Lab, masters: &[(&str, &str)]) -> Node {
    let (name, address) = masters[0];
    let mut node = lab.node(name, address, &cluster(Way::Names, masters));
    let endpoint = match masters {
        [_] => String::new(),
        _ => format!("controlPlaneEndpoint: {address}:6443\n"),
    };
    let text = format!(
        "apiVersion: kubeadm.k8s.io/v1beta2
kind: InitConfiguration
localAPIEndpoint: {{advertiseAddress: {address}}}
nodeRegistration: {{name: {name}, criSocket: /run/containerd/containerd.sock}}
---
apiVersion: kubeadm.k8s.io/v1beta2
kind: ClusterConfiguration
kubernetesVersion: v{VERSION}
{endpoint}{KUBELET}{OFTEN}"
    );
    node.write("/etc/kubernetes/kubeadm.yaml", &text);
    node.start_kubelet();
    node.kubeadm(&[
        "init",
        "--config=/etc/kubernetes/kubeadm.yaml",
        "--ignore-preflight-errors=all",
        "--skip-phases=addon",
    ])
    .good();
    let admin = node.read("/etc/kubernetes/admin.conf");
    assert!(
        admin.contains(&format!("https://{address}:6443")),
        "{admin}"
    );
    node.run("mkdir", &["-p", "/root/.kube"]).good();
    node.write("/root/.kube/config", &admin);
    node
}

pub(crate) fn unpin(node: &Node, more: &[&str]) -> Said {
    let arguments = ["kubeadm", "unpin", "--kubelet-restart", RESTART];
    node.stayput(&[&arguments, more].concat())
}

/// All files that kubeadm has written, by name.
fn files(node: &Node) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for folder in [
        "/etc/kubernetes",
        "/etc/kubernetes/manifests",
        "/etc/kubernetes/pki",
    ] {
        for entry in std::fs::read_dir(node.path(folder)).unwrap().flatten() {
            if entry.path().is_file() {
                let name = format!("{folder}/{}", entry.file_name().display());
                let text = std::fs::read(entry.path()).unwrap();
                all.push((name, String::from_utf8_lossy(&text).into_owned()));
            }
        }
    }
    all.sort();
    all
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in its order")]
fn a_stock_master_is_mended_and_survives_its_address() {
    let Some(lab) = Lab::start() else { return };
    let mut node = stock(&lab);

    // Without the agent nobody knows the names: nothing is begun.
    let untouched = files(&node);
    let said = unpin(&node, &["--yes"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("start the agent"), "{said:?}");
    node.start_agent();
    node.start_haproxy();
    within("the surfaces show the book", PATIENCE, || {
        let said = unpin(&node, &["--dry-run"]);
        said.out
            .contains("agent         done")
            .then_some(())
            .ok_or(said.out)
    });
    let preview = unpin(&node, &["--dry-run"]);
    assert_eq!(preview.code, 1, "{preview:?}");
    let expected = [
        "+name: api.prod.k8s.internal",
        "-server: https://10.77.0.11:6443",
        "+server: https://127.0.0.1:6443",
        "-    - --listen-peer-urls=https://10.77.0.11:2380",
        "-        host: 10.77.0.11",
        "+peer URL: https://master-1.prod.k8s.internal:2380",
        "ConfigMap kube-system/kubeadm-config",
        "ConfigMap kube-public/cluster-info",
        "/root/.kube/config",
        "-name: 10.77.0.11",
    ];
    for line in expected {
        assert!(preview.out.contains(line), "{line}: {}", preview.out);
    }
    assert!(!preview.out.contains("key-data"), "{}", preview.out);
    // Nobody can be asked here.
    let said = unpin(&node, &[]);
    assert_eq!(said.code, 2, "{said:?}");
    assert_eq!(files(&node), untouched, "a look has changed something");

    let began = Instant::now();
    let said = unpin(&node, &["--yes"]);
    measured("a stock master is mended", began.elapsed());
    eprintln!("{}{}", said.err, said.out);
    assert_eq!(said.code, 0, "{said:#?}");
    node.must_run();
    takes_writes(&node, "mended");

    // What is left of the address is what has to be one.
    for (name, text) in files(&node) {
        let lines = text.lines().filter(|line| line.contains(BEFORE));
        let lines: Vec<&str> = lines.map(str::trim).collect();
        match name.as_str() {
            "/etc/kubernetes/manifests/kube-apiserver.yaml" => assert_eq!(
                lines,
                [
                    "kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint: 10.77.0.11:6443",
                    "- --advertise-address=10.77.0.11",
                ]
            ),
            "/etc/kubernetes/kubeadm.yaml" => {}
            _ => assert!(lines.is_empty(), "{name}: {lines:?}"),
        }
    }
    let members = members(&node).unwrap();
    assert!(
        members.contains(&format!("https://master-1.{DOMAIN}:2380")),
        "{members}"
    );
    assert!(!members.contains(BEFORE), "{members}");
    for (namespace, map) in [
        ("kube-system", "kubeadm-config"),
        ("kube-public", "cluster-info"),
    ] {
        let text = node.kubectl(&["-n", namespace, "get", "configmap", map, "-o", "yaml"]);
        assert!(
            text.as_ref()
                .unwrap()
                .contains("api.prod.k8s.internal:8443"),
            "{text:?}"
        );
    }
    // Everything that changed is kept as it was, and not where a copy would start a pod.
    for (name, text) in &untouched {
        let copy = node.path("/var/lib/stayput/unpin/0001").join(&name[1..]);
        if files(&node).contains(&(name.clone(), text.clone())) {
            assert!(!copy.exists(), "{name}");
        } else {
            assert_eq!(
                String::from_utf8_lossy(&std::fs::read(&copy).unwrap()),
                *text,
                "{name}"
            );
        }
    }
    let manifests = std::fs::read_dir(node.path("/etc/kubernetes/manifests")).unwrap();
    assert_eq!(manifests.count(), 4);
    assert!(!Path::new(&node.path("/var/lib/stayput/unpin/owed.json")).exists());

    // A second run finds nothing, and touches nothing.
    let (before, running) = (files(&node), processes(&node));
    let said = unpin(&node, &["-o", "json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let report = json(&said.out);
    assert_eq!(report["complete"], true, "{report}");
    assert_eq!(report["did"].as_array().map(Vec::len), Some(0), "{report}");
    assert_eq!((files(&node), processes(&node)), (before, running));

    // That was the point of it.
    holders(&node);
    let began = Instant::now();
    node.readdress(AFTER);
    takes_writes(&node, "moved");
    measured("a mended master moves: until a write", began.elapsed());
    pods_know(&node, "master-1", AFTER);
    within("default/kubernetes is right", PATIENCE, || {
        let found = endpoints(&node)?;
        (found == AFTER).then_some(()).ok_or(found)
    });
    holders(&node);
    assert_eq!(unpin(&node, &["--dry-run"]).code, 0);
    node.must_run();
}
