//! The two servers that a cluster is asked and told by: kube-apiserver and etcd, over HTTPS with client
//! certificates.
//!
//! [`https`] is the one client: it connects to addresses that it is given, and verifies the server by a
//! name and one authority. [`directory`] tells both from a URL, by the same book that all surfaces show,
//! so that nothing here depends on them. [`kubernetes`] and [`etcd`] know what the answers mean.

pub mod directory;
pub mod etcd;
pub mod https;
pub mod identity;
pub mod kubernetes;
