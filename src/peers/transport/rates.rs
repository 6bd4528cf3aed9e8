//! How often each source may do something, for as many sources as are remembered.

use std::collections::HashMap;
use std::net::IpAddr;

use tokio::time::Instant;

use super::bucket::Bucket;

/// Sources whose rate is remembered. With more of them at a time any one is forgotten.
pub(super) const SOURCES: usize = 1024;

/// See the module. What counts as one source the caller says ([`network`](super::gate::network)).
#[derive(Debug)]
pub(super) struct Rates {
    rate: (u32, u32),
    pub(super) all: HashMap<IpAddr, Bucket>,
}

impl Rates {
    /// So many each second, and so many at once.
    pub(super) fn new(rate: (u32, u32)) -> Self {
        Self {
            rate,
            all: HashMap::new(),
        }
    }

    /// Takes one if a source has one left.
    pub(super) fn try_take(&mut self, source: IpAddr, now: Instant) -> bool {
        if self.all.len() >= SOURCES && !self.all.contains_key(&source) {
            self.all.retain(|_, bucket| !bucket.is_full(now));
            if self.all.len() >= SOURCES
                && let Some(any) = self.all.keys().next().copied()
            {
                self.all.remove(&any);
            }
        }
        let fresh = || Bucket::new(self.rate, now);
        let bucket = self.all.entry(source).or_insert_with(fresh);
        bucket.try_take(now)
    }
}
