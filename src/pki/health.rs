//! The state of each item, as `certs status` shows it. Pure, as the [plan](mod@super::plan) is.

mod findings;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer};

use super::catalogue::{Reload, User};
use super::inventory::{Found, Inventory};
use super::wanted::{Item, Wanted};
use super::window::date;

pub use findings::{Finding, findings};

/// What state an item is in; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Nothing is there.
    Missing,
    /// A file cannot be read, or is not what it should be.
    Unusable,
    /// One half is missing, or the key is another certificate's.
    BrokenPair,
    /// Somebody else signed it.
    Foreign,
    /// A kubeconfig does not trust the node's authority.
    ForeignAuthority,
    /// Its last second is over.
    Expired,
    /// Its first second is still to come.
    NotYetValid,
    /// It is due and cannot be renewed for longer, because its authority ends; or that has ended.
    AuthorityEnds,
    /// Others can read a key, or write.
    WrongMode,
    /// A file of it is a symlink, which no renewal replaces.
    Linked,
    /// It lacks a name that the cluster file asks for.
    NameMissing,
    /// A kubeconfig points elsewhere.
    WrongServer,
    /// Its end is near.
    Due,
    /// Nothing is wrong.
    Ok,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Unusable => "unusable",
            Self::BrokenPair => "broken pair",
            Self::Foreign => "foreign",
            Self::ForeignAuthority => "foreign authority",
            Self::Expired => "expired",
            Self::NotYetValid => "not yet valid",
            Self::AuthorityEnds => "authority ends",
            Self::WrongMode => "wrong mode",
            Self::Linked => "linked",
            Self::NameMissing => "name missing",
            Self::WrongServer => "wrong server",
            Self::Due => "due",
            Self::Ok => "ok",
        })
    }
}

/// One item. The JSON form is stable: fields are added, never renamed or removed. Times are Unix times
/// here and RFC 3339 in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// What commands call it.
    pub id: String,
    /// The file that people know it by.
    pub path: PathBuf,
    /// `O=system:masters, CN=kubernetes-admin`.
    pub subject: Option<String>,
    /// DNS names, then addresses, then others, as in `URI:spiffe://example.com/api`.
    pub names: Vec<String>,
    /// The id of its authority; absent of authorities and key pairs.
    pub authority: Option<String>,
    /// Its first second.
    #[serde(serialize_with = "rfc3339")]
    pub not_before: Option<i64>,
    /// Its last second.
    #[serde(serialize_with = "rfc3339")]
    pub not_after: Option<i64>,
    /// The seconds that remain; below 0 once it has expired.
    pub expires_in: Option<i64>,
    /// In hexadecimal.
    pub serial: Option<String>,
    /// The worst of what was found.
    pub state: State,
    /// All that was found, worst first; empty where there is nothing to say.
    pub details: Vec<String>,
    /// Whether a person, or the next renewal, has to do something.
    pub attention: bool,
    /// Who uses it.
    pub users: Vec<UsedBy>,
}

/// A process that uses an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UsedBy {
    /// Such as `kube-apiserver`.
    pub process: String,
    /// How it takes a renewed one: `itself`, `restart` of its static pod, or `nextRun`.
    pub takes: &'static str,
}

impl Health {
    /// The processes that must be restarted after a renewal.
    pub fn restarts(&self) -> Vec<&str> {
        let restarted = self.users.iter().filter(|user| user.takes == RESTART);
        restarted.map(|user| user.process.as_str()).collect()
    }
}

const RESTART: &str = "restart";

impl From<&User> for UsedBy {
    fn from(user: &User) -> Self {
        let takes = match user.reload {
            Reload::Itself => "itself",
            Reload::StaticPod => RESTART,
            Reload::NextRun => "nextRun",
        };
        let process = user.process.clone();
        Self { process, takes }
    }
}

/// The health of every item, in the catalogue's order. What only the first master has, and this one
/// has not, has no row. `now` is as for the [plan](super::plan()).
pub fn health(wanted: &Wanted, inventory: &Inventory, now: i64) -> Vec<Health> {
    let absent = |item: &Item| *inventory.of(item) == Found::Absent;
    let shown = wanted.items.iter();
    let shown = shown.filter(|item| !(item.new_cluster_only && absent(item)));
    shown
        .map(|item| row(item, wanted, inventory, now))
        .collect()
}

fn row(item: &Item, wanted: &Wanted, inventory: &Inventory, now: i64) -> Health {
    let certificate = match inventory.found.get(&item.id) {
        Some(Found::Present(present)) => Some(&present.certificate),
        _ => None,
    };
    let findings = findings(item, wanted, inventory, now);
    let state = findings.first().map_or(State::Ok, |finding| finding.state);
    Health {
        id: item.id.clone(),
        path: item.path().to_owned(),
        subject: certificate.map(|c| c.subject.clone()),
        names: certificate.map_or_else(Vec::new, |c| c.profile.names.list()),
        authority: item.authority().map(str::to_owned),
        not_before: certificate.map(|c| c.not_before),
        not_after: certificate.map(|c| c.not_after),
        expires_in: certificate.map(|c| c.not_after.saturating_sub(now)),
        serial: certificate.map(|c| c.serial.clone()),
        state,
        details: findings.into_iter().map(|finding| finding.text).collect(),
        attention: state != State::Ok,
        users: item.users.iter().map(UsedBy::from).collect(),
    }
}

#[expect(
    clippy::ref_option,
    reason = "serde hands over a reference to the field"
)]
fn rfc3339<S: Serializer>(time: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(date).serialize(serializer)
}
