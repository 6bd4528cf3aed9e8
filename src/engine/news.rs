//! What the surfaces' tasks tell the engine.

use super::Engine;
use super::lane::{News, Seen};
use crate::clock;
use crate::provision::Facts;
use crate::report::Surface;
use crate::surface::haproxy::Observation;

impl Engine {
    /// Has HAProxy and the manifest looked at; what is seen comes as news.
    pub fn look(&self) {
        drop(self.lanes.haproxy.look(self.view()));
    }

    /// The same, and waits for it.
    pub async fn look_now(&mut self) {
        if self.lanes.haproxy.look(self.view()).await.is_ok() {
            self.take_all_news().await;
        }
    }

    /// What a surface's task has done or seen. Waits for it; may be cancelled.
    pub async fn news(&mut self) -> News {
        match self.news.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }

    /// Takes in what has come so far.
    pub async fn take_all_news(&mut self) {
        while let Ok(news) = self.news.try_recv() {
            self.take(news).await;
        }
    }

    /// Takes in what a surface's task has done or seen, and follows what that says of this master.
    pub async fn take(&mut self, news: News) {
        match news {
            News::Report(report) => self.note(&report),
            News::Seen(Seen {
                observation,
                manifest,
            }) => {
                let ready = observation.as_ref().is_ok_and(Observation::local_ready);
                self.observation = Some(observation);
                if let (Some(_), Some(manifest)) = (self.node.master(), manifest) {
                    let facts = Facts { manifest, ready };
                    self.follow_facts(facts).await;
                }
            }
        }
    }

    async fn follow_facts(&mut self, facts: Facts) {
        let next = self.provision.seen(facts, clock::unix_now());
        if next != self.provision {
            self.set_provision(next);
            drop(self.repair(&[Surface::Haproxy]).await);
        }
    }
}
