//! One run of a command that issues: what is there, the plan, new files, what follows a renewal.
//!
//! One at a time per node, under a lock of its own. What an earlier run has left unfinished is put
//! right first.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::after;
use super::catalogue::Catalogue;
use super::certificate::Certificate;
use super::inventory::{self, Inventory};
use super::moment::{self, Moment};
use super::plan::{Action, Decision, Order, plan};
use super::prepare::{self, Prepared, prepare};
use super::profile::Names;
use super::record;
use super::store::{self, Recovered, Store};
use super::wanted::{Item, Wanted, wanted};
use crate::clock;
use crate::config::{Cluster, Node, Problems};
use crate::lock::{self, Lock};
use crate::name::Name;
use crate::root::Root;

/// How long a run waits for another one.
const PATIENCE: Duration = Duration::from_secs(10);

/// A run that may change files.
#[derive(Debug)]
pub struct Session {
    root: Root,
    cluster: Cluster,
    wanted: Wanted,
    store: Store,
    /// What was put right first.
    notices: Vec<String>,
    _lock: Lock,
}

/// What `certs renew` was asked for.
#[derive(Debug, Clone, Default)]
pub struct Renewal {
    /// These only; all that are due where empty.
    pub names: Vec<String>,
    /// Also what is not due.
    pub force: bool,
    /// Names and addresses that new certificates leave out.
    pub drop: Vec<String>,
    /// Nobody is watching.
    pub unattended: bool,
    /// The clock is right although the node has seen a newer time.
    pub trust_clock: bool,
}

/// What a run did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// Only the plan was asked for.
    pub dry_run: bool,
    /// By item, in the catalogue's order.
    pub items: Vec<Row>,
    /// What followed.
    pub after: Vec<after::Outcome>,
    /// What a person should know.
    pub notices: Vec<String>,
}

/// What was done with one item.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The item.
    pub id: String,
    /// Its file.
    pub path: PathBuf,
    /// What was done.
    pub did: Did,
    /// Why.
    pub reason: String,
    /// Until when a new one is valid.
    #[serde(serialize_with = "clock::in_rfc3339")]
    pub not_after: Option<i64>,
}

/// What can be done with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Did {
    /// It stays as it was.
    Kept,
    /// It is there for the first time.
    Issued,
    /// A new one has taken its place.
    Renewed,
    /// Nothing was done, because something else was refused.
    Withheld,
    /// Nothing was done; a person has to look.
    Refused,
    /// Something was tried and did not work; nothing has changed.
    Failed,
}

/// Why a run ended before it did anything.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Only masters are issued anything.
    #[error(
        "this node is not among the masters of the cluster file, so nothing is issued on it; a worker's kubelet renews its own certificate"
    )]
    NotMaster,
    /// Names that are none.
    #[error("there is no certificate '{name}'; the names are {known}")]
    Unknown {
        /// What was given.
        name: String,
        /// What there is.
        known: String,
    },
    /// A name to drop that is none.
    #[error("'{0}' is neither a DNS name nor an address, so no certificate has it")]
    BadName(String),
    /// The catalogue with the operator's rows.
    #[error(transparent)]
    Catalogue(#[from] Problems),
    /// Another run.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// The time is not known.
    #[error(transparent)]
    Moment(#[from] moment::Error),
    /// Nothing may be issued at this time.
    #[error(transparent)]
    Clock(#[from] moment::Refusal),
    /// An earlier run's journal, or new files.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A static pod's manifest that an earlier run has taken out.
    #[error(transparent)]
    After(#[from] after::Error),
    /// Nothing could be made.
    #[error(transparent)]
    Prepare(#[from] prepare::Error),
}

impl Session {
    /// Takes the lock and puts right what an earlier run has left.
    pub fn open(root: &Root, cluster: &Cluster, node: &Node) -> Result<Self, Error> {
        let wanted = on_master(cluster, node)?;
        let lock = lock::take(root, &lock::CERTIFICATES, PATIENCE)?;
        let (store, recovered) = Store::open(root)?;
        let mut notices: Vec<String> = recovered.to_string().lines().map(str::to_owned).collect();
        notices.extend(after::recover(root)?);
        Ok(Self {
            root: root.clone(),
            cluster: cluster.clone(),
            wanted,
            store,
            notices,
            _lock: lock,
        })
    }

    /// Issues what is missing, or nothing at all where something is in the way.
    pub fn init(self, new_cluster: bool, moment: &Moment) -> Result<Done, Error> {
        let now = moment.judged();
        let inventory = inventory::take(&self.root, &self.wanted);
        let decisions = plan(&Order::Init { new_cluster }, &self.wanted, &inventory, now);
        let mut rows = self.rows(&decisions);
        if decisions.iter().any(|d| d.action == Action::Refuse) {
            withhold(&mut rows);
        } else if decisions.iter().any(|d| d.action.changes()) {
            moment.may_issue(true)?;
            let prepared = prepare(&self.root, &self.wanted, &inventory, &decisions, now)?;
            let prepared: Result<Vec<Prepared>, _> =
                prepared.into_iter().map(|(_, result)| result).collect();
            let (sets, certificates): (Vec<_>, Vec<_>) = prepared?
                .into_iter()
                .map(|prepared| (prepared.set, prepared.certificate))
                .unzip();
            self.store.replace(&sets)?;
            for (set, certificate) in sets.iter().zip(&certificates) {
                succeed(&mut rows, &set.id, certificate.as_ref());
            }
            moment.remember(&self.root, true)?;
        }
        Ok(self.done(rows, Vec::new()))
    }

    /// Renews what is due and does what follows. One that fails leaves the others alone.
    pub async fn renew(self, renewal: &Renewal, moment: &Moment) -> Result<Done, Error> {
        let order = renewal.order(&self.wanted)?;
        let now = moment.judged();
        let inventory = inventory::take(&self.root, &self.wanted);
        let decisions = plan(&order, &self.wanted, &inventory, now);
        let mut rows = self.rows(&decisions);
        let mut renewed = Vec::new();
        if decisions.iter().any(|d| d.action.changes()) {
            moment.may_issue(!renewal.unattended)?;
            for (id, result) in prepare(&self.root, &self.wanted, &inventory, &decisions, now)? {
                let placed = result.map_err(Error::from).and_then(|prepared| {
                    self.store.replace(std::slice::from_ref(&prepared.set))?;
                    Ok(prepared.certificate)
                });
                match placed {
                    Ok(certificate) => {
                        succeed(&mut rows, &id, certificate.as_ref());
                        renewed.extend(self.wanted.items.iter().filter(|item| item.id == id));
                    }
                    Err(error) => fail(&mut rows, &id, &error),
                }
            }
        }
        moment.remember(&self.root, !renewed.is_empty())?;
        let hooks = &self.cluster.certificates.after_renew;
        let after = after::after_renew(&self.root, hooks, &renewed).await;
        Ok(self.done(rows, after))
    }

    fn rows(&self, decisions: &[Decision]) -> Vec<Row> {
        rows(&self.wanted, decisions)
    }

    fn done(self, items: Vec<Row>, after: Vec<after::Outcome>) -> Done {
        Done {
            dry_run: false,
            items,
            after,
            notices: self.notices,
        }
    }
}

/// What a renewal would do. Nothing is changed, and nothing is waited for.
pub fn preview(
    root: &Root,
    cluster: &Cluster,
    node: &Node,
    renewal: &Renewal,
    moment: &Moment,
) -> Result<Done, Error> {
    let wanted = on_master(cluster, node)?;
    let order = renewal.order(&wanted)?;
    let inventory = inventory::take(root, &wanted);
    let decisions = plan(&order, &wanted, &inventory, moment.judged());
    let mut notices = Vec::new();
    if decisions.iter().any(|d| d.action.changes())
        && let Err(refusal) = moment.may_issue(!renewal.unattended)
    {
        notices.push(refusal.to_string());
    }
    if Store::is_pending(root) {
        notices.push("an earlier run was cut; the next one puts its files right first".into());
    }
    Ok(Done {
        dry_run: true,
        items: rows(&wanted, &decisions),
        after: Vec::new(),
        notices,
    })
}

impl Renewal {
    /// The order, once every name in it is known.
    fn order(&self, wanted: &Wanted) -> Result<Order, Error> {
        let known = || wanted.items.iter().map(|item| item.id.as_str());
        if let Some(name) = self.names.iter().find(|name| !known().any(|id| id == *name)) {
            return Err(Error::Unknown {
                name: name.clone(),
                known: known().collect::<Vec<_>>().join(", "),
            });
        }
        let mut drop = Names::default();
        for text in &self.drop {
            if let Ok(address) = text.parse::<IpAddr>() {
                drop.addresses.push(address);
            } else {
                let bare = text.strip_prefix("*.").unwrap_or(text);
                Name::parse(bare).map_err(|_| Error::BadName(text.clone()))?;
                drop.dns.insert(text.to_ascii_lowercase());
            }
        }
        Ok(Order::Renew {
            only: self.names.iter().cloned().collect(),
            force: self.force,
            drop,
        })
    }
}

impl Done {
    /// Whether anything was refused or did not work.
    pub fn failed(&self) -> bool {
        let bad = |row: &Row| matches!(row.did, Did::Refused | Did::Failed);
        self.items.iter().any(bad) || self.after.iter().any(after::Outcome::failed)
    }
}

/// What a master should have.
pub fn on_master(cluster: &Cluster, node: &Node) -> Result<Wanted, Error> {
    if node.master().is_none() {
        return Err(Error::NotMaster);
    }
    Ok(wanted(&Catalogue::of(cluster)?, cluster, node))
}

/// What will be done, before it is.
fn rows(wanted: &Wanted, decisions: &[Decision]) -> Vec<Row> {
    let row = |decision: &Decision| {
        let item = wanted.items.iter().find(|item| item.id == decision.id)?;
        let (did, not_after) = match &decision.action {
            Action::Keep => (Did::Kept, None),
            Action::Issue { validity, .. } => (Did::Issued, Some(validity.not_after)),
            Action::Renew { validity, .. } => (Did::Renewed, Some(validity.not_after)),
            Action::RestorePublic => (Did::Issued, None),
            Action::Refuse => (Did::Refused, None),
        };
        Some(Row {
            id: decision.id.clone(),
            path: item.path().to_owned(),
            did,
            reason: decision.reason.to_string(),
            not_after,
        })
    };
    decisions.iter().filter_map(row).collect()
}

/// Nothing of a plan is carried out while a part of it is refused.
fn withhold(rows: &mut [Row]) {
    for row in rows.iter_mut().filter(|row| row.did == Did::Issued) {
        row.did = Did::Withheld;
        row.not_after = None;
        "not issued while another one is refused".clone_into(&mut row.reason);
    }
}

fn succeed(rows: &mut [Row], id: &str, certificate: Option<&Certificate>) {
    for row in rows.iter_mut().filter(|row| row.id == id) {
        row.not_after = certificate.map(|certificate| certificate.not_after);
    }
}

fn fail(rows: &mut [Row], id: &str, error: &Error) {
    for row in rows.iter_mut().filter(|row| row.id == id) {
        row.did = Did::Failed;
        row.not_after = None;
        row.reason = error.to_string();
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept => "kept",
            Self::Issued => "issued",
            Self::Renewed => "renewed",
            Self::Withheld => "withheld",
            Self::Refused => "REFUSED",
            Self::Failed => "FAILED",
        })
    }
}
