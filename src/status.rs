//! The one picture of a node that `stayput status`, JSON and the control socket format.
//!
//! The JSON form is stable: fields are added, never renamed or removed. Times are RFC 3339.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::book::Origin;
use crate::name::Name;
use crate::report::Surface;

/// Everything that an operator may want to know of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The agent's process; absent in what is read without an agent.
    pub agent: Option<AgentStatus>,
    /// The domain.
    pub domain: Name,
    /// The endpoint's name and port.
    pub endpoint: String,
    /// This node.
    pub node: NodeStatus,
    /// The book's generation.
    pub generation: u64,
    /// One for each master of the cluster file, in its order.
    pub masters: Vec<MasterStatus>,
    /// One for each surface.
    pub surfaces: Vec<SurfaceStatus>,
    /// HAProxy's servers, as last seen.
    pub servers: Vec<ServerStatus>,
    /// What contradicts the book, one line each.
    pub conflicts: Vec<String>,
    /// What is wrong with the cluster file or the node file that lies there now, one line each; the
    /// last good one is in force.
    pub configuration_problems: Vec<String>,
    /// Whether anything wants an operator's attention: [`Self::troubles`] says what.
    #[serde(default)]
    pub degraded: bool,
}

/// The agent's process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// Its process ID.
    pub pid: u32,
    /// Since when it runs.
    pub since: String,
}

/// This node's part in the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// `master` or `worker`.
    pub role: String,
    /// The master's name; absent on a worker.
    pub name: Option<Name>,
    /// The name of its Node object.
    pub kubernetes_name: Name,
    /// Whether this master's HAProxy points to itself only, and since when.
    pub provisioned: Option<ProvisionedStatus>,
}

/// Since when and why a master counts as complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProvisionedStatus {
    /// Since when.
    pub since: String,
    /// `told` or `detected`.
    pub how: String,
}

/// What is known of one master.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MasterStatus {
    /// Fully qualified.
    pub name: Name,
    /// Empty while not known.
    pub addresses: Vec<IpAddr>,
    /// The record's version; absent while no address is known.
    pub version: Option<u64>,
    /// Who said so.
    pub origin: Option<Origin>,
    /// When the addresses became these.
    pub changed: Option<String>,
    /// Their age in seconds.
    pub age_seconds: Option<u64>,
    /// The upstream name that it follows.
    pub follows: Option<Name>,
    /// Why that name was not resolved last time.
    pub upstream_error: Option<String>,
}

/// How a surface is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// It shows the book.
    Ok,
    /// It is not on this node, or not running.
    Absent,
    /// It does not show the book; it is tried again.
    Failed,
    /// Somebody else rewrites it again and again; stayput has stepped back for a while.
    Contested,
    /// Not looked at: no agent runs.
    Unknown,
}

impl Condition {
    /// The word that tables and JSON show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Absent => "absent",
            Self::Failed => "failed",
            Self::Contested => "contested",
            Self::Unknown => "unknown",
        }
    }
}

/// One surface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SurfaceStatus {
    /// Which one.
    pub surface: Surface,
    /// How it is doing.
    pub condition: Condition,
    /// What was last done, or what is wrong.
    pub detail: String,
    /// When it was last looked at.
    pub at: Option<String>,
    /// The last error, also after it was overcome.
    pub last_error: Option<String>,
    /// What an operator should know, one line each.
    pub notices: Vec<String>,
}

/// One server of the local HAProxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// The master's first label.
    pub name: String,
    /// Address and port that HAProxy connects to.
    pub address: String,
    /// HAProxy's own word: `UP`, `DOWN`, `MAINT`, `no check`.
    pub status: String,
    /// The last check, in HAProxy's words.
    pub check: String,
    /// Open sessions.
    pub sessions: u64,
}

impl Status {
    /// What wants an operator's attention, in a few words each: surfaces that do not show the book,
    /// conflicts, a bad cluster file. A surface that is absent, or unknown without an agent, does not.
    pub fn troubles(&self) -> Vec<String> {
        let surface = |s: &SurfaceStatus| {
            let bad = matches!(s.condition, Condition::Failed | Condition::Contested);
            bad.then(|| format!("{} {}", s.surface.as_str(), s.condition.as_str()))
        };
        let mut troubles: Vec<String> = self.surfaces.iter().filter_map(surface).collect();
        for (count, what) in [
            (self.conflicts.len(), "conflict"),
            (self.configuration_problems.len(), "configuration problem"),
        ] {
            match count {
                0 => {}
                1 => troubles.push(format!("1 {what}")),
                many => troubles.push(format!("{many} {what}s")),
            }
        }
        troubles
    }
}
