//! What `certs renew` was asked for.

use super::Error;
use crate::pki::inventory::Inventory;
use crate::pki::plan::Order;
use crate::pki::profile::Names;
use crate::pki::wanted::Wanted;

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

impl Renewal {
    /// Whether it is about all that is due. How such runs go is on record; of one that was asked for some
    /// certificates only, neither a success nor a failure tells whether renewing works.
    pub fn is_complete(&self) -> bool {
        self.names.is_empty()
    }

    /// The order, once everything that it names is known.
    pub(super) fn order(&self, wanted: &Wanted, inventory: &Inventory) -> Result<Order, Error> {
        let order = Order::Renew {
            only: self.names.iter().cloned().collect(),
            force: self.force,
            drop: Names::named(&self.drop),
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
