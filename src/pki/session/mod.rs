//! One run of a command that issues: what is there, the plan, new files, what follows a renewal.
//!
//! One at a time per node, under a lock of its own. What an earlier run has left unfinished is put
//! right first.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::after::{self, StepResult, static_pod};
use super::bundle::{self, Bundle};
use super::catalogue::Catalogue;
use super::certificate::Certificate;
use super::health::{Health, State, health};
use super::inventory::{self, Inventory};
use super::issue::Validity;
use super::moment::{self, Moment};
use super::plan::{Action, Decision, Order, plan};
use super::prepare::{self, Prepared, prepare};
use super::profile::Names;
use super::record;
use super::spread;
use super::store::{self, Store};
use super::wanted::{Item, Wanted, wanted};
use super::window::date;
use crate::config::{Cluster, Node, Problems};
use crate::file;
use crate::lock::{self, Lock};
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
    /// Until when a new one is valid, in RFC 3339.
    pub not_after: Option<String>,
    /// Names that the new one has and the old one had not.
    pub adds: Vec<String>,
    /// Names that the old one had and the new one has not.
    pub drops: Vec<String>,
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
    /// Names to drop that no certificate has.
    #[error("nothing to drop: none of these certificates has {0}; see `stayput certs status`")]
    NotThere(Names),
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
    /// What is to follow cannot be written down, so nothing is renewed.
    #[error("{0}; nothing was renewed")]
    Owe(#[from] file::Error),
    /// A static pod's manifest that an earlier run has taken out.
    #[error(transparent)]
    After(#[from] static_pod::Error),
    /// A bundle that cannot be taken.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    /// Nothing could be made.
    #[error(transparent)]
    Prepare(#[from] prepare::Error),
}

impl Session {
    /// Takes the lock and puts right what an earlier run has left.
    pub fn open(root: &Root, cluster: &Cluster, node: &Node) -> Result<Self, Error> {
        let wanted = on_master(cluster, node)?;
        let lock = lock::take(root, lock::CERTIFICATES, PATIENCE)?;
        let (store, recovered) = Store::open(root)?;
        let mut notices: Vec<String> = recovered.notice().into_iter().collect();
        notices.extend(after::recover(root)?.iter().map(ToString::to_string));
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
    pub fn init(mut self, new_cluster: bool, moment: &Moment) -> Result<Done, Error> {
        let now = moment.judged();
        let inventory = inventory::take(&self.root, &self.wanted);
        let decisions = plan(&Order::Init { new_cluster }, &self.wanted, &inventory, now);
        let mut rows = rows(&self.wanted, &decisions);
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
            self.remember(moment, true);
            self.record(&Ok(()), now);
        }
        Ok(self.done(rows, Vec::new()))
    }

    /// Renews what is due and does what follows. One that fails leaves the others alone. What came of it
    /// is written down for the agent; but whether renewing works is not told by a person's order
    /// that was refused.
    pub async fn renew(mut self, renewal: &Renewal, moment: &Moment) -> Result<Done, Error> {
        let attempt = self.attempt(renewal, moment).await;
        let result = match &attempt {
            Ok((rows, after)) => complaint(rows, after),
            Err(error) => Err(error.to_string()),
        };
        if renewal.is_an_order() && in_vain(&attempt) {
            self.refresh(moment.judged());
        } else {
            self.record(&result, moment.judged());
        }
        let (rows, after) = attempt?;
        Ok(self.done(rows, after))
    }

    async fn attempt(
        &mut self,
        renewal: &Renewal,
        moment: &Moment,
    ) -> Result<(Vec<Row>, Vec<after::Outcome>), Error> {
        let now = moment.judged();
        let inventory = inventory::take(&self.root, &self.wanted);
        let order = renewal.order(&self.wanted, &inventory)?;
        let decisions = plan(&order, &self.wanted, &inventory, now);
        let mut rows = rows(&self.wanted, &decisions);
        let owed = after::owed(&self.root);
        let mut renewed = BTreeSet::new();
        let clock = moment.may_issue(!renewal.unattended);
        if decisions.iter().any(|d| d.action == Action::Refuse)
            && let Err(refusal) = &clock
        {
            // By such a clock an authority may seem to have expired, which is no news of the authority.
            self.notices.push(refusal.to_string());
        }
        if decisions.iter().any(|d| d.action.changes()) {
            clock?;
            for (id, result) in prepare(&self.root, &self.wanted, &inventory, &decisions, now)? {
                let placed = result
                    .map_err(Error::from)
                    .and_then(|prepared| self.place(prepared, &owed));
                match placed {
                    Ok(certificate) => {
                        succeed(&mut rows, &id, certificate.as_ref());
                        renewed.insert(id);
                    }
                    Err(error) => fail(&mut rows, &id, &error),
                }
            }
        }
        self.remember(moment, !renewed.is_empty());
        let follow = |item: &&Item| renewed.contains(&item.id) || owed.contains(&item.id);
        let items: Vec<Item> = self.wanted.items.iter().filter(follow).cloned().collect();
        let steps = &self.cluster.certificates.after_renew;
        let after = after::after_renew(&self.root, steps, &items).await;
        Ok((rows, after))
    }

    /// Lets one new certificate take its place. What follows is owed from before that moment on, so
    /// that it is made good if this run dies.
    fn place(
        &self,
        prepared: Prepared,
        owed: &BTreeSet<String>,
    ) -> Result<Option<Certificate>, Error> {
        let id = &prepared.set.id;
        after::owe(&self.root, [id.as_str()])?;
        if let Err(error) = self.store.replace(std::slice::from_ref(&prepared.set)) {
            if !owed.contains(id) {
                // At worst something is restarted in vain.
                let _ = after::owed::forget(&self.root, id);
            }
            return Err(error.into());
        }
        Ok(prepared.certificate)
    }

    /// Keeps the time for later runs. The certificates are there already, so a failure is only told.
    fn remember(&mut self, moment: &Moment, issued: bool) {
        if let Err(error) = moment.remember(&self.root, issued) {
            self.notices.push(error.to_string());
        }
    }

    /// Writes down how the run went and what is there now.
    fn record(&mut self, result: &Result<(), String>, now: i64) {
        let run = record::Run {
            result: result.clone(),
            items: Some(self.items(now)),
        };
        if let Err(error) = record::note(&self.root, run, now) {
            self.notices.push(error.to_string());
        }
    }

    /// Writes down what is there now.
    fn refresh(&mut self, now: i64) {
        if let Err(error) = record::refresh(&self.root, self.items(now)) {
            self.notices.push(error.to_string());
        }
    }

    fn items(&self, now: i64) -> Vec<record::Item> {
        let inventory = inventory::take(&self.root, &self.wanted);
        let items = health(&self.wanted, &inventory, now);
        let recorded = |item| recorded(item, &self.wanted);
        items.iter().map(recorded).collect()
    }

    /// Takes another master's authorities and keys: all that this machine lacks, or nothing where it has
    /// different ones. What is written, below the root.
    pub fn unbundle(self, bundle: &Bundle) -> Result<Vec<PathBuf>, Error> {
        let sets = bundle.sets(&self.root)?;
        self.store.replace(&sets)?;
        let files = sets.iter().flat_map(|set| &set.files);
        Ok(files.map(|file| file.path.clone()).collect())
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
    let inventory = inventory::take(root, &wanted);
    let order = renewal.order(&wanted, &inventory)?;
    let decisions = plan(&order, &wanted, &inventory, moment.judged());
    let mut notices = Vec::new();
    if decisions.iter().any(|d| d.action.changes())
        && let Err(refusal) = moment.may_issue(!renewal.unattended)
    {
        notices.push(refusal.to_string());
    }
    if Store::peek(root)? {
        notices.push(store::PENDING.to_owned());
    }
    Ok(Done {
        dry_run: true,
        items: rows(&wanted, &decisions),
        after: Vec::new(),
        notices,
    })
}

impl Renewal {
    /// Whether a person asked for some of them and reads what comes of it.
    fn is_an_order(&self) -> bool {
        !self.names.is_empty() && !self.unattended
    }

    /// The order, once everything that it names is known.
    fn order(&self, wanted: &Wanted, inventory: &Inventory) -> Result<Order, Error> {
        if let Some(text) = self.drop.iter().find(|text| Names::of([text]).is_empty()) {
            return Err(Error::BadName(text.clone()));
        }
        let order = Order::Renew {
            only: self.names.iter().cloned().collect(),
            force: self.force,
            drop: Names::of(&self.drop),
        };
        if let Some(name) = order.unknown_items(wanted).into_iter().next() {
            let known: Vec<&str> = wanted.items.iter().map(|item| item.id.as_str()).collect();
            let known = known.join(", ");
            return Err(Error::Unknown { name, known });
        }
        let drops = order.unknown_drops(wanted, inventory);
        if !drops.is_empty() {
            return Err(Error::NotThere(drops));
        }
        Ok(order)
    }
}

impl Done {
    /// Whether anything was refused or did not work.
    pub fn failed(&self) -> bool {
        self.items.iter().any(|row| row.did.is_bad()) || self.after.iter().any(failed)
    }
}

/// How long a run that a timer starts waits for this node's turn.
pub fn turn(root: &Root, node: &Node, period: Duration) -> Duration {
    // What cannot be looked at is for the run to tell.
    let interrupted = Store::peek(root).unwrap_or(true)
        || static_pod::left_out(root).map_or(true, |pods| !pods.is_empty());
    if interrupted {
        return Duration::ZERO;
    }
    let last = record::read(root).ok().flatten();
    spread::before_run(last.as_ref(), node.kubernetes_name.as_str(), period)
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
        let did = match decision.action {
            Action::Keep => Did::Kept,
            Action::Issue { .. } | Action::RestorePublic => Did::Issued,
            Action::Renew { .. } => Did::Renewed,
            Action::Refuse => Did::Refused,
        };
        let shown = decision.row();
        Some(Row {
            id: shown.id,
            path: item.path().to_owned(),
            did,
            reason: shown.reason,
            not_after: shown.not_after,
            adds: shown.adds,
            drops: shown.drops,
        })
    };
    decisions.iter().filter_map(row).collect()
}

/// Whether nothing was wrong but the order: a mistake in it, or a refusal.
fn in_vain(attempt: &Result<(Vec<Row>, Vec<after::Outcome>), Error>) -> bool {
    match attempt {
        Err(error) => matches!(
            error,
            Error::Unknown { .. } | Error::BadName(_) | Error::NotThere(_)
        ),
        Ok((rows, after)) => {
            let refused = rows.iter().any(|row| row.did == Did::Refused);
            let failed = rows.iter().any(|row| row.did == Did::Failed)
                || after.iter().any(|step| step.result == StepResult::Failed);
            refused && !failed
        }
    }
}

/// What went wrong, for the record.
fn complaint(rows: &[Row], after: &[after::Outcome]) -> Result<(), String> {
    let rows = rows
        .iter()
        .filter(|row| row.did.is_bad())
        .map(|row| format!("{}: {}", row.id, row.reason));
    let steps = after
        .iter()
        .filter(|step| failed(step))
        .map(|step| format!("{}: {}", step.step, step.detail));
    let all: Vec<String> = rows.chain(steps).collect();
    if all.is_empty() {
        return Ok(());
    }
    Err(all.join("; "))
}

fn failed(step: &after::Outcome) -> bool {
    step.result == StepResult::Failed
}

/// An item's health as the agent needs it.
fn recorded(health: &Health, wanted: &Wanted) -> record::Item {
    let item = wanted.items.iter().find(|item| item.id == health.id);
    let renewed = item.is_some_and(|item| item.authority().is_some());
    let validity = health.not_before.zip(health.not_after);
    record::Item {
        id: health.id.clone(),
        path: health.path.clone(),
        not_after: health.not_after,
        renew_from: validity.filter(|_| renewed).map(|(not_before, not_after)| {
            let validity = Validity {
                not_before,
                not_after,
            };
            not_after.saturating_sub(validity.window(wanted.renew_before))
        }),
        state: health.state.to_string(),
        attention: health.attention && !matches!(health.state, State::Due | State::Expired),
    }
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
        row.not_after = certificate.map(|certificate| date(certificate.not_after));
    }
}

fn fail(rows: &mut [Row], id: &str, error: &Error) {
    for row in rows.iter_mut().filter(|row| row.id == id) {
        row.did = Did::Failed;
        row.not_after = None;
        row.reason = error.to_string();
    }
}

impl Did {
    fn is_bad(self) -> bool {
        matches!(self, Self::Refused | Self::Failed)
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
