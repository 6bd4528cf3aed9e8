//! A rescue: addresses have changed, what pins the old ones is dead, and it gets them back.
//!
//! kubeadm writes the address of a master into etcd's store, manifests, kubeconfigs and certificates.
//! Where that address is kept on the master's loopback, and every node has a route to it by way of
//! the new one ([`surface::routes`](crate::surface::routes)), all of that is right again, and nothing
//! has to be edited while the cluster is down.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::address::{self, AddressError, Loopback};
use crate::config::Cluster;
use crate::name::{Name, NameError};
use crate::view::View;

/// Old addresses by master.
pub type Rescue = BTreeMap<Name, IpAddr>;

/// Why a rescue is refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not `NAME=OLD`.
    #[error("'{0}' is not NAME=OLD; write such as master-1=10.77.0.11, the address that it had")]
    Words(String),
    /// Not a host name.
    #[error("{0}")]
    Name(#[from] NameError),
    /// Not an address that a master can have.
    #[error("{0}")]
    Address(#[from] AddressError),
    /// Not in the cluster file.
    #[error("'{name}' is no master of this cluster; the masters are {known}")]
    Unknown {
        /// The name.
        name: String,
        /// The masters, joined by commas.
        known: String,
    },
    /// A master or an address more than once.
    #[error("{0} is given twice; give each master and each address once")]
    Twice(String),
    /// The old address is in use by another master.
    #[error(
        "{old} cannot be given back to {name}: {holder} has it now, and what is sent there must reach {holder}. Two masters that have swapped addresses cannot both have them back: give one of them a third address, tell it with `stayput event`, and try again"
    )]
    Swapped {
        /// The old address.
        old: IpAddr,
        /// Whose it was.
        name: String,
        /// Whose it is.
        holder: String,
    },
    /// The old address is another master's stable one.
    #[error(
        "{old} cannot be given back to {name}: it is {holder}'s `stable` address in the cluster file"
    )]
    Stable {
        /// The old address.
        old: IpAddr,
        /// Whose it was.
        name: String,
        /// Whose it is.
        holder: String,
    },
    /// The old address is its own stable one, which it has anyway.
    #[error(
        "{old} is {name}'s `stable` address in the cluster file, and is kept for it without a rescue; give the address that it had before, or leave {name} out"
    )]
    Own {
        /// The old address.
        old: IpAddr,
        /// Whose it is.
        name: String,
    },
    /// The master has no address by way of which the old one could be reached.
    #[error(
        "{old} cannot be given back to {name}: it is at {now}, and there is no way to an {family} address by that; tell its {family} address too, if it has one: stayput event {name} {now} ADDRESS"
    )]
    Family {
        /// The old address.
        old: IpAddr,
        /// Whose it was.
        name: String,
        /// Where the master is, joined by blanks.
        now: String,
        /// Of the old address.
        family: &'static str,
    },
    /// A rescue in force says otherwise.
    #[error(
        "{word} is not what is in force on this node: {in_force}; end that first with `stayput kubeadm rescue --end`, then give all masters in one command"
    )]
    InForce {
        /// What was asked for, as `NAME=OLD`.
        word: String,
        /// All that is in force, the same way.
        in_force: String,
    },
    /// The old address lies among the Services'.
    #[error("{0} lies within kubernetes.serviceSubnet; it cannot have been a master's")]
    Service(IpAddr),
}

/// What an operator's words mean: `NAME=OLD`, one for each master.
pub fn ordered(cluster: &Cluster, words: &[String], rules: Loopback) -> Result<Rescue, Refusal> {
    let mut rescue = Rescue::new();
    for word in words {
        let Some((name, old)) = word.split_once('=') else {
            return Err(Refusal::Words(word.clone()));
        };
        let Some(master) = cluster.master_called(&Name::parse(name)?) else {
            return Err(Refusal::Unknown {
                name: name.to_owned(),
                known: cluster.master_names(),
            });
        };
        let old = address::parse(old, rules)?;
        if cluster.kubernetes.service_subnet.contains(&old) {
            return Err(Refusal::Service(old));
        }
        if rescue.values().any(|other| *other == old) {
            return Err(Refusal::Twice(old.to_string()));
        }
        if rescue.insert(master.name.clone(), old).is_some() {
            return Err(Refusal::Twice(name.to_owned()));
        }
    }
    Ok(rescue)
}

/// What is in force on this node, and what is asked for besides. A second command adds masters; it
/// changes none.
pub fn added(in_force: &Rescue, asked: &Rescue) -> Result<Rescue, Refusal> {
    let mut all = in_force.clone();
    for (name, old) in asked {
        let same = in_force.get(name).map(|it| it == old);
        let elsewhere = || in_force.values().any(|it| it == old);
        if same == Some(false) || (same.is_none() && elsewhere()) {
            return Err(Refusal::InForce {
                word: format!("{}={old}", name.label()),
                in_force: words(in_force).join(" "),
            });
        }
        all.insert(name.clone(), *old);
    }
    Ok(all)
}

/// `NAME=OLD`, one for each master.
fn words(rescue: &Rescue) -> Vec<String> {
    let each = rescue.iter();
    each.map(|(name, old)| format!("{}={old}", name.label()))
        .collect()
}

/// A rescue that can be, by what this node knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Masters that have their old address, by this node's book: nothing is done for them.
    pub unmoved: Vec<Name>,
    /// Masters whose new address is not known, so that there is no way to them yet.
    pub unknown: Vec<Name>,
    /// Whether anything is to be done at all.
    pub needed: bool,
}

/// Holds a rescue against the book and the cluster file.
pub fn judge(view: &View, rescue: &Rescue) -> Result<Judged, Refusal> {
    let (mut unmoved, mut unknown) = (Vec::new(), Vec::new());
    for (name, old) in rescue {
        let others = view.cluster.masters.iter().filter(|it| it.name != *name);
        for other in others {
            let refusal = |swapped: bool| {
                let (old, name) = (*old, name.label().to_owned());
                let holder = other.name.label().to_owned();
                if swapped {
                    Refusal::Swapped { old, name, holder }
                } else {
                    Refusal::Stable { old, name, holder }
                }
            };
            if view.book.addresses(&other.name).contains(old) {
                return Err(refusal(true));
            }
            if view.cluster.routes.stable(other) == Some(*old) {
                return Err(refusal(false));
            }
        }
        let own = view.cluster.master(name);
        if own.and_then(|own| view.cluster.routes.stable(own)) == Some(*old) {
            let (old, name) = (*old, name.label().to_owned());
            return Err(Refusal::Own { old, name });
        }
        let now = view.book.addresses(name);
        if now.contains(old) {
            unmoved.push(name.clone());
        } else if now.is_empty() {
            unknown.push(name.clone());
        } else if !now.iter().any(|it| it.is_ipv6() == old.is_ipv6()) {
            let now: Vec<String> = now.iter().map(ToString::to_string).collect();
            return Err(Refusal::Family {
                old: *old,
                name: name.label().to_owned(),
                now: now.join(" "),
                family: if old.is_ipv6() { "IPv6" } else { "IPv4" },
            });
        }
    }
    Ok(Judged {
        needed: unmoved.len() < rescue.len(),
        unmoved,
        unknown,
    })
}

/// What to do after a rescue is in force on a node, one step each.
pub fn next(rescue: &Rescue) -> Vec<String> {
    let same = words(rescue);
    vec![
        format!(
            "on every other node, workers too: stayput kubeadm rescue {}",
            same.join(" ")
        ),
        "wait until the cluster answers: kubectl get nodes".to_owned(),
        "stayput kubeadm audit   shows what pins the old addresses".to_owned(),
        "on every node: stayput kubeadm unpin   mends it; the certificates keep the old addresses so far"
            .to_owned(),
        "on every node: stayput kubeadm rescue --end   takes the old addresses away again"
            .to_owned(),
        "on every master: stayput kubeadm unpin   takes them out of the certificates too".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::routes::Mode;
    use crate::sample;

    fn name(label: &str) -> Name {
        Name::parse(&format!("{label}.k8s.internal")).unwrap()
    }

    fn refused(words: &[&str]) -> String {
        let view = sample::three([111, 112, 113]);
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let rescue = ordered(&view.cluster, &words, Loopback::Refused);
        let judged = rescue.and_then(|rescue| judge(&view, &rescue));
        judged.unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_reason() {
        for (words, want) in [
            (&["master-1"][..], "'master-1' is not NAME=OLD"),
            (
                &["master-9=10.77.0.11"],
                "'master-9' is no master of this cluster; the masters are master-1",
            ),
            (&["-=10.77.0.11"], "'-'"),
            (&["master-1=10.77.0"], "not an IP address"),
            (&["master-1=127.0.0.1"], "loopback"),
            (&["master-1=10.96.0.7"], "serviceSubnet"),
            (
                &["master-1=10.77.0.11", "master-1=10.77.0.12"],
                "master-1 is given twice",
            ),
            (
                &["master-1=10.77.0.11", "master-2=10.77.0.11"],
                "10.77.0.11 is given twice",
            ),
            (
                &["master-1=10.77.0.112"],
                "10.77.0.112 cannot be given back to master-1: master-2 has it now",
            ),
            (
                &["master-1=fd77::5"],
                "fd77::5 cannot be given back to master-1: it is at 10.77.0.111, and there is no way to an IPv6 address by that",
            ),
        ] {
            let said = refused(words);
            assert!(said.contains(want), "{words:?}: {said}");
        }
    }

    #[test]
    fn stable_addresses_are_nobodys_old_ones() {
        let mut view = sample::three([111, 112, 113]);
        let mut cluster = Cluster::clone(&view.cluster);
        for (master, last) in cluster.masters.iter_mut().zip(1..) {
            master.stable = Some(IpAddr::from([10, 254, 0, last]));
        }
        for (mode, word, want) in [
            (Mode::Off, "master-1=10.254.0.1", ""),
            (
                Mode::Direct,
                "master-1=10.254.0.1",
                "10.254.0.1 is master-1's `stable` address",
            ),
            (
                Mode::Direct,
                "master-1=10.254.0.2",
                "it is master-2's `stable` address",
            ),
            (Mode::Direct, "master-1=10.77.0.11", ""),
        ] {
            cluster.routes.mode = mode;
            view.cluster = cluster.clone().into();
            let rescue = ordered(&view.cluster, &[word.to_owned()], Loopback::Refused).unwrap();
            let said = judge(&view, &rescue).err().map(|it| it.to_string());
            let said = said.unwrap_or_default();
            assert!(said.contains(want), "{word}: {said}");
            assert_eq!(said.is_empty(), want.is_empty(), "{word}: {said}");
        }
    }

    #[test]
    fn a_second_rescue_adds_and_never_replaces() {
        let view = sample::three([111, 112, 113]);
        let rescue = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            ordered(&view.cluster, &words, Loopback::Refused).unwrap()
        };
        let first = rescue(&["master-1=10.77.0.11"]);
        let both = rescue(&["master-1=10.77.0.11", "master-2=10.77.0.12"]);
        assert_eq!(added(&Rescue::new(), &first), Ok(first.clone()));
        assert_eq!(
            added(&first, &rescue(&["master-2=10.77.0.12"])),
            Ok(both.clone())
        );
        assert_eq!(added(&first, &both), Ok(both.clone()));
        assert_eq!(added(&both, &first), Ok(both.clone()));
        for word in ["master-1=10.77.0.99", "master-3=10.77.0.12"] {
            let said = added(&both, &rescue(&[word])).unwrap_err().to_string();
            let want = format!(
                "{word} is not what is in force on this node: master-1=10.77.0.11 master-2=10.77.0.12; end that first"
            );
            assert!(said.starts_with(&want), "{said}");
        }
    }

    #[test]
    fn who_has_not_moved_is_told_and_the_others_are_rescued() {
        let view = sample::three([11, 112, 113]);
        let words = ["master-1=10.77.0.11", "master-2.k8s.internal=10.77.0.12"].map(str::to_owned);
        let rescue = ordered(&view.cluster, &words, Loopback::Refused).unwrap();
        assert_eq!(rescue[&name("master-2")].to_string(), "10.77.0.12");
        let judged = judge(&view, &rescue).unwrap();
        assert_eq!(
            (judged.unmoved, judged.needed),
            (vec![name("master-1")], true)
        );
        let only = ordered(&view.cluster, &words[..1], Loopback::Refused).unwrap();
        assert!(!judge(&view, &only).unwrap().needed);
        assert!(next(&rescue)[0].ends_with("rescue master-1=10.77.0.11 master-2=10.77.0.12"));
    }
}
