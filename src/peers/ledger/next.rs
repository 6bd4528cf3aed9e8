//! The versions of what is said next, and the two things that a master says of others.

use super::Ledger;
use super::master::Master;
use crate::name::Name;
use crate::peers::statement::{Says, Statement};
use crate::pki::issue::BACKDATED;

impl Ledger {
    /// The version of a master's next own word: the larger of its greatest that counts plus one and Unix time,
    /// `now`. What a replacement has taken away counts no more, however great it was. At the greatest
    /// number of all it stays.
    pub fn next_version(&self, master: &Name, now: u64) -> u64 {
        let version = self.masters.get(master).and_then(Master::version);
        next(version, now)
    }

    /// That a master is one no more, to be signed by any; `now` in Unix time.
    pub fn removal(&self, cluster: &Name, master: &Name, now: u64) -> Statement {
        self.statement(cluster, master, now, Says::Removed)
    }

    /// That a new machine takes a master's name, to be signed by any; `now` in Unix time.
    ///
    /// What counts is then under certificates that begin later than any under which the old machine has
    /// spoken, and not before now, less the seconds by which new ones are [backdated](BACKDATED). So one that
    /// is issued from now on counts.
    pub fn replacement(&self, cluster: &Name, master: &Name, now: u64) -> Statement {
        let newest = self
            .masters
            .get(master)
            .and_then(Master::newest_certificate);
        let after = newest.map_or(i64::MIN, |newest| newest.saturating_add(1));
        let now_backdated = i64::try_from(now)
            .unwrap_or(i64::MAX)
            .saturating_sub(BACKDATED);
        let not_before = after.max(now_backdated);
        self.statement(cluster, master, now, Says::Replaced { not_before })
    }

    fn statement(&self, cluster: &Name, master: &Name, now: u64, says: Says) -> Statement {
        Statement {
            cluster: cluster.clone(),
            master: master.clone(),
            version: next(
                self.masters.get(master).and_then(Master::control_version),
                now,
            ),
            says,
        }
    }
}

fn next(version: Option<u64>, now: u64) -> u64 {
    version
        .map_or(0, |version| version.saturating_add(1))
        .max(now)
}
