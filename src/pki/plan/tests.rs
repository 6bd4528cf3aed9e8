mod clocks;
mod init;
mod renew;
mod speaks;
mod years;

use super::model::NOW;
use super::{Action, Decision, Order, plan};
use crate::pki::inventory::Inventory;
use crate::pki::profile::Names;
use crate::pki::wanted::Wanted;

const INIT: Order = Order::Init { new_cluster: false };
const NEW_CLUSTER: Order = Order::Init { new_cluster: true };

/// What is done to a good set.
type Damage = fn(&mut Inventory);

fn renew(only: &[&str], force: bool) -> Order {
    renew_without(only, force, Names::default())
}

fn renew_without(only: &[&str], force: bool, drop: Names) -> Order {
    let only = only.iter().map(|id| (*id).to_owned()).collect();
    Order::Renew { only, force, drop }
}

/// `apiserver keep: is there`, one line for each decision.
fn lines(decisions: &[Decision]) -> Vec<String> {
    let rows = decisions.iter().map(Decision::row);
    rows.map(|row| format!("{} {}: {}", row.id, row.action, row.reason))
        .collect()
}

/// The plan of one item.
fn of(order: &Order, wanted: &Wanted, inventory: &Inventory, id: &str) -> String {
    let decisions = plan(order, wanted, inventory, NOW);
    let mut of = decisions.iter().filter(|decision| decision.id == id);
    let decision = of.next().unwrap_or_else(|| panic!("no decision on {id}"));
    let row = decision.row();
    format!("{}: {}", row.action, row.reason)
}

/// The ids of what is renewed or issued.
fn changed(decisions: &[Decision]) -> Vec<&str> {
    let changes = |decision: &&Decision| !matches!(decision.action, Action::Keep | Action::Refuse);
    decisions
        .iter()
        .filter(changes)
        .map(|d| d.id.as_str())
        .collect()
}
