//! A control plane on a node, made with kubeadm, and what its user sees of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kit::VERSION;
use crate::lab::Lab;
use crate::measure::{measured, within};
use crate::node::Node;
use crate::support::Said;

pub(crate) const DOMAIN: &str = "prod.k8s.internal";
pub(crate) const ENDPOINT: &str = "api.prod.k8s.internal";

/// How long a control plane may take for anything: a kube-apiserver takes half a minute to end.
pub(crate) const PATIENCE: Duration = Duration::from_mins(4);

/// What the kubelets of the lab need to hear from kubeadm: no pod goes because the machine's disk is full,
/// and none is refused for good (etcd's, which asks for 100 MiB of it) because its size is not known yet.
pub(crate) const KUBELET: &str = "---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
failSwapOn: false
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 0%, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%}
featureGates: {LocalStorageCapacityIsolation: false}
";

/// Where kubeadm finds its configuration.
const KUBEADM: &str = "/etc/kubernetes/kubeadm.yaml";

/// What kubeadm's preflight checks may find here: no registry, no crictl, little memory.
pub(crate) const IGNORED: &str = "--ignore-preflight-errors=all";

/// The two ways to live with addresses that change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Everything by name, kube-apiserver's advertise address follows.
    Names,
    /// A stable address per master, and routes to it.
    Stable,
}

/// The cluster file for masters at these addresses.
pub(crate) fn cluster(way: Way, masters: &[(&str, &str)]) -> String {
    let mut text = format!(
        "domain: {DOMAIN}
endpoint: {{name: api, port: 8443}}
kubernetes: {{version: \"{VERSION}\", podSubnet: 10.244.0.0/16}}
dns: {{listen: [\"127.0.0.1:53\"]}}
haproxy: {{reload: [/usr/bin/pkill, -USR2, -F, /run/haproxy.pid]}}
kubeadm: {{follow: [/usr/local/sbin/stayput, kubeadm, follow]}}
"
    );
    if way == Way::Stable {
        text.push_str("routes: {mode: direct}\n");
    }
    text.push_str("masters:\n");
    for (number, (name, address)) in (1..).zip(masters) {
        let stable = match way {
            Way::Names => String::new(),
            Way::Stable => format!(", stable: 10.254.0.{number}"),
        };
        let _ = writeln!(text, "  - {{name: {name}, address: {address}{stable}}}");
    }
    text
}

/// The first master of a new cluster, by the steps that `stayput kubeadm config` prints: complete and
/// at work.
pub(crate) fn founded(lab: &Lab, way: Way, masters: &[(&str, &str)]) -> Node {
    let (name, address) = masters[0];
    let mut node = lab.node(name, address, &cluster(way, masters));
    let steps = configure(&node, &[]);
    let [certificates_first, rest @ ..] = &steps[..] else {
        panic!("{steps:?}");
    };
    assert_eq!(certificates_first, "stayput certs init --new-cluster");
    follow(&node, certificates_first);
    let issued = certificates(&node);
    node.start_agent();
    node.start_haproxy();
    node.start_kubelet();
    let began = Instant::now();
    for step in rest {
        follow(&node, step);
    }
    measured("kubeadm init", began.elapsed());
    takes_writes(&node, "first");
    knows_pods(&node);
    // kubeadm lets kubelet.conf name the certificate that the kubelet has got for itself.
    assert_same(&issued, &certificates(&node), &["/kubelet.conf"]);
    node
}

/// The API knows the node's static pods. Who joins asks it where etcd is, and kubeadm 1.20 tries the address
/// where no pod tells.
pub(crate) fn knows_pods(node: &Node) {
    for program in PROGRAMS {
        let pod = format!("{program}-{}", node.name);
        within(&format!("the API knows {pod}"), PATIENCE, || {
            node.kubectl(&["-n", "kube-system", "get", "pod", &pod])
        });
    }
}

/// What etcd says of its members: ID, status, name, peer addresses, client addresses, is learner.
pub(crate) fn members(node: &Node) -> Result<String, String> {
    let pki = "/etc/kubernetes/pki/etcd";
    node.ok(
        "etcdctl",
        &[
            &format!("--cacert={pki}/ca.crt"),
            &format!("--cert={pki}/healthcheck-client.crt"),
            &format!("--key={pki}/healthcheck-client.key"),
            "--endpoints=https://127.0.0.1:2379",
            "member",
            "list",
        ],
    )
}

/// Writes kubeadm's configuration with these arguments, and the lab's for kubelets: the steps that it
/// asks for.
pub(crate) fn configure(node: &Node, arguments: &[&str]) -> Vec<String> {
    let config = [
        "kubeadm",
        "config",
        "--cri-socket",
        "/run/containerd/containerd.sock",
    ];
    let text = node.stayput(&[&config, arguments].concat()).good();
    let steps = text
        .lines()
        .skip_while(|line| !line.starts_with("# In this order"))
        .skip(1)
        .map_while(|line| line.strip_prefix("#   "));
    let steps: Vec<String> = steps.map(|step| step.replace("FILE", KUBEADM)).collect();
    assert!(steps.len() > 1, "{text}");
    node.write(KUBEADM, &format!("{text}{KUBELET}"));
    steps
}

/// Runs a step that a person would type.
pub(crate) fn follow(node: &Node, step: &str) -> Said {
    let lab = if step.starts_with("kubeadm ") {
        IGNORED
    } else {
        ""
    };
    let said = node.run("sh", &["-c", &format!("{step} {lab}")]);
    assert_eq!(said.code, 0, "{step}: {said:#?}");
    said
}

/// The API takes a write through the endpoint and gives it back; how long that took.
pub(crate) fn takes_writes(node: &Node, value: &str) -> Duration {
    let ((), time) = within("the API takes a write", PATIENCE, || {
        let map = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: written, namespace: default}}\ndata: {{value: \"{value}\"}}\n"
        );
        node.write("root/written.yaml", &map);
        node.kubectl(&["apply", "-f", "/root/written.yaml"])?;
        let read = node.kubectl(&[
            "get",
            "configmap",
            "written",
            "-o",
            "jsonpath={.data.value}",
        ])?;
        (read == value).then_some(()).ok_or(read)
    });
    time
}

/// Who holds the lease of kube-controller-manager or kube-scheduler, and when it was last renewed.
pub(crate) fn lease(node: &Node, program: &str) -> Result<(String, String), String> {
    let path = "jsonpath={.spec.holderIdentity} {.spec.renewTime}";
    let said = node.kubectl(&["-n", "kube-system", "get", "lease", program, "-o", path])?;
    let (holder, renewed) = said.split_once(' ').ok_or(said.clone())?;
    Ok((holder.to_owned(), renewed.to_owned()))
}

/// The two that hold leases.
pub(crate) const HOLDERS: [&str; 2] = ["kube-controller-manager", "kube-scheduler"];

/// Both hold their leases, and renew them: the holders.
pub(crate) fn holders(node: &Node) -> BTreeMap<&'static str, String> {
    let holder = |program: &'static str| {
        let mut seen = BTreeMap::<String, String>::new();
        let (holder, _) = within(&format!("{program} renews its lease"), PATIENCE, || {
            let (holder, renewed) = lease(node, program)?;
            match seen.get(&holder) {
                Some(before) if *before != renewed => Ok(holder),
                Some(_) => Err(format!("{holder} at {renewed}")),
                None => {
                    seen.insert(holder.clone(), renewed);
                    Err(format!("{holder} is the holder"))
                }
            }
        });
        (program, holder)
    };
    HOLDERS.map(holder).into()
}

/// The addresses of `default/kubernetes`.
pub(crate) fn endpoints(node: &Node) -> Result<String, String> {
    let path = "jsonpath={.subsets[*].addresses[*].ip}";
    node.kubectl(&[
        "-n",
        "default",
        "get",
        "endpoints",
        "kubernetes",
        "-o",
        path,
    ])
}

/// Certificates, keys and kubeconfigs as bytes.
pub(crate) fn certificates(node: &Node) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for folder in [
        "etc/kubernetes",
        "etc/kubernetes/pki",
        "etc/kubernetes/pki/etcd",
    ] {
        for entry in std::fs::read_dir(node.path(folder)).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.extension().and_then(std::ffi::OsStr::to_str);
            if let Some("crt" | "key" | "pub" | "conf") = kind {
                let bytes = std::fs::read(&path).unwrap();
                files.insert(path.to_str().unwrap().to_owned(), bytes);
            }
        }
    }
    assert!(files.len() > 10, "{:?}", files.keys());
    files
}

/// Nothing but these files, by the end of their path, has other bytes than before.
pub(crate) fn assert_same(
    before: &BTreeMap<String, Vec<u8>>,
    after: &BTreeMap<String, Vec<u8>>,
    but: &[&str],
) {
    let files: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed: Vec<&String> = files
        .into_iter()
        .filter(|file| before.get(*file) != after.get(*file))
        .filter(|file| !but.iter().any(|end| file.ends_with(end)))
        .collect();
    assert!(changed.is_empty(), "other bytes: {changed:?}");
}

/// The processes of the control plane.
pub(crate) const PROGRAMS: [&str; 4] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];

/// The process of each program of the control plane, one each.
pub(crate) fn processes(node: &Node) -> BTreeMap<&'static str, u32> {
    let process = |program: &'static str| {
        let (pid, _) = within("one process", PATIENCE, || match node.pids(program)[..] {
            [pid] => Ok(pid),
            ref pids => Err(format!("{program}: {pids:?}")),
        });
        (program, pid)
    };
    PROGRAMS.map(process).into()
}

/// Each hosts copy of a running pod maps the master's name to this address, and to no other.
pub(crate) fn pods_know(node: &Node, master: &str, address: &str) -> Duration {
    let name = format!("{master}.{DOMAIN}");
    let ((), time) = within("the pods' hosts copies are right", PATIENCE, || {
        let mut copies = 0;
        for pod in std::fs::read_dir(node.path("var/lib/kubelet/pods"))
            .unwrap()
            .flatten()
        {
            let Ok(text) = std::fs::read_to_string(pod.path().join("etc-hosts")) else {
                continue;
            };
            copies += 1;
            let mapped: Vec<&str> = text
                .lines()
                .filter(|line| !line.starts_with('#'))
                .filter(|line| line.split_whitespace().skip(1).any(|word| word == name))
                .filter_map(|line| line.split_whitespace().next())
                .collect();
            if mapped != [address] {
                return Err(format!("{}: {mapped:?}", pod.path().display()));
            }
        }
        (copies >= 4)
            .then_some(())
            .ok_or_else(|| format!("{copies} copies"))
    });
    time
}

/// A JSON answer of stayput.
pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Ends all containers, as a machine that is switched off does.
pub(crate) fn end_pods(node: &Node) {
    let script = "ctr -n k8s.io tasks ls -q | xargs -r -n1 ctr -n k8s.io tasks kill -s KILL";
    within("the pods have ended", PATIENCE, || {
        let said = node.run("sh", &["-c", script]);
        let left = node.pids("etcd").len() + node.pids("kube-apiserver").len();
        (left == 0).then_some(()).ok_or(said.err)
    });
}
