//! The programs of Kubernetes and their flags, as kubeadm 1.20.2 writes them into its manifests.

use std::path::PathBuf;
use std::process::Command;

use crate::node::Node;
use crate::support::here;

const PROGRAMS: [&str; 3] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];

/// The components that lead by a lease.
pub(crate) const LEADING: [&str; 2] = ["kube-controller-manager", "kube-scheduler"];

/// Where the programs of Kubernetes are: `bin` in `$STAYPUT_KUBERNETES`, or in the cache.
fn programs() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = set("STAYPUT_KUBERNETES").map_or_else(
        || {
            let home = || PathBuf::from(set("HOME").unwrap_or_default()).join(".cache");
            let cache = set("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
            cache.join("stayput/kubernetes-1.20.2")
        },
        PathBuf::from,
    );
    folder.join("bin")
}

/// Whether this machine can have such a cluster.
pub(crate) fn possible() -> bool {
    let needed = [
        "ip", "unshare", "setpriv", "etcd", "etcdctl", "haproxy", "kubectl", "curl", "pkill",
        "socat",
    ];
    if !here(true, &needed) {
        return false;
    }
    let folder = programs();
    let missing = PROGRAMS.iter().any(|name| !folder.join(name).exists());
    if missing {
        let text = format!(
            "Kubernetes 1.20.2 in {} (see tests/kubernetes/build)",
            folder.display()
        );
        let required = std::env::var_os("STAYPUT_REQUIRE_KUBERNETES");
        assert!(required.is_none_or(|value| value != "1"), "missing: {text}");
        eprintln!("SKIPPED: missing: {text}");
    }
    !missing
}

fn command(node: &Node, program: &str, flags: &[&str]) -> Command {
    let program = programs().join(program);
    let mut command = node.command(program.to_str().unwrap());
    command.args(flags);
    command
}

/// kube-apiserver. Nothing in its flags is an address that can change, but `--advertise-address`,
/// which has to be one.
pub(crate) fn apiserver(node: &Node, advertise: &str) -> Command {
    let mut command = command(
        node,
        "kube-apiserver",
        &[
            "--allow-privileged=true",
            "--authorization-mode=Node,RBAC",
            "--client-ca-file=/etc/kubernetes/pki/ca.crt",
            "--enable-admission-plugins=NodeRestriction",
            "--enable-bootstrap-token-auth=true",
            "--etcd-cafile=/etc/kubernetes/pki/etcd/ca.crt",
            "--etcd-certfile=/etc/kubernetes/pki/apiserver-etcd-client.crt",
            "--etcd-keyfile=/etc/kubernetes/pki/apiserver-etcd-client.key",
            "--etcd-servers=https://127.0.0.1:2379",
            "--insecure-port=0",
            "--kubelet-client-certificate=/etc/kubernetes/pki/apiserver-kubelet-client.crt",
            "--kubelet-client-key=/etc/kubernetes/pki/apiserver-kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname",
            "--proxy-client-cert-file=/etc/kubernetes/pki/front-proxy-client.crt",
            "--proxy-client-key-file=/etc/kubernetes/pki/front-proxy-client.key",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-client-ca-file=/etc/kubernetes/pki/front-proxy-ca.crt",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            "--secure-port=6443",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            "--service-account-key-file=/etc/kubernetes/pki/sa.pub",
            "--service-account-signing-key-file=/etc/kubernetes/pki/sa.key",
            "--service-cluster-ip-range=10.96.0.0/12",
            "--tls-cert-file=/etc/kubernetes/pki/apiserver.crt",
            "--tls-private-key-file=/etc/kubernetes/pki/apiserver.key",
        ],
    );
    command.arg(format!("--advertise-address={advertise}"));
    command
}

/// kube-controller-manager.
pub(crate) fn controller_manager(node: &Node) -> Command {
    command(
        node,
        "kube-controller-manager",
        &[
            "--authentication-kubeconfig=/etc/kubernetes/controller-manager.conf",
            "--authorization-kubeconfig=/etc/kubernetes/controller-manager.conf",
            "--bind-address=127.0.0.1",
            "--client-ca-file=/etc/kubernetes/pki/ca.crt",
            "--cluster-name=kubernetes",
            "--cluster-signing-cert-file=/etc/kubernetes/pki/ca.crt",
            "--cluster-signing-key-file=/etc/kubernetes/pki/ca.key",
            "--controllers=*,bootstrapsigner,tokencleaner",
            "--kubeconfig=/etc/kubernetes/controller-manager.conf",
            "--leader-elect=true",
            "--port=0",
            "--requestheader-client-ca-file=/etc/kubernetes/pki/front-proxy-ca.crt",
            "--root-ca-file=/etc/kubernetes/pki/ca.crt",
            "--service-account-private-key-file=/etc/kubernetes/pki/sa.key",
            "--use-service-account-credentials=true",
        ],
    )
}

/// kube-scheduler.
pub(crate) fn scheduler(node: &Node) -> Command {
    command(
        node,
        "kube-scheduler",
        &[
            "--authentication-kubeconfig=/etc/kubernetes/scheduler.conf",
            "--authorization-kubeconfig=/etc/kubernetes/scheduler.conf",
            "--bind-address=127.0.0.1",
            "--kubeconfig=/etc/kubernetes/scheduler.conf",
            "--leader-elect=true",
            "--port=0",
        ],
    )
}
