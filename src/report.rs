//! What was done about an event, for people and for machines.
//!
//! The JSON form is stable: fields are added, never renamed or removed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::book::Move;
use crate::surface::{Applied, Outcome};

/// A place where the book is kept or shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Surface {
    /// The saved book itself.
    State,
    /// The hosts file.
    Hosts,
    /// The responder.
    Dns,
    /// The local HAProxy.
    Haproxy,
    /// Hosts copies of host-network pods.
    Pods,
    /// Stable addresses and the routes to them.
    Routes,
}

impl Surface {
    /// The word that tables and JSON show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Hosts => "hosts",
            Self::Dns => "dns",
            Self::Haproxy => "haproxy",
            Self::Pods => "pods",
            Self::Routes => "routes",
        }
    }
}

/// How a surface ended up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SurfaceResult {
    /// It showed the book already.
    Unchanged,
    /// It shows the book now.
    Updated,
    /// It is not on this node.
    Absent,
    /// It could not be brought to show the book; it is tried again.
    Failed,
}

impl SurfaceResult {
    /// The word that tables and JSON show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Updated => "updated",
            Self::Absent => "absent",
            Self::Failed => "failed",
        }
    }
}

/// What one surface did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SurfaceReport {
    /// Which one.
    pub surface: Surface,
    /// How it ended.
    pub result: SurfaceResult,
    /// What was done, or what went wrong.
    pub detail: String,
    /// What an operator should know, one line each.
    pub notices: Vec<String>,
    /// How long it took.
    pub milliseconds: f64,
}

/// Who did the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DoneBy {
    /// The running agent.
    Agent,
    /// The command itself, because no agent runs.
    Command,
}

/// What was done about one event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Who did the work.
    pub done_by: DoneBy,
    /// The book's generation afterwards.
    pub generation: u64,
    /// Which masters moved; empty when the event said nothing new.
    pub moves: Vec<Move>,
    /// What an operator should know, one line each: an address that two masters have.
    #[serde(default)]
    pub notices: Vec<String>,
    /// One for each surface that was looked at.
    pub surfaces: Vec<SurfaceReport>,
    /// From the event's arrival to the last surface.
    pub milliseconds: f64,
}

impl Report {
    /// Whether any surface could not follow.
    pub fn failed(&self) -> bool {
        self.surfaces
            .iter()
            .any(|s| s.result == SurfaceResult::Failed)
    }
}

impl SurfaceReport {
    /// A surface that did its work.
    pub fn done(surface: Surface, applied: Applied, took: Duration) -> Self {
        let result = match applied.outcome {
            Outcome::Unchanged => SurfaceResult::Unchanged,
            Outcome::Updated => SurfaceResult::Updated,
            Outcome::Absent => SurfaceResult::Absent,
        };
        Self {
            surface,
            result,
            detail: applied.detail,
            notices: applied.notices,
            milliseconds: milliseconds(took),
        }
    }

    /// A surface that could not.
    pub fn failed(surface: Surface, error: String, took: Duration) -> Self {
        Self {
            surface,
            result: SurfaceResult::Failed,
            detail: error,
            notices: Vec::new(),
            milliseconds: milliseconds(took),
        }
    }
}

/// Milliseconds with three decimals.
pub fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
