//! The picture that everyone may read while the agent works, and waiting for the next one.
//!
//! `GET /v1/watch` is for the process that signs and spreads records: it learns at once that this node's
//! own master has moved.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::book::Origin;
use crate::name::Name;
use crate::status::{MasterStatus, Status};

/// How long an answer may be waited for.
pub const LONGEST: Duration = Duration::from_secs(25);

/// The agent's side.
#[derive(Debug)]
pub struct Publisher {
    status: Arc<ArcSwap<Status>>,
    generation: watch::Sender<u64>,
}

/// The readers' side.
#[derive(Debug, Clone)]
pub struct Published {
    status: Arc<ArcSwap<Status>>,
    generation: watch::Receiver<u64>,
}

impl Publisher {
    /// Begins with this picture.
    pub fn new(status: Status) -> Self {
        Self {
            generation: watch::Sender::new(status.generation),
            status: Arc::new(ArcSwap::from_pointee(status)),
        }
    }

    /// Shows another one, and wakes who waits for a new generation.
    pub fn publish(&self, status: Status) {
        let now = status.generation;
        self.status.store(Arc::new(status));
        self.generation
            .send_if_modified(|shown| std::mem::replace(shown, now) != now);
    }

    /// For those who read it.
    pub fn readers(&self) -> Published {
        Published {
            status: self.status.clone(),
            generation: self.generation.subscribe(),
        }
    }
}

impl Published {
    /// The newest picture.
    pub fn status(&self) -> Guard<Arc<Status>> {
        self.status.load()
    }

    /// The masters as soon as the book's generation is another than `known`, or after [`LONGEST`] as they
    /// are then; at once where nothing is known. May be cancelled.
    pub async fn watch(&self, known: Option<u64>) -> Watched {
        let mut generation = self.generation.clone();
        let changed = generation.wait_for(|now| known != Some(*now));
        // Neither that it takes long nor that the agent ends changes what there is to say.
        let _ = timeout(LONGEST, changed).await;
        Watched::of(&self.status.load())
    }
}

/// Where the masters are, by the book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// The book's generation.
    pub generation: u64,
    /// This node's own master; absent on a worker, for one that was removed, and while it has no address.
    pub own: Option<Own>,
    /// Every master that has an address, this node's too.
    pub masters: BTreeMap<Name, Place>,
}

/// Where this node's own master is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// Fully qualified.
    pub name: Name,
    /// Where it is.
    #[serde(flatten)]
    pub place: Place,
}

/// Where a master is, and who said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// At least one.
    pub addresses: Vec<IpAddr>,
    /// Who said so; [`Origin::Record`] is signed already.
    pub origin: Origin,
    /// The entry's version.
    pub version: u64,
}

impl Watched {
    /// What a status says of it.
    pub fn of(status: &Status) -> Self {
        let place = |master: &MasterStatus| {
            let place = Place {
                addresses: master.addresses.clone(),
                origin: master.origin?,
                version: master.version?,
            };
            Some((master.name.clone(), place))
        };
        let masters: BTreeMap<_, _> = status.masters.iter().filter_map(place).collect();
        let own = status.node.name.as_ref();
        let own = own.and_then(|name| masters.get_key_value(name));
        Self {
            generation: status.generation,
            own: own.map(|(name, place)| Own {
                name: name.clone(),
                place: place.clone(),
            }),
            masters,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture;
    use crate::provision::Provision;
    use crate::sample;
    use tokio::time::Instant;

    fn status(octet: u8, generation: u64) -> Status {
        let mut view = sample::three([octet, 2, 3]);
        let mut book = crate::book::Book::clone(&view.book);
        book.generation = generation;
        view.book = book.into();
        picture::of(&picture::Input {
            view: &view,
            provision: Provision::default(),
            agent: None,
            problems: &[],
            left_out: &[],
            upstream_errors: &BTreeMap::new(),
            certificates: None,
            kubeadm: None,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_woken_by_another_generation_or_in_the_end() {
        let publisher = Publisher::new(status(1, 7));
        let readers = publisher.readers();
        let started = Instant::now();
        for known in [None, Some(6), Some(8)] {
            assert_eq!(readers.watch(known).await.generation, 7, "{known:?}");
        }
        assert_eq!(started.elapsed(), Duration::ZERO);

        let waiting = tokio::spawn(async move { readers.watch(Some(7)).await });
        tokio::time::sleep(Duration::from_secs(10)).await;
        publisher.publish(status(1, 7));
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(!waiting.is_finished());
        publisher.publish(status(9, 8));
        let watched = waiting.await.unwrap();
        assert_eq!(started.elapsed(), Duration::from_secs(20));
        let first = &watched.masters["master-1.k8s.internal"];
        assert_eq!(first.addresses, sample::ips(&["10.77.0.9"]));

        assert_eq!(publisher.readers().watch(Some(8)).await, watched);
        assert_eq!(started.elapsed(), Duration::from_secs(20) + LONGEST);
    }
}
