//! Follows the names of masters whose addresses others know: `follow: ip-10-77-0-13.eu.example.com`.
//!
//! A name is asked for again when its time to live ends, within [`SOONEST`] and [`LATEST`]; after a
//! failure sooner, and then less and less often. A failure, an empty answer and a name that does not
//! exist are told and change nothing: the last good addresses stay.
//!
//! **No loop is possible.** Not asked for, and not taken from an answer, is any name of the cluster's
//! own: its domain, everything below it and its aliases ([`answer::Ours`]). The hosts file is never
//! read, names are fully qualified so that no search list applies, nothing is cached, and the node's
//! own responder is never asked ([`servers`]). Where a resolver between here and there hides a chain
//! that ends at us, its answer can only repeat what the book says already.
//!
//! systemd-resolved (127.0.0.53) is asked as any other server, also where it routes the cluster's
//! domain to our responder: a followed name is never in that domain.

pub mod answer;
pub mod servers;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name as DnsName, RecordType};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::address::{AddressError, Loopback};
use crate::config::Cluster;
use crate::name::Name;
use crate::root::Root;
use crate::writer::Writer;
use answer::{Found, Ours};

/// A name is not asked for again sooner than this, whatever its time to live.
pub const SOONEST: Duration = Duration::from_secs(5);
/// A name is asked for again after this at the latest.
pub const LATEST: Duration = Duration::from_mins(5);
/// The pause after the first failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// The longest pause after failures.
const LAST_RETRY: Duration = Duration::from_mins(1);
/// For one attempt at one server; there are two.
const PATIENCE: Duration = Duration::from_secs(2);
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Why a followed name has no new addresses.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// resolv.conf cannot be read.
    #[error("cannot read {RESOLV_CONF}: {0}; set dns.upstream in the cluster file")]
    ResolvConf(String),
    /// Nobody to ask.
    #[error(
        "no server to ask for followed names: {0} has none besides this node's own responder; \
         set dns.upstream in the cluster file"
    )]
    NoServers(&'static str),
    /// No server gave an answer; what the last one asked said.
    #[error("cannot resolve {name} at {server}: {source}")]
    Lookup {
        /// The followed name.
        name: Name,
        /// The last server that was asked.
        server: SocketAddr,
        /// Why not.
        source: Box<NetError>,
    },
    /// The name is one of ours, or leads to one.
    #[error(
        "{name} leads to {through}, which is the cluster's own name; \
         follow the name that others give to the machine"
    )]
    Ours {
        /// The followed name.
        name: Name,
        /// The name of ours that it leads to.
        through: String,
    },
    /// The name does not exist.
    #[error("{0} does not exist (NXDOMAIN)")]
    NoSuchName(Name),
    /// The name exists without any address.
    #[error("{0} has neither an A nor an AAAA record")]
    NoAddress(Name),
    /// All addresses are of a kind that a master cannot have.
    #[error("no address of {name} is usable: {problem}")]
    Unusable {
        /// The followed name.
        name: Name,
        /// What is wrong with the first one.
        problem: AddressError,
    },
}

/// What a look at a followed name has shown.
#[derive(Debug, Clone)]
pub struct Look {
    /// Sorted, without repeats, never empty; or why there is nothing new.
    pub result: Result<Vec<IpAddr>, Error>,
    /// What was passed over: unusable addresses, a family that could not be asked for.
    pub notices: Vec<String>,
    /// How long the addresses may be kept, in seconds, by the shortest time to live on the way.
    pub ttl: Option<u32>,
}

/// A look at the name that a master follows.
#[derive(Debug, Clone)]
pub struct Observation {
    /// The master, fully qualified.
    pub master: Name,
    /// The name that it follows.
    pub follow: Name,
    /// What was seen.
    pub look: Look,
    /// When the next look is due.
    pub next_in: Duration,
}

/// All followed names of a cluster, each looked at in time, until this is dropped.
#[derive(Debug)]
pub struct Upstream {
    observations: mpsc::Receiver<Observation>,
    // Ends the tasks when dropped.
    _tasks: JoinSet<()>,
}

impl Upstream {
    /// Starts to follow, on the current runtime. `said` gives what this source said of a master last;
    /// it stands in for a family that cannot be asked for.
    pub fn start(
        resolver: &Resolver,
        cluster: &Cluster,
        said: impl Fn(&Name) -> Vec<IpAddr>,
    ) -> Self {
        let (sender, observations) = mpsc::channel(16);
        let mut tasks = JoinSet::new();
        for master in &cluster.masters {
            if let Some(follow) = &master.follow {
                let follower = Follower {
                    resolver: resolver.clone(),
                    master: master.name.clone(),
                    follow: follow.clone(),
                    last: said(&master.name),
                    failures: 0,
                };
                tasks.spawn(follower.run(sender.clone()));
            }
        }
        Self {
            observations,
            _tasks: tasks,
        }
    }

    /// The next observation; waits for ever where no master follows a name. May be cancelled.
    pub async fn next(&mut self) -> Observation {
        match self.observations.recv().await {
            Some(observation) => observation,
            None => std::future::pending().await,
        }
    }
}

struct Follower {
    resolver: Resolver,
    master: Name,
    follow: Name,
    last: Vec<IpAddr>,
    failures: u32,
}

impl Follower {
    async fn run(mut self, sender: mpsc::Sender<Observation>) {
        loop {
            let look = self.resolver.look(&self.follow, &self.last).await;
            match &look.result {
                Ok(addresses) => {
                    self.last.clone_from(addresses);
                    self.failures = 0;
                }
                Err(_) => self.failures = self.failures.saturating_add(1),
            }
            let next_in = pause(self.failures, look.ttl);
            let observation = Observation {
                master: self.master.clone(),
                follow: self.follow.clone(),
                look,
                next_in,
            };
            if sender.send(observation).await.is_err() {
                return;
            }
            tokio::time::sleep(next_in).await;
        }
    }
}

/// Until the next look, after so many failures in a row.
fn pause(failures: u32, ttl: Option<u32>) -> Duration {
    match failures.checked_sub(1) {
        None => ttl
            .map_or(SOONEST, |ttl| Duration::from_secs(ttl.into()))
            .clamp(SOONEST, LATEST),
        Some(doublings) => FIRST_RETRY
            .saturating_mul(1 << doublings.min(10))
            .min(LAST_RETRY),
    }
}

/// Resolves followed names. Cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    writer: Writer,
    root: Root,
    /// Of the cluster file; those of resolv.conf where empty.
    configured: Vec<SocketAddr>,
    /// Where this node's responder listens.
    listen: Vec<SocketAddr>,
    ours: Ours,
    loopback: Loopback,
    /// The servers of the last look, so that their sockets and what is known of them live on.
    servers: Vec<(SocketAddr, TokioResolver)>,
}

impl Resolver {
    /// For the followed names of one cluster. `writer` reads resolv.conf below `root` at each look.
    pub fn new(writer: Writer, root: Root, cluster: &Cluster, loopback: Loopback) -> Self {
        Self {
            writer,
            root,
            configured: cluster.dns.upstream.clone(),
            listen: cluster.dns.listen.clone(),
            ours: Ours::of(cluster),
            loopback,
            servers: Vec::new(),
        }
    }

    /// Looks at a name once. `last` are its last good addresses: a family that no server could be
    /// asked for keeps its own.
    pub async fn look(&mut self, name: &Name, last: &[IpAddr]) -> Look {
        let refused = |error| Look {
            result: Err(error),
            notices: Vec::new(),
            ttl: None,
        };
        if self.ours.holds(name.as_str()) {
            let through = name.to_string();
            let name = name.clone();
            return refused(Error::Ours { name, through });
        }
        if let Err(error) = self.update_servers(name).await {
            return refused(error);
        }
        let (v4, v6) = tokio::join!(
            self.ask(name, RecordType::A),
            self.ask(name, RecordType::AAAA)
        );
        answer::combine(name, v4, v6, last)
    }

    async fn update_servers(&mut self, name: &Name) -> Result<(), Error> {
        let (said, origin) = if self.configured.is_empty() {
            let root = self.root.clone();
            let read = move || root.read(Path::new(RESOLV_CONF), 1 << 20);
            let problem = |error: &dyn std::error::Error| Error::ResolvConf(error.to_string());
            let bytes = self.writer.run(read).await.map_err(|e| problem(&e))?;
            let bytes = bytes.map_err(|e| problem(&e))?.unwrap_or_default();
            (servers::of_resolv_conf(&bytes), RESOLV_CONF)
        } else {
            (self.configured.clone(), "dns.upstream")
        };
        let wanted = servers::besides_own(&said, &self.listen);
        if wanted.is_empty() {
            return Err(Error::NoServers(origin));
        }
        if !self.servers.iter().map(|(server, _)| server).eq(&wanted) {
            self.servers = wanted
                .into_iter()
                .map(|server| {
                    Ok((
                        server,
                        resolver_of(server).map_err(|e| lookup(name, server, e))?,
                    ))
                })
                .collect::<Result<_, Error>>()?;
        }
        Ok(())
    }

    /// Asks one server after the other until one knows, as resolv.conf(5) has it. A server that
    /// refuses or fails is passed over.
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Found, Error> {
        let mut question =
            DnsName::from_ascii(name.as_str()).map_err(|_| Error::NoSuchName(name.clone()))?;
        question.set_fqdn(true);
        let mut failure = Error::NoServers(RESOLV_CONF);
        for (server, resolver) in &self.servers {
            match resolver.lookup(question.clone(), kind).await {
                Ok(lookup) => {
                    return answer::follow(
                        name,
                        &question,
                        lookup.answers(),
                        &self.ours,
                        self.loopback,
                    );
                }
                Err(NetError::Dns(DnsError::NoRecordsFound(none)))
                    if matches!(
                        none.response_code,
                        ResponseCode::NoError | ResponseCode::NXDomain
                    ) =>
                {
                    return Ok(Found::nothing(none.response_code == ResponseCode::NXDomain));
                }
                Err(error) => failure = lookup(name, *server, error),
            }
        }
        Err(failure)
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let servers: Vec<_> = self.servers.iter().map(|(server, _)| server).collect();
        f.debug_struct("Resolver")
            .field("servers", &servers)
            .finish_non_exhaustive()
    }
}

fn lookup(name: &Name, server: SocketAddr, source: NetError) -> Error {
    Error::Lookup {
        name: name.clone(),
        server,
        source: Box::new(source),
    }
}

/// A resolver that asks one server and knows nothing else.
fn resolver_of(server: SocketAddr) -> Result<TokioResolver, NetError> {
    let mut config = NameServerConfig::udp_and_tcp(server.ip());
    for connection in &mut config.connections {
        connection.port = server.port();
    }
    let config = ResolverConfig::from_name_servers(vec![config]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = 0;
    options.timeout = PATIENCE;
    options.attempts = 1;
    options.preserve_intermediates = true;
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_live_is_obeyed_within_bounds() {
        for (ttl, seconds) in [(None, 5), (Some(0), 5), (Some(60), 60), (Some(86_400), 300)] {
            assert_eq!(pause(0, ttl), Duration::from_secs(seconds), "{ttl:?}");
        }
    }

    #[test]
    fn failures_are_asked_again_less_and_less_often() {
        let pauses: Vec<u64> = (1..8).map(|n| pause(n, Some(1)).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause(u32::MAX, None), LAST_RETRY);
    }
}
