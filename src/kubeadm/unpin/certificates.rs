//! The serving certificates: names that they lack, which go in first of all, and addresses that can
//! change, which go out last of all.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::difference;
use super::pins::Ways;
use super::plan::Change;
use crate::pki::inventory::{Found, Inventory};
use crate::pki::profile::Names;
use crate::pki::wanted::{Item, Wanted};

/// kube-apiserver's, etcd's for clients, etcd's for peers.
pub const SERVING: [&str; 3] = ["apiserver", "etcd-server", "etcd-peer"];

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// As `stayput certs` calls it.
    pub id: String,
    /// The certificate's file.
    pub path: std::path::PathBuf,
    /// Its key's.
    pub key: std::path::PathBuf,
    /// Names and addresses that it lacks.
    pub lacks: Names,
    /// Addresses in it that are or were a master's, and that nobody asks for: these go.
    pub old: Vec<IpAddr>,
    /// Addresses in it that can change, and that kubeadm's configuration asks for.
    pub asked_for: Vec<IpAddr>,
    /// Addresses in it that can change, and that are nobody's who is known: a load balancer's, maybe.
    pub strange: Vec<IpAddr>,
}

/// What there is to do. `masters` are addresses that are or were a master's, `keep` those that
/// kubeadm's configuration asks for, by certificate; without `etcd`, this master runs none. What is there and unusable is an error for a person.
pub fn serving(
    wanted: &Wanted,
    inventory: &Inventory,
    keep: &[Vec<IpAddr>; 3],
    masters: &BTreeSet<IpAddr>,
    etcd: bool,
    ways: &Ways,
) -> Result<Vec<Serving>, String> {
    let mut all = Vec::new();
    for (id, keep) in SERVING.iter().zip(keep) {
        let is = |item: &&Item| item.id == *id;
        let Some(item) = wanted.items.iter().find(is) else {
            continue;
        };
        if !etcd && id.starts_with("etcd") {
            continue;
        }
        let Found::Present(present) = inventory.of(item) else {
            return Err(format!(
                "{} is not there, or cannot be used; `stayput certs verify` tells why",
                item.path().display()
            ));
        };
        let names = &present.certificate.profile.names;
        let wants = &item.profile.names;
        let pinning = names.addresses.iter().copied();
        let pinning =
            pinning.filter(|it| ways.stable.can_change(*it) && !wants.addresses.contains(it));
        let (asked_for, rest): (Vec<_>, Vec<_>) =
            pinning.partition(|address| keep.contains(address));
        let (old, strange) = rest
            .into_iter()
            .partition(|address| masters.contains(&address.to_canonical()));
        let path = item.path().to_owned();
        all.push(Serving {
            id: item.id.clone(),
            key: path.with_extension("key"),
            path,
            lacks: names.lacks(wants),
            old,
            asked_for,
            strange,
        });
    }
    Ok(all)
}

impl Serving {
    /// The names that go in.
    pub fn adding(&self) -> Option<Change> {
        let names = self.lacks.list();
        let lines = names.iter().map(|name| ("name", "", name.as_str()));
        let change = difference::of_values(&self.path.display().to_string(), lines);
        (!names.is_empty()).then_some(change)
    }

    /// The addresses that go out.
    pub fn dropping(&self) -> Option<Change> {
        let addresses: Vec<String> = self.old.iter().map(ToString::to_string).collect();
        let lines = addresses.iter().map(|it| ("name", it.as_str(), ""));
        let change = difference::of_values(&self.path.display().to_string(), lines);
        (!addresses.is_empty()).then_some(change)
    }
}
