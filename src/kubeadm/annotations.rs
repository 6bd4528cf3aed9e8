//! The annotations in which kubeadm repeats flags of static pods, for `kubeadm upgrade`, `join` and `reset`
//! to read back (kubeadm, `cmd/kubeadm/app/constants`).

/// kube-apiserver's `--advertise-address`, with its port
/// (`KubeAPIServerAdvertiseAddressEndpointAnnotationKey`).
pub const APISERVER_ENDPOINT: &str =
    "kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint";

/// etcd's `--advertise-client-urls` (`EtcdAdvertiseClientUrlsAnnotationKey`).
pub const ETCD_CLIENT_URLS: &str = "kubeadm.kubernetes.io/etcd.advertise-client-urls";
