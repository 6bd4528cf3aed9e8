//! The two ways in which a cluster outlives its addresses, and its cluster file.

pub(crate) const DOMAIN: &str = "prod.k8s.internal";
pub(crate) const MASTERS: [&str; 3] = ["master-1", "master-2", "master-3"];
/// Where the masters are at first.
pub(crate) const BEFORE: [&str; 3] = ["10.77.0.11", "10.77.0.12", "10.77.0.13"];
/// The addresses that never change, where there are such.
pub(crate) const STABLE: [&str; 3] = ["10.254.0.1", "10.254.0.2", "10.254.0.3"];

/// What etcd and the API servers are bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Names, and nothing that is an address.
    Names,
    /// As a stock kubeadm does it: addresses, but ones that never change.
    Stable,
}

impl Way {
    /// The cluster file, the same on every node.
    pub(crate) fn cluster(self) -> String {
        let masters = MASTERS.into_iter().zip(BEFORE).zip(STABLE);
        let masters = masters.map(|((name, address), stable)| match self {
            Self::Names => format!("  - {{name: {name}, address: {address}}}\n"),
            Self::Stable => {
                format!("  - {{name: {name}, address: {address}, stable: {stable}}}\n")
            }
        });
        let masters: String = masters.collect();
        let routes = match self {
            Self::Names => "",
            Self::Stable => "routes: {mode: direct}\n",
        };
        format!(
            r#"domain: {DOMAIN}
endpoint: {{name: api, port: 8443}}
kubernetes: {{version: "1.20"}}
masters:
{masters}{routes}dns: {{listen: ["127.0.0.1:53"]}}
haproxy: {{reload: [/usr/bin/pkill, -USR2, -F, /run/haproxy.pid]}}
"#
        )
    }

    /// What an API server says of itself where its master is.
    pub(crate) fn advertise(self, index: usize, address: &str) -> String {
        match self {
            Self::Names => address.to_owned(),
            Self::Stable => STABLE[index].to_owned(),
        }
    }
}
