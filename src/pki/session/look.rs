//! What is known without changing anything: what a renewal would do, what earlier runs have left
//! undone, and what the agent is told of the certificates.

use std::path::Path;
use std::time::Duration;

use super::done::rows;
use super::{Done, Error, Renewal, on_master};
use crate::config::{Cluster, Node};
use crate::lock;
use crate::pki::after;
use crate::pki::after::owed::{self, Owed};
use crate::pki::health::{Health, State, health};
use crate::pki::inventory::{self, Found, Inventory, KeyState};
use crate::pki::issue::Validity;
use crate::pki::moment::Moment;
use crate::pki::plan::plan;
use crate::pki::record::{self, Seen};
use crate::pki::spread;
use crate::pki::store::{self, Store};
use crate::pki::wanted::Wanted;
use crate::root::Root;
use crate::static_pod;

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
    let mut notices = unfinished(root, cluster, &wanted, &inventory);
    let mut owed = still_owed(root, &inventory).unwrap_or_default();
    let changes = decisions.iter().filter(|d| d.action.changes());
    for decision in changes.clone() {
        owed.begin(&decision.id, "");
    }
    if changes.count() > 0
        && let Err(refusal) = moment.may_issue(!renewal.unattended)
    {
        notices.push(refusal.to_string());
    }
    let steps = &cluster.certificates.after_renew;
    let planned = after::outstanding(steps, &wanted.items, &owed);
    Ok(Done {
        dry_run: true,
        items: rows(&wanted, &decisions),
        after: planned.iter().map(after::Step::planned).collect(),
        notices,
    })
}

/// What runs have left undone, in sentences; nothing while one is at work.
pub fn unfinished(
    root: &Root,
    cluster: &Cluster,
    wanted: &Wanted,
    inventory: &Inventory,
) -> Vec<String> {
    // Where that cannot be told, what there is to see is.
    if lock::is_held(root, lock::CERTIFICATES).unwrap_or(false) {
        return Vec::new();
    }
    let mut told = Vec::new();
    match Store::peek(root) {
        Ok(true) => told.push(store::PENDING.to_owned()),
        Ok(false) => {}
        Err(error) => told.push(error.to_string()),
    }
    match static_pod::left_out(root) {
        Ok(pods) => told.extend(pods.iter().map(|pod| static_pod::missing(pod))),
        Err(error) => told.push(error.to_string()),
    }
    match still_owed(root, inventory) {
        Ok(owed) => told.extend(owing(cluster, wanted, &owed).iter().map(|step| {
            format!("still to follow an earlier renewal: {step}; `stayput certs renew` does it")
        })),
        Err(error) => told.push(error.to_string()),
    }
    told
}

/// What earlier runs owe.
pub(super) fn still_owed(root: &Root, inventory: &Inventory) -> Result<Owed, owed::Error> {
    let mut owed = Owed::read(root)?;
    owed.drop_unchanged(|id| serial(inventory, id));
    Ok(owed)
}

/// The steps that are owed, in words.
pub(super) fn owing(cluster: &Cluster, wanted: &Wanted, owed: &Owed) -> Vec<String> {
    let steps = after::outstanding(&cluster.certificates.after_renew, &wanted.items, owed);
    steps.iter().map(ToString::to_string).collect()
}

/// The serial number of an item's certificate: empty where there is none, `None` where it is not known.
pub(super) fn serial(inventory: &Inventory, id: &str) -> Option<String> {
    match inventory.found.get(id)? {
        Found::Present(present) => Some(present.certificate.serial.clone()),
        Found::Absent => Some(String::new()),
        _ => None,
    }
}

/// How long a run that a timer starts waits for this node's turn.
pub fn turn(root: &Root, node: &Node, period: Duration) -> Duration {
    // What cannot be looked at is for the run to tell.
    let interrupted = Store::peek(root).unwrap_or(true)
        || static_pod::left_out(root).map_or(true, |pods| !pods.is_empty())
        || root.exists(Path::new(owed::PATH)).unwrap_or(true);
    if interrupted || node.master().is_none() {
        return Duration::ZERO;
    }
    let last = record::read(root).ok().flatten();
    spread::before_run(last.as_ref(), node.kubernetes_name.as_str(), period)
}

/// What the agent is told.
pub(super) fn seen(root: &Root, cluster: &Cluster, wanted: &Wanted, owed: &Owed, now: i64) -> Seen {
    let inventory = inventory::take(root, wanted);
    let items = health(wanted, &inventory, now);
    Seen {
        items: items
            .iter()
            .map(|health| recorded(health, wanted, &inventory))
            .collect(),
        owed: owing(cluster, wanted, owed),
    }
}

/// An item's health as the agent needs it.
fn recorded(health: &Health, wanted: &Wanted, inventory: &Inventory) -> record::Item {
    let item = wanted.items.iter().find(|item| item.id == health.id);
    let elsewhere = matches!(
        inventory.found.get(&health.id),
        Some(Found::Present(present)) if present.key == KeyState::Elsewhere
    );
    let renewed = item.is_some_and(|item| item.authority().is_some()) && !elsewhere;
    let validity = health.not_before.zip(health.not_after);
    let renew_from = validity.filter(|_| renewed).map(|(not_before, not_after)| {
        let validity = Validity {
            not_before,
            not_after,
        };
        not_after.saturating_sub(validity.window(wanted.renew_before))
    });
    // What stayput renews gets loud by the clock; nothing else does before its end is urgent.
    let by_the_clock = renew_from.is_some() && matches!(health.state, State::Due | State::Expired);
    record::Item {
        id: health.id.clone(),
        path: health.path.clone(),
        not_after: health.not_after,
        renew_from,
        state: health.state.to_string(),
        attention: health.attention && !by_the_clock,
    }
}
