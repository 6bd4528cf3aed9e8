//! The addresses of `peers.seeds`: as they stand, and those of upstream names.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::config::Cluster;
use crate::config::peers::{Host, Seed};
use crate::root::Root;
use crate::source::upstream::Resolver;
use crate::writer::Writer;

/// A name is not asked for more often.
const PAUSE: Duration = Duration::from_secs(5);

/// The seeds of a cluster file, until this is dropped.
#[derive(Debug)]
pub(super) struct Seeds {
    found: watch::Receiver<Vec<SocketAddr>>,
    wanted: Arc<Notify>,
    task: Option<JoinHandle<()>>,
}

impl Seeds {
    /// Names are looked up once they are [wanted](Self::now).
    pub(super) fn new(root: &Root, writer: &Writer, cluster: &Cluster) -> Self {
        let seeds = cluster.peers.seeds.clone();
        let (sender, found) = watch::channel(fixed(&seeds));
        let wanted = Arc::new(Notify::new());
        let named = seeds.iter().any(|seed| matches!(seed.host, Host::Name(_)));
        let task = named.then(|| {
            let resolver = Resolver::new(writer.clone(), root.clone(), cluster, root.loopback());
            tokio::spawn(look_up(resolver, seeds, sender, wanted.clone()))
        });
        Self {
            found,
            wanted,
            task,
        }
    }

    /// What is known now; names are looked up anew for the next time.
    pub(super) fn now(&self) -> Vec<SocketAddr> {
        self.wanted.notify_one();
        self.found.borrow().clone()
    }
}

impl Drop for Seeds {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn fixed(seeds: &[Seed]) -> Vec<SocketAddr> {
    let fixed = seeds.iter().filter_map(|seed| match &seed.host {
        Host::Address(address) => Some(SocketAddr::new(*address, seed.port)),
        Host::Name(_) => None,
    });
    fixed.collect()
}

async fn look_up(
    mut resolver: Resolver,
    seeds: Vec<Seed>,
    found: watch::Sender<Vec<SocketAddr>>,
    wanted: Arc<Notify>,
) {
    let mut last = vec![Vec::new(); seeds.len()];
    loop {
        wanted.notified().await;
        let mut all = Vec::new();
        for (seed, last) in seeds.iter().zip(&mut last) {
            match &seed.host {
                Host::Address(address) => all.push(SocketAddr::new(*address, seed.port)),
                Host::Name(name) => {
                    match resolver.look(name, last).await.result {
                        Ok(addresses) => *last = addresses,
                        Err(error) => tracing::debug!("the seed {name}: {error}"),
                    }
                    all.extend(last.iter().map(|at| SocketAddr::new(*at, seed.port)));
                }
            }
        }
        if found.send(all).is_err() {
            return;
        }
        sleep(PAUSE).await;
    }
}
