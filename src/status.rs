//! The one picture of a node that `stayput status`, JSON and the control socket format.
//!
//! The JSON form is stable: fields are added, never renamed or removed. Times are RFC 3339.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::book::Origin;
use crate::kubeadm::pin::Severity;
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
    /// One for each master of the cluster file, in its order, then those that signed records add.
    pub masters: Vec<MasterStatus>,
    /// Masters that signed records have taken out, whatever the cluster file says.
    #[serde(default)]
    pub removed: Vec<RemovedStatus>,
    /// One for each surface.
    pub surfaces: Vec<SurfaceStatus>,
    /// HAProxy's servers, as last seen.
    pub servers: Vec<ServerStatus>,
    /// What contradicts the book, one line each.
    pub conflicts: Vec<String>,
    /// What is wrong with the cluster file or the node file that lies there now, one line each; the
    /// last good one is in force.
    pub configuration_problems: Vec<String>,
    /// What is due for renewal; absent where certificates are none of this node's business.
    #[serde(default)]
    pub certificates: Option<CertificatesStatus>,
    /// What kubeadm has pinned to addresses, and what is done about it; absent where kubeadm is none of
    /// this node's business.
    #[serde(default)]
    pub kubeadm: Option<KubeadmStatus>,
    /// Old addresses that a rescue gives back, by master; empty while none is in force.
    #[serde(default)]
    pub rescue: BTreeMap<Name, IpAddr>,
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
    /// When this was said; of a signed record, when it was signed.
    pub changed: Option<String>,
    /// How long ago that is, in seconds.
    pub age_seconds: Option<u64>,
    /// The master's signed record, also where it is overridden; absent while it has none.
    #[serde(default)]
    pub record: Option<RecordStatus>,
    /// What the cluster file says of another node's master, where its signed record says something else and
    /// counts; else empty.
    #[serde(default)]
    pub file_addresses: Vec<IpAddr>,
    /// Whether only its signed record makes it a master: the cluster file does not name it.
    #[serde(default)]
    pub added: bool,
    /// The upstream name that it follows.
    pub follows: Option<Name>,
    /// Why that name was not resolved last time.
    pub upstream_error: Option<String>,
}

/// What a master says of itself, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordStatus {
    /// Where it says it is.
    pub addresses: Vec<IpAddr>,
    /// The record's version.
    pub version: u64,
    /// When it was signed.
    pub signed: String,
}

/// A master that was taken out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemovedStatus {
    /// Fully qualified.
    pub name: Name,
    /// The removal's version.
    pub version: u64,
    /// When the removal was signed.
    pub signed: String,
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

/// How loudly something asks for a person.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Loudness {
    /// All is well.
    #[default]
    Info,
    /// Somebody should look at it some time soon.
    Warning,
    /// Somebody must act now.
    Critical,
}

impl Loudness {
    /// The word that tables and JSON show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// This node's certificates, as the last run that could look has seen them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificatesStatus {
    /// The loudest of all that follows.
    pub loudness: Loudness,
    /// When the last run ended.
    pub last_run: Option<String>,
    /// When the last good one ended.
    pub last_success: Option<String>,
    /// Why runs fail, if the last one did.
    pub failure: Option<RenewalFailure>,
    /// What becomes due next.
    pub next: Option<NextRenewal>,
    /// What is due, has expired, or is not as it should be; the most urgent first.
    pub due: Vec<DueCertificate>,
    /// What a person should read, one line each.
    pub remarks: Vec<String>,
    /// The agent's own runs; absent where it starts none.
    pub runs: Option<AgentRuns>,
}

/// Runs that have failed since the last good one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenewalFailure {
    /// When the first of them ended.
    pub since: String,
    /// When the last did.
    pub last: String,
    /// How many.
    pub count: u32,
    /// What the last one said.
    pub message: String,
}

/// A renewal that is to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NextRenewal {
    /// What commands call it.
    pub id: String,
    /// From when on it is due.
    pub at: String,
}

/// A certificate that asks for attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DueCertificate {
    /// What commands call it.
    pub id: String,
    /// The file that people know it by.
    pub path: PathBuf,
    /// In the words of `stayput certs status`.
    pub state: String,
    /// How urgent it is.
    pub loudness: Loudness,
    /// When it ends; absent where that is not known.
    pub not_after: Option<String>,
    /// How long that is from now; negative once it is over.
    pub seconds_left: Option<i64>,
}

/// Renewals that the agent starts (`stayput run --renew`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentRuns {
    /// When the next one starts; absent while one runs.
    pub next: Option<String>,
    /// How often in a row they have failed.
    pub failures: u32,
    /// What the last one said, if it failed.
    pub last_error: Option<String>,
}

/// What kubeadm has pinned to addresses on this node, as the last run of `stayput kubeadm follow` has
/// seen it, and what kube-apiserver advertises now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubeadmStatus {
    /// The loudest of all that follows.
    pub loudness: Loudness,
    /// What kube-apiserver's manifest tells it to advertise; absent where there is no manifest, or no
    /// address in it.
    pub advertises: Option<IpAddr>,
    /// `none` without a manifest, `behind` where the address is to be changed, `unreadable`; else why
    /// it is not: `current`, `stable`, `rescue`, `no-flag`, `not-an-address`, `unknown`, `family`.
    pub advertise: String,
    /// When the last run ended; absent where there was none.
    pub audited: Option<String>,
    /// In how many places addresses that can change are pinned.
    pub pins: usize,
    /// The worst of them.
    pub worst: Option<Severity>,
    /// What a person should read, one line each.
    pub remarks: Vec<String>,
    /// The runs that the agent starts; absent where it starts none.
    pub runs: Option<FollowRuns>,
}

/// Runs of `stayput kubeadm follow` that the agent starts (`kubeadm.follow` of the cluster file).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FollowRuns {
    /// Whether one is in progress.
    pub running: bool,
    /// When the next one starts; absent where there is no reason for one.
    pub next: Option<String>,
    /// How often in a row they have failed.
    pub failures: u32,
    /// What the last one said, if it failed.
    pub last_error: Option<String>,
}

impl Status {
    /// Whether a person should look at the certificates.
    pub fn certificates_ask(&self) -> bool {
        let loudness = self.certificates.as_ref().map(|it| it.loudness);
        loudness.is_some_and(|it| it >= Loudness::Warning)
    }

    /// What wants an operator's attention, in a few words each: surfaces that do not show the book,
    /// conflicts, a bad cluster file, certificates, what kubeadm pins. A surface that is absent, or unknown without an agent, does not.
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
        if let Some(certificates) = &self.certificates
            && self.certificates_ask()
        {
            troubles.push(format!("certificates {}", certificates.loudness.as_str()));
        }
        if let Some(kubeadm) = &self.kubeadm
            && kubeadm.loudness >= Loudness::Warning
        {
            troubles.push(format!("kubeadm {}", kubeadm.loudness.as_str()));
        }
        troubles
    }
}
