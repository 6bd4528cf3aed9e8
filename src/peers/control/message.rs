//! The JSON of the control socket, made from what the process knows.

use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::name::Name;
use crate::peers::daemon::command::{self, Picture};
use crate::peers::gossip::Who;
use crate::peers::ledger::{Held, Ledger};
use crate::peers::statement::Says;

/// The records in one [`Offer`], at most.
pub const OFFERED: usize = 256;

/// `GET /v1/peers`: who takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peers {
    /// Of the program.
    pub version: String,
    /// The process.
    pub process: Process,
    /// This node.
    pub own: Own,
    /// SHA-256 of all records that are held, in hexadecimal; equal on nodes that hold the same.
    pub digest: String,
    /// Everybody else, by name.
    pub members: Vec<Member>,
    /// What a person should know, one line each.
    pub problems: Vec<String>,
}

/// The process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Since when, in RFC 3339.
    pub since: String,
}

/// Who somebody is by his certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A master.
    Master,
    /// Any other node.
    Worker,
}

/// This node, as it takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Own {
    /// By which name; none without a valid certificate, when records are only pulled.
    pub name: Option<String>,
    /// As what.
    pub role: Option<Role>,
    /// Where others are told to dial it.
    pub addresses: Vec<SocketAddr>,
    /// Where it listens.
    pub listening: Vec<SocketAddr>,
    /// The links on which multicast is heard.
    pub multicast: Vec<String>,
    /// Whether the agent answers.
    pub agent: bool,
    /// Whether nobody has spoken lately.
    pub lonely: bool,
}

/// Somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Fully qualified, or a node's name in Kubernetes.
    pub name: String,
    /// As what.
    pub role: Role,
    /// Where it may listen, the preferred address first.
    pub addresses: Vec<SocketAddr>,
    /// Whether it is there as far as the members know.
    pub state: State,
    /// Whether there is a connection now.
    pub connected: bool,
    /// How long ago it spoke to this node itself; none if it has not since the start.
    pub last_contact_seconds: Option<u64>,
    /// Whether it said last that it holds the same records as this node does now; none if it has not said, or
    /// only before a change here of which it may have heard meanwhile.
    pub same_records: Option<bool>,
}

/// Whether somebody is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is.
    Up,
    /// It does not answer.
    Down,
    /// It did not for an hour, and is no master.
    Gone,
}

/// `GET /v1/records`: all records that are held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// SHA-256 of all, in hexadecimal.
    pub digest: String,
    /// In the order of masters.
    pub records: Vec<Record>,
}

/// A record, and what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The master that it speaks of.
    pub master: Name,
    /// What it says.
    pub says: Kind,
    /// Where the master is; empty for anything else.
    pub addresses: Vec<IpAddr>,
    /// From when on certificates of the new machine count, in RFC 3339; only of `replaced`.
    pub not_before: Option<String>,
    /// Its version.
    pub version: u64,
    /// When it was signed, as its version tells, in RFC 3339.
    pub signed: String,
    /// The master that signed it.
    pub signer: Name,
    /// When this node first saw it, in RFC 3339 by its own clock.
    pub received: String,
    /// How long ago that is.
    pub age_seconds: u64,
    /// Whether it decides where its master is, or from when on its word counts.
    pub counts: bool,
    /// SHA-256 of its bytes, in hexadecimal.
    pub digest: String,
    /// Its bytes, in base64.
    pub record: String,
}

/// What a record says, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Where a master is.
    At,
    /// It is a master no more.
    Removed,
    /// A new machine has its name.
    Replaced,
}

/// `POST /v1/records`: records from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// In base64; at most [`OFFERED`].
    pub records: Vec<String>,
}

/// What became of them, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// One for each.
    pub verdicts: Vec<Verdict>,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// In a word.
    pub verdict: Word,
    /// Why it was refused; else none.
    pub reason: Option<String>,
}

/// What became of a record, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// It was taken.
    News,
    /// It was there.
    Known,
    /// What is there is newer.
    Outdone,
    /// It was not taken.
    Refused,
}

impl Kind {
    /// Of a statement.
    pub fn of(says: &Says) -> Self {
        match says {
            Says::At(_) => Self::At,
            Says::Removed => Self::Removed,
            Says::Replaced { .. } => Self::Replaced,
        }
    }

    /// The word that tables and JSON show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::At => "at",
            Self::Removed => "removed",
            Self::Replaced => "replaced",
        }
    }
}

impl Role {
    /// Of a name.
    pub fn of(who: &Who) -> Self {
        match who {
            Who::Master(_) => Self::Master,
            Who::Worker(_) => Self::Worker,
        }
    }

    /// The word that tables and JSON show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Worker => "worker",
        }
    }
}

impl State {
    /// Of what the process knows.
    pub fn of(state: command::State) -> Self {
        match state {
            command::State::Up => Self::Up,
            command::State::Down => Self::Down,
            command::State::Gone => Self::Gone,
        }
    }

    /// The word that tables and JSON show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Gone => "gone",
        }
    }
}

impl Word {
    /// The word that tables and JSON show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::News => "news",
            Self::Known => "known",
            Self::Outdone => "outdone",
            Self::Refused => "refused",
        }
    }
}

impl Peers {
    /// What a picture says of the nodes.
    pub fn of(picture: &Picture, process: Process) -> Self {
        let own = &picture.own;
        let digest = picture.ledger.digest();
        let members = picture.members.iter().map(|member| Member {
            name: member.who.to_string(),
            role: Role::of(&member.who),
            addresses: member.addresses.clone(),
            state: State::of(member.state),
            connected: member.connected,
            last_contact_seconds: member.heard.map(|ago| ago.as_secs()),
            same_records: member.digest.map(|theirs| theirs == digest),
        });
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process,
            own: Own {
                name: own.who.as_ref().map(ToString::to_string),
                role: own.who.as_ref().map(Role::of),
                addresses: own.addresses.clone(),
                listening: own.listening.clone(),
                multicast: own.multicast.clone(),
                agent: own.agent,
                lonely: own.lonely,
            },
            digest: digest.to_string(),
            members: members.collect(),
            problems: picture.problems.clone(),
        }
    }
}

impl Records {
    /// What a ledger holds; `now` in Unix time.
    pub fn of(ledger: &Ledger, now: u64) -> Self {
        Self {
            digest: ledger.digest().to_string(),
            records: ledger
                .records()
                .map(|held| record(ledger, held, now))
                .collect(),
        }
    }
}

fn record(ledger: &Ledger, held: &Held, now: u64) -> Record {
    let verified = &held.verified;
    let statement = verified.statement();
    let effective = ledger.effective_of(&statement.master);
    let decides = effective.is_some_and(|effective| effective.digest == verified.digest());
    let (addresses, not_before) = match &statement.says {
        Says::At(addresses) => (addresses.clone(), None),
        Says::Removed => (Vec::new(), None),
        Says::Replaced { not_before } => (Vec::new(), Some(clock::date(*not_before))),
    };
    Record {
        master: statement.master.clone(),
        says: Kind::of(&statement.says),
        addresses,
        // Of replacements the one that is held is the one that counts.
        counts: decides || not_before.is_some(),
        not_before,
        version: statement.version,
        signed: clock::rfc3339(statement.version),
        signer: verified.signer().clone(),
        received: clock::rfc3339(held.received),
        age_seconds: now.saturating_sub(held.received),
        digest: verified.digest().to_string(),
        record: base64(verified.bytes()),
    }
}

impl From<command::Verdict> for Verdict {
    fn from(verdict: command::Verdict) -> Self {
        let (verdict, reason) = match verdict {
            command::Verdict::News => (Word::News, None),
            command::Verdict::Known => (Word::Known, None),
            command::Verdict::Outdone => (Word::Outdone, None),
            command::Verdict::Refused(reason) => (Word::Refused, Some(reason)),
        };
        Self { verdict, reason }
    }
}

/// A record's bytes as they are written in JSON.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes behind it; `None` where it is no base64.
pub fn unbase64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.trim_ascii()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::sample::{NOW, at, authority, pair, statement};

    #[test]
    fn of_all_records_those_that_decide_are_told() {
        let ca = authority("kubernetes");
        let (m1, m2) = (pair(&ca, "m1"), pair(&ca, "m2"));
        let mut ledger = Ledger::default();
        let not_before = NOW - 3600;
        for says in [
            at("m1", 7, "10.0.0.1"),
            at("m2", 7, "10.0.0.2"),
            statement("m2", 8, Says::Removed),
            at("m3", 7, "10.0.0.3"),
            statement("m3", 8, Says::Replaced { not_before }),
        ] {
            let signer = match says.master.label() {
                "m2" if says.says != Says::Removed => &m2,
                "m3" if matches!(says.says, Says::At(_)) => &pair(&ca, "m3"),
                _ => &m1,
            };
            assert!(ledger.offer(signer.verified(&ca, &says), 1000).is_taken());
        }
        let records = Records::of(&ledger, 1060);
        let told = records.records.iter().map(|record| {
            let (master, signer) = (record.master.label(), record.signer.label());
            (master, record.says.as_str(), signer, record.counts)
        });
        let told: Vec<_> = told.collect();
        assert_eq!(
            told,
            [
                ("m1", "at", "m1", true),
                ("m2", "removed", "m1", true),
                ("m2", "at", "m2", false),
                ("m3", "replaced", "m1", true),
                // Its certificate is older than the replacement.
                ("m3", "at", "m3", false),
            ]
        );
        let first = &records.records[0];
        assert_eq!((first.age_seconds, first.version), (60, 7));
        assert_eq!(first.received, "1970-01-01T00:16:40Z");
        let bytes = unbase64(&first.record).unwrap();
        let held = ledger.records().next().unwrap();
        assert_eq!(bytes, held.verified.bytes());
        assert_eq!(first.digest, held.verified.digest().to_string());
        assert_eq!(records.records[3].not_before, Some(clock::date(not_before)));
    }
}
