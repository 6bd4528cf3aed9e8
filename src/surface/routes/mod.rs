//! Stable addresses: each master's on its own loopback, and on every node a host route to it by way
//! of its current address.
//!
//! What pins such an address, as kubeadm does, pins one that never changes. [`mod@wanted`] says what a
//! node is to have, [`mod@plan`] how to get there from what is found, [`kernel`] asks and changes the
//! kernel, [`checks`] looks for what stands against it.

pub mod checks;
pub mod kernel;
pub mod plan;
pub mod wanted;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Applied, Outcome};
use crate::root::Root;
use crate::source::netlink;
use crate::view::View;
use kernel::Kernel;
use plan::{Address, Change, Found, Plan, Route, plan};
use wanted::{Wanted, wanted};

/// Why the surface could not follow, or only in part.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel was not to be asked.
    #[error("cannot look at this node's routes: {0}")]
    Netlink(#[from] netlink::Error),
    /// Some of it cannot be.
    #[error("{}", .0.join("; "))]
    Troubles(Vec<String>),
}

/// How many changes are named in a report.
const MOST_CHANGES: usize = 3;

/// The surface, with what it remembers from one time to the next.
#[derive(Debug)]
pub struct Routes {
    root: Root,
    /// Addresses of which it is known that no neighbour has them.
    free: BTreeSet<IpAddr>,
    /// The mark under which something may be there; `None` before the first look.
    mark: Option<u8>,
    /// Nothing of ours is there.
    clean: bool,
}

/// What is wanted and what is found on this node, for people and for machines.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// Below a sandbox's root: the kernel's tables are neither looked at nor touched, and what is
    /// found is empty.
    pub sandbox: bool,
    /// The route protocol number that marks what is ours.
    pub protocol: u8,
    /// This node's own stable address is to be there.
    pub wanted_addresses: Vec<IpAddr>,
    /// Host routes that are to be there.
    pub wanted_routes: Vec<WantedRoute>,
    /// Addresses that are ours, or that would be.
    pub addresses: Vec<Address>,
    /// Host routes that are ours, or are where ours would be.
    pub routes: Vec<Route>,
    /// What would be changed, one line each.
    pub changes: Vec<String>,
    /// What cannot be, one line each.
    pub troubles: Vec<String>,
    /// What an operator should know, one line each.
    pub notices: Vec<String>,
}

/// A host route that is to be there.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WantedRoute {
    /// Whose.
    pub master: String,
    /// To this address of the master.
    pub destination: IpAddr,
    /// By way of this one.
    pub via: IpAddr,
    /// From this one.
    pub source: Option<IpAddr>,
}

/// What one pass has done.
#[derive(Debug, Default)]
struct Passed {
    /// What was changed, one line each.
    changes: Vec<String>,
    addresses: usize,
    routes: usize,
    troubles: Vec<String>,
    notices: Vec<String>,
}

impl Routes {
    /// A surface on the machine below this root; a sandbox has none.
    pub fn new(root: Root) -> Self {
        Self {
            root,
            free: BTreeSet::new(),
            mark: None,
            clean: false,
        }
    }

    /// Makes the kernel equal to the view, as far as it is ours.
    pub async fn apply(&mut self, view: &View) -> Result<Applied, Error> {
        if !self.root.is_system() {
            return Ok(absent(
                "a sandbox shares the machine's routes, and leaves them alone",
            ));
        }
        let wanted = wanted(view);
        let off = !view.cluster.routes.in_force();
        if off && self.clean && self.mark == Some(wanted.protocol) {
            return Ok(absent("off"));
        }
        let passed = kernel::with(async |kernel| {
            let mut gone = Vec::new();
            if let Some(old) = self.mark.filter(|old| *old != wanted.protocol) {
                gone = self.pass(kernel, &Wanted::nothing(old)).await?.changes;
            }
            let mut passed = self.pass(kernel, &wanted).await?;
            passed.changes.extend(gone);
            Ok(passed)
        });
        let passed = match passed.await {
            // Without the right to ask there is nothing of ours either.
            Err(_) if off && self.mark.is_none() => return Ok(absent("off")),
            other => other?,
        };
        self.mark = Some(wanted.protocol);
        self.clean = off && passed.troubles.is_empty();
        if !passed.troubles.is_empty() {
            return Err(Error::Troubles(passed.troubles));
        }
        if off && passed.changes.is_empty() {
            return Ok(absent("off"));
        }
        let (addresses, routes) = (passed.addresses, passed.routes);
        Ok(Applied {
            outcome: if passed.changes.is_empty() {
                Outcome::Unchanged
            } else {
                Outcome::Updated
            },
            detail: if off {
                "off; what was ours is removed".to_owned()
            } else {
                format!(
                    "{}, {} (protocol {}){}",
                    counted(addresses, "address", "addresses"),
                    counted(routes, "route", "routes"),
                    wanted.protocol,
                    named(&passed.changes)
                )
            },
            notices: passed.notices,
        })
    }

    async fn pass(&mut self, kernel: &Kernel, wanted: &Wanted) -> Result<Passed, netlink::Error> {
        let found = kernel.find(wanted).await?;
        let plan = plan(wanted, &found);
        self.free.extend(kernel::present(&found, &wanted.addresses));
        let mut passed = Passed {
            addresses: wanted.addresses.len(),
            troubles: plan.troubles.clone(),
            notices: plan.notices.clone(),
            ..Passed::default()
        };
        let routes = checks::resulting(&found, &plan);
        passed.routes = routes.len();
        passed
            .notices
            .extend(self.strict_filters(wanted, &found, &routes));
        let mut missing = BTreeSet::new();
        for change in &plan.changes {
            match change {
                Change::AddAddress(address) => {
                    if let Some(trouble) = self.occupied(kernel, *address).await {
                        missing.insert(*address);
                        passed.troubles.push(trouble);
                        continue;
                    }
                }
                // The kernel takes no route from an address that is not there.
                Change::SetRoute { route, .. }
                    if route.source.is_some_and(|it| missing.contains(&it)) =>
                {
                    continue;
                }
                _ => {}
            }
            match kernel.make(wanted.protocol, change).await {
                Ok(()) => passed.changes.push(change.to_string()),
                Err(trouble) => {
                    if let Change::AddAddress(address) = change {
                        missing.insert(*address);
                    }
                    passed.troubles.push(trouble);
                }
            }
        }
        Ok(passed)
    }

    async fn occupied(&mut self, kernel: &Kernel, address: IpAddr) -> Option<String> {
        if self.free.contains(&address) {
            return None;
        }
        let occupant = checks::occupant(kernel, address).await;
        if occupant.is_none() {
            self.free.insert(address);
        }
        occupant.map(|occupant| in_use(address, &occupant))
    }

    fn strict_filters(&self, wanted: &Wanted, found: &Found, routes: &[Route]) -> Vec<String> {
        checks::strict_filters(wanted, found, routes, |name| rp_filter(&self.root, name))
    }
}

/// What begins a piece of advice in an error of this surface; the pieces are set apart by `; `.
const ADVICE: [&str; 5] = [
    "take it ",
    "tell where ",
    "is the interface ",
    "choose another",
    "the program needs ",
];

/// An error that is over: what was wrong, without what to do about it. What is in the place of a foreign
/// route by now is ours, and must not be deleted.
pub fn overcome(error: &str) -> String {
    let advice = |piece: &&str| ADVICE.iter().any(|advice| piece.starts_with(advice));
    let facts = error.split("; ").filter(|piece| !advice(piece));
    facts.collect::<Vec<_>>().join("; ")
}

/// That an address is another machine's.
pub fn in_use(address: IpAddr, occupant: &str) -> String {
    format!(
        "{address} is in use: {occupant} answers for it; take it from that machine, or choose another"
    )
}

/// Who on a link of this node has an address already; `None` where nobody does, or it is not on a
/// link.
pub async fn occupant(address: IpAddr) -> Result<Option<String>, Error> {
    Ok(kernel::with(async |kernel| Ok(checks::occupant(kernel, address).await)).await?)
}

/// What would be done for a view; reads only.
pub async fn show(root: &Root, view: &View) -> Result<Shown, Error> {
    let wanted = wanted(view);
    let (
        found,
        Plan {
            changes,
            troubles,
            mut notices,
        },
        routes,
    ) = if root.is_system() {
        kernel::with(async |kernel| {
            let found = kernel.find(&wanted).await?;
            let plan = plan(&wanted, &found);
            let routes = checks::resulting(&found, &plan);
            Ok((found, plan, routes))
        })
        .await?
    } else {
        Default::default()
    };
    let filters = checks::strict_filters(&wanted, &found, &routes, |name| rp_filter(root, name));
    notices.extend(filters);
    if !root.is_system() {
        let in_force = wanted::rescue_in_force(&view.cluster.routes);
        notices.retain(|it| Some(it) != in_force.as_ref());
        notices.push(
            "in a sandbox the kernel's tables are not touched: nothing of this is set".to_owned(),
        );
    }
    let matters = |it: &Address| it.ours || wanted.addresses.contains(&it.address);
    let way = |(destination, way): (&IpAddr, &wanted::Way)| WantedRoute {
        master: way.master.clone(),
        destination: *destination,
        via: way.via,
        source: way.source,
    };
    Ok(Shown {
        sandbox: !root.is_system(),
        protocol: wanted.protocol,
        wanted_addresses: wanted.addresses.iter().copied().collect(),
        wanted_routes: wanted.routes.iter().map(way).collect(),
        addresses: found.addresses.into_iter().filter(matters).collect(),
        routes: found.routes,
        changes: changes.iter().map(ToString::to_string).collect(),
        troubles,
        notices,
    })
}

/// The same for a view that is not in force yet, beside the one that is.
pub async fn would_be(root: &Root, now: &View, then: &View) -> Result<Shown, Error> {
    let mut shown = show(root, then).await?;
    let not_yet = wanted::rescue_in_force(&then.cluster.routes);
    shown.notices.retain(|it| Some(it) != not_yet.as_ref());
    if root.is_system() {
        let in_force = wanted::rescue_in_force(&now.cluster.routes);
        shown.notices.extend(in_force);
    }
    Ok(shown)
}

/// Takes away all that has this mark, or in a dry run only says what that is; one line for each
/// thing.
pub async fn remove(protocol: u8, dry_run: bool) -> Result<Vec<String>, Error> {
    let nothing = Wanted::nothing(protocol);
    let (done, troubles) = kernel::with(async |kernel| {
        let found = kernel.find(&nothing).await?;
        let (mut done, mut troubles) = (Vec::new(), Vec::new());
        for change in plan(&nothing, &found).changes {
            if dry_run {
                done.push(change.to_string());
                continue;
            }
            match kernel.make(protocol, &change).await {
                Ok(()) => done.push(change.to_string()),
                Err(trouble) => troubles.push(trouble),
            }
        }
        Ok((done, troubles))
    })
    .await?;
    if troubles.is_empty() {
        Ok(done)
    } else {
        Err(Error::Troubles(troubles))
    }
}

fn rp_filter(root: &Root, name: &str) -> Option<u8> {
    let path = PathBuf::from("/proc/sys/net/ipv4/conf")
        .join(name)
        .join("rp_filter");
    let bytes = root.read(Path::new(&path), 16).ok().flatten()?;
    String::from_utf8(bytes).ok()?.trim().parse().ok()
}

/// The first changes, for an end of a line.
fn named(changes: &[String]) -> String {
    let first = changes.get(..MOST_CHANGES).unwrap_or(changes);
    match changes.len() - first.len() {
        0 if first.is_empty() => String::new(),
        0 => format!(": {}", first.join(", ")),
        more => format!(": {}, and {more} more", first.join(", ")),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn absent(detail: &str) -> Applied {
    Applied {
        outcome: Outcome::Absent,
        detail: detail.to_owned(),
        notices: Vec::new(),
    }
}
