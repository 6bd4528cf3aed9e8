//! One run of a command that issues: what is there, the plan, new files, what follows.
//!
//! One at a time per machine, under a lock of its own ([`Hold`]). What an earlier run has left
//! unfinished is put right first.

mod done;
mod error;
mod hold;
mod look;
mod order;

use std::path::PathBuf;

use super::after::owed::{self, Owed};
use super::after::{self, Outcome};
use super::bundle::Bundle;
use super::catalogue::Catalogue;
use super::certificate::Certificate;
use super::identity;
use super::inventory::{self, Inventory};
use super::moment::Moment;
use super::plan::{Action, Decision, Order, plan};
use super::prepare::{Prepared, prepare};
use super::store::{self, Set, Store};
use super::wanted::{Item, Kind, Wanted, wanted};
use crate::config::{Cluster, Node};
use crate::root::Root;
use crate::static_pod;
use done::{fail, rows, succeed, withhold};

pub use done::{Did, Done, Row};
pub use error::Error;
pub use hold::Hold;
pub use look::{preview, turn, unfinished};
pub use order::Renewal;

/// What is said where an earlier run has left steps undone.
const OWED: &str = "not all was done that has to follow an earlier renewal; it is done now";

/// A run that may change files.
#[derive(Debug)]
pub struct Session<'a> {
    hold: &'a mut Hold,
    root: Root,
    cluster: Cluster,
    wanted: Wanted,
    store: Store,
}

impl<'a> Session<'a> {
    /// Puts right what an earlier run has left: manifests first, then files.
    pub fn open(hold: &'a mut Hold, cluster: &Cluster, node: &Node) -> Result<Self, Error> {
        hold.put_back_manifests()?;
        let wanted = on_master(cluster, node)?;
        let root = hold.root.clone();
        let (store, recovered) = Store::open(&root)?;
        hold.notices.extend(recovered.notice());
        Ok(Self {
            hold,
            root,
            cluster: cluster.clone(),
            wanted,
            store,
        })
    }

    /// Issues what is missing, or nothing at all where something is in the way. Where a pod that uses it
    /// has its manifest on this machine already, what follows a renewal follows here too, in a runtime
    /// as [`after::after_renew`] needs it.
    pub async fn init(mut self, new_cluster: bool, moment: &Moment) -> Result<Done, Error> {
        let now = moment.judged();
        let inventory = inventory::take(&self.root, &self.wanted);
        let decisions = plan(&Order::Init { new_cluster }, &self.wanted, &inventory, now);
        let mut rows = rows(&self.wanted, &decisions);
        if decisions.iter().any(withholds) {
            withhold(&mut rows);
            return Ok(self.done(rows, Vec::new()));
        }
        let mut owed = self.owed(&inventory)?;
        let issues = decisions.iter().any(|d| d.action.changes());
        if issues {
            moment.may_issue(true)?;
            self.hold
                .notices
                .extend(joining(new_cluster, &self.wanted, &decisions));
            let prepared = prepare(&self.root, &self.wanted, &inventory, &decisions, now)?;
            let prepared: Result<Vec<Prepared>, _> =
                prepared.into_iter().map(|(_, result)| result).collect();
            let (sets, certificates): (Vec<_>, Vec<_>) = prepared?
                .into_iter()
                .map(|prepared| (prepared.set, prepared.certificate))
                .unzip();
            let used = |id: &str| self.is_used_by_a_pod(id);
            self.place(&sets, used, &mut owed, &inventory)?;
            for (set, certificate) in sets.iter().zip(&certificates) {
                succeed(&mut rows, &set.id, certificate.as_ref());
            }
            self.remember(moment, true);
        }
        let after = self.follow(&mut owed).await;
        if issues || !after.is_empty() {
            let seen = look::seen(&self.root, &self.cluster, &self.wanted, &owed, now);
            self.hold.refresh(seen);
        }
        Ok(self.done(rows, after))
    }

    /// Renews what is due and does what follows. One that fails leaves the others alone. What came of it
    /// is written down for the agent. Needs a runtime as [`after::after_renew`] does.
    pub async fn renew(mut self, renewal: &Renewal, moment: &Moment) -> Result<Done, Error> {
        let now = moment.judged();
        let inventory = inventory::take(&self.root, &self.wanted);
        let order = renewal.order(&self.wanted, &inventory)?;
        let decisions = plan(&order, &self.wanted, &inventory, now);
        let mut owed = self.owed(&inventory)?;
        let mut rows = rows(&self.wanted, &decisions);
        let clock = moment.may_issue(!renewal.unattended);
        if decisions.iter().any(|d| d.action == Action::Refuse)
            && let Err(refusal) = &clock
        {
            // By such a clock an authority may seem to have expired, which is no news of the authority.
            self.hold.notices.push(refusal.to_string());
        }
        let results = match clock {
            Ok(()) => self.replace(&inventory, &decisions, now, &mut owed),
            Err(refusal) => none_of(&decisions, &refusal),
        };
        let issued = results.iter().any(|(_, result)| result.is_ok());
        for (id, result) in results {
            match result {
                Ok(certificate) => succeed(&mut rows, &id, certificate.as_ref()),
                Err(reason) => fail(&mut rows, &id, &reason),
            }
        }
        self.remember(moment, issued);
        // A restart issues nothing: no clock stands in its way.
        let after = self.follow(&mut owed).await;
        let seen = look::seen(&self.root, &self.cluster, &self.wanted, &owed, now);
        let done = Done {
            items: rows,
            after,
            ..Done::default()
        };
        if renewal.is_complete() {
            self.hold.note(done.complaint(), Some(seen), now);
        } else {
            self.hold.refresh(seen);
        }
        Ok(self.done(done.items, done.after))
    }

    /// Takes another master's authorities and keys: all that this machine lacks, or nothing where it has
    /// different ones. What is written, below the root.
    pub fn unbundle(self, bundle: &Bundle) -> Result<Vec<PathBuf>, Error> {
        let sets = bundle.sets(&self.root)?;
        self.store.replace(&sets)?;
        let files = sets.iter().flat_map(|set| &set.files);
        Ok(files.map(|file| file.path.clone()).collect())
    }

    /// Makes what is due and lets each take its place by itself.
    fn replace(
        &self,
        inventory: &Inventory,
        decisions: &[Decision],
        now: i64,
        owed: &mut Owed,
    ) -> Vec<Replaced> {
        let made = match prepare(&self.root, &self.wanted, inventory, decisions, now) {
            Ok(made) => made,
            Err(error) => return none_of(decisions, &error),
        };
        let one = |(id, result): (String, Result<Prepared, _>)| {
            let placed = result.map_err(Error::from).and_then(|prepared| {
                let sets = std::slice::from_ref(&prepared.set);
                self.place(sets, |_| true, owed, inventory)?;
                Ok(prepared.certificate)
            });
            (id, placed.map_err(|error| error.to_string()))
        };
        made.into_iter().map(one).collect()
    }

    /// Lets new files take the old ones' places, all or none. What `follows` is owed from before that
    /// moment on, so that it is made good if this run dies.
    fn place(
        &self,
        sets: &[Set],
        follows: impl Fn(&str) -> bool,
        owed: &mut Owed,
        inventory: &Inventory,
    ) -> Result<(), Error> {
        let before = owed.clone();
        for set in sets.iter().filter(|set| follows(&set.id)) {
            let serial = look::serial(inventory, &set.id).unwrap_or_default();
            owed.begin(&set.id, &serial);
        }
        let placed = owed.save(&self.root).map_err(Error::from);
        let placed = placed.and_then(|()| Ok(self.store.replace(sets)?));
        // What is half done the next run may finish.
        if placed.is_err() && !matches!(placed, Err(Error::Store(store::Error::Halfway { .. }))) {
            *owed = before;
            // At worst something is restarted in vain.
            let _ = owed.save(&self.root);
        }
        placed
    }

    /// What earlier runs owe; all that they could, where that is not known.
    fn owed(&mut self, inventory: &Inventory) -> Result<Owed, Error> {
        let owed = match look::still_owed(&self.root, inventory) {
            Err(error @ owed::Error::Damaged(_)) => {
                self.hold.notices.push(error.to_string());
                let renewed = self.wanted.items.iter();
                let renewed = renewed.filter(|item| item.authority().is_some());
                return Ok(Owed::everything(renewed.map(|item| item.id.as_str())));
            }
            owed => owed?,
        };
        if !look::owing(&self.cluster, &self.wanted, &owed).is_empty() {
            self.hold.notices.push(OWED.to_owned());
        }
        Ok(owed)
    }

    /// Does what is owed.
    async fn follow(&self, owed: &mut Owed) -> Vec<Outcome> {
        let steps = &self.cluster.certificates.after_renew;
        let say = self.hold.say;
        after::after_renew(&self.root, steps, &self.wanted.items, owed, say).await
    }

    /// Whether a static pod that has to be restarted for an item may run here.
    fn is_used_by_a_pod(&self, id: &str) -> bool {
        let is = |item: &&Item| item.id == id;
        let item = self.wanted.items.iter().find(is);
        let pods = item
            .map(std::slice::from_ref)
            .map_or_else(Vec::new, after::pods);
        pods.iter().any(|pod| static_pod::is_here(&self.root, pod))
    }

    /// Keeps the time for later runs. The certificates are there already, so a failure is only told.
    fn remember(&mut self, moment: &Moment, issued: bool) {
        if let Err(error) = moment.remember(&self.root, issued) {
            self.hold.notices.push(error.to_string());
        }
    }

    fn done(self, items: Vec<Row>, after: Vec<Outcome>) -> Done {
        Done {
            dry_run: false,
            items,
            after,
            notices: std::mem::take(&mut self.hold.notices),
        }
    }
}

/// Whether nothing else is issued because of this decision.
fn withholds(decision: &Decision) -> bool {
    decision.action == Action::Refuse && decision.id != identity::ID
}

/// What came of one item: its new certificate, if it has one, or why nothing changed.
type Replaced = (String, Result<Option<Certificate>, String>);

/// Nothing of the plan comes about, for one reason.
fn none_of(decisions: &[Decision], reason: &impl ToString) -> Vec<Replaced> {
    let changes = decisions.iter().filter(|d| d.action.changes());
    changes
        .map(|decision| (decision.id.clone(), Err(reason.to_string())))
        .collect()
}

/// A warning where `--new-cluster` finds all authorities made: a second master's mistake, perhaps.
fn joining(new_cluster: bool, wanted: &Wanted, decisions: &[Decision]) -> Option<String> {
    let issued = |item: &&Item| {
        let issues = |d: &&Decision| d.id == item.id && d.action.changes();
        decisions.iter().any(|decision| issues(&decision))
    };
    let items = || wanted.items.iter();
    let authority = |item: &&Item| matches!(item.kind, Kind::Authority { .. });
    if !new_cluster || items().filter(authority).any(|item| issued(&item)) {
        return None;
    }
    let first = items().filter(|item| item.new_cluster_only).filter(issued);
    let paths: Vec<String> = first
        .map(|item| item.path().display().to_string())
        .collect();
    (!paths.is_empty()).then(|| {
        format!(
            "the cluster's authorities were here already; if this machine joins it, remove {} before \
             `kubeadm join`: only the first master has them",
            paths.join(" and ")
        )
    })
}

/// What a master should have.
pub fn on_master(cluster: &Cluster, node: &Node) -> Result<Wanted, Error> {
    if node.master().is_none() {
        return Err(Error::NotMaster {
            node: node.kubernetes_name.to_string(),
            masters: cluster.master_names(),
        });
    }
    Ok(wanted(&Catalogue::of(cluster)?, cluster, node))
}
