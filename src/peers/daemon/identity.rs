//! Who this node is: by its certificate among the others, with its key as a master, and whom it believes.

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::Error;
use super::hear::shown;
use super::life::{Daemon, read_keys};
use super::names;
use crate::clock;
use crate::peers::gossip::{Gossip, Identity, Input, Pace};
use crate::peers::store::{self, Loaded};
use crate::peers::trust::Trust;
use crate::writer::Interrupted;

impl Daemon {
    /// Takes part under the name of its certificate.
    pub(super) fn be_somebody(&mut self) {
        self.own.mark_unchanged();
        // Asked anew: a certificate that ends tells nobody.
        let own = self.handle.own();
        let Some(who) = own.as_ref().and_then(names::who) else {
            return;
        };
        if self
            .gossip
            .as_ref()
            .is_some_and(|gossip| *gossip.identity().who() == who)
        {
            return;
        }
        let generation = self
            .members
            .generation
            .saturating_add(1)
            .max(clock::unix_now());
        let identity = match Identity::new(who.clone(), generation, self.own_sockets()) {
            Ok(identity) => identity,
            Err(error) => return tracing::error!("cannot take part as {who}: {error}"),
        };
        tracing::info!("taking part as {who}, at {}", shown(&self.here));
        self.members.generation = generation;
        if let Some(before) = &self.gossip {
            self.members.told = before.known();
        }
        let rng = SmallRng::from_rng(&mut self.rng);
        self.gossip = Some(Gossip::new(identity, Pace::default(), rng, self.now()));
        self.gossip(Input::Known(self.members.told.clone()));
        self.spread_masters();
        self.speak();
    }

    pub(super) async fn keys_changed(&mut self) {
        if let Err(error) = self.read_keys().await {
            tracing::error!("certificates are not followed: {error}");
        }
    }

    pub(super) async fn read_keys(&mut self) -> Result<(), Error> {
        let keys = read_keys(&self.writer, &self.root, &self.cluster).await?;
        for problem in &keys.problems {
            if !self.key_problems.contains(problem) {
                tracing::warn!("{problem}");
            }
        }
        let own = keys.signer.as_ref();
        let own = own.map(|signer| signer.certificate().certificate.not_before);
        self.records
            .not_before(own.into_iter().fold(keys.seen, i64::max));
        self.key_problems = keys.problems;
        let authorities = keys.trust.as_ref().map(|trust| trust.authorities.to_vec());
        if authorities != self.authorities || self.disk.is_spared() {
            if let Some(trust) = &keys.trust
                && (!self.loaded || self.disk.is_spared())
            {
                self.load(trust.clone()).await?;
            }
            for why in self.records.believe(keys.trust) {
                tracing::warn!("a record does not count any more: {why}");
            }
            self.authorities = authorities;
        }
        self.voice.sign_with(keys.signer);
        self.speak();
        Ok(())
    }

    /// Reads the records that were saved.
    pub(super) async fn load(&mut self, trust: Trust) -> Result<(), Interrupted> {
        let root = self.root.clone();
        let loaded = self.writer.run(move || store::load(&root, &trust)).await?;
        self.loaded = true;
        self.hold.read(&loaded);
        if !matches!(loaded, Loaded::Unreadable(_)) {
            self.disk.use_it();
        }
        match loaded {
            Loaded::Good { ledger, refused } => {
                for why in refused {
                    tracing::warn!("a saved record does not count any more: {why}");
                }
                self.records.load(ledger);
                self.tell_agent();
            }
            Loaded::Fresh => {}
            Loaded::Damaged { reason, set_aside } => {
                let place = set_aside.map_or_else(
                    || "it could not be set aside".to_owned(),
                    |path| format!("it lies at {} now", path.display()),
                );
                tracing::error!(
                    "{} is damaged ({reason}; {place}); other nodes send its records again",
                    store::PATH
                );
            }
            Loaded::Unreadable(unreadable) => {
                if !self.disk.is_spared() {
                    tracing::error!("{unreadable}");
                }
                self.disk.spare();
            }
        }
        Ok(())
    }

    /// What was waited for in vain is tried again.
    pub(super) async fn try_again(&mut self) {
        if self.disk.is_spared() {
            self.keys_changed().await;
        }
        // A certificate may have ended meanwhile, or begun to count.
        self.be_somebody();
        self.speak();
    }
}
