//! The two servers that a cluster is asked and told by: kube-apiserver and etcd, over HTTPS with client
//! certificates.
