//! etcd's members, over its JSON gateway: the same calls that etcdctl makes by gRPC (etcd 3.4 and
//! later, `/v3`; `api/etcdserverpb/rpc.proto`). 64-bit numbers are decimal texts in its JSON, and what
//! is zero, false or empty is left out.

mod error;
mod wire;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use hyper::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::error::Error;
use super::directory::Directory;
use super::https::{Https, Place};
use super::identity;
use crate::name::Name;
use crate::root::Root;

/// Where etcd listens for clients, by kubeadm.
pub const CLIENTS: u16 = 2379;
/// Where etcd listens for its peers, by kubeadm.
pub const PEERS: u16 = 2380;
/// etcd's authority.
const AUTHORITY: &str = "/etc/kubernetes/pki/etcd/ca.crt";
/// Pairs that etcd takes from a client; the first that is there is used.
const PAIRS: [&str; 3] = [
    "/etc/kubernetes/pki/etcd/healthcheck-client",
    "/etc/kubernetes/pki/apiserver-etcd-client",
    "/etc/kubernetes/pki/etcd/server",
];

/// A member of the cluster, as etcd itself lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its number in the cluster; people write it in hexadecimal.
    #[serde(serialize_with = "wire::hexadecimal")]
    pub id: u64,
    /// `--name`; empty while it was added and has not started.
    pub name: String,
    /// Where the others reach it.
    pub peer_urls: Vec<String>,
    /// Where it says that clients reach it; none until it has started.
    pub client_urls: Vec<String>,
    /// It follows and does not vote.
    pub is_learner: bool,
}

/// What one member says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its own number.
    pub id: u64,
    /// The leader's; 0 where it knows of none.
    pub leader: u64,
    /// Its release, such as `3.4.13`.
    pub version: String,
    /// The newest entry of its log.
    pub raft_index: u64,
    /// The newest entry that it has applied.
    pub applied_index: u64,
    /// It follows and does not vote.
    pub is_learner: bool,
    /// What it complains of, such as `NOSPACE`.
    pub errors: Vec<String>,
}

/// One member of etcd, to be asked.
#[derive(Debug, Clone)]
pub struct Etcd {
    https: Https,
}

impl Etcd {
    /// This machine's own member.
    pub fn local(root: &Root) -> Result<Self, Error> {
        Self::new(root, "this machine's etcd", Self::here())
    }

    /// kubeadm has etcd listen at the loopback address of the master's own family
    /// (`phases/etcd/local.go`, `getEtcdCommand`), and puts both into its certificate.
    fn here() -> Place {
        let addresses = [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            Ipv6Addr::LOCALHOST.into(),
        ];
        let mut names = addresses.map(|address| address.to_string()).to_vec();
        names.push("localhost".to_owned());
        Place {
            addresses: addresses.map(|it| SocketAddr::new(it, CLIENTS)).to_vec(),
            names,
            port: CLIENTS,
        }
    }

    /// The member of a client URL, wherever its host is by the book.
    pub fn at(root: &Root, url: &str, directory: &Directory) -> Result<Self, Error> {
        let place = directory.place(url)?;
        Self::new(root, &format!("etcd at {url}"), place)
    }

    /// The member of a master, by its name, wherever the book says that it is.
    pub fn of_master(root: &Root, master: &Name, directory: &Directory) -> Result<Self, Error> {
        let place = directory.master(master, CLIENTS)?;
        Self::new(root, &format!("etcd of {master}"), place)
    }

    /// The member at a place that is known otherwise.
    pub fn new(root: &Root, whom: &str, place: Place) -> Result<Self, Error> {
        let authorities = identity::certificates(root, Path::new(AUTHORITY))?;
        let is_there = |pair: &&&str| {
            root.exists(Path::new(&format!("{pair}.crt")))
                .unwrap_or(true)
        };
        let pair = PAIRS.iter().find(is_there).unwrap_or(&PAIRS[0]);
        let (certificate, key) = (format!("{pair}.crt"), format!("{pair}.key"));
        let identity = identity::identity(root, Path::new(&certificate), Path::new(&key))?;
        Ok(Self {
            https: Https::new(whom, place, &authorities, Some(&identity))?,
        })
    }

    /// The same with another time limit for each request.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self {
            https: self.https.within(limit),
        }
    }

    /// What people call it.
    pub fn whom(&self) -> &str {
        self.https.whom()
    }

    /// All members, as this one knows them.
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        let list: wire::Members = self.call("cluster/member/list", &wire::Nothing {}).await?;
        Ok(list.into())
    }

    /// Adds a member that follows and does not vote, which has not to be running yet. Gives it as etcd
    /// knows it now.
    pub async fn add_learner(&self, peer_url: &str) -> Result<Member, Error> {
        let order = wire::Add {
            peer_urls: vec![peer_url],
            is_learner: true,
        };
        let added: wire::Added = self.call("cluster/member/add", &order).await?;
        Ok(added.member.into())
    }

    /// Gives a member other peer URLs.
    pub async fn update(&self, id: u64, peer_urls: &[String]) -> Result<Vec<Member>, Error> {
        let order = wire::Update {
            id: id.to_string(),
            peer_urls,
        };
        let list: wire::Members = self.call("cluster/member/update", &order).await?;
        Ok(list.into())
    }

    /// Gives a learner its vote; [`Error::NotInSync`] while it has not caught up.
    pub async fn promote(&self, id: u64) -> Result<Vec<Member>, Error> {
        let order = wire::Id { id: id.to_string() };
        let list: wire::Members = self.call("cluster/member/promote", &order).await?;
        Ok(list.into())
    }

    /// Removes a member for ever; its data is of no use any more.
    pub async fn remove(&self, id: u64) -> Result<Vec<Member>, Error> {
        let order = wire::Id { id: id.to_string() };
        let list: wire::Members = self.call("cluster/member/remove", &order).await?;
        Ok(list.into())
    }

    /// What this member says of itself, whether or not the others are there.
    pub async fn status(&self) -> Result<Status, Error> {
        let status: wire::Status = self.call("maintenance/status", &wire::Nothing {}).await?;
        Ok(status.into())
    }

    /// Whether this member can read with the others' consent (`/health`): there is a leader, a
    /// majority, and no alarm. An error tells why not.
    pub async fn healthy(&self) -> Result<(), Error> {
        let answer = self.https.request(Method::GET, "/health", None).await?;
        let health = serde_json::from_slice::<wire::Health>(&answer.body);
        match health {
            Ok(health) if answer.status == 200 && health.health == "true" => Ok(()),
            Ok(health) => Err(Error::Unhealthy {
                whom: self.whom().to_owned(),
                reason: health.reason,
            }),
            Err(error) => Err(self.malformed("/health", &error)),
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        call: &'static str,
        order: &impl Serialize,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(order).map_err(|error| self.malformed(call, &error))?;
        let path = format!("/v3/{call}");
        let body = Some(("application/json", body));
        let answer = self.https.request(Method::POST, &path, body).await?;
        if answer.status != 200 {
            return Err(error::meaning(
                self.whom(),
                call,
                answer.status,
                &answer.body,
            ));
        }
        serde_json::from_slice(&answer.body).map_err(|error| self.malformed(call, &error))
    }

    fn malformed(&self, call: &'static str, error: &serde_json::Error) -> Error {
        Error::Malformed {
            whom: self.whom().to_owned(),
            call,
            reason: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_member_is_looked_for_in_both_families() {
        let place = Etcd::here();
        let addresses: Vec<String> = place.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["127.0.0.1:2379", "[::1]:2379"]);
        assert_eq!(place.names, ["127.0.0.1", "::1", "localhost"]);
        assert_eq!(place.port, CLIENTS);
    }
}
